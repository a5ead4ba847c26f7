/* lib/arena/block: every variant that this processor can run copies what memcpy copies and hashes what XXH3
 * hashes, at any size and address, writes nothing beside it, and tells the hash of what it stored while the source
 * changes. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "lib/arena/block.h"
#include "tests/unit/harness.h"

#define LARGEST 9000u
#define ROOM (LARGEST + 256)
#define BLOCKS 70u /* more than one turn of what is copied side by side */
#define FENCE 0xa5

#if !defined(__SANITIZE_THREAD__) && defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define __SANITIZE_THREAD__ 1
#endif
#endif
#if defined(__SANITIZE_THREAD__) /* slow, and there is little for it to see here */
#define STEP 19
#else
#define STEP 1
#endif

static _Alignas(64) uint8_t source[ROOM], target[ROOM];
static _Alignas(64) uint8_t many[BLOCKS * BLOCK + 128], stored[BLOCKS * BLOCK + 128];

static void fill(uint8_t *to, size_t bytes)
{
	uint64_t x = 88172645463325252u;
	size_t i;

	for (i = 0; i < bytes; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		to[i] = (uint8_t)x;
	}
}

static int untouched(const uint8_t *p, size_t bytes)
{
	while (bytes && *p == FENCE)
		p++, bytes--;
	return bytes == 0;
}

/* 0 if a copy of bytes between these places is right and nothing around it was touched. */
static int copy_is_wrong(const struct block_variant *v, size_t to, size_t from, size_t bytes, enum block_how how)
{
	uint64_t hash;

	memset(target, FENCE, to + bytes + 64);
	hash = v->copy(target + to, source + from, bytes, how);
	block_done();
	return hash != XXH3_64bits(source + from, bytes) || memcmp(target + to, source + from, bytes) != 0 ||
	       !untouched(target, to) || !untouched(target + to + bytes, 64);
}

static void a_copy_of_any_size_at_any_address_is_exact_and_hashed(void)
{
	static const size_t at[][2] = {{0, 0}, {64, 1}, {16, 16}, {1, 0}, {33, 64}, {48, 7}};
	const struct block_variant *v;
	size_t i, j, bytes;
	int wrong = 0;

	fill(source, sizeof source);
	for (i = 0; (v = block_variant(i)) != NULL; i++)
		for (j = 0; j < sizeof at / sizeof *at; j++)
			for (bytes = 0; bytes <= LARGEST; bytes += j < 2 ? STEP : 7 * STEP) {
				wrong += copy_is_wrong(v, at[j][0], at[j][1], bytes, BLOCK_STREAM);
				wrong += copy_is_wrong(v, at[j][0], at[j][1], bytes, BLOCK_CACHED);
			}
	CU_ASSERT_EQUAL(wrong, 0);
}

static int copies_are_wrong(const struct block_variant *v, size_t to, size_t from, size_t n, enum block_how how)
{
	uint64_t hashes[BLOCKS + 1] = {0};
	size_t b;
	int wrong;

	memset(stored, FENCE, n * BLOCK + 128);
	v->copies(stored + to, many + from, n, hashes, how);
	block_done();
	wrong = memcmp(stored + to, many + from, n * BLOCK) != 0 || hashes[n] != 0 || !untouched(stored, to) ||
		!untouched(stored + to + n * BLOCK, 64);
	for (b = 0; b < n; b++)
		wrong |= hashes[b] != XXH3_64bits(many + from + b * BLOCK, BLOCK);
	return wrong;
}

static void several_blocks_are_copied_as_one_by_one(void)
{
	const struct block_variant *v;
	size_t i, n, offset;
	int wrong = 0;

	fill(many, sizeof many);
	for (i = 0; (v = block_variant(i)) != NULL; i++)
		for (n = 0; n <= BLOCKS; n += n < 9 ? 1 : n < 63 ? 54 : 1)
			for (offset = 0; offset < 64; offset += n < 9 ? STEP : 16) {
				wrong += copies_are_wrong(v, 0, offset, n, BLOCK_STREAM);
				wrong += copies_are_wrong(v, offset, 0, n, BLOCK_STREAM);
				wrong += copies_are_wrong(v, offset + 1, offset, n, BLOCK_CACHED);
			}
	CU_ASSERT_EQUAL(wrong, 0);
}

