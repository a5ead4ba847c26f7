/* What version 2 of the arena's format looks like, field by field, by offsets that stand here and nowhere else:
 * if this fails, files of older programs can no longer be read. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/arena/arena.h"
#include "tests/unit/harness.h"

static char dir[64], path[96];

/* An integer of so many bytes, little-endian. */
static uint64_t num(const uint8_t *at, size_t bytes)
{
	uint64_t n = 0;

	while (bytes--)
		n = n << 8 | at[bytes];
	return n;
}

#define IS(at, bytes, value) CU_ASSERT_EQUAL(num(at, bytes), (uint64_t)(value))

static struct arena *fresh(uint64_t budget)
{
	struct arena *a = NULL;

	unlink(path);
	CU_ASSERT_EQUAL_FATAL(arena_create(path, budget, 0600), 0);
	CU_ASSERT_EQUAL_FATAL(arena_map(&a, path), 0);
	return a;
}

/* Set each field to a number of its own by its name, and find it at its offset. */
static void the_header_is_one_page_whose_fields_stay_where_they_are(void)
{
	struct arena *a = fresh(ARENA_HEAP_MIN);
	struct arena_header *h = a->head;
	const uint8_t *b = a->base;

	CU_ASSERT_EQUAL(memcmp(b, "cpaarena", 8), 0);
	IS(b + 8, 4, 2);
	IS(b + 12, 4, 0x01020304);
	IS(b + 16, 8, 65536);
	IS(b + 24, 4, 40); /* a pthread_mutex_t of glibc on 64 bits */
	IS(b + 32, 8, h->created_ns);
	IS(b + 40, 8, arena_hash(b, 40, 0));
	IS(b + 48, 8, h->boot[0]);
	IS(b + 56, 8, h->boot[1]);
	h->table = 1;
	h->moves = 2;
	h->keys = 3;
	h->gone = 4;
	h->free_at = 5;
	h->free_end = 6;
	h->backed = 7;
	IS(b + 64, 4, 1);
	IS(b + 68, 4, 2);
	for (uint64_t i = 0; i < 5; i++)
		IS(b + 72 + 8 * i, 8, 3 + i);
	h->agent_flags = 8;
	h->incarnation = 9;
	h->start = 10;
	h->give_up = 11;
	h->generation = 12;
	h->mtbf_ms = 13;
	h->top = 20;
	h->number_from = 21;
	for (uint64_t i = 0; i < 4; i++)
		IS(b + 128 + 4 * i, 4, 8 + i);
	IS(b + 144, 8, 12);
	IS(b + 152, 8, 13);
	IS(b + 160, 4, 20);
	IS(b + 168, 8, 21);
	h->job_flags = 14;
	h->requests = 15;
	h->periodic = 16;
	h->uses = 17;
	h->update_ms = 18;
	h->save_ms = 19;
	for (uint64_t i = 0; i < 4; i++)
		IS(b + 192 + 4 * i, 4, 14 + i);
	IS(b + 208, 8, 18);
	IS(b + 216, 8, 19);
	arena_unmap(a);
}

static void the_mailbox_holds_five_asks_of_640_bytes(void)
{
	struct arena *a = fresh(ARENA_HEAP_MIN);
	static const enum arena_ask_kind kinds[] = {ARENA_ASK_SNAPSHOT, ARENA_ASK_SAVE, ARENA_ASK_FETCH,
						    ARENA_ASK_REGISTER, ARENA_ASK_VERSION};

	for (size_t i = 0; i < 5; i++) {
		struct arena_ask *q = &a->head->ask[kinds[i]];
		const uint8_t *b = a->base + 256 + 640 * i;

		*q = (struct arena_ask){1, 2, 3, -4, 5, 0, "text", "why"};
		IS(b, 4, 1);
		IS(b + 4, 4, 2);
		IS(b + 8, 4, 3);
		IS(b + 12, 4, 0xfffffffc);
		IS(b + 16, 8, 5);
		CU_ASSERT_STRING_EQUAL((const char *)b + 32, "text");
		CU_ASSERT_STRING_EQUAL((const char *)b + 416, "why");
	}
	arena_unmap(a);
}

static void the_gaps_lie_behind_the_mailbox(void)
{
	struct arena *a = fresh(ARENA_HEAP_MIN);

	CU_ASSERT_EQUAL(ARENA_GAPS, 32);
	for (size_t i = 0; i < 32; i++) {
		a->head->gap[i] = (struct arena_gap){i, i + 100};
		IS(a->base + 3456 + 16 * i, 8, i);
		IS(a->base + 3464 + 16 * i, 8, i + 100);
	}
	arena_unmap(a);
}

