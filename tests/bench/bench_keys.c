/* What keyed checkpoints cost, beside the floor (memcpy into touched shared memory) and the usual way (write a
 * file aside, rename it). One table for people, one line of JSON for machines. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hooks/cpagent.h"
#include "lib/arena/arena.h"
#include "lib/base/clock.h"

#define SAMPLES 101
static const char dir_pattern[] = "/dev/shm/bench_keys.XXXXXX";

static char dir[64];
static cpa *cp;
static uint8_t *from, *shared;
static size_t size;

static void key_name(char *key)
{
	snprintf(key, 32, "k%zu", size);
}

static void by_checkpoint(void)
{
	char key[32];

	key_name(key);
	if (cpa_checkpoint(cp, key, 1, CPA_ARRAY(from, size)) != 0) {
		fprintf(stderr, "bench_keys: %s\n", cpa_strerror(CPA_ERR_FULL));
		exit(1);
	}
}

static void by_restore(void)
{
	char key[32];

	key_name(key);
	if (cpa_restore(cp, key, 0, CPA_ARRAY(from, size)) != 0)
		exit(1);
}

static void by_memcpy(void)
{
	memcpy(shared, from, size);
	__asm__ volatile("" ::: "memory");
}

static void by_rename(void)
{
	char aside[96], path[96];
	int fd;

	snprintf(aside, sizeof aside, "%s/aside", dir);
	snprintf(path, sizeof path, "%s/file", dir);
	fd = open(aside, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || write(fd, from, size) != (ssize_t)size || close(fd) != 0 || rename(aside, path) != 0)
		exit(1);
}

static int by_value(const void *x, const void *y)
{
	double a = *(const double *)x, b = *(const double *)y;

	return (a > b) - (a < b);
}

/* Median nanoseconds of one call, each sample long enough for the clock. */
static double median(void (*call)(void))
{
	size_t samples = size >= (64u << 20) ? 7 : SAMPLES, calls = size < 65536 ? 1000 : 1, i, j;
	double ns[SAMPLES];

	call();
	call();
	call();
	for (i = 0; i < samples; i++) {
		int64_t start = clock_boot_ns();

		for (j = 0; j < calls; j++)
			call();
		ns[i] = (double)(clock_boot_ns() - start) / (double)calls;
	}
	qsort(ns, samples, sizeof *ns, by_value);
	return ns[samples / 2];
}

static void row(FILE *json, int first)
{
	double put = median(by_checkpoint), get = median(by_restore), copy = median(by_memcpy), file = median(by_rename);

	printf("%12zu %14.0f %14.0f %14.0f %14.0f %9.2f %9.1f\n", size, put, get, copy, file, put / copy, file / put);
	fprintf(json, "%s{\"bytes\":%zu,\"checkpoint_ns\":%.0f,\"restore_ns\":%.0f,\"memcpy_ns\":%.0f,"
		"\"write_rename_ns\":%.0f}", first ? "" : ",", size, put, get, copy, file);
}

int main(int argc, char **argv)
{
	static const size_t sizes[] = {64, 4096, 1 << 20, 64 << 20, 1 << 30};
	size_t n = argc > 1 && strcmp(argv[1], "--small") == 0 ? 3 : 5, i;
	char path[96], *line = NULL;
	size_t length;
	FILE *json = open_memstream(&line, &length);

	memcpy(dir, dir_pattern, sizeof dir_pattern);
	if (!json || !mkdtemp(dir))
		return 1;
	snprintf(path, sizeof path, "%s/arena", dir);
	from = mmap(NULL, sizes[n - 1], PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	shared = mmap(NULL, sizes[n - 1], PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (from == MAP_FAILED || shared == MAP_FAILED)
		return 1;
	memset(from, 7, sizes[n - 1]);
	printf("%12s %14s %14s %14s %14s %9s %9s\n", "bytes", "checkpoint ns", "restore ns", "memcpy ns",
	       "write+rename", "/ memcpy", "rename /");
	fprintf(json, "{\"bench\":\"keys\",\"sizes\":[");
	for (i = 0; i < n; i++) {
		/* an arena for each size, so that the largest fits beside the file in memory */
		if (arena_create(path, 2 * sizes[i] + sizes[i] / 8 + (8 << 20), 0600) != 0 || cpa_open(&cp, path) != 0)
			return 1;
		unlink(path);
		size = sizes[i];
		row(json, i == 0);
		cpa_close(cp);
	}
	fprintf(json, "]}");
	fclose(json);
	printf("%s\n", line);
	free(line);
	snprintf(path, sizeof path, "%s/file", dir);
	unlink(path);
	rmdir(dir);
	return 0;
}
