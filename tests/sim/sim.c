/* The event queue, the clocks and the dice of the simulated cluster. Owns struct sim. */
#include "tests/sim/sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* splitmix64 */
uint64_t sim_random(struct sim *s, uint64_t below)
{
	uint64_t z = s->random += UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	z ^= z >> 31;
	return below ? z % below : 0;
}

bool sim_chance(struct sim *s, double p)
{
	return p > 0 && (double)sim_random(s, 1000000) < p * 1e6;
}

int64_t clock_of(double rate, int64_t offset, int64_t now)
{
	return offset + (int64_t)((double)now * rate);
}

int64_t true_time(double rate, int64_t offset, int64_t local)
{
	return local >= CORE_NEVER / 2 ? CORE_NEVER : (int64_t)((double)(local - offset) / rate) + 1;
}

/* ---- the queue ------------------------------------------------------------------------------------ */
static bool before(const struct event *a, const struct event *b)
{
	return a->at < b->at || (a->at == b->at && a->order < b->order);
}

void sim_push(struct sim *s, struct event e)
{
	if (s->events == s->event_size) {
		s->event_size = s->event_size ? s->event_size * 2 : 1024;
		s->heap = realloc(s->heap, s->event_size * sizeof *s->heap);
		if (!s->heap)
			abort();
	}
	e.order = s->next_event++;
	size_t i = s->events++;
	for (; i && before(&e, &s->heap[(i - 1) / 2]); i = (i - 1) / 2)
		s->heap[i] = s->heap[(i - 1) / 2];
	s->heap[i] = e;
}

static struct event pop(struct sim *s)
{
	struct event top = s->heap[0], last = s->heap[--s->events];
	size_t i = 0;
	for (size_t k; (k = 2 * i + 1) < s->events; i = k) {
		if (k + 1 < s->events && before(&s->heap[k + 1], &s->heap[k]))
			k++;
		if (!before(&s->heap[k], &last))
			break;
		s->heap[i] = s->heap[k];
	}
	s->heap[i] = last;
	return top;
}

uint64_t sim_at(struct sim *s, int64_t when, enum event_kind kind, int who, int job)
{
	uint64_t token = ++s->next_token;
	if (when < CORE_NEVER)
		sim_push(s, (struct event){.at = when > s->now ? when : s->now, .kind = kind, .who = who,
					   .job = job, .token = token});
	return token;
}

/* ---- notes ---------------------------------------------------------------------------------------- */
void sim_mark(struct sim *s, enum mark m)
{
	if (s->first[m] < 0)
		s->first[m] = s->now;
	s->last[m] = s->now;
	s->count[m]++;
}

void sim_trace(struct sim *s, const char *fmt, ...)
{
	if (!s->opt.trace)
		return;
	printf("%9.3f  ", (double)s->now / 1e9);
	va_list ap;
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

int sim_job_index(const char *uuid)
{
	return (int)strtol(uuid, NULL, 10);
}

/* ---- running ---------------------------------------------------------------------------------------- */
static void copy_event(struct sim *s, const struct event *e)
{
	struct sim_node *n = node_of(s, e->who);
	struct copy *c = copy_find(n, e->job);
	if (!c || c->token != e->token)
		return;
	if (e->kind == EV_READY)
		copy_ready(s, n, c);
	else if (e->kind == EV_KILLED) {
		uint32_t as = c->gone_as;
		copy_drop(s, n, c);
		node_job_gone(&n->core, s->jobs[e->job].uuid);
		node_report(s, n, e->job, REPORT_GONE, as, (struct ending){0, 0});
	}
}

static void node_event(struct sim *s, const struct event *e)
{
	struct sim_node *n = node_of(s, e->who);
	switch (e->kind) {
	case EV_NODE_TICK:
		if (e->token == n->tick_token)
			node_run_ticks(s, n);
		break;
	case EV_FENCE:
		if (e->token == n->fence_token && n->up && n->deadline) {
			sim_trace(s, "%s: cpfence freezes it", n->name);
			node_freeze(s, n, true);
		}
		break;
	case EV_REPORTS:
		if (e->token == n->life && n->agent_up) {
			node_send_reports(s, n);
			sim_push(s, (struct event){.at = s->now + 200 * MS, .kind = EV_REPORTS, .who = e->who,
						   .token = e->token});
		}
		break;
	case EV_AGENT_BACK:
	case EV_MACHINE_BACK:
		if (e->token == n->life && !n->agent_up)
			node_boot(s, n);
		break;
	default:
		copy_event(s, e);
		break;
	}
}

static void step(struct sim *s)
{
	struct event e = pop(s);
	s->now = e.at;
	switch (e.kind) {
	case EV_MSG:
		sim_deliver(s, e.msg);
		break;
	case EV_TOP_TICK:
		if (s->tops[e.who].up && e.token == s->tops[e.who].life) {
			top_tick(s, e.who);
			sim_push(s, (struct event){.at = s->now + 20 * MS, .kind = EV_TOP_TICK, .who = e.who,
						   .token = s->tops[e.who].life});
		}
		break;
	case EV_TOP_BACK:
		if (!s->tops[e.who].up && e.token == s->tops[e.who].life)
			top_boot(s, e.who, false);
		break;
	case EV_SNAPSHOT: {
		struct sim_node *n = node_of(s, e.who);
		struct copy *c = copy_find(n, e.job);
		if (c && c->incarnation == e.token)
			copy_snapshot(s, n, c);
		break;
	}
	case EV_FAULT:
		sim_fault(s, e.job, e.who);
		break;
	default:
		node_event(s, &e);
		break;
	}
	if (++s->steps % 4096 == 0)
		check_recount(s);
}

void sim_run(struct sim *s, int64_t duration)
{
	int64_t end = s->now + duration;
	while (!s->failed && s->events && s->heap[0].at <= end)
		step(s);
	if (!s->failed)
		s->now = end;
	check_recount(s);
}

bool sim_until(struct sim *s, enum mark m, int64_t bound)
{
	uint64_t had = s->count[m];
	int64_t end = s->now + bound;
	while (!s->failed && s->count[m] == had && s->events && s->heap[0].at <= end)
		step(s);
	return s->count[m] != had;
}

struct sim_options sim_calm(int nodes, int jobs, uint64_t seed)
{
	return (struct sim_options){
		.seed = seed, .tops = 1, .nodes = nodes, .jobs = jobs, .lease = 2 * SEC, .drift = 0.0002,
		.restore_max = 300 * MS, .slow_max = 3 * SEC,
	};
}
