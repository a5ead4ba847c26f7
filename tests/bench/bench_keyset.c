/* What an update costs the agent: making the keyset of a job of which a part has changed since the last one, which a
 * level above holds. Beside a memcpy of all the job's values. Prints one JSON line.
 *
 *	bench_keyset [--small] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "agent/keyset.h"
#include "lib/arena/arena.h"
#include "lib/base/clock.h"
#include "tests/bench/scratch_arena.h"
#include "tests/bench/timing.h"

#define KEYS 1000u
#define TURNS 9

static struct {
	struct agent agent;
	struct job job;
	struct arena *arena;
	uint8_t *from, *to;
	uint64_t bytes; /* of all values */
	uint64_t turn;
} b;

static void put(const char *key, const uint8_t *data, uint64_t bytes)
{
	struct arena_var v = { "x", (void *)(uintptr_t)data, bytes, ARENA_BYTES };
	if (arena_put(b.arena, key, &v, 1, NULL) != 0)
		timing_fail("arena_put");
}

static void begin(const char *name)
{
	static Cpa__Spec spec = CPA__SPEC__INIT;
	char path[FS_PATH_MAX];
	spec.job = spec.name = (char *)(uintptr_t)"bench";
	b.job = (struct job){ .agent = &b.agent, .spec = &spec, .id = spec.job };
	fs_path(b.job.dir, "%s/%s", scratch_dir(), name);
	fs_path(b.job.job_dir, "%s/%s", scratch_dir(), name);
	if (fs_mkdirs(b.job.dir, 0700, NULL) < 0 ||
	    arena_create(job_arena(&b.job, path), 2 * b.bytes + b.bytes / 8 + (32 << 20), 0600) != 0 ||
	    arena_map(&b.arena, path) != 0)
		timing_fail("arena");
}

static void end(void)
{
	keyset_forget(&b.job);
	arena_unmap(b.arena);
	fs_remove_tree(b.job.dir, NULL);
}

/* Milliseconds; *read: bytes of values that were read. */
static double update(uint64_t *read)
{
	struct keyset_made made = { 0 };
	struct err e = { 0 };
	int64_t start = clock_boot_ns();
	int rc = keyset_make(&b.job, &made, &e);
	double ms = (double)(clock_boot_ns() - start) / 1e6;
	if (rc != 1)
		timing_fail(rc < 0 ? e.text : "nothing is new");
	*read = made.read;
	keyset_take(&b.job, &made);
	keyset_drop_copies(&b.job); /* a level above holds it */
	return ms;
}

static double copied(void)
{
	int64_t start = clock_boot_ns();
	memcpy(b.to, b.from, b.bytes);
	__asm__ volatile("" ::: "memory");
	return (double)(clock_boot_ns() - start) / 1e6;
}

static void fill_keys(uint64_t each, uint64_t n)
{
	char key[32];
	for (uint64_t i = 0; i < n; i++) {
		snprintf(key, sizeof key, "key%04u", (unsigned)((i * 97 + b.turn) % KEYS));
		put(key, b.from + b.turn % 64 + i * each, each - 64);
	}
	b.turn++;
}

static void many_keys(void)
{
	fill_keys(b.bytes / KEYS, b.turn ? KEYS / 100 : KEYS);
}

static void one_key(void)
{
	memset(b.from + b.turn * (b.bytes / 50) % (b.bytes - b.bytes / 100), (int)b.turn, b.bytes / 100);
	put("one", b.from, b.bytes);
	b.turn++;
}

static void measure(const char *name, void (*change)(void))
{
	double ms[TURNS], copy[TURNS], first;
	uint64_t read;
	begin(name);
	b.turn = 0;
	change();
	first = update(&read);
	for (int i = 0; i < TURNS; i++) {
		change();
		ms[i] = update(&read);
		copy[i] = copied();
	}
	printf(", \"%s\": {\"ms\": %.3f, \"first_ms\": %.3f, \"read\": %llu, \"memcpy_ms\": %.3f}", name,
	       timing_median(ms, TURNS), first, (unsigned long long)read, timing_median(copy, TURNS));
	end();
}

int main(int argc, char **argv)
{
	uint64_t mib = argc > 1 && strcmp(argv[1], "--small") == 0 ? 64 : 1024;
	while (mib > 64 && (mib << 20) * 6 > scratch_room())
		mib /= 2;
	b.bytes = mib << 20;
	b.from = mmap(NULL, b.bytes + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	b.to = mmap(NULL, b.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (b.from == MAP_FAILED || b.to == MAP_FAILED)
		timing_fail("memory");
	for (uint64_t i = 0; i < b.bytes + 4096; i++)
		b.from[i] = (uint8_t)(i * 2654435761u >> 13);
	memset(b.to, 1, b.bytes);
	printf("{\"bench\": \"keyset\", \"mib\": %llu", (unsigned long long)mib);
	measure("many", many_keys);
	measure("one", one_key);
	printf("}\n");
	return 0;
}