static void blocks_are_moved_from_and_to_wherever_they_lie(void)
{
	static const size_t offsets[] = {0, 16, 64, 1};
	struct block_move moves[9];
	const struct block_variant *v;
	uint64_t hashes[9], b;
	size_t i, n, o;
	int wrong = 0;

	fill(many, sizeof many);
	for (i = 0; (v = block_variant(i)) != NULL; i++)
		for (n = 0; n <= 9; n++)
			for (o = 0; o < 4; o++) {
				memset(stored, FENCE, sizeof stored);
				for (b = 0; b < n; b++)
					moves[b] = (struct block_move){stored + (13 * b % 9) * 2 * BLOCK + offsets[o],
								       many + 5 * b * BLOCK + b, &hashes[b]};
				v->moves(moves, n);
				block_done();
				for (b = 0; b < n; b++)
					wrong += hashes[b] != XXH3_64bits(moves[b].from, BLOCK) ||
						 memcmp(moves[b].to, moves[b].from, BLOCK) != 0 ||
						 !untouched(moves[b].to + BLOCK, 64);
			}
	CU_ASSERT_EQUAL(wrong, 0);
}

static void hashes_with_a_seed_and_wide_ones_are_those_of_xxh3(void)
{
	const struct block_variant *v;
	size_t i, bytes;
	int wrong = 0;

	fill(source, sizeof source);
	for (bytes = 0; bytes <= LARGEST; bytes += STEP) {
		uint64_t seed = bytes * 2654435761u, want = XXH3_64bits_withSeed(source + 3, bytes, seed), both[2];
		XXH128_hash_t wide = XXH3_128bits(source + 3, bytes);

		for (i = 0; (v = block_variant(i)) != NULL; i++) {
			wrong += v->hash(source + 3, bytes, seed) != want;
			v->hash128(source + 3, bytes, both);
			wrong += both[0] != wide.low64 || both[1] != wide.high64;
		}
		wrong += block_hash(source + 3, bytes, seed) != want;
		block_hash128(source + 3, bytes, both);
		wrong += both[0] != wide.low64 || both[1] != wide.high64;
	}
	CU_ASSERT_EQUAL(wrong, 0);
}

/* In pieces of one to three slices. */
static uint64_t in_pieces(const struct block_variant *v, const uint8_t *from, uint64_t bytes, uint64_t seed)
{
	struct block_sum s;
	uint64_t at, n, piece = 1;

	block_sum_open(&s, seed);
	for (at = 0; bytes - at > BLOCK_SLICE; at += n * BLOCK_SLICE, piece = piece % 3 + 1) {
		n = (bytes - at - 1) / BLOCK_SLICE;
		n = n < piece ? n : piece;
		v->add(&s, from + at, n);
	}
	return block_sum_close(&s, from + at, bytes - at, bytes);
}

static void a_hash_made_slice_by_slice_is_that_of_xxh3(void)
{
	const struct block_variant *v;
	size_t i, bytes;
	int wrong = 0;

	fill(source, sizeof source);
	for (bytes = XXH3_MIDSIZE_MAX + 1; bytes <= LARGEST; bytes += STEP)
		for (i = 0; (v = block_variant(i)) != NULL; i++)
			wrong += in_pieces(v, source + 16, bytes, bytes * 2654435761u) !=
				 XXH3_64bits_withSeed(source + 16, bytes, bytes * 2654435761u);
	CU_ASSERT_EQUAL(wrong, 0);
}

