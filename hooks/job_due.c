/* When a checkpoint is due: cpa_should_checkpoint() and what it reckons with. By the caller's interval, or by Young's
 * formula with Daly's correction from what checkpoints cost here and how often this job fails. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hooks/life.h"

#define DUE_GIVEN INT64_MAX
#define DAY_S 86400.0
#define COST_S 0.01 /* assumed until one was measured */
#define LONGEST_S 1e9

static int64_t clock_ns(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* A tick of the kernel is fine enough, and costs a few nanoseconds. */
static int64_t tick(void)
{
	return clock_ns(CLOCK_MONOTONIC_COARSE);
}

int64_t life_clock(const cpa *cp)
{
	return life_counts(cp) ? clock_ns(CLOCK_MONOTONIC) : 0;
}

void life_cost(cpa *cp, int64_t ns)
{
	if (ns > 0 && life_counts(cp))
		__atomic_fetch_add(&cp->life->due.spent_ns, ns, __ATOMIC_RELAXED);
}

void due_anew(struct due *d)
{
	int64_t now = tick();

	__atomic_store_n(&d->spent_ns, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&d->given_ns, now, __ATOMIC_RELAXED);
	__atomic_store_n(&d->next_ns, now, __ATOMIC_RELAXED);
}

/* ---- how long ---- */

/* Newton's, so that the library needs no libm. */
static double root(double x)
{
	double r = x > 1 ? x : 1, next;

	if (x <= 0)
		return 0;
	for (;;) {
		next = (r + x / r) / 2;
		if (next >= r)
			return r;
		r = next;
	}
}

/* The time between checkpoints of cost c that loses least when failures come every m seconds (Daly 2006). */
static double daly(double c, double m)
{
	double ratio = c / (2 * m);

	return ratio < 1 ? root(2 * c * m) * (1 + root(ratio) / 3 + ratio / 9) - c : m;
}

/* "90", "90s", "15m", "6h", "2d", "500ms" in seconds; 0 for nonsense. */
static double duration(const char *text)
{
	static const struct {
		const char *unit;
		double s;
	} units[] = {{"", 1}, {"s", 1}, {"ms", 0.001}, {"m", 60}, {"h", 3600}, {"d", DAY_S}};
	char *end;
	double n = strtod(text, &end);
	size_t i;

	for (i = 0; i < sizeof units / sizeof *units; i++)
		if (end != text && n > 0 && n < LONGEST_S && strcmp(end, units[i].unit) == 0)
			return n * units[i].s;
	return 0;
}

static double mtbf_of(cpa *cp, const struct due *d)
{
	uint64_t seen = __atomic_load_n(&cp->arena->head->mtbf_ms, __ATOMIC_RELAXED);
	const char *told = getenv("CPAGENT_MTBF");
	double s = d->mtbf_s;

	if (s <= 0 && seen)
		s = (double)seen / 1000;
	if (s <= 0 && told)
		s = duration(told);
	return s > 0 ? s : DAY_S;
}

static double interval(cpa *cp, const struct due *d)
{
	double cost = (double)__atomic_load_n(&d->cost_ns, __ATOMIC_RELAXED) / 1e9;

	return d->every_s > 0 ? d->every_s : daly(cost > 0 ? cost : COST_S, mtbf_of(cp, d));
}

/* ---- whether ---- */

static int give(struct due *d, int64_t *next, int64_t now)
{
	if (!__atomic_compare_exchange_n(&d->next_ns, next, DUE_GIVEN, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		return 0; /* another thread was told */
	__atomic_store_n(&d->given_ns, now, __ATOMIC_RELAXED);
	return 1;
}

/* One was announced: when it was taken, its cost is known, and with that when the next one is due. When none was taken
 * for as long as an interval, it is announced again. */
static int settle(cpa *cp, struct due *d, int64_t now)
{
	int64_t given = __atomic_load_n(&d->given_ns, __ATOMIC_RELAXED), next = DUE_GIVEN, cost;
	int64_t spent = __atomic_exchange_n(&d->spent_ns, 0, __ATOMIC_RELAXED);

	if (spent) {
		cost = __atomic_load_n(&d->cost_ns, __ATOMIC_RELAXED);
		__atomic_store_n(&d->cost_ns, cost ? cost + (spent - cost) / 4 : spent, __ATOMIC_RELAXED);
	}
	if (!spent && d->every_s <= 0 && now - given < (int64_t)(interval(cp, d) * 1e9))
		return 0;
	next = given + (d->every_s > 0 ? 0 : spent) + (int64_t)(interval(cp, d) * 1e9);
	if (now >= next)
		next = now;
	__atomic_store_n(&d->next_ns, next, __ATOMIC_RELEASE);
	return now >= next && give(d, &next, now);
}

int cpa_should_checkpoint(cpa *cp)
{
	struct life *l;
	int64_t now, next;

	if (!cp)
		return fail(CPA_ERR_ARG, "cpa_should_checkpoint: no handle; has cpa_open() failed, or is it closed?");
	notice(cp);
	l = life_of(cp);
	if (!l)
		return fail(CPA_ERR_MEMORY, "cpa_should_checkpoint: out of memory");
	now = tick();
	next = __atomic_load_n(&l->due.next_ns, __ATOMIC_ACQUIRE);
	if (!__atomic_load_n(&l->due.counting, __ATOMIC_RELAXED))
		__atomic_store_n(&l->due.counting, 1, __ATOMIC_RELAXED);
	if (next == DUE_GIVEN)
		return settle(cp, &l->due, now);
	return now >= next ? give(&l->due, &next, now) : 0;
}

/* Another interval counts from the checkpoint that was announced last, also when the next one had its moment already. */
static void move_next(cpa *cp, struct due *d)
{
	int64_t given = __atomic_load_n(&d->given_ns, __ATOMIC_RELAXED);
	int64_t next = __atomic_load_n(&d->next_ns, __ATOMIC_ACQUIRE);

	if (given && next != DUE_GIVEN)
		__atomic_compare_exchange_n(&d->next_ns, &next, given + (int64_t)(interval(cp, d) * 1e9), 0,
					    __ATOMIC_RELEASE, __ATOMIC_RELAXED);
}

int cpa_set_due(cpa *cp, double every_s, double mtbf_s)
{
	struct life *l;

	if (!cp)
		return fail(CPA_ERR_ARG, "cpa_set_due: no handle; has cpa_open() failed, or is it closed?");
	if (!(every_s >= 0 && every_s <= LONGEST_S && mtbf_s >= 0 && mtbf_s <= LONGEST_S))
		return fail(CPA_ERR_ARG, "cpa_set_due: %g s, %g s: intervals go from 0 to %g s", every_s, mtbf_s,
			    LONGEST_S);
	notice(cp);
	l = life_of(cp);
	if (!l)
		return fail(CPA_ERR_MEMORY, "cpa_set_due: out of memory");
	l->due.every_s = every_s;
	l->due.mtbf_s = mtbf_s;
	move_next(cp, &l->due);
	return 0;
}

double cpa_get_due(cpa *cp)
{
	static const struct due none;
	struct life *l;

	if (!cp)
		return fail(CPA_ERR_ARG, "cpa_get_due: no handle; has cpa_open() failed, or is it closed?");
	notice(cp);
	l = __atomic_load_n(&cp->life, __ATOMIC_ACQUIRE);
	return interval(cp, l ? &l->due : &none);
}
