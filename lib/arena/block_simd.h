/* The body of block_sse2.c, block_avx2.c and block_avx512.c, which define what differs before they include it:
 *
 *   VARIANT             the variant's name
 *   VECTOR              a vector register's type
 *   LOAD(from)          from any address
 *   STORE(to, v)        to any address
 *   STREAM(to, v)       past the caches, to a multiple of the vector's size
 *   STREAM16(to, v)     past the caches, to a multiple of 16
 *
 * XXH3 reads 64 bytes at a time (a stripe) into 8 accumulators, with a part of its secret that moves on by 8 bytes, and
 * scrambles them after 16 stripes (a kibibyte here: a slice). The last 64 bytes are hashed with a part of their own, and
 * overlap what comes before when the length is no multiple of 64. The arithmetic is xxhash.h's. */
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "lib/arena/block.h"

#define STRIPE 64u
#define SLICE 1024u
#define SCRAMBLE_SECRET (XXH3_kSecret + sizeof XXH3_kSecret - STRIPE)
#define LAST_SECRET (SCRAMBLE_SECRET - 7)
#define MERGE_SECRET (XXH3_kSecret + 11)
#define VECTORS (STRIPE / sizeof(VECTOR))
#define TOGETHER 4 /* blocks copied side by side: pages of memory, so that it has more than one of them open */

enum store { CACHED, LINES, QUARTERS };

/* How bytes may be stored from there on. */
static enum store store_of(const uint8_t *to, enum block_how how)
{
	if (how == BLOCK_CACHED || (uintptr_t)to % 16)
		return CACHED;
	return (uintptr_t)to % 64 ? QUARTERS : LINES;
}

static inline __attribute__((always_inline)) void stripe(uint64_t *acc, uint8_t *to, const uint8_t *from,
							 const uint8_t *secret, enum store store)
{
	VECTOR v[VECTORS];
	size_t i;

#pragma GCC unroll 4
	for (i = 0; i < VECTORS; i++) {
		v[i] = LOAD(from + i * sizeof(VECTOR));
		/* the compiler must not read the source a second time: another thread may be changing it */
		KEEP(v[i]);
		if (store == LINES)
			STREAM(to + i * sizeof(VECTOR), v[i]);
		else if (store == QUARTERS)
			STREAM16(to + i * sizeof(VECTOR), v[i]);
		else
			STORE(to + i * sizeof(VECTOR), v[i]);
	}
	XXH3_accumulate_512(acc, v, secret);
}

/* 16 stripes; last: the part of the secret for the 16th. */
static inline __attribute__((always_inline)) void slice(uint64_t *acc, uint8_t *to, const uint8_t *from,
							const uint8_t *last, enum store store)
{
	size_t i;

#pragma GCC unroll 16
	for (i = 0; i < SLICE / STRIPE - 1; i++)
		stripe(acc, to + i * STRIPE, from + i * STRIPE, XXH3_kSecret + 8 * i, store);
	stripe(acc, to + i * STRIPE, from + i * STRIPE, last, store);
}

typedef void slice_fn(uint64_t *acc, uint8_t *to, const uint8_t *from, const uint8_t *last);

static void slice_cached(uint64_t *acc, uint8_t *to, const uint8_t *from, const uint8_t *last)
{
	slice(acc, to, from, last, CACHED);
}

static void slice_lines(uint64_t *acc, uint8_t *to, const uint8_t *from, const uint8_t *last)
{
	slice(acc, to, from, last, LINES);
}

static void slice_quarters(uint64_t *acc, uint8_t *to, const uint8_t *from, const uint8_t *last)
{
	slice(acc, to, from, last, QUARTERS);
}

static slice_fn *const slices[] = {[CACHED] = slice_cached, [LINES] = slice_lines, [QUARTERS] = slice_quarters};

static void start(uint64_t *acc)
{
	static const uint64_t first[8] = XXH3_INIT_ACC;

	memcpy(acc, first, sizeof first);
}

static uint64_t finish(const uint64_t *acc, uint64_t bytes)
{
	return XXH3_mergeAccs(acc, MERGE_SECRET, bytes * XXH_PRIME64_1);
}

/* What is left of at most a slice. The last 64 bytes are hashed from where they were stored. */
static void end(uint64_t *acc, uint8_t *to, const uint8_t *from, uint64_t bytes)
{
	uint64_t at, i;

	for (i = 0, at = 0; at + STRIPE < bytes; i++, at += STRIPE)
		stripe(acc, to + at, from + at, XXH3_kSecret + 8 * i, CACHED);
	memcpy(to + at, from + at, bytes - at);
	XXH3_accumulate_512(acc, to + bytes - STRIPE, LAST_SECRET);
}

static uint64_t copy(uint8_t *to, const uint8_t *from, uint64_t bytes, enum block_how how)
{
	slice_fn *one = slices[store_of(to, how)];
	_Alignas(64) uint64_t acc[8];
	uint64_t left = bytes;

	if (bytes <= XXH3_MIDSIZE_MAX) {
		if (bytes)
			memcpy(to, from, bytes);
		return XXH3_64bits(to, bytes);
	}
	start(acc);
	for (; left > SLICE; left -= SLICE, to += SLICE, from += SLICE) {
		one(acc, to, from, XXH3_kSecret + SLICE / STRIPE * 8 - 8);
		XXH3_scrambleAcc(acc, SCRAMBLE_SECRET);
	}
	if (left == SLICE)
		one(acc, to, from, LAST_SECRET);
	else
		end(acc, to, from, left);
	return finish(acc, bytes);
}

static void copy_together(uint8_t *to, const uint8_t *from, uint64_t *hashes, slice_fn *one)
{
	_Alignas(64) uint64_t acc[TOGETHER][8];
	uint64_t at, b;

	for (b = 0; b < TOGETHER; b++)
		start(acc[b]);
	for (at = 0; at < BLOCK; at += SLICE)
		for (b = 0; b < TOGETHER; b++) {
			int last = at + SLICE == BLOCK;

			one(acc[b], to + b * BLOCK + at, from + b * BLOCK + at,
			    last ? LAST_SECRET : XXH3_kSecret + SLICE / STRIPE * 8 - 8);
			if (!last)
				XXH3_scrambleAcc(acc[b], SCRAMBLE_SECRET);
		}
	for (b = 0; b < TOGETHER; b++)
		hashes[b] = finish(acc[b], BLOCK);
}

static void copies(uint8_t *to, const uint8_t *from, uint64_t n, uint64_t *hashes, enum block_how how)
{
	slice_fn *one = slices[store_of(to, how)];
	uint64_t i = 0;

	for (; i + TOGETHER <= n; i += TOGETHER)
		copy_together(to + i * BLOCK, from + i * BLOCK, hashes + i, one);
	for (; i < n; i++)
		hashes[i] = copy(to + i * BLOCK, from + i * BLOCK, BLOCK, how);
}

static uint64_t hash(const void *data, uint64_t bytes, uint64_t seed)
{
	return XXH3_64bits_withSeed(data, bytes, seed);
}

#define VARIANT_STRING_(name) #name
#define VARIANT_NAME_(name) block_##name
#define VARIANT_STRING(name) VARIANT_STRING_(name)
#define VARIANT_NAME(name) VARIANT_NAME_(name)
const struct block_variant VARIANT_NAME(VARIANT) = {VARIANT_STRING(VARIANT), copy, copies, hash};
