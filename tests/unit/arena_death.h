/* What tests of death in the arena share: values in which a tear shows, protected regions of which every version
 * is known, and a child that is stepped through a call instruction by instruction. */
#ifndef TESTS_UNIT_ARENA_DEATH_H
#define TESTS_UNIT_ARENA_DEATH_H

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/arena/internal.h"
#include "lib/arena/reader.h"
#include "tests/unit/harness.h"

static char death_dir[64], death_path[96];

static inline struct arena *fresh(uint64_t budget)
{
	struct arena *a = NULL;

	unlink(death_path);
	CU_ASSERT_EQUAL_FATAL(arena_create(death_path, budget, 0600), 0);
	CU_ASSERT_EQUAL_FATAL(arena_map(&a, death_path), 0);
	return a;
}

static inline int death_main(const char *suite, const struct test *tests, size_t n)
{
	int rc;

	snprintf(death_dir, sizeof death_dir, "/dev/shm/test_death.XXXXXX");
	if (!mkdtemp(death_dir))
		return 1;
	snprintf(death_path, sizeof death_path, "%s/arena", death_dir);
	rc = harness_run(suite, tests, n);
	unlink(death_path);
	rmdir(death_dir);
	return rc;
}

/* ---- plain values ---- */

#define WORDS 24
#define BIG 6000 /* words of a value that has block sums */

/* A value whose words are all the same number, so that a torn one shows. */
static inline int put(struct arena *a, const char *key, size_t words, uint64_t number)
{
	static __thread uint64_t data[BIG];
	struct arena_var v = {"v", data, words, ARENA_U64};
	size_t i;

	for (i = 0; i < words; i++)
		data[i] = number;
	return arena_put(a, key, &v, 1, NULL);
}

/* The number, or 0 for a torn or unreadable value; UINT64_MAX for no such key. */
static inline uint64_t get(struct arena *a, const char *key, size_t words)
{
	static __thread uint64_t data[BIG];
	struct arena_var v = {"v", data, words, ARENA_U64};
	size_t i;
	int rc = arena_get(a, key, &v, 1, 0, NULL, NULL);

	if (rc == -ENOENT)
		return UINT64_MAX;
	if (rc != 0)
		return 0;
	for (i = 1; i < words; i++)
		if (data[i] != data[0])
			return 0;
	return data[0];
}

/* What the index reaches lies apart from each other, and the hostile reader finds all of it whole. */
static inline void check_all(struct arena *a, size_t keys)
{
	struct arena_reader r = {.fd = -1, .image = a->base, .image_bytes = a->file_bytes};
	struct arena_keys list;

	CU_ASSERT_EQUAL_FATAL(arena_read_open(&r), 0);
	CU_ASSERT_EQUAL_FATAL(arena_read_keys(&r, 1, &list), 0);
	CU_ASSERT_EQUAL(list.broken, 0);
	CU_ASSERT(list.n >= keys);
	arena_keys_free(&list);
}

/* The run and the gaps lie apart, within the heap. */
static inline void check_apart(const struct arena *a)
{
	const struct arena_header *h = a->head;
	struct arena_gap all[ARENA_GAPS + 1];
	size_t i, k;

	memcpy(all, h->gap, sizeof h->gap);
	all[ARENA_GAPS] = (struct arena_gap){h->free_at, h->free_end};
	for (i = 0; i <= ARENA_GAPS; i++) {
		CU_ASSERT(all[i].end <= a->heap_bytes);
		for (k = 0; k < i; k++)
			CU_ASSERT(all[i].at >= all[i].end || all[k].at >= all[k].end || all[i].end <= all[k].at ||
				  all[k].end <= all[i].at);
	}
}

/* ---- protected regions: version v changes some blocks of the version before, the same whoever makes it ---- */

#define BLOCK_WORDS 512
#define REGION_BLOCKS 10
#define REGION_WORDS (REGION_BLOCKS * BLOCK_WORDS - 100)

