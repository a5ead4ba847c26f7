/* Checkpoint and restore of one key by size, beside the floor (memcpy into touched shared memory) and the usual
 * ways: a file written aside and renamed, a file written over in place, a SET to Redis. Prints one JSON line.
 *
 *	bench_keys [--small] [SOCKET]     SOCKET: where a Redis server listens */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/bench/resp.h"
#include "tests/bench/scratch_arena.h"
#include "tests/bench/timing.h"

#define REDIS_MOST (256u << 20) /* it takes values up to 512 MiB, and keeps two of them for a while */
#define SECONDS 0.7

static struct {
	size_t bytes;
	uint8_t *from, *shared;
	cpa *cp;
	int in_place, redis;
	char aside[96], path[96];
} b;

static void by_checkpoint(void *unused)
{
	(void)unused;
	if (cpa_checkpoint(b.cp, "state", 1, CPA_ARRAY(b.from, b.bytes)) != 0)
		timing_fail("cpa_checkpoint");
}

static void by_restore(void *unused)
{
	(void)unused;
	if (cpa_restore(b.cp, "state", 0, CPA_ARRAY(b.from, b.bytes)) != 0)
		timing_fail("cpa_restore");
}

static void by_memcpy(void *unused)
{
	(void)unused;
	memcpy(b.shared, b.from, b.bytes);
	__asm__ volatile("" ::: "memory");
}

static void write_all(int fd)
{
	size_t at = 0;

	while (at < b.bytes) {
		ssize_t n = pwrite(fd, b.from + at, b.bytes - at, (off_t)at);

		if (n <= 0)
			timing_fail("write");
		at += (size_t)n;
	}
}

static void by_rename(void *unused)
{
	int fd = open(b.aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	(void)unused;
	if (fd < 0)
		timing_fail(b.aside);
	write_all(fd);
	if (close(fd) != 0 || rename(b.aside, b.path) != 0)
		timing_fail(b.path);
}

static void by_pwrite(void *unused)
{
	(void)unused;
	write_all(b.in_place);
}

static void by_redis(void *unused)
{
	(void)unused;
	if (resp_set(b.redis, "state", b.from, b.bytes) != 0)
		timing_fail("SET");
}

enum { CHECKPOINT, RESTORE, MEMCPY, RENAME, PWRITE, REDIS, WAYS };

static void measure(int last)
{
	struct way ways[WAYS] = {{"checkpoint", by_checkpoint, NULL, 0},  {"restore", by_restore, NULL, 0},
				 {"memcpy", by_memcpy, NULL, 0},          {"write_rename", by_rename, NULL, 0},
				 {"pwrite", by_pwrite, NULL, 0},          {"redis_set", by_redis, NULL, 0}};
	size_t n = b.redis >= 0 && b.bytes <= REDIS_MOST ? WAYS : REDIS, i;
	double first = timing_once(&ways[CHECKPOINT]), first_write = timing_once(&ways[PWRITE]);

	timing_turns(ways, n, SECONDS);
	printf("{\"bytes\": %zu, \"first_checkpoint\": %.0f, \"first_write\": %.0f", b.bytes, first, first_write);
	for (i = 0; i < n; i++)
		printf(", \"%s\": %.1f", ways[i].name, ways[i].ns);
	printf("}%s", last ? "" : ", ");
}

/* An arena and files for each size, so that the largest have room. */
static void one_size(size_t bytes, int last)
{
	char path[96];

	b.bytes = bytes;
	b.cp = scratch_arena(2 * bytes + bytes / 8 + (8 << 20), NULL);
	snprintf(b.aside, sizeof b.aside, "%s/aside", scratch_dir());
	snprintf(b.path, sizeof b.path, "%s/file", scratch_dir());
	snprintf(path, sizeof path, "%s/in_place", scratch_dir());
	b.in_place = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	unlink(path);
	if (b.in_place < 0)
		timing_fail(path);
	measure(last);
	close(b.in_place);
	unlink(b.path);
	if (b.redis >= 0)
		resp_del(b.redis, "state");
	cpa_close(b.cp);
}

int main(int argc, char **argv)
{
	static const size_t sizes[] = {64, 4096, 64 << 10, 1 << 20, 16 << 20, 64 << 20, 256 << 20, 1 << 30};
	int small = argc > 1 && strcmp(argv[1], "--small") == 0;
	const char *redis = argc > 1 + small ? argv[1 + small] : NULL;
	size_t n = small ? 4 : sizeof sizes / sizeof *sizes, i;

	while (n > 1 && 8 * sizes[n - 1] > 2 * scratch_room()) /* two versions, three files, two buffers */
		n--;
	b.redis = redis ? resp_connect(redis) : -1;
	if (redis && b.redis < 0)
		timing_fail(redis);
	b.from = malloc(sizes[n - 1]); /* as programs have their arrays: not at the beginning of a page */
	b.shared = mmap(NULL, sizes[n - 1], PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (!b.from || b.shared == MAP_FAILED)
		timing_fail("memory");
	for (i = 0; i < sizes[n - 1]; i++)
		b.from[i] = (uint8_t)(i * 31 >> 3);
	memset(b.shared, 1, sizes[n - 1]);
	printf("{\"bench\": \"keys\", \"sizes\": [");
	for (i = 0; i < n; i++)
		one_size(sizes[i], i + 1 == n);
	printf("]}\n");
	free(b.from);
	return 0;
}
