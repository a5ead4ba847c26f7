/* heat: the 2-D heat equation on a square plate, with checkpoints. Start it, kill it, start it again: it goes on
 * where it was, and its result is the same byte for byte.
 *
 *	heat --size 512 --steps 2000 --every 20 --work 10 --out plate.bin
 *
 * Runs by itself (its checkpoints lie in a private arena) or under `cpagent run -- heat …`. */
#include <getopt.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cpagent.h>

static struct {
	long size, steps, every, work, pace_ms;
	const char *out, *arena;
	int again;
} opt = {.size = 512, .steps = 1000, .every = 20, .work = 1};

static void usage(FILE *to)
{
	fputs("usage: heat [options]\n"
	      "  --size N     the plate has N x N points (512)\n"
	      "  --steps N    steps to compute (1000)\n"
	      "  --every K    checkpoint and print a line every K steps (20)\n"
	      "  --work N     sweeps over the plate in each step (1)\n"
	      "  --pace MS    a step takes this long at the least (0)\n"
	      "  --out FILE   where the result goes; written aside, then renamed\n"
	      "  --arena DIR  keep a private arena there\n"
	      "  --again      forget earlier checkpoints and begin anew\n", to);
}

static long number(const char *name, const char *text, long least)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (*text == '\0' || *end != '\0' || n < least || n > 1000000000) {
		fprintf(stderr, "heat: --%s %s: not a number from %ld on\n", name, text, least);
		exit(2);
	}
	return n;
}

static void read_options(int argc, char **argv)
{
	enum { SIZE = 1, STEPS, EVERY, WORK, PACE, OUT, ARENA, AGAIN, HELP };
	static const struct option names[] = {
		{"size", 1, NULL, SIZE},   {"steps", 1, NULL, STEPS}, {"every", 1, NULL, EVERY},
		{"work", 1, NULL, WORK},   {"pace", 1, NULL, PACE},   {"out", 1, NULL, OUT},
		{"arena", 1, NULL, ARENA}, {"again", 0, NULL, AGAIN}, {"help", 0, NULL, HELP}, {0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "", names, NULL)) != -1)
		switch (c) {
		case SIZE: opt.size = number("size", optarg, 3); break;
		case STEPS: opt.steps = number("steps", optarg, 0); break;
		case EVERY: opt.every = number("every", optarg, 1); break;
		case WORK: opt.work = number("work", optarg, 1); break;
		case PACE: opt.pace_ms = number("pace", optarg, 0); break;
		case OUT: opt.out = optarg; break;
		case ARENA: opt.arena = optarg; break;
		case AGAIN: opt.again = 1; break;
		case HELP: usage(stdout); exit(0);
		default: usage(stderr); exit(2);
		}
	if (optind != argc || opt.size > 20000) {
		usage(stderr);
		exit(2);
	}
}

static void stop_on(int rc, const char *what)
{
	if (rc >= 0)
		return;
	fprintf(stderr, "heat: %s: %s\n", what, cpa_strerror(rc));
	exit(1);
}

/* A hot edge, a cold plate, and a warm spot off its middle. */
static void begin(double *u, size_t n)
{
	size_t i;

	memset(u, 0, n * n * sizeof *u);
	for (i = 0; i < n; i++)
		u[i] = 100.0;
	u[(n / 3) * n + n / 2] = 1000.0;
}

static void sweep(double *restrict to, const double *restrict from, size_t n)
{
	size_t i, j;

	memcpy(to, from, n * sizeof *to);
	memcpy(to + (n - 1) * n, from + (n - 1) * n, n * sizeof *to);
	for (i = 1; i < n - 1; i++) {
		const double *f = from + i * n;
		double *t = to + i * n;

		t[0] = f[0];
		t[n - 1] = f[n - 1];
		for (j = 1; j < n - 1; j++)
			t[j] = f[j] + 0.2 * (f[j - 1] + f[j + 1] + f[j - n] + f[j + n] - 4.0 * f[j]);
	}
}

static void compute(double **u, double **spare, size_t n)
{
	double *swap;
	long i;

	for (i = 0; i < opt.work; i++) {
		sweep(*spare, *u, n);
		swap = *u;
		*u = *spare;
		*spare = swap;
	}
}

static void pace(void)
{
	struct timespec left = {opt.pace_ms / 1000, opt.pace_ms % 1000 * 1000000};

	while (nanosleep(&left, &left) != 0)
		;
}

static void write_result(const double *u, size_t n)
{
	char aside[4096];
	FILE *f;

	if (!opt.out)
		return;
	if ((size_t)snprintf(aside, sizeof aside, "%s.part", opt.out) >= sizeof aside)
		exit(2);
	f = fopen(aside, "wb");
	if (!f || fprintf(f, "heat %zu %ld\n", n, opt.steps) < 0 || fwrite(u, sizeof *u, n * n, f) != n * n ||
	    fclose(f) != 0 || rename(aside, opt.out) != 0) {
		perror(opt.out);
		exit(1);
	}
}

int main(int argc, char **argv)
{
	int64_t step = 0, size, work;
	double *u, *spare;
	size_t n;
	cpa *cp;
	int rc;

	read_options(argc, argv);
	n = (size_t)opt.size;
	size = opt.size;
	work = opt.work;
	u = malloc(n * n * sizeof *u);
	spare = malloc(n * n * sizeof *u);
	if (!u || !spare) {
		fputs("heat: out of memory\n", stderr);
		return 1;
	}
	stop_on(cpa_open(&cp, opt.arena), "arena");
	if (opt.again)
		cpa_reset(cp, NULL);
	begin(u, n);
	rc = cpa_restore(cp, "plate", 0, CPA_VAR(step), CPA_VAR(size), CPA_VAR(work), CPA_ARRAY(u, n * n));
	if (rc != CPA_ERR_KEY)
		stop_on(rc, "restore (--again begins anew)");
	if (rc >= 0 && (size != opt.size || work != opt.work)) {
		fputs("heat: the checkpoint is of another --size or --work; --again begins anew\n", stderr);
		return 1;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("%s at step %lld\n", rc >= 0 ? "restored" : "started", (long long)step);
	while (step < opt.steps) {
		compute(&u, &spare, n);
		step++;
		if (opt.pace_ms)
			pace();
		if (step % opt.every != 0)
			continue;
		stop_on(cpa_checkpoint(cp, "plate", 1, CPA_VAR(step), CPA_VAR(size), CPA_VAR(work),
				       CPA_ARRAY(u, n * n)), "checkpoint");
		printf("step %lld\n", (long long)step);
	}
	write_result(u, n);
	cpa_reset(cp, "plate"); /* done: the next run is a new one */
	puts("done");
	cpa_close(cp);
	free(u);
	free(spare);
	return 0;
}
