/* Faults: by hand for scenarios, by dice for random histories. */
#include "tests/sim/sim.h"

#include <stdio.h>

enum { FAULT_RANDOM, FAULT_HEAL_NODE, FAULT_HEAL_TOPS, FAULT_HEAL_ALL };

static void later(struct sim *s, int64_t delay, int what, int which)
{
	sim_push(s, (struct event){.at = s->now + delay, .kind = EV_FAULT, .who = which, .job = what});
}

void sim_cut(struct sim *s, int node, int top, bool out, bool in)
{
	struct sim_node *n = &s->nodes[node];
	sim_trace(s, "%s: cut from top%d%s%s", n->name, top, out ? " (out)" : "", in ? " (in)" : "");
	n->cut_out |= out ? 1U << top : 0;
	n->cut_in |= in ? 1U << top : 0;
}

void sim_heal(struct sim *s, int node)
{
	sim_trace(s, "%s: its link is back", s->nodes[node].name);
	s->nodes[node].cut_out = s->nodes[node].cut_in = 0;
}

void sim_cut_tops(struct sim *s, bool cut)
{
	for (int t = 0; t < s->opt.tops; t++)
		s->tops[t].cut_out = cut ? ~0U : 0;
	sim_trace(s, "the tops are %s", cut ? "cut from each other" : "connected");
}

static void agent_down(struct sim *s, struct sim_node *n)
{
	n->agent_up = false;
	n->stalled_until = 0;
	n->life++;
	n->report_count = 0;
	node_free(&n->core);
	(void)s;
}

void sim_crash_agent(struct sim *s, int node, int64_t back_after)
{
	struct sim_node *n = &s->nodes[node];
	if (!n->agent_up)
		return;
	sim_trace(s, "%s: agent killed", n->name);
	agent_down(s, n);
	if (back_after)
		sim_push(s, (struct event){.at = s->now + back_after, .kind = EV_AGENT_BACK, .who = n->id,
					   .token = n->life});
}

void sim_crash_machine(struct sim *s, int node, int64_t back_after)
{
	struct sim_node *n = &s->nodes[node];
	if (!n->up)
		return;
	sim_trace(s, "%s: machine down%s", n->name, back_after ? "" : " for good");
	while (n->copy_count)
		copy_drop(s, n, &n->copies[0]);
	agent_down(s, n);
	n->up = n->frozen = false;
	n->deadline = 0;
	n->fence_token = 0;
	if (back_after)
		sim_push(s, (struct event){.at = s->now + back_after, .kind = EV_MACHINE_BACK, .who = n->id,
					   .token = n->life});
}

void sim_stall_agent(struct sim *s, int node, int64_t duration)
{
	sim_trace(s, "%s: agent stopped for %.3f s", s->nodes[node].name, (double)duration / 1e9);
	s->nodes[node].stalled_until = s->now + duration;
}

void sim_crash_top(struct sim *s, int top, int64_t back_after)
{
	if (!s->tops[top].up)
		return;
	top_down(s, top);
	if (back_after)
		sim_push(s, (struct event){.at = s->now + back_after, .kind = EV_TOP_BACK, .who = top,
					   .token = s->tops[top].life});
}

void sim_kill_process(struct sim *s, int job, struct ending how)
{
	for (int i = 0; i < s->opt.nodes; i++) {
		struct copy *c = copy_find(&s->nodes[i], job);
		if (!c || !c->process || c->killed || c->token || s->nodes[i].frozen || c->state != JOB_RUNNING)
			continue;
		sim_trace(s, "%s: process of job %d.%u ends, code %d signal %d", s->nodes[i].name, job,
			  c->incarnation, how.code, how.signal);
		c->how = how;
		copy_end(s, &s->nodes[i], c);
		copy_noticed_dead(s, &s->nodes[i], c);
		return;
	}
}

