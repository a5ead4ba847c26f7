/* Checkpoints of a protected region of which a part has changed, dirtying included, beside a memcpy of all of it
 * into touched shared memory. Prints one JSON line.
 *
 *	bench_protect [--small] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/base/clock.h"
#include "tests/bench/scratch_arena.h"
#include "tests/bench/timing.h"

#define PAGE 4096u
#define TURNS 5  /* of each, one after the other, … */
#define ROUNDS 3 /* … and that several times */

static struct {
	size_t pages;
	uint8_t *from, *shared;
	cpa *cp;
	uint64_t x;
} b;

static uint64_t rnd(void)
{
	b.x ^= b.x << 13;
	b.x ^= b.x >> 7;
	b.x ^= b.x << 17;
	return b.x;
}

/* Write to one page of each `of`, at random within them; 0: to none. */
static void dirty(size_t of)
{
	size_t i;

	for (i = 0; of && i + of <= b.pages; i += of)
		*(volatile uint64_t *)(void *)(b.from + (i + rnd() % of) * PAGE + rnd() % 500 * 8) = rnd();
}

/* Milliseconds: for dirtying alone, and with the checkpoint. */
static double with_checkpoint(size_t of, double *dirtying)
{
	int64_t start = clock_boot_ns(), dirtied;

	dirty(of);
	dirtied = clock_boot_ns();
	if (cpa_checkpoint_protected(b.cp, "state", 1) != 0)
		timing_fail("cpa_checkpoint_protected");
	*dirtying = (double)(dirtied - start) / 1e6;
	return (double)(clock_boot_ns() - start) / 1e6;
}

static double copied(void)
{
	int64_t start = clock_boot_ns();

	memcpy(b.shared, b.from, b.pages * PAGE);
	__asm__ volatile("" ::: "memory");
	return (double)(clock_boot_ns() - start) / 1e6;
}

static void share(const char *name, size_t of)
{
	double ms[ROUNDS * TURNS], copy[ROUNDS * TURNS], dirtying[ROUNDS * TURNS];
	size_t r, i, n = ROUNDS * TURNS;

	for (r = 0; r < n; r += TURNS) {
		for (i = r; i < r + TURNS; i++)
			ms[i] = with_checkpoint(of, &dirtying[i]);
		for (i = r; i < r + TURNS; i++)
			copy[i] = copied();
	}
	printf(", \"%s\": {\"ms\": %.3f, \"dirtying_ms\": %.3f, \"memcpy_ms\": %.3f}", name, timing_median(ms, n),
	       timing_median(dirtying, n), timing_median(copy, n));
}

int main(int argc, char **argv)
{
	size_t mib = argc > 1 && strcmp(argv[1], "--small") == 0 ? 64 : 1024;
	const char *why = "";
	double first, unused;
	int tracked;

	while (mib > 64 && (mib << 20) * 5 > 2 * scratch_room())
		mib /= 2;
	b.pages = (mib << 20) / PAGE;
	b.x = 88172645463325252u;
	b.from = mmap(NULL, mib << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	b.shared = mmap(NULL, mib << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (b.from == MAP_FAILED || b.shared == MAP_FAILED)
		timing_fail("memory");
	memset(b.from, 7, mib << 20);
	memset(b.shared, 1, mib << 20);
	b.cp = scratch_arena((2 * mib + mib / 8 + 8) << 20, NULL);
	if (CPA_PROTECT(b.cp, "all", b.from, mib << 20) != 0)
		timing_fail("cpa_protect");
	first = with_checkpoint(0, &unused);
	with_checkpoint(1, &unused); /* every page of both slots is touched now */
	with_checkpoint(1, &unused);
	tracked = cpa_tracking(b.cp, "all", &why);
	printf("{\"bench\": \"protect\", \"mib\": %zu, \"tracked\": %d, \"why\": \"%s\", \"first_ms\": %.3f", mib,
	       tracked, why, first);
	share("none", 0);
	share("hundredth", 100);
	share("tenth", 10);
	share("all", 1);
	printf("}\n");
	cpa_close(b.cp);
	return 0;
}
