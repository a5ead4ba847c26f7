/* Copies of jobs on simulated machines: starting, freezing, dying, snapshots. Owns sim_node.copies, and keeps the
 * count of live unfrozen copies of each job, which is checked whenever it grows. */
#include "tests/sim/sim.h"

#include <stdlib.h>

struct copy *copy_find(struct sim_node *n, int job)
{
	for (size_t i = 0; i < n->copy_count; i++)
		if (n->copies[i].job == job)
			return &n->copies[i];
	return NULL;
}

static void count(struct sim *s, const struct sim_node *n, const struct copy *c, int by)
{
	if (!c->process || n->frozen)
		return;
	s->jobs[c->job].live += by;
	check_live(s, c->job);
}

void copy_end(struct sim *s, struct sim_node *n, struct copy *c)
{
	count(s, n, c, -1);
	c->process = false;
	c->token = 0;
}

void copy_drop(struct sim *s, struct sim_node *n, struct copy *c)
{
	copy_end(s, n, c);
	*c = n->copies[--n->copy_count];
}

void node_freeze(struct sim *s, struct sim_node *n, bool frozen)
{
	if (n->frozen == frozen)
		return;
	sim_mark(s, frozen ? MARK_FROZEN : MARK_THAWED);
	sim_trace(s, "%s: %zu copies %s", n->name, n->copy_count, frozen ? "frozen" : "thawed");
	for (size_t i = 0; frozen && i < n->copy_count; i++)
		count(s, n, &n->copies[i], -1);
	n->frozen = frozen;
	for (size_t i = 0; i < n->copy_count; i++) {
		if (!frozen)
			count(s, n, &n->copies[i], 1);
		job_on(&n->copies[i].state, frozen ? EV_FENCED : EV_THAWED, NULL);
	}
}

/* ---- starting ------------------------------------------------------------------------------------- */
static void get_ready(struct sim *s, struct sim_node *n, struct copy *c, int64_t delay)
{
	int64_t at = s->now + delay + (int64_t)sim_random(s, (uint64_t)s->opt.restore_max);
	c->token = sim_at(s, at, EV_READY, n->id, c->job);
}

/* The first source that is really there when it is asked for. */
static void choose_source(struct sim *s, struct copy *c, const struct msg *order)
{
	for (int i = 0; i < order->candidates; i++) {
		const struct candidate *k = &order->from_where[i];
		struct copy *at = NULL;
		if (k->holder >= s->opt.tops && node_of(s, k->holder)->up)
			at = copy_find(node_of(s, k->holder), c->job);
		if (k->holder >= s->opt.tops && (!at || at->snap_generation != k->generation))
			continue;
		c->snap_incarnation = k->incarnation;
		c->snap_generation = k->generation;
		return;
	}
}

struct copy *copy_start(struct sim *s, struct sim_node *n, int job, uint32_t inc, const struct msg *order)
{
	if (n->copy_count == n->copy_size) {
		n->copy_size = n->copy_size ? n->copy_size * 2 : 8;
		n->copies = realloc(n->copies, n->copy_size * sizeof *n->copies);
		if (!n->copies)
			abort();
	}
	struct copy *c = &n->copies[n->copy_count++];
	*c = (struct copy){.job = job, .incarnation = inc, .state = inc ? JOB_RESTORING : JOB_STARTING,
			   .process = true, .started = s->now,
			   .supervise = {.policy = s->jobs[job].policy, .max_restarts = SUPERVISE_TIMES,
					 .window = 10 * SEC}};
	if (order)
		choose_source(s, c, order);
	sim_trace(s, "%s: starts job %d.%u from %u.%llu", n->name, job, inc, c->snap_incarnation,
		  (unsigned long long)c->snap_generation);
	count(s, n, c, 1);
	get_ready(s, n, c, 0);
	return c;
}