void sim_heal_all(struct sim *s)
{
	s->opt.loss = s->opt.duplicate = s->opt.slow = 0;
	sim_cut_tops(s, false);
	for (int t = 0; t < s->opt.tops; t++) {
		s->tops[t].crash_after = 0;
		if (!s->tops[t].up)
			top_boot(s, t, false);
	}
	for (int i = 0; i < s->opt.nodes; i++) {
		struct sim_node *n = &s->nodes[i];
		n->cut_in = n->cut_out = 0;
		if (n->stalled_until > s->now)
			n->stalled_until = s->now;
		if (n->up && !n->agent_up)
			node_boot(s, n);
		node_run_ticks(s, n);
		sim_drain(s, i, false);
	}
}

/* ---- by dice -------------------------------------------------------------------------------------- */
static int64_t up_to(struct sim *s, int64_t most)
{
	return 1 + (int64_t)sim_random(s, (uint64_t)most);
}

static int machines_up(const struct sim *s)
{
	int up = 0;
	for (int i = 0; i < s->opt.nodes; i++)
		up += s->nodes[i].up;
	return up;
}

static void node_fault(struct sim *s, int node)
{
	int top = (int)sim_random(s, (uint64_t)s->opt.tops);
	switch (sim_random(s, 8)) {
	case 0:
		if (machines_up(s) > 1 + s->opt.nodes / 2)
			sim_crash_machine(s, node, sim_chance(s, 0.2) ? 0 : up_to(s, 8 * SEC));
		break;
	case 1:
		sim_crash_agent(s, node, up_to(s, 5 * SEC));
		break;
	case 2:
		sim_stall_agent(s, node, up_to(s, 6 * SEC));
		break;
	default:
		sim_cut(s, node, top, sim_chance(s, 0.7), sim_chance(s, 0.7));
		if (sim_chance(s, 0.3))
			sim_cut(s, node, 0, true, true);
		later(s, up_to(s, 8 * SEC), FAULT_HEAL_NODE, node);
		break;
	}
}

static void top_fault(struct sim *s)
{
	int top = (int)sim_random(s, (uint64_t)s->opt.tops);
	if (s->opt.tops > 1 && sim_chance(s, 0.4)) {
		sim_cut_tops(s, true);
		later(s, up_to(s, 8 * SEC), FAULT_HEAL_TOPS, 0);
	} else if (sim_chance(s, 0.5)) {
		sim_crash_top(s, top, up_to(s, 5 * SEC));
	} else {
		s->tops[top].crash_after = (int)up_to(s, 40);
	}
}

static void random_fault(struct sim *s)
{
	int node = (int)sim_random(s, (uint64_t)s->opt.nodes), job = (int)sim_random(s, (uint64_t)s->opt.jobs);
	switch (sim_random(s, 10)) {
	case 0:
		top_fault(s);
		break;
	case 1:
	case 2:
		sim_kill_process(s, job, (struct ending){sim_chance(s, 0.8) ? 1 : 0, 0});
		break;
	case 3:
		sim_move(s, job, sim_chance(s, 0.5) ? s->nodes[node].name : "");
		break;
	case 4:
		if (sim_chance(s, 0.2))
			sim_stop_job(s, job);
		else
			sim_drain(s, node, sim_chance(s, 0.5));
		break;
	default:
		node_fault(s, node);
		break;
	}
}

void sim_fault(struct sim *s, int what, int which)
{
	switch (what) {
	case FAULT_HEAL_NODE:
		sim_heal(s, which);
		break;
	case FAULT_HEAL_TOPS:
		sim_cut_tops(s, false);
		break;
	case FAULT_HEAL_ALL:
		sim_heal_all(s);
		break;
	default:
		if (s->now >= s->faults_until)
			break;
		random_fault(s);
		later(s, up_to(s, 2 * SEC * 10 / (s->opt.nodes > 10 ? s->opt.nodes : 10)), FAULT_RANDOM, 0);
		break;
	}
}

void sim_random_faults(struct sim *s, int64_t duration)
{
	s->faults_until = s->now + duration;
	later(s, 1, FAULT_RANDOM, 0);
	later(s, duration + 1, FAULT_HEAL_ALL, 0);
}
