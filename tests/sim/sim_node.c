/* A simulated node agent: feeds core/node, performs its actions, repeats its reports until they are answered.
 * What happens to the copies of jobs is in sim_copies.c. */
#include "tests/sim/sim.h"

#include <stdlib.h>
#include <string.h>

struct sim_node *node_of(struct sim *s, int agent)
{
	return &s->nodes[agent - s->opt.tops];
}

int64_t node_clock(const struct sim *s, const struct sim_node *n)
{
	return clock_of(n->rate, n->offset, s->now);
}

bool node_awake(const struct sim *s, const struct sim_node *n)
{
	return n->agent_up && n->stalled_until <= s->now;
}

static void schedule(struct sim *s, struct sim_node *n)
{
	int64_t t = true_time(n->rate, n->offset, node_next(&n->core));
	n->tick_token = sim_at(s, t > n->stalled_until ? t : n->stalled_until, EV_NODE_TICK, n->id, 0);
}

void node_run_ticks(struct sim *s, struct sim_node *n)
{
	if (!n->agent_up)
		return;
	if (node_awake(s, n)) {
		struct node_actions acts = {0};
		node_tick(&n->core, node_clock(s, n), &acts);
		node_perform(s, n, &acts);
		node_actions_free(&acts);
		/* deaths while the agent stood still or might not decide */
		for (size_t i = n->copy_count; i-- > 0;)
			if (n->copies[i].unseen)
				copy_noticed_dead(s, n, &n->copies[i]);
	}
	schedule(s, n);
}

/* ---- actions ------------------------------------------------------------------------------------ */
static void send_register(struct sim *s, struct sim_node *n, const struct node_action *a)
{
	struct msg m = {.kind = MSG_REGISTER, .from = n->id, .to = a->parent, .term = a->term, .seq = a->seq,
			.length = a->held};
	m.claims = calloc(n->copy_count + 1, sizeof *m.claims);
	if (!m.claims)
		abort();
	for (size_t i = 0; i < n->copy_count; i++) {
		const struct copy *c = &n->copies[i];
		struct job_claim *k = &m.claims[m.n++];
		core_copy(k->spec.uuid, CORE_UUID, s->jobs[c->job].uuid);
		core_copy(k->spec.name, CORE_NAME, s->jobs[c->job].uuid);
		k->spec.restart = s->jobs[c->job].policy;
		k->incarnation = c->incarnation;
		k->given = node_job_given(&n->core, k->spec.uuid);
		k->state = c->state;
		k->ending = c->how;
	}
	sim_send(s, m);
}

static void set_deadline(struct sim *s, struct sim_node *n, int64_t deadline)
{
	n->deadline = deadline;
	n->fence_token = 0;
	if (deadline && !s->opt.no_fence)
		n->fence_token = sim_at(s, true_time(n->rate, n->offset, deadline) + (int64_t)sim_random(s, 20 * MS),
					EV_FENCE, n->id, 0);
}

static void lose_copy(struct sim *s, struct sim_node *n, const char *uuid)
{
	int job = sim_job_index(uuid);
	struct copy *c = copy_find(n, job);
	if (c)
		copy_drop(s, n, c);
	node_drop_report(n, job);
	node_job_gone(&n->core, uuid);
}

static void thaw(struct sim *s, struct sim_node *n)
{
	if (n->deadline && node_clock(s, n) >= n->deadline)
		return;
	node_freeze(s, n, false);
	/* a parent that is new to us learns what we hold */
	for (size_t i = 0; i < n->copy_count; i++)
		if (n->copies[i].snap_generation)
			sim_send(s, (struct msg){.kind = MSG_HELD, .from = n->id, .to = n->core.parent,
						 .job = n->copies[i].job,
						 .incarnation = n->copies[i].snap_incarnation,
						 .generation = n->copies[i].snap_generation});
}

