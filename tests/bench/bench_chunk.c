/* What it costs to hold a checkpoint: describing, verifying, storing, assembling an image directory, in GB/s
 * beside what one core's memcpy does on the same bytes. Not on the job's clock: all of it happens after the thaw.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "agent/ports/images.h"
#include "agent/ports/store.h"
#include "lib/base/clock.h"
#include "lib/base/fs.h"
#include "lib/base/scoped.h"

#define ROUNDS 5

static char dir[64] = "/dev/shm/bench_chunk.XXXXXX";
static size_t size;
static uint8_t *data, *copy;
static Cpa__Generation gen = CPA__GENERATION__INIT;
static struct store *store;
static struct err why;

static void must(int rc)
{
	if (rc == 0)
		return;
	fprintf(stderr, "bench_chunk: %s\n", why.text);
	fs_remove_tree(dir, NULL);
	exit(1);
}

static const char *path(const char *name)
{
	static char buf[FS_PATH_MAX];

	return fs_path(buf, "%s/%s", dir, name);
}

/* Pages as programs have them: a third random, a third structured, a third like the page before. */
static void fill(void)
{
	uint64_t x = 88172645463325252;

	for (size_t i = 0; i < size; i += 8) {
		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		uint64_t v = i / 4096 % 3 == 0 ? x : i / 4096 % 3 == 1 ? i >> 6 : 0x3ff0000000000000;
		memcpy(data + i, &v, sizeof v);
	}
}

static void by_memcpy(void)
{
	memcpy(copy, data, size);
	__asm__ volatile("" ::: "memory");
}

static void by_ids(void)
{
	chunk_ids(data, size, copy);
}

static void by_pack(void)
{
	for (size_t i = 0; i < size / 16; i += CHUNK_BYTES)
		chunk_pack(data + i, CHUNK_BYTES, copy);
}

static void by_describe(void)
{
	must(images_describe(path("img"), NULL, 0, &gen, &why));
}

static void by_verify(void)
{
	must(images_verify(path("img"), &gen, &why));
}

/* Into an empty store each time, uncompressed: what the file system lets through. */
static void by_put(void)
{
	store_close(store);
	must(fs_remove_tree(path("store"), &why));
	static const uint8_t key[MANIFEST_KEY_BYTES];
	must(store_open(path("store"), 0, key, &store, &why));
	for (size_t i = 0; i < size; i += CHUNK_BYTES) {
		struct chunk_id id = chunk_id(data + i, CHUNK_BYTES);
		must(store_put_chunk(store, 0, id.b, data + i, CHUNK_BYTES, false, CHUNK_BYTES, &why));
	}
}

static void by_assemble(void)
{
	must(store_assemble(store, &gen, path("out"), &why));
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Median GB/s of one pass over bytes, after one that warms up. */
static double speed(void (*pass)(void), size_t bytes)
{
	double gbs[ROUNDS];

	pass();
	for (int i = 0; i < ROUNDS; i++) {
		int64_t start = clock_boot_ns();
		pass();
		gbs[i] = (double)bytes / (double)(clock_boot_ns() - start);
	}
	qsort(gbs, ROUNDS, sizeof *gbs, by_value);
	return gbs[ROUNDS / 2];
}

int main(int argc, char **argv)
{
	size = argc > 1 && strcmp(argv[1], "--small") == 0 ? (size_t)32 << 20 : (size_t)512 << 20;
	data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	copy = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (data == MAP_FAILED || copy == MAP_FAILED || !mkdtemp(dir))
		return 1;
	fill();
	must(fs_mkdirs(path("img"), 0700, &why));
	must(fs_write_aside(path("img/pages-1.img"), data, size, 0600, 0, &why));
	const struct {
		const char *name;
		void (*pass)(void);
		size_t bytes;
	} rows[] = {
		{ "memcpy", by_memcpy, size },     { "ids_in_memory", by_ids, size },
		{ "pack", by_pack, size / 16 },    { "describe", by_describe, size },
		{ "verify", by_verify, size },     { "store_put", by_put, size },
		{ "assemble", by_assemble, size },
	};
	double base = 0, gbs[sizeof rows / sizeof *rows];
	printf("%-14s %8s %9s\n", "", "GB/s", "/ memcpy");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		gbs[i] = speed(rows[i].pass, rows[i].bytes);
		base = i == 0 ? gbs[0] : base;
		printf("%-14s %8.2f %9.2f\n", rows[i].name, gbs[i], gbs[i] / base);
	}
	printf("{\"bench\":\"chunk\",\"bytes\":%zu", size);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		printf(",\"%s_gb_per_s\":%.2f", rows[i].name, gbs[i]);
	printf("}\n");
	store_close(store);
	images_forget(&gen);
	fs_remove_tree(dir, NULL);
	return 0;
}