static void the_best_variant_is_the_one_in_use_and_plain_c_is_always_there(void)
{
	uint64_t hash = XXH3_64bits(source, BLOCK);
	size_t n = 0;

	while (block_variant(n))
		n++;
	CU_ASSERT(n >= 1 && block_variant(n - 1) == &block_plain);
	CU_ASSERT_EQUAL(block_copy(target, source, BLOCK, BLOCK_STREAM), hash);
	block_done();
#if defined(__x86_64__)
	CU_ASSERT(block_variant(n - 2) == &block_sse2);
	CU_ASSERT_EQUAL(block_variant(0) == &block_sse2, !__builtin_cpu_supports("avx2"));
#endif
}

#if !defined(__SANITIZE_THREAD__) /* the race is the point */

static uint8_t *changing;
static int enough;

static void *change(void *unused)
{
	uint64_t x = 1, i;

	while (!__atomic_load_n(&enough, __ATOMIC_RELAXED))
		for (i = 0; i < 11 * BLOCK; i += 8)
			__atomic_store_n((uint64_t *)(void *)(changing + i), x++ * UINT64_C(0x9E3779B97F4A7C15),
					 __ATOMIC_RELAXED);
	return unused;
}

/* Copies until the source was seen to change meanwhile often enough; how many hashes did not fit what it stored. */
static int torn_hashes(const struct block_variant *v, uint8_t *to, size_t bytes, enum block_how how)
{
	uint64_t hashes[BLOCKS];
	int wrong = 0, changed = 0, b;

	while (changed < 50) {
		if (bytes % BLOCK == 0)
			v->copies(to, changing, bytes / BLOCK, hashes, how);
		else
			hashes[0] = v->copy(to, changing, bytes, how);
		block_done();
		changed += memcmp(to, changing, bytes) != 0;
		if (bytes % BLOCK)
			wrong += hashes[0] != XXH3_64bits(to, bytes);
		for (b = 0; bytes % BLOCK == 0 && b < (int)(bytes / BLOCK); b++)
			wrong += hashes[b] != XXH3_64bits(to + (size_t)b * BLOCK, BLOCK);
	}
	return wrong;
}

static void the_hash_is_of_what_was_stored_while_a_thread_changes_the_source(void)
{
	static const size_t sizes[] = {100, 1000, 3000, BLOCK, 11 * BLOCK};
	const struct block_variant *v;
	pthread_t thread;
	size_t i, j;

	changing = many;
	enough = 0;
	CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, change, NULL), 0);
	for (i = 0; (v = block_variant(i)) != NULL; i++)
		for (j = 0; j < sizeof sizes / sizeof *sizes; j++) {
			CU_ASSERT_EQUAL(torn_hashes(v, stored, sizes[j], BLOCK_STREAM), 0);
			CU_ASSERT_EQUAL(torn_hashes(v, stored + 16, sizes[j], BLOCK_STREAM), 0);
			CU_ASSERT_EQUAL(torn_hashes(v, stored, sizes[j], BLOCK_CACHED), 0);
		}
	__atomic_store_n(&enough, 1, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
}
#endif

static const struct test tests[] = {
	{"a copy of any size at any address is exact and hashed",
	 a_copy_of_any_size_at_any_address_is_exact_and_hashed},
	{"several blocks are copied as one by one", several_blocks_are_copied_as_one_by_one},
	{"blocks are moved from and to wherever they lie", blocks_are_moved_from_and_to_wherever_they_lie},
	{"a hash made slice by slice is that of XXH3", a_hash_made_slice_by_slice_is_that_of_xxh3},
	{"hashes with a seed, and wide ones, are those of XXH3", hashes_with_a_seed_and_wide_ones_are_those_of_xxh3},
	{"the best variant is the one in use, and plain C is always there",
	 the_best_variant_is_the_one_in_use_and_plain_c_is_always_there},
#if !defined(__SANITIZE_THREAD__)
	{"the hash is of what was stored while a thread changes the source",
	 the_hash_is_of_what_was_stored_while_a_thread_changes_the_source},
#endif
};

int main(void)
{
	return harness_run("block", tests, sizeof tests / sizeof *tests);
}
