/* See timing.h. */
#include "tests/bench/timing.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"

#define TURNS_MAX 101
#define TURNS_MIN 5
#define TURN_NS 1e6
#define WARM_NS 4e6 /* what is shorter may find its memory in a cache, and does so in each turn */

void timing_fail(const char *what)
{
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, errno ? strerror(errno) : "failed");
	exit(1);
}

static int by_value(const void *x, const void *y)
{
	double a = *(const double *)x, b = *(const double *)y;

	return (a > b) - (a < b);
}

double timing_median(double *values, size_t n)
{
	qsort(values, n, sizeof *values, by_value);
	return values[n / 2];
}

static double timed(const struct way *w, size_t calls)
{
	int64_t start = clock_boot_ns();
	size_t i;

	for (i = 0; i < calls; i++)
		w->call(w->arg);
	return (double)(clock_boot_ns() - start) / (double)calls;
}

double timing_once(const struct way *w)
{
	return timed(w, 1);
}

void timing_turns(struct way *ways, size_t n, double seconds)
{
	double (*ns)[TURNS_MAX] = calloc(n, sizeof *ns), *about = calloc(n, sizeof *about), turn;
	size_t *turns = calloc(n, sizeof *turns), *calls = calloc(n, sizeof *calls), i, t;

	if (!ns || !about || !turns || !calls)
		timing_fail("memory");
	for (i = 0; i < n; i++) {
		timed(&ways[i], 2); /* both sides of what alternates are warm then */
		about[i] = timed(&ways[i], 2);
		calls[i] = about[i] < TURN_NS ? (size_t)(TURN_NS / about[i]) + 1 : 1;
		turn = about[i] * (double)calls[i];
		turns[i] = seconds * 1e9 / turn > TURNS_MAX ? TURNS_MAX : (size_t)(seconds * 1e9 / turn);
		turns[i] = turns[i] < TURNS_MIN ? TURNS_MIN : turns[i];
	}
	for (t = 0; t < TURNS_MAX; t++)
		for (i = 0; i < n; i++) {
			if (t >= turns[i])
				continue;
			if (about[i] < WARM_NS)
				timed(&ways[i], 1);
			ns[i][t] = timed(&ways[i], calls[i]);
		}
	for (i = 0; i < n; i++)
		ways[i].ns = timing_median(ns[i], turns[i]);
	free(ns);
	free(about);
	free(turns);
	free(calls);
}