static void every_part_follows_from_the_size_of_the_heap(void)
{
	CU_ASSERT_EQUAL(arena_tables(ARENA_HEAP_MIN), 2);
	CU_ASSERT_EQUAL(arena_table_at(0), 4096 + 65536);
	CU_ASSERT_EQUAL(arena_table_at(1), 4096 + 65536 + 4096);
	CU_ASSERT_EQUAL(arena_table_at(3), 4096 + 65536 + 4096 + 8192 + 16384);
	CU_ASSERT_EQUAL(arena_heap_at(ARENA_HEAP_MIN), 81920);
	CU_ASSERT_EQUAL(arena_file_bytes(ARENA_HEAP_MIN), 81920 + 65536);
	CU_ASSERT_EQUAL(arena_tables(UINT64_C(1) << 30), 13);
	CU_ASSERT_EQUAL(arena_heap_at(UINT64_C(1) << 30), 4096 + 65536 + 4096 * 8191);
	CU_ASSERT_EQUAL(arena_record_bytes(2, 3), 128);
	CU_ASSERT_EQUAL(arena_record_bytes(2, 33), 192);
	CU_ASSERT_EQUAL(arena_hash("key", 3, 0), UINT64_C(0xbbea0d63a05165e3));
}

static void a_record_and_a_small_version(void)
{
	struct arena *a = fresh(ARENA_HEAP_MIN);
	int32_t x[3] = {1, 2, 3};
	struct arena_var v = {"x", x, 3, ARENA_I32};
	static const uint8_t desc[] = {3, 0, 0, 0, 0, 0, 0, 0, 5, 1, 0, 0, 0, 0, 0, 0, 'x', 0, 0, 0, 0, 0, 0, 0,
				       1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0};
	const uint8_t *rec = a->base + 81920, *slot = rec + 128;
	uint64_t hash = arena_hash("key", 3, 0);
	struct arena_record *r;

	CU_ASSERT_EQUAL(arena_load(a, "key", &v, 1, 9, 4, 1000), 0);
	CU_ASSERT_EQUAL(arena_newest(a, "key", &r), 9);
	CU_ASSERT_PTR_EQUAL(r, rec);
	IS(a->base + 69632 + 4 * (hash & 1023), 4, 1);
	r->want = 5;
	r->keep = 6;
	r->held_tick = 7;
	r->held[0] = 8;
	r->held[6] = 9;
	r->used = 10;
	IS(rec, 8, hash);
	IS(rec + 8, 8, 9 << 8);
	IS(rec + 16, 8, 5);
	IS(rec + 24, 1, 2);
	IS(rec + 25, 1, 3);
	IS(rec + 26, 2, 6);
	IS(rec + 28, 4, 7);
	IS(rec + 32, 4, 8);
	IS(rec + 56, 4, 9);
	IS(rec + 60, 4, 10);
	IS(rec + 64, 8, 128);
	IS(rec + 72, 8, 128);
	IS(rec + 80, 8, 0);
	IS(rec + 88, 8, 0);
	CU_ASSERT_EQUAL(memcmp(rec + 96, "key", 3), 0);
	IS(slot, 8, 9);
	IS(slot + 16, 8, 1000);
	IS(slot + 24, 4, 4);
	IS(slot + 28, 2, 1);
	IS(slot + 30, 1, 0);
	IS(slot + 31, 1, ARENA_PLAIN);
	IS(slot + 32, 8, 12);
	CU_ASSERT_EQUAL(memcmp(slot + 40, desc, sizeof desc), 0);
	IS(slot + 8, 8, arena_hash(slot + 16, 24 + sizeof desc, hash ^ 9));
	IS(slot + 8, 8, UINT64_C(0x2862afed571b8ef6));
	arena_unmap(a);
}

/* Three bytes and a number; before them, in the same slots, longer names and nothing but ones. */
static void nothing_of_an_older_version_shows_in_the_gaps(void)
{
	struct arena *a = fresh(ARENA_HEAP_MIN);
	uint8_t ones[16];
	uint64_t n = 7;
	struct arena_var before[] = {{"longer", ones, 8, ARENA_BYTES}, {"n", ones + 8, 1, ARENA_U64}};
	struct arena_var now[] = {{"x", ones, 3, ARENA_BYTES}, {"n", &n, 1, ARENA_U64}};
	static const uint8_t names[] = {'x', 'n', 0, 0, 0, 0, 0, 0}, data[] = {255, 255, 255, 0, 0, 0, 0, 0, 7};
	const uint8_t *slot = a->base + 81920 + 128;

	memset(ones, 255, sizeof ones);
	CU_ASSERT_EQUAL(arena_put(a, "key", before, 2, NULL), 0);
	CU_ASSERT_EQUAL(arena_put(a, "key", before, 2, NULL), 0);
	CU_ASSERT_EQUAL(arena_put(a, "key", now, 2, NULL), 0);
	IS(slot, 8, 3);
	CU_ASSERT_EQUAL(memcmp(slot + 40 + 2 * 16, names, sizeof names), 0);
	CU_ASSERT_EQUAL(memcmp(slot + 40 + 2 * 16 + 8, data, sizeof data), 0);
	arena_unmap(a);
}