void copy_ready(struct sim *s, struct sim_node *n, struct copy *c)
{
	if (!node_awake(s, n) || n->frozen) {
		c->token = sim_at(s, s->now + 50 * MS, EV_READY, n->id, c->job);
		return;
	}
	c->token = 0;
	int job = c->job;
	uint32_t inc = c->incarnation;
	if (n->core.standing == STANDING_LEASED && sim_chance(s, s->opt.restore_fails)) {
		sim_trace(s, "%s: job %d.%u cannot be restored here", n->name, job, inc);
		sim_mark(s, MARK_RESTORE_FAILED);
		copy_drop(s, n, c);
		node_job_gone(&n->core, s->jobs[job].uuid);
		node_report(s, n, job, REPORT_FAILED_HERE, inc, (struct ending){0, 0});
		return;
	}
	if (!job_on(&c->state, inc ? EV_RESTORED : EV_LAUNCHED, NULL))
		sim_fail(s, "%s: job %d is ready while %s", n->name, job, job_state_name(c->state));
	c->started = s->now;
	s->jobs[job].running_since = s->now;
	if (inc)
		sim_mark(s, MARK_RESTARTED);
	sim_trace(s, "%s: job %d.%u runs", n->name, job, inc);
	node_report(s, n, job, REPORT_RUNNING, inc, (struct ending){0, 0});
	sim_push(s, (struct event){.at = s->now + SEC, .kind = EV_SNAPSHOT, .who = n->id, .job = job, .token = inc});
}

/* ---- dying ---------------------------------------------------------------------------------------- */
/* The agent sees that the process is gone and decides, if it may decide now. */
void copy_noticed_dead(struct sim *s, struct sim_node *n, struct copy *c)
{
	int64_t delay;
	c->unseen = true;
	if (!node_awake(s, n) || !node_may_run(&n->core, node_clock(s, n)) || c->killed)
		return;
	c->unseen = false;
	enum decision d = supervise_died(&c->supervise, c->how, s->jobs[c->job].stopped, c->started, s->now, &delay);
	if (d == SUPERVISE_RESTART) {
		c->incarnation++;
		job_on(&c->state, EV_RESTORE_STARTED, NULL);
		c->state = JOB_RESTORING;
		node_job_here(&n->core, s->jobs[c->job].uuid, c->incarnation);
		c->process = true;
		count(s, n, c, 1);
		get_ready(s, n, c, delay);
		sim_mark(s, MARK_LOCAL_RESTART);
		sim_trace(s, "%s: job %d died, is started again as %d.%u", n->name, c->job, c->job, c->incarnation);
		node_report(s, n, c->job, REPORT_RESTARTED, c->incarnation, (struct ending){0, 0});
		return;
	}
	job_on(&c->state, d == SUPERVISE_END ? EV_EXITED : EV_GIVEN_UP, NULL);
	s->jobs[c->job].done = true;
	node_job_gone(&n->core, s->jobs[c->job].uuid);
	sim_trace(s, "%s: job %d.%u is %s", n->name, c->job, c->incarnation, job_state_name(c->state));
	node_report(s, n, c->job, d == SUPERVISE_END ? REPORT_EXITED : REPORT_FAILED, c->incarnation, c->how);
}

/* ---- snapshots ------------------------------------------------------------------------------------ */
void copy_snapshot(struct sim *s, struct sim_node *n, struct copy *c)
{
	if (c->state == JOB_RUNNING && c->process && !c->killed && node_awake(s, n)) {
		c->snap_incarnation = c->incarnation;
		c->snap_generation++;
		if (n->core.standing == STANDING_LEASED)
			sim_send(s, (struct msg){.kind = MSG_HELD, .from = n->id, .to = n->core.parent, .job = c->job,
						 .incarnation = c->snap_incarnation,
						 .generation = c->snap_generation});
	}
	if (job_live(c->state))
		sim_push(s, (struct event){.at = s->now + SEC + (int64_t)sim_random(s, 2 * SEC), .kind = EV_SNAPSHOT,
					   .who = n->id, .job = c->job, .token = c->incarnation});
}
