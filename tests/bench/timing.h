/* Ways of doing one thing, timed in turns, so that all of them see the same machine: what else it does meanwhile
 * falls on each of them alike. */
#ifndef TESTS_BENCH_TIMING_H
#define TESTS_BENCH_TIMING_H

#include <stddef.h>
#include <stdint.h>

struct way {
	const char *name;
	void (*call)(void *arg);
	void *arg;
	double ns; /* of one call: the median */
};

/* Nanoseconds of this one call. */
double timing_once(const struct way *w);

/* Fills in ns. Each way has its turn several times, up to about so many seconds of its own; calls that are shorter
 * than a millisecond are repeated within a turn. */
void timing_turns(struct way *ways, size_t n, double seconds);

/* The middle of n values, which it sorts. */
double timing_median(double *values, size_t n);

/* Say why and end the program with 1. */
void timing_fail(const char *what) __attribute__((noreturn));

#endif