static void a_large_version_has_a_sum_for_each_block(void)
{
	struct arena *a = fresh(1 << 20);
	uint8_t *x = calloc(1, 40000);
	struct arena_var v = {"x", x, 40000, ARENA_BYTES};
	const uint8_t *data = a->heap + 4096, *slot = data - 192, *sums = slot + 64; /* the data begin with a page */

	for (size_t i = 0; i < 40000; i++)
		x[i] = (uint8_t)(i * 31 >> 3);
	CU_ASSERT_EQUAL(arena_load(a, "key", &v, 1, 1, 0, 1000), 0);
	IS(slot, 8, 1);
	IS(slot + 30, 1, 12);
	for (size_t b = 0; b < 10; b++)
		IS(sums + 8 * b, 8, arena_hash(x + 4096 * b, b == 9 ? 40000 - 9 * 4096 : 4096, 0));
	CU_ASSERT_EQUAL(memcmp(data, x, 40000), 0);
	IS(slot + 8, 8, arena_hash(slot + 16, (size_t)(data - slot) - 16, arena_hash("key", 3, 0) ^ 1));
	free(x);
	arena_unmap(a);
}

/* Two variables, 40000 bytes behind a pad of 100 and 8000 behind one of 4000; then only block 4 changes. */
static void protected_regions_have_pads_and_a_map(void)
{
	struct arena *a = fresh(1 << 20);
	uint8_t *x = calloc(1, 40000), *y = calloc(1, 8000);
	struct arena_var v[] = {{"x", x, 40000, ARENA_BYTES}, {"y", y, 1000, ARENA_F64}};
	const uint32_t pads[] = {100, 4000};
	uint64_t at[2], version, sum, changed = 1 << 4;
	struct arena_regions g = {v, pads, 2, 0, 0, NULL, ARENA_WHOLE};
	const uint8_t *one = a->heap + 4096, *two = a->heap + 4096 * 15;

	memset(x, 7, 40000);
	memset(y, 9, 8000);
	CU_ASSERT_EQUAL(arena_offsets(v, pads, 2, at), 52104);
	CU_ASSERT(at[0] == 100 && at[1] == 40104 + 4000);
	CU_ASSERT_EQUAL(arena_put_regions(a, "key", &g, &version, &sum), 0);
	g.base = version;
	g.base_sum = sum;
	g.changed = &changed;
	g.how = ARENA_DIRTY;
	x[4 * 4096] = 8;
	CU_ASSERT_EQUAL(arena_put_regions(a, "key", &g, &version, &sum), 0);
	IS(one, 8, 1);
	IS(one + 31, 1, ARENA_WHOLE);
	IS(one + 32, 8, 52104);
	IS(one + 40, 8, 40000);
	IS(one + 48, 1, ARENA_BYTES);
	IS(one + 49, 1, 1);
	IS(one + 52, 4, 100);
	IS(one + 68, 4, 4000);
	CU_ASSERT_EQUAL(memcmp(one + 72, "xy\0\0\0\0\0\0", 8), 0);
	/* sums from 80, 13 of them; the map behind; data from the next page of the slot */
	for (size_t b = 0; b < 13; b++) {
		IS(one + 80 + 104 + b, 1, 0);
		IS(two + 80 + 104 + b, 1, b == 4 ? 1 : 0);
		IS(one + 80 + 8 * b, 8, arena_hash(one + 4096 + 4096 * b, b == 12 ? 52104 - 12 * 4096 : 4096, 0));
		if (b != 4)
			IS(two + 80 + 8 * b, 8, num(one + 80 + 8 * b, 8));
	}
	IS(two + 80 + 8 * 4, 8, arena_hash(two + 4096 + 4096 * 4, 4096, 0));
	IS(two + 31, 1, ARENA_DIRTY);
	IS(one + 4096 + 99, 1, 0);
	IS(one + 4096 + 100, 1, 7);
	IS(one + 4096 + 40100, 8, 0);
	IS(one + 4096 + 44103, 2, 9 << 8);
	IS(two + 4096 + 100 + 4 * 4096, 1, 8);
	IS(two + 8, 8, arena_hash(two + 16, 4096 - 16, arena_hash("key", 3, 0) ^ 2));
	IS(two + 8, 8, sum);
	free(x);
	free(y);
	arena_unmap(a);
}

static const struct test tests[] = {
	{"the header is one page whose fields stay where they are",
	 the_header_is_one_page_whose_fields_stay_where_they_are},
	{"the mailbox holds five asks of 640 bytes", the_mailbox_holds_five_asks_of_640_bytes},
	{"the gaps lie behind the mailbox", the_gaps_lie_behind_the_mailbox},
	{"every part follows from the size of the heap", every_part_follows_from_the_size_of_the_heap},
	{"a record and a small version", a_record_and_a_small_version},
	{"nothing of an older version shows in the gaps", nothing_of_an_older_version_shows_in_the_gaps},
	{"a large version has a sum for each block", a_large_version_has_a_sum_for_each_block},
	{"protected regions have pads and a map", protected_regions_have_pads_and_a_map},
};

int main(void)
{
	int rc;

	snprintf(dir, sizeof dir, "/dev/shm/test_format.XXXXXX");
	if (!mkdtemp(dir))
		return 1;
	snprintf(path, sizeof path, "%s/arena", dir);
	rc = harness_run("arena format", tests, sizeof tests / sizeof *tests);
	unlink(path);
	rmdir(dir);
	return rc;
}