static void perform(struct sim *s, struct sim_node *n, const struct node_action *a)
{
	struct msg m = {.from = n->id, .to = a->parent, .term = a->term, .seq = a->seq};
	switch (a->todo) {
	case NODE_SEND_HELLO:
		m.kind = MSG_HELLO;
		sim_send(s, m);
		break;
	case NODE_SEND_RENEWAL:
		m.kind = MSG_RENEW;
		sim_send(s, m);
		break;
	case NODE_SEND_REGISTER:
		send_register(s, n, a);
		break;
	case NODE_SET_DEADLINE:
		set_deadline(s, n, a->deadline);
		break;
	case NODE_FREEZE_ALL:
		if (!s->opt.no_fence)
			node_freeze(s, n, true);
		break;
	case NODE_THAW_ALL:
		thaw(s, n);
		break;
	case NODE_KILL:
		sim_trace(s, "%s: kills its copy of job %d", n->name, sim_job_index(a->job));
		sim_mark(s, MARK_KILLED);
		lose_copy(s, n, a->job);
		break;
	case NODE_FORGET:
		lose_copy(s, n, a->job);
		break;
	case NODE_STANDING:
		sim_trace(s, "%s: %s --> %s (parent top%d)", n->name, standing_name(a->old),
			  standing_name(a->now_is), n->core.parent);
		if (a->now_is == STANDING_FENCED)
			sim_mark(s, MARK_FENCED);
		if (a->now_is == STANDING_LEASED && n->core.parent)
			sim_mark(s, MARK_PARENT_CHANGED);
		break;
	}
}

void node_perform(struct sim *s, struct sim_node *n, struct node_actions *acts)
{
	for (size_t i = 0; i < acts->n; i++)
		perform(s, n, &acts->v[i]);
	node_actions_clear(acts);
}

/* ---- reports ------------------------------------------------------------------------------------ */
static void send_report(struct sim *s, struct sim_node *n, const struct report_out *r)
{
	if (node_awake(s, n) && n->core.standing == STANDING_LEASED)
		sim_send(s, (struct msg){.kind = MSG_REPORT, .from = n->id, .to = n->core.parent, .job = r->job,
					 .what = (int)r->what, .incarnation = r->incarnation, .how = r->how});
}

void node_drop_report(struct sim_node *n, int job)
{
	for (size_t i = 0; i < n->report_count; i++)
		if (n->reports[i].job == job)
			n->reports[i--] = n->reports[--n->report_count];
}

void node_report(struct sim *s, struct sim_node *n, int job, enum report what, uint32_t inc, struct ending how)
{
	node_drop_report(n, job);
	if (n->report_count == n->report_size) {
		n->report_size = n->report_size ? n->report_size * 2 : 8;
		n->reports = realloc(n->reports, n->report_size * sizeof *n->reports);
		if (!n->reports)
			abort();
	}
	n->reports[n->report_count] = (struct report_out){job, what, inc, how};
	send_report(s, n, &n->reports[n->report_count++]);
}

void node_send_reports(struct sim *s, struct sim_node *n)
{
	for (size_t i = 0; i < n->report_count; i++)
		send_report(s, n, &n->reports[i]);
}

/* ---- messages ----------------------------------------------------------------------------------- */
static void stop(struct sim *s, struct sim_node *n, int job, uint32_t inc)
{
	uint32_t last;
	bool here = node_stop(&n->core, s->jobs[job].uuid, inc, &last);
	struct copy *c = copy_find(n, job);
	if (here && c && !c->killed) {
		c->killed = true;
		c->gone_as = last;
		c->token = sim_at(s, s->now + (int64_t)sim_random(s, 100 * MS), EV_KILLED, n->id, job);
	} else if (!here && !c) {
		node_report(s, n, job, REPORT_GONE, last, (struct ending){0, 0});
	}
}

