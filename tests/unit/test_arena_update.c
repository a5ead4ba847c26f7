/* Versions of a large region, each built upon the one before: more blocks than are queued, sealed and taken over at a
 * time. What comes back is compared with the memory it was made from; a base that is damaged is not built upon. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/arena/internal.h"
#include "lib/arena/reader.h"
#include "tests/unit/harness.h"

#define BLOCKS 4700u /* of 4096 bytes: more than the map has in one of its own */
#define BYTES (BLOCKS * BLOCK - 500)
#define TURNS 12u

static char dir[64], path[96];

static struct {
	struct arena *a;
	uint8_t *data, *back;
	uint64_t changed[BLOCKS / 64 + 2];
	uint64_t base, sum;
	uint32_t seed;
} w;

static uint32_t rnd(void)
{
	w.seed = w.seed * 1664525u + 1013904223u;
	return w.seed >> 8;
}

static void world_open(void)
{
	unlink(path);
	CU_ASSERT_EQUAL_FATAL(arena_create(path, 4 * BYTES, 0600), 0);
	CU_ASSERT_EQUAL_FATAL(arena_map(&w.a, path), 0);
	w.data = malloc(BYTES);
	w.back = malloc(BYTES);
	CU_ASSERT_FATAL(w.data && w.back);
	memset(w.data, 1, BYTES);
	memset(w.changed, 0, sizeof w.changed);
	w.base = w.sum = 0;
	w.seed = 1;
}

static void world_close(void)
{
	arena_unmap(w.a);
	unlink(path);
	free(w.data);
	free(w.back);
}

static void change(uint64_t block)
{
	uint64_t bytes = block + 1 < BLOCKS ? BLOCK : BYTES - block * BLOCK;

	w.data[block * BLOCK + rnd() % bytes] ^= (uint8_t)(1 + rnd() % 255);
	w.changed[block / 64] |= UINT64_C(1) << block % 64;
}

static void put(void)
{
	struct arena_var v = {"u", w.data, BYTES, ARENA_BYTES};
	struct arena_regions g = {&v, NULL, 1, w.base, w.sum, w.changed, ARENA_DIRTY};

	CU_ASSERT_EQUAL(arena_put_regions(w.a, "key", &g, &w.base, &w.sum), 0);
	memset(w.changed, 0, sizeof w.changed);
}

static struct arena_slot *newest(uint32_t *number)
{
	struct arena_record *r = NULL;

	CU_ASSERT_NOT_EQUAL_FATAL(arena_newest(w.a, "key", &r), 0);
	*number = (uint32_t)(r->commit & 0xff);
	return slot_of(w.a, r, *number);
}

static uint8_t how_of_newest(void)
{
	uint32_t number;

	return newest(&number)->how;
}

/* By the writer's own eyes and by the hostile reader's. */
static void check(void)
{
	struct arena_var v = {"u", w.back, BYTES, ARENA_BYTES};
	struct arena_reader r = {.fd = -1, .image = w.a->base, .image_bytes = w.a->file_bytes};
	struct arena_keys list;

	memset(w.back, 0, BYTES);
	CU_ASSERT_EQUAL(arena_get(w.a, "key", &v, 1, 0, NULL, NULL), 0);
	CU_ASSERT_EQUAL(memcmp(w.data, w.back, BYTES), 0);
	CU_ASSERT_EQUAL_FATAL(arena_read_open(&r), 0);
	CU_ASSERT_EQUAL_FATAL(arena_read_keys(&r, 1, &list), 0);
	CU_ASSERT_EQUAL(list.broken, 0);
	CU_ASSERT_EQUAL(list.n, 1);
	arena_keys_free(&list);
}

/* Nothing; every second block; a few; a long run; all but one; the last alone. */
static void change_some(uint32_t turn)
{
	uint64_t b, n = turn % 6 == 3 ? 900 : 1 + rnd() % 60, first = rnd() % (BLOCKS - 1000);

	for (b = 0; b < BLOCKS && turn % 6; b++)
		if ((turn % 6 == 1 && b % 2) || (turn % 6 == 2 && rnd() % 100 == 0) ||
		    (turn % 6 == 3 && b >= first && b < first + n) || (turn % 6 == 4 && b != first) ||
		    (turn % 6 == 5 && b + 1 == BLOCKS))
			change(b);
}

static void what_changed_in_thousands_of_blocks_is_all_that_is_copied_and_all_comes_back(void)
{
	world_open();
	put();
	for (uint32_t turn = 0; turn < TURNS; turn++) {
		change_some(turn);
		put();
		CU_ASSERT_EQUAL(how_of_newest(), ARENA_DIRTY);
		check();
	}
	world_close();
}

/* The same versions with three kept: each block has one of four places. */
static void several_versions_of_them_are_kept(void)
{
	world_open();
	arena_unmap(w.a);
	unlink(path);
	CU_ASSERT_EQUAL_FATAL(arena_create(path, 6 * BYTES, 0600), 0);
	CU_ASSERT_EQUAL_FATAL(arena_map(&w.a, path), 0);
	CU_ASSERT_EQUAL(arena_keep(w.a, "key", 3), 0);
	put();
	for (uint32_t turn = 0; turn < TURNS; turn++) {
		change_some(turn);
		put();
		check();
	}
	world_close();
}

/* A bit of what the base says of its blocks: the first and the last sum and place, and the zeros behind them. */
static void a_base_of_which_a_bit_flipped_is_not_built_upon(void)
{
	struct slot_plan p;
	uint32_t number;

	world_open();
	put();
	for (uint32_t which = 0; which < 6; which++) {
		struct arena_slot *s = newest(&number);
		uint64_t most = 2 * BYTES;

		CU_ASSERT_EQUAL_FATAL(slot_check((const uint8_t *)s, most, most, &p), 0);
		const uint64_t at[] = {p.sums_at,	      p.sums_at + 8 * BLOCKS - 1, p.map_at + 100, p.map_at + BLOCKS - 1,
				       p.map_at + BLOCKS, p.data_at - 1};

		((uint8_t *)s)[at[which]] ^= 64;
		change(which * 700);
		put();
		CU_ASSERT_EQUAL(how_of_newest(), ARENA_WHOLE);
		check();
	}
	change(5);
	put(); /* into the slot in which the last bit was flipped */
	CU_ASSERT_EQUAL(how_of_newest(), ARENA_DIRTY);
	for (uint64_t at = p.map_at + BLOCKS; at < p.data_at; at++)
		CU_ASSERT_EQUAL(((uint8_t *)newest(&number))[at], 0);
	check();
	world_close();
}

static const struct test tests[] = {
	{"what changed in thousands of blocks is all that is copied, and all comes back",
	 what_changed_in_thousands_of_blocks_is_all_that_is_copied_and_all_comes_back},
	{"several versions of them are kept", several_versions_of_them_are_kept},
	{"a base of which a bit flipped is not built upon", a_base_of_which_a_bit_flipped_is_not_built_upon},
};

int main(void)
{
	int rc;

	snprintf(dir, sizeof dir, "/dev/shm/test_arena_update.XXXXXX");
	if (!mkdtemp(dir))
		return 1;
	snprintf(path, sizeof path, "%s/arena", dir);
	rc = harness_run("arena update", tests, sizeof tests / sizeof *tests);
	rmdir(dir);
	return rc;
}
