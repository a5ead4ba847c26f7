/* Checkpoints of 1, 2, 4 and 8 threads, and processes, each with a key of its own: what all of them together take
 * per checkpoint. Prints one JSON line.
 *
 *	bench_scale [--small] */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "tests/bench/scratch_arena.h"
#include "tests/bench/timing.h"

#define MOST 8
#define TURNS 5
#define BYTES 4096

/* Shared by all that take part, each with a line of its own for what it counts. */
static struct shared {
	int ready, go, stop;
	struct {
		_Alignas(128) uint64_t calls;
	} of[MOST];
} *sh;
static cpa *cp;

static void work(size_t me)
{
	_Alignas(64) uint8_t value[BYTES] = {0};
	char key[16];
	uint64_t calls = 0;

	snprintf(key, sizeof key, "worker %zu", me);
	cpa_checkpoint(cp, key, 1, CPA_ARRAY(value, BYTES));
	__atomic_add_fetch(&sh->ready, 1, __ATOMIC_ACQ_REL);
	while (!__atomic_load_n(&sh->go, __ATOMIC_ACQUIRE))
		usleep(100);
	while (!__atomic_load_n(&sh->stop, __ATOMIC_RELAXED)) {
		value[calls % BYTES]++;
		if (cpa_checkpoint(cp, key, 1, CPA_ARRAY(value, BYTES)) != 0)
			timing_fail("cpa_checkpoint");
		calls++;
	}
	sh->of[me].calls = calls;
}

static void *as_thread(void *me)
{
	work((size_t)me);
	return NULL;
}

/* Let them go for a while; nanoseconds of that time. */
static int64_t let_go(size_t n, useconds_t us)
{
	int64_t start;

	while (__atomic_load_n(&sh->ready, __ATOMIC_ACQUIRE) < (int)n)
		usleep(100);
	start = clock_boot_ns();
	__atomic_store_n(&sh->go, 1, __ATOMIC_RELEASE);
	usleep(us);
	__atomic_store_n(&sh->stop, 1, __ATOMIC_RELEASE);
	return clock_boot_ns() - start;
}

/* Nanoseconds per checkpoint of n workers together. */
static double together(size_t n, int processes, useconds_t us)
{
	pthread_t thread[MOST];
	pid_t pid[MOST];
	uint64_t calls = 0;
	int64_t ns;
	size_t i;
	int status;

	memset(sh, 0, sizeof *sh);
	for (i = 0; i < n; i++) {
		if (processes && (pid[i] = fork()) == 0) {
			work(i);
			_exit(0);
		}
		if (processes ? pid[i] < 0 : pthread_create(&thread[i], NULL, as_thread, (void *)i) != 0)
			timing_fail("cannot start a worker");
	}
	ns = let_go(n, us);
	for (i = 0; i < n; i++) {
		if (!processes)
			pthread_join(thread[i], NULL);
		else if (waitpid(pid[i], &status, 0) != pid[i] || status != 0)
			timing_fail("a worker");
		calls += sh->of[i].calls;
	}
	return (double)ns / (double)calls;
}

static void measure(const char *name, int processes, useconds_t us)
{
	static const size_t numbers[] = {1, 2, 4, MOST};
	double ns[4][TURNS];
	size_t i, t;

	for (t = 0; t < TURNS; t++)
		for (i = 0; i < 4; i++)
			ns[i][t] = together(numbers[i], processes, us);
	printf(", \"%s\": {", name);
	for (i = 0; i < 4; i++)
		printf("%s\"%zu\": %.1f", i ? ", " : "", numbers[i], timing_median(ns[i], TURNS));
	printf("}");
}

int main(int argc, char **argv)
{
	useconds_t us = argc > 1 && strcmp(argv[1], "--small") == 0 ? 20000 : 200000;

	sh = mmap(NULL, sizeof *sh, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (sh == MAP_FAILED)
		timing_fail("memory");
	cp = scratch_arena(8 << 20, NULL);
	printf("{\"bench\": \"scale\", \"bytes\": %d, \"processors\": %ld", BYTES, sysconf(_SC_NPROCESSORS_ONLN));
	fflush(stdout);
	measure("threads", 0, us);
	fflush(stdout);
	measure("processes", 1, us);
	printf("}\n");
	cpa_close(cp);
	return 0;
}