static inline int version_changes(uint64_t version, uint64_t block)
{
	return version <= 1 || version % 16 == 0 || (version * 7 + block * 3) % 5 == 0;
}

/* What the words of a block are in a version. */
static inline uint64_t block_word(uint64_t version, uint64_t block)
{
	while (!version_changes(version, block))
		version--;
	return version << 8 | block;
}

/* The program's memory: */
struct region {
	uint64_t words[REGION_WORDS];
	uint64_t version; /* that words are of */
	uint64_t base, base_sum;
};

/* Make words those of the version after v. */
static inline void region_compute(struct region *g, uint64_t v, uint64_t *changed)
{
	*changed = 0;
	for (uint64_t b = 0; b < REGION_BLOCKS; b++) {
		if (g->version == v && !version_changes(v + 1, b))
			continue;
		*changed |= UINT64_C(1) << b;
		for (uint64_t i = b * BLOCK_WORDS; i < (b + 1) * BLOCK_WORDS && i < REGION_WORDS; i++)
			g->words[i] = block_word(v + 1, b);
	}
	g->version = v + 1;
}

/* Commit the next version after v: with the blocks that changed only, if the memory is known to be that of v. */
static inline int region_put(struct arena *a, const char *key, struct region *g, uint64_t v, uint32_t pad)
{
	struct arena_var var = {"u", g->words, REGION_WORDS, ARENA_U64};
	uint64_t changed, made;
	struct arena_regions r = {&var, &pad, 1, g->base, g->base_sum, &changed, ARENA_DIRTY};
	int rc;

	region_compute(g, v, &changed);
	if (pad) /* blocks of the data are not those of the memory: half of the next belongs to each */
		changed |= changed << 1;
	rc = arena_put_regions(a, key, &r, &made, &g->base_sum);
	g->base = made;
	return rc ? rc : made == v + 1 ? 0 : -ESTALE;
}

static inline int region_put_plain(struct arena *a, const char *key, struct region *g, uint64_t v)
{
	struct arena_var var = {"u", g->words, REGION_WORDS, ARENA_U64};
	uint64_t changed;

	g->base = 0;
	region_compute(g, v, &changed);
	return arena_put(a, key, &var, 1, NULL);
}

static inline int region_whole(const uint64_t *words, uint64_t version)
{
	for (uint64_t i = 0; i < REGION_WORDS; i++)
		if (words[i] != block_word(version, i / BLOCK_WORDS))
			return 0;
	return 1;
}

/* The newest version, or the one wanted, if it is whole to the library and to the hostile reader; else 0. */
static inline uint64_t region_get(struct arena *a, const char *key, uint64_t wanted)
{
	struct arena_reader r = {.fd = -1, .image = a->base, .image_bytes = a->file_bytes};
	static uint64_t words[REGION_WORDS];
	struct arena_var var = {"u", words, REGION_WORDS, ARENA_U64};
	struct arena_value v;
	uint64_t got;
	int same;

	if (arena_get(a, key, &var, 1, wanted, &got, NULL) != 0 || !region_whole(words, got))
		return 0;
	if (arena_read_open(&r) != 0 || arena_read_value(&r, key, wanted, &v, NULL) != 0)
		return 0;
	same = v.info.version == got && v.info.n == 1 && v.info.bytes == sizeof words &&
	       memcmp(v.data, words, sizeof words) == 0;
	arena_value_free(&v);
	return same ? got : 0;
}

/* The slot of "key" that holds a version, and how it is laid out. */
static inline uint8_t *slot_of_version(struct arena *a, uint64_t version, struct slot_plan *p)
{
	struct arena_record *r;

	arena_newest(a, "key", &r);
	for (uint32_t i = 0; i < r->slots; i++)
		if (slot_version(a, r, i) == version) {
			uint64_t most = record_slots(r)[i].length;

			CU_ASSERT_EQUAL_FATAL(slot_check(extent_at(a, r, i), most, most, p), 0);
			return extent_at(a, r, i);
		}
	CU_FAIL_FATAL("no such version");
	return NULL;
}

#endif
