/* The invariants, and where a job is. */
#include "tests/sim/sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void sim_fail(struct sim *s, const char *fmt, ...)
{
	if (s->failed)
		return;
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(s->what, sizeof s->what, fmt, ap);
	va_end(ap);
	s->failed = true;
	sim_trace(s, "BROKEN: %s", s->what);
}

/* Invariant 1: no two live (unfrozen) copies of a job, ever. */
void check_live(struct sim *s, int job)
{
	if (s->jobs[job].live <= 1 || s->failed)
		return;
	char where[128] = "";
	size_t at = 0;
	for (int i = 0; i < s->opt.nodes && at + 24 < sizeof where; i++) {
		struct copy *c = copy_find(&s->nodes[i], job);
		if (c && c->process && !s->nodes[i].frozen)
			at += (size_t)snprintf(where + at, sizeof where - at, " %s (%u)", s->nodes[i].name, c->incarnation);
	}
	sim_fail(s, "job %d has %d live copies:%s", job, s->jobs[job].live, where);
}

/* The counts that check_live looks at are kept step by step; here they are taken anew. */
void check_recount(struct sim *s)
{
	for (int j = 0; j < s->opt.jobs && s->opt.jobs <= 100; j++) {
		int live = 0;
		for (int i = 0; i < s->opt.nodes; i++) {
			struct copy *c = copy_find(&s->nodes[i], j);
			live += c && c->process && !s->nodes[i].frozen;
		}
		if (live != s->jobs[j].live)
			sim_fail(s, "job %d: %d live copies, but %d were counted", j, live, s->jobs[j].live);
	}
}

/* Invariants 2 and 4: a restart is offered the newest version that any reachable holder has, first; and what a
 * top has acknowledged is among it for as long as that top lives. */
void check_source(struct sim *s, int top, int job, const struct candidate *c, int n)
{
	struct sim_top *t = &s->tops[top];
	const struct reg_job *j = registry_job(&t->core, s->jobs[job].uuid);
	struct stored best = t->acked[job];
	for (size_t i = 0; i < j->held_count; i++) {
		const struct reg_node *at = registry_node(&t->core, j->held[i].holder);
		if (at && at->state == NODE_DOWN)
			continue;
		if (j->held[i].incarnation > best.incarnation ||
		    (j->held[i].incarnation == best.incarnation && j->held[i].number > best.generation))
			best = (struct stored){j->held[i].incarnation, j->held[i].number};
	}
	if (!best.generation)
		return;
	if (!n || c[0].incarnation != best.incarnation || c[0].generation != best.generation)
		sim_fail(s, "job %d is started from %u.%llu although %u.%llu can be had", job,
			 n ? c[0].incarnation : 0, n ? (unsigned long long)c[0].generation : 0ULL,
			 best.incarnation, (unsigned long long)best.generation);
	bool acked = !t->acked[job].generation;
	for (int i = 0; i < n; i++)
		acked |= c[i].incarnation == t->acked[job].incarnation && c[i].generation == t->acked[job].generation;
	if (!acked)
		sim_fail(s, "job %d: snapshot %u.%llu was acknowledged by %s and is lost", job,
			 t->acked[job].incarnation, (unsigned long long)t->acked[job].generation, t->name);
}

int sim_live_copies(const struct sim *s, int job)
{
	return s->jobs[job].live;
}

int sim_where(const struct sim *s, int job)
{
	for (int i = 0; i < s->opt.nodes; i++) {
		struct copy *c = copy_find(&s->nodes[i], job);
		if (c && c->process && c->state == JOB_RUNNING && !c->token && !s->nodes[i].frozen)
			return i;
	}
	return -1;
}

/* Invariant 3, once there has been peace for the bound: what should run does. */
/* With two tops, a job may be at the one that has no node left; it then waits for one to come. Or it was stopped at the
 * one while an operator let it run again at the other. */
static bool excused(struct sim *s, int job)
{
	for (int t = 0; t < s->opt.tops && s->opt.tops > 1; t++) {
		const struct reg_job *j = s->tops[t].up ? registry_job(&s->tops[t].core, s->jobs[job].uuid) : NULL;
		bool node_up = false;
		size_t at = 0;
		for (const struct reg_node *n; s->tops[t].up && (n = registry_each_node(&s->tops[t].core, &at));)
			node_up |= n->joined && n->state != NODE_DOWN;
		if (j && !j->elsewhere && (job_ended(j->state) || (j->state == JOB_LOST && !node_up)))
			return true;
	}
	return false;
}

bool sim_all_well(struct sim *s, char *why, size_t size)
{
	for (int j = 0; j < s->opt.jobs; j++) {
		struct sim_job *job = &s->jobs[j];
		bool must = job->submitted && !job->stopped && !(job->done && job->policy != RESTART_PERMANENT) &&
			    job->policy != RESTART_TEMPORARY;
		if (must && sim_where(s, j) < 0 && !excused(s, j)) {
			snprintf(why, size, "job %d (%s) does not run", j, restart_policy_name(job->policy));
			return false;
		}
		/* with two tops, the job may have gone over to the one that was not told */
		if (job->stopped && job->live && s->opt.tops == 1) {
			snprintf(why, size, "job %d was stopped and runs", j);
			return false;
		}
	}
	return true;
}
