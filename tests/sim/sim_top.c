/* A simulated top agent: feeds core/registry, performs its actions in order, keeps what it must on a disk that
 * survives it, and holds the newest snapshot of each job durably. It may crash between any two actions. */
#include "tests/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int64_t top_clock(const struct sim *s, const struct sim_top *t)
{
	return clock_of(t->rate, t->offset, s->now);
}

static int agent_named(const struct sim *s, const char *name)
{
	int i = (int)strtol(name + strcspn(name, "0123456789"), NULL, 10);
	return name[0] == 't' ? i : s->opt.tops + i;
}

static struct holding held_by(const char *who, int level, uint32_t inc, uint64_t gen)
{
	struct holding h = {.kind = SOURCE_SNAPSHOT, .level = level, .number = gen, .incarnation = inc};
	core_copy(h.holder, sizeof h.holder, who);
	return h;
}

/* ---- life ----------------------------------------------------------------------------------------- */
void top_boot(struct sim *s, int top, bool fresh)
{
	struct sim_top *t = &s->tops[top];
	struct registry_config config = {.lease = s->opt.lease};
	core_copy(config.id, sizeof config.id, t->name);
	t->up = true;
	t->crash_after = 0;
	registry_init(&t->core, &config);
	for (int i = 0; i < s->opt.nodes; i++)
		if (t->disk_nodes[i])
			registry_load_node(&t->core, t->disk_nodes[i]);
	for (int i = 0; i < s->opt.jobs; i++)
		if (t->disk_jobs[i])
			registry_load_job(&t->core, t->disk_jobs[i]);
	registry_settle(&t->core, fresh, top_clock(s, t));
	for (int i = 0; i < s->opt.jobs; i++) {
		struct holding h = held_by(t->name, 2, t->store[i].incarnation, t->store[i].generation);
		if (t->store[i].generation)
			registry_held(&t->core, s->jobs[i].uuid, &h);
	}
	sim_trace(s, "%s: starts", t->name);
	sim_push(s, (struct event){.at = s->now, .kind = EV_TOP_TICK, .who = top, .token = t->life});
}

void top_down(struct sim *s, int top)
{
	struct sim_top *t = &s->tops[top];
	if (!t->up)
		return;
	t->up = false;
	t->life++;
	registry_free(&t->core);
	sim_mark(s, MARK_TOP_CRASH);
	sim_trace(s, "%s: crashes", t->name);
}

/* ---- actions ------------------------------------------------------------------------------------ */
static void persist_job(struct sim *s, struct sim_top *t, const char *uuid, bool keep)
{
	int i = sim_job_index(uuid);
	free(t->disk_jobs[i]);
	t->disk_jobs[i] = NULL;
	const struct reg_job *j = registry_job(&t->core, uuid);
	if (!keep || !j)
		return;
	t->disk_jobs[i] = malloc(sizeof *j);
	if (!t->disk_jobs[i])
		abort();
	*t->disk_jobs[i] = *j;
	s->jobs[i].submitted |= !j->elsewhere;
	if (j->elsewhere) {
		sim_trace(s, "%s: job %d.%u is elsewhere: %s", t->name, i, j->incarnation, j->why);
		sim_mark(s, MARK_ELSEWHERE);
	}
}

static void persist_node(struct sim *s, struct sim_top *t, const char *name)
{
	int i = agent_named(s, name) - s->opt.tops;
	const struct reg_node *n = registry_node(&t->core, name);
	free(t->disk_nodes[i]);
	t->disk_nodes[i] = malloc(sizeof *n);
	if (!t->disk_nodes[i])
		abort();
	*t->disk_nodes[i] = *n;
}

static void send_start(struct sim *s, int top, const struct action *a)
{
	struct sim_top *t = &s->tops[top];
	struct msg m = {.kind = MSG_START, .from = top, .to = agent_named(s, a->node), .term = a->term,
			.job = sim_job_index(a->job), .incarnation = a->incarnation};
	struct source *from;
	size_t n = registry_sources(&t->core, a->job, NULL, &from);
	for (size_t i = 0; i < n && m.candidates < SIM_CANDIDATES; i++)
		if (from[i].from)
			m.from_where[m.candidates++] = (struct candidate){agent_named(s, from[i].from->holder),
									  from[i].from->incarnation,
									  from[i].from->number};
	free(from);
	check_source(s, top, m.job, m.from_where, m.candidates);
	sim_send(s, m);
}

static void perform(struct sim *s, int top, const struct action *a)
{
	struct sim_top *t = &s->tops[top];
	switch (a->what) {
	case ACT_PERSIST_JOB:
		if (!s->opt.start_before_persist)
			persist_job(s, t, a->job, true);
		break;
	case ACT_FORGET_JOB:
		persist_job(s, t, a->job, false);
		break;
	case ACT_PERSIST_NODE:
		persist_node(s, t, a->node);
		break;
	case ACT_START:
		sim_trace(s, "%s: orders %s to start job %d.%u", t->name, a->node, sim_job_index(a->job), a->incarnation);
		send_start(s, top, a);
		break;
	case ACT_STOP:
		sim_trace(s, "%s: orders %s to stop job %d.%u: %s", t->name, a->node, sim_job_index(a->job),
			  a->incarnation, a->why);
		sim_send(s, (struct msg){.kind = MSG_STOP, .from = top, .to = agent_named(s, a->node),
					 .job = sim_job_index(a->job), .incarnation = a->incarnation});
		break;
	case ACT_ASK:
		sim_mark(s, MARK_ASKED);
		sim_send(s, (struct msg){.kind = MSG_ASK, .from = top, .to = agent_named(s, a->url), .term = a->term,
					 .job = sim_job_index(a->job), .incarnation = a->incarnation,
					 .node = agent_named(s, a->node), .flag = a->take});
		break;
	case ACT_NODE_UP:
		sim_trace(s, "%s: %s is up: %s", t->name, a->node, a->why);
		break;
	case ACT_NODE_DOWN:
		sim_trace(s, "%s: %s is down: %s", t->name, a->node, a->why);
		sim_mark(s, MARK_NODE_DOWN);
		break;
	case ACT_JOB_CHANGED:
		sim_trace(s, "%s: job %d.%u %s --> %s: %s", t->name, sim_job_index(a->job), a->incarnation,
			  job_state_name(a->old), job_state_name(a->now_is), a->why);
		if (a->old == JOB_LOST && a->now_is == JOB_RESTORING)
			sim_mark(s, MARK_MOVED);
		break;
	case ACT_WAITS:
		sim_trace(s, "%s: job %d waits: %s", t->name, sim_job_index(a->job), a->why);
		sim_mark(s, MARK_WAITS);
		break;
	}
}

void top_perform(struct sim *s, int top, struct actions *acts)
{
	struct sim_top *t = &s->tops[top];
	for (size_t i = 0; i < acts->n && t->up; i++) {
		perform(s, top, &acts->v[i]);
		if (t->crash_after && --t->crash_after == 0) {
			top_down(s, top);
			sim_push(s, (struct event){.at = s->now + (int64_t)sim_random(s, 3 * SEC),
						   .kind = EV_TOP_BACK, .who = top, .token = t->life});
		}
	}
	actions_clear(acts);
}

void top_tick(struct sim *s, int top)
{
	struct actions acts = {0};
	registry_tick(&s->tops[top].core, top_clock(s, &s->tops[top]), &acts);
	top_perform(s, top, &acts);
	actions_free(&acts);
}
