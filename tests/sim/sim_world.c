/* Building and taking down a simulated cluster; submitting jobs. */
#include "tests/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>

static void *zeroed(size_t n, size_t size)
{
	void *p = calloc(n ? n : 1, size);
	if (!p)
		abort();
	return p;
}

static double some_rate(struct sim *s)
{
	return 1.0 + s->opt.drift * ((double)sim_random(s, 2001) / 1000.0 - 1.0);
}

static void make_top(struct sim *s, int i)
{
	struct sim_top *t = &s->tops[i];
	snprintf(t->name, sizeof t->name, "top%d", i);
	t->rate = some_rate(s) * (1.0 + s->opt.top_fast);
	t->offset = (int64_t)sim_random(s, 1000 * (uint64_t)SEC) + SEC;
	t->disk_jobs = zeroed((size_t)s->opt.jobs, sizeof *t->disk_jobs);
	t->disk_nodes = zeroed((size_t)s->opt.nodes, sizeof *t->disk_nodes);
	t->store = zeroed((size_t)s->opt.jobs, sizeof *t->store);
	t->acked = zeroed((size_t)s->opt.jobs, sizeof *t->acked);
	t->heard_life = zeroed((size_t)(s->opt.tops + s->opt.nodes), sizeof *t->heard_life);
	top_boot(s, i, true);
}

static void make_node(struct sim *s, int i)
{
	struct sim_node *n = &s->nodes[i];
	n->id = s->opt.tops + i;
	snprintf(n->name, sizeof n->name, "n%d", i);
	n->rate = some_rate(s);
	n->offset = (int64_t)sim_random(s, 1000 * (uint64_t)SEC) + SEC;
	n->up = true;
	node_boot(s, n);
}

struct sim *sim_new(const struct sim_options *opt)
{
	struct sim *s = zeroed(1, sizeof *s);
	s->opt = *opt;
	s->random = opt->seed * 7919 + 1;
	for (int m = 0; m < MARKS; m++)
		s->first[m] = s->last[m] = -1;
	s->jobs = zeroed((size_t)opt->jobs, sizeof *s->jobs);
	s->nodes = zeroed((size_t)opt->nodes, sizeof *s->nodes);
	for (int i = 0; i < opt->jobs; i++)
		snprintf(s->jobs[i].uuid, CORE_UUID, "%08d-0000-4000-8000-000000000000", i % 100000000);
	for (int i = 0; i < opt->tops; i++)
		make_top(s, i);
	for (int i = 0; i < opt->nodes; i++)
		make_node(s, i);
	return s;
}

static void free_top(struct sim *s, struct sim_top *t)
{
	if (t->up)
		registry_free(&t->core);
	for (int i = 0; i < s->opt.jobs; i++)
		free(t->disk_jobs[i]);
	for (int i = 0; i < s->opt.nodes; i++)
		free(t->disk_nodes[i]);
	free(t->disk_jobs);
	free(t->disk_nodes);
	free(t->store);
	free(t->acked);
	free(t->heard_life);
}

void sim_free(struct sim *s)
{
	for (int i = 0; i < s->opt.tops; i++)
		free_top(s, &s->tops[i]);
	for (int i = 0; i < s->opt.nodes; i++) {
		node_free(&s->nodes[i].core);
		free(s->nodes[i].copies);
		free(s->nodes[i].reports);
	}
	for (size_t i = 0; i < s->events; i++)
		msg_free(s->heap[i].msg);
	free(s->heap);
	free(s->nodes);
	free(s->jobs);
	free(s);
}

void sim_submit(struct sim *s, int job, const char *node, enum restart_policy policy)
{
	struct sim_job *j = &s->jobs[job];
	struct job_spec spec = {.restart = policy, .max_restarts = SUPERVISE_TIMES, .max_seconds = 10 * SEC};
	core_copy(spec.uuid, sizeof spec.uuid, j->uuid);
	snprintf(spec.name, sizeof spec.name, "job%d", job);
	core_copy(spec.wanted, sizeof spec.wanted, node);
	j->policy = policy;
	for (int t = 0; t < s->opt.tops && !j->submitted; t++) {
		struct actions acts = {0};
		struct err e = {0};
		if (s->tops[t].up &&
		    registry_job_new(&s->tops[t].core, &spec, top_clock(s, &s->tops[t]), &acts, &e) == 0) {
			j->submitted = true;
			j->top = t;
			top_perform(s, t, &acts);
		}
		actions_free(&acts);
	}
}

void sim_start_alone(struct sim *s, int job, int node)
{
	struct sim_node *n = &s->nodes[node];
	if (!n->agent_up || !node_may_run(&n->core, node_clock(s, n)))
		return;
	s->jobs[job].policy = RESTART_PERMANENT; /* it counts as submitted when a registry knows it */
	node_job_here(&n->core, s->jobs[job].uuid, 0);
	copy_start(s, n, job, 0, NULL);
}

/* ---- what an operator asks of whichever top knows the job -------------------------------------------- */
static int top_of(const struct sim *s, int job)
{
	for (int t = 0; t < s->opt.tops; t++) {
		const struct reg_job *j = s->tops[t].up ? registry_job(&s->tops[t].core, s->jobs[job].uuid) : NULL;
		if (j && !j->elsewhere && !job_ended(j->state))
			return t;
	}
	return -1;
}

void sim_move(struct sim *s, int job, const char *to)
{
	struct actions acts = {0};
	struct err e = {0};
	int t = top_of(s, job);
	if (t >= 0 && !registry_move(&s->tops[t].core, s->jobs[job].uuid, to, top_clock(s, &s->tops[t]), &acts, &e)) {
		sim_trace(s, "%s: an operator moves job %d to %s", s->tops[t].name, job, *to ? to : "any node");
		s->jobs[job].stopped = false; /* to run again is what was asked for last */
	}
	if (t >= 0)
		top_perform(s, t, &acts);
	actions_free(&acts);
}

void sim_stop_job(struct sim *s, int job)
{
	struct actions acts = {0};
	struct err e = {0};
	int t = top_of(s, job);
	if (t >= 0 && !registry_stop(&s->tops[t].core, s->jobs[job].uuid, top_clock(s, &s->tops[t]), &acts, &e)) {
		sim_trace(s, "%s: the user of job %d stops it", s->tops[t].name, job);
		s->jobs[job].stopped = true;
		top_perform(s, t, &acts);
	}
	actions_free(&acts);
}

void sim_drain(struct sim *s, int node, bool on)
{
	for (int t = 0; t < s->opt.tops; t++) {
		struct actions acts = {0};
		struct err e = {0};
		if (!s->tops[t].up)
			continue;
		registry_drain(&s->tops[t].core, s->nodes[node].name, on, top_clock(s, &s->tops[t]), &acts, &e);
		sim_trace(s, "%s: %s is %s", s->tops[t].name, s->nodes[node].name, on ? "drained" : "in use again");
		top_perform(s, t, &acts);
		actions_free(&acts);
	}
}
