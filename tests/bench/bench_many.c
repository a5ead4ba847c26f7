/* An arena with very many small keys: what a lookup takes, and what a key takes of memory. Prints one JSON line.
 *
 *	bench_many [--small] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "tests/bench/scratch_arena.h"
#include "tests/bench/timing.h"

#define BYTES 64
#define TURNS 9
#define CALLS 50000u

static struct {
	size_t keys;
	cpa *cp;
	uint64_t x;
} b;

static void key_name(char key[32], size_t i)
{
	snprintf(key, 32, "key-%zu", i);
}

static void put(size_t i)
{
	uint8_t value[BYTES];
	char key[32];

	key_name(key, i);
	memset(value, (int)i, sizeof value);
	if (cpa_checkpoint(b.cp, key, 1, CPA_ARRAY(value, BYTES)) != 0)
		timing_fail("cpa_checkpoint");
}

static void get(size_t i)
{
	uint8_t value[BYTES];
	char key[32];

	key_name(key, i);
	if (cpa_restore(b.cp, key, 0, CPA_ARRAY(value, BYTES)) != 0 || value[BYTES - 1] != (uint8_t)i)
		timing_fail("cpa_restore");
}

static void name(size_t i)
{
	char key[32];

	key_name(key, i);
	__asm__ volatile("" : : "r"(key) : "memory");
}

/* Nanoseconds of one call for a key at random. */
static double random_keys(void (*call)(size_t))
{
	double ns[TURNS];
	size_t t, i;

	for (t = 0; t < TURNS; t++) {
		int64_t start = clock_boot_ns();

		for (i = 0; i < CALLS; i++) {
			b.x = b.x * 6364136223846793005u + 1442695040888963407u;
			call((size_t)(b.x >> 33) % b.keys);
		}
		ns[t] = (double)(clock_boot_ns() - start) / CALLS;
	}
	return timing_median(ns, TURNS);
}

static double per_key(int file)
{
	struct stat st;

	if (fstat(file, &st) != 0)
		timing_fail("fstat");
	return (double)st.st_blocks * 512 / (double)b.keys;
}

static double all(void)
{
	int64_t start = clock_boot_ns();
	size_t i;

	for (i = 0; i < b.keys; i++)
		put(i);
	return (double)(clock_boot_ns() - start) / (double)b.keys;
}

int main(int argc, char **argv)
{
	double insert, bytes, naming, restore, checkpoint;
	int file;

	b.keys = argc > 1 && strcmp(argv[1], "--small") == 0 ? 10000 : 100000;
	b.cp = scratch_arena(256 << 20, &file);
	insert = all();
	bytes = per_key(file);
	naming = random_keys(name); /* the bench's own part */
	restore = random_keys(get) - naming;
	all();
	checkpoint = random_keys(put) - naming;
	printf("{\"bench\": \"many\", \"keys\": %zu, \"bytes\": %d, \"first_ns\": %.1f, \"restore_ns\": %.1f, "
	       "\"checkpoint_ns\": %.1f, \"memory_per_key\": %.1f, \"memory_per_key_twice\": %.1f}\n",
	       b.keys, BYTES, insert, restore, checkpoint, bytes, per_key(file));
	close(file);
	cpa_close(b.cp);
	return 0;
}