static void start(struct sim *s, struct sim_node *n, const struct msg *m)
{
	const struct ending none = {0, 0};
	struct copy *c = copy_find(n, m->job);
	switch (node_start(&n->core, s->jobs[m->job].uuid, m->incarnation, m->term, node_clock(s, n))) {
	case START_TAKE:
		node_report(s, n, m->job, REPORT_TAKEN, m->incarnation, none);
		if (c)
			copy_drop(s, n, c);
		copy_start(s, n, m->job, m->incarnation, m);
		break;
	case START_HAVE:
		if (c && job_live(c->state) && !c->killed)
			node_report(s, n, m->job, c->token ? REPORT_TAKEN : REPORT_RUNNING, c->incarnation, none);
		break;
	case START_REFUSE:
		sim_send(s, (struct msg){.kind = MSG_REPORT, .from = n->id, .to = m->from, .job = m->job,
					 .what = REPORT_REFUSED, .incarnation = m->incarnation});
		break;
	case START_WAIT:
		break;
	}
}

static void answer(struct sim *s, struct sim_node *n, const struct msg *m, struct node_actions *acts)
{
	if (m->flag) { /* unknown */
		node_refused(&n->core, n->core.term, true, node_clock(s, n), acts);
		return;
	}
	for (size_t i = 0; i < n->report_count; i++) {
		struct report_out *r = &n->reports[i];
		if (r->job == m->job && (int)r->what == m->what && r->incarnation == m->incarnation) {
			*r = n->reports[--n->report_count];
			break;
		}
	}
	struct copy *c = copy_find(n, m->job);
	bool told = m->what == REPORT_EXITED || m->what == REPORT_FAILED;
	if (c && told && job_ended(c->state) && c->incarnation == m->incarnation)
		copy_drop(s, n, c);
	if (m->length) /* kill */
		stop(s, n, m->job, m->incarnation);
}

void node_message(struct sim *s, struct sim_node *n, struct msg *m)
{
	struct node_actions acts = {0};
	int64_t now = node_clock(s, n);
	switch (m->kind) {
	case MSG_GRANTED:
		node_granted(&n->core, m->term, m->seq, m->length, now, &acts);
		break;
	case MSG_REGISTERED:
		node_registered(&n->core, m->term, m->seq, m->length, m->verdicts, m->n, now, &acts);
		break;
	case MSG_REFUSED:
		node_refused(&n->core, m->term, m->flag, now, &acts);
		break;
	case MSG_START:
		start(s, n, m);
		break;
	case MSG_STOP:
		stop(s, n, m->job, m->incarnation);
		break;
	case MSG_ANSWER:
		answer(s, n, m, &acts);
		break;
	default:
		break;
	}
	node_perform(s, n, &acts);
	node_actions_free(&acts);
	schedule(s, n);
}

/* The agent starts, for the first time or again: it takes up what it finds on its machine. */
void node_boot(struct sim *s, struct sim_node *n)
{
	n->up = n->agent_up = true;
	n->stalled_until = 0;
	node_free(&n->core);
	node_init(&n->core, s->opt.tops, s->opt.lease, n->deadline, (uint64_t)(s->now / MS) + 1, false,
		  (unsigned)n->id * 37);
	n->report_count = 0;
	for (size_t i = n->copy_count; i-- > 0;) {
		struct copy *c = &n->copies[i];
		if (c->killed || c->token)
			copy_drop(s, n, c); /* half started or half killed: what is left of it is killed */
		else if (job_live(c->state))
			node_job_here(&n->core, s->jobs[c->job].uuid, c->incarnation);
	}
	sim_push(s, (struct event){.at = s->now, .kind = EV_REPORTS, .who = n->id, .token = n->life});
	sim_trace(s, "%s: agent starts, %zu copies, deadline in %.3f s", n->name, n->copy_count,
		  n->deadline ? (double)(n->deadline - node_clock(s, n)) / 1e9 : 0.0);
	node_run_ticks(s, n);
}
