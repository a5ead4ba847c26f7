/* The body of block_sse2.c, block_avx2.c and block_avx512.c, which define what differs before they include it:
 *
 *   VARIANT             the variant's name
 *   VECTOR              a vector register's type
 *   LOAD(from)          from any address
 *   STORE(to, v)        to any address
 *   STREAM(to, v)       past the caches, to a multiple of the vector's size
 *   JOIN(x, y, shift, index)  the last shift bytes of x, then the first of y; absent where nothing can do it
 *   INDEX(shift)        what JOIN needs for that many, a VECTOR
 *   JOINS(shift)        whether it can
 *   KEEP(v)             v is in a register, and the compiler cannot know its value
 *   CLEAR()             the upper halves of the registers are zeros again
 *
 * XXH3 reads 64 bytes at a time (a stripe) into 8 accumulators, with a part of its secret that moves on by 8
 * bytes, and scrambles them after 16 stripes (a kibibyte; a slice here). The last 64 bytes are hashed with a part
 * of their own, and overlap what comes before when the length is no multiple of 64. The arithmetic is that of
 * xxhash.h. */
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "lib/arena/block.h"

#define STRIPE 64u
#define SLICE 1024u
#define SCRAMBLE_SECRET (XXH3_kSecret + sizeof XXH3_kSecret - STRIPE)
#define SLICE_SECRET (XXH3_kSecret + SLICE / STRIPE * 8 - 8)
#define LAST_SECRET (SCRAMBLE_SECRET - 7)
#define MERGE_SECRET (XXH3_kSecret + 11)
#define VECTORS (STRIPE / sizeof(VECTOR))
#define LANES 4u    /* blocks copied side by side: memory is faster when several of its pages are open */
#define LANE_MAX 16u /* blocks, one after the other */

static inline __attribute__((always_inline)) void stripe(uint64_t *acc, uint8_t *to, const uint8_t *from,
							 const uint8_t *secret, enum block_how how)
{
	VECTOR v[VECTORS];
	size_t i;

#pragma GCC unroll 4
	for (i = 0; i < VECTORS; i++) {
		v[i] = LOAD(from + i * sizeof(VECTOR));
		/* the compiler must not read the source a second time: another thread may be changing it */
		KEEP(v[i]);
		if (how == BLOCK_STREAM)
			STREAM(to + i * sizeof(VECTOR), v[i]);
		else
			STORE(to + i * sizeof(VECTOR), v[i]);
	}
	XXH3_accumulate_512(acc, v, secret);
}

/* 16 stripes; last: the part of the secret for the 16th. */
static inline __attribute__((always_inline)) void slice(uint64_t *acc, uint8_t *to, const uint8_t *from,
							const uint8_t *last, enum block_how how)
{
	size_t i;

#pragma GCC unroll 16
	for (i = 0; i < SLICE / STRIPE - 1; i++)
		stripe(acc, to + i * STRIPE, from + i * STRIPE, XXH3_kSecret + 8 * i, how);
	stripe(acc, to + i * STRIPE, from + i * STRIPE, last, how);
}

/* What slices that follow one another know of: see slice_shifted(). */
struct lane {
	_Alignas(64) uint64_t acc[8];
	VECTOR carry;
	int begun;
};

typedef void slice_fn(struct lane *l, uint8_t *to, const uint8_t *from, const uint8_t *last);

static void slice_cached(struct lane *l, uint8_t *to, const uint8_t *from, const uint8_t *last)
{
	slice(l->acc, to, from, last, BLOCK_CACHED);
}

static void slice_stream(struct lane *l, uint8_t *to, const uint8_t *from, const uint8_t *last)
{
	slice(l->acc, to, from, last, BLOCK_STREAM);
}

static void store_part(uint8_t *to, VECTOR v, size_t from, size_t bytes)
{
	_Alignas(64) uint8_t all[sizeof(VECTOR)];

	STORE(all, v);
	memcpy(to, all + from, bytes);
}

#ifdef JOIN
/* To `to`, which is shift bytes behind where a vector can be streamed to: each vector that is stored has the end
 * of one that was read, which may be of the slice before, and the beginning of the next. */
static void slice_shifted(struct lane *l, uint8_t *to, const uint8_t *from, const uint8_t *last)
{
	const size_t shift = (uintptr_t)to % sizeof(VECTOR);
	const VECTOR index = INDEX(shift);
	VECTOR v[VECTORS], before = l->carry;
	size_t i, j, at;

	for (i = 0; i < SLICE / STRIPE; i++) {
#pragma GCC unroll 4
		for (j = 0; j < VECTORS; j++) {
			at = i * STRIPE + j * sizeof(VECTOR);
			v[j] = LOAD(from + at);
			KEEP(v[j]);
			if (at == 0 && !l->begun)
				store_part(to, v[j], 0, sizeof(VECTOR) - shift);
			else
				STREAM(to + at - shift, JOIN(before, v[j], shift, index));
			before = v[j];
		}
		XXH3_accumulate_512(l->acc, v, i + 1 < SLICE / STRIPE ? XXH3_kSecret + 8 * i : last);
	}
	l->carry = before;
	l->begun = 1;
}
#endif

static slice_fn *slice_for(const uint8_t *to, enum block_how how)
{
	size_t shift = (uintptr_t)to % sizeof(VECTOR);

	if (how == BLOCK_STREAM && shift == 0)
		return slice_stream;
#ifdef JOIN
	if (how == BLOCK_STREAM && JOINS(shift))
		return slice_shifted;
#endif
	return slice_cached;
}

/* The end of a lane whose next byte would go to `to`. */
static void store_carry(struct lane *l, uint8_t *to)
{
	size_t shift = (uintptr_t)to % sizeof(VECTOR);

	if (l->begun)
		store_part(to - shift, l->carry, sizeof(VECTOR) - shift, shift);
}

static void start(uint64_t *acc)
{
	static const uint64_t first[8] = XXH3_INIT_ACC;

	memcpy(acc, first, sizeof first);
}

/* gcc 12 does not everywhere clear the upper halves by itself, and the next instruction of an older kind, in the C
 * library's mutex, would wait 60 ns for them. */
static uint64_t finish(const uint64_t *acc, uint64_t bytes)
{
	uint64_t found = XXH3_mergeAccs(acc, MERGE_SECRET, bytes * XXH_PRIME64_1);

	CLEAR();
	return found;
}

/* What is left of at most a slice. The last 64 bytes are hashed from where they were stored. */
static void end(uint64_t *acc, uint8_t *to, const uint8_t *from, uint64_t bytes)
{
	uint64_t at, i;

	for (i = 0, at = 0; at + STRIPE < bytes; i++, at += STRIPE)
		stripe(acc, to + at, from + at, XXH3_kSecret + 8 * i, BLOCK_CACHED);
	memcpy(to + at, from + at, bytes - at);
	XXH3_accumulate_512(acc, to + bytes - STRIPE, LAST_SECRET);
}

/* The accumulators stay in registers. */
static inline __attribute__((always_inline)) uint64_t copy_as(uint8_t *to, const uint8_t *from, uint64_t bytes,
							      enum block_how how)
{
	_Alignas(64) uint64_t acc[8] = XXH3_INIT_ACC;
	uint64_t left = bytes;

	for (; left > SLICE; left -= SLICE, to += SLICE, from += SLICE) {
		slice(acc, to, from, SLICE_SECRET, how);
		XXH3_scrambleAcc(acc, SCRAMBLE_SECRET);
	}
	if (left == SLICE)
		slice(acc, to, from, LAST_SECRET, how);
	else
		end(acc, to, from, left);
	return finish(acc, bytes);
}

static uint64_t copy(uint8_t *to, const uint8_t *from, uint64_t bytes, enum block_how how)
{
	if (bytes <= XXH3_MIDSIZE_MAX) {
		if (bytes)
			memcpy(to, from, bytes);
		return XXH3_64bits(to, bytes);
	}
	if (slice_for(to, how) == slice_stream)
		return copy_as(to, from, bytes, BLOCK_STREAM);
	return copy_as(to, from, bytes, BLOCK_CACHED);
}

/* LANES lanes of n blocks each, slice by slice in turns. */
static void copy_lanes(uint8_t *to, const uint8_t *from, uint64_t n, uint64_t *hashes, slice_fn *one)
{
	struct lane lanes[LANES];
	uint64_t i, at, b, block;

	for (b = 0; b < LANES; b++)
		lanes[b].begun = 0;
	for (i = 0; i < n; i++) {
		for (b = 0; b < LANES; b++)
			start(lanes[b].acc);
		for (at = 0; at < BLOCK; at += SLICE)
			for (b = 0; b < LANES; b++) {
				block = b * n + i;
				one(&lanes[b], to + block * BLOCK + at, from + block * BLOCK + at,
				    at + SLICE < BLOCK ? SLICE_SECRET : LAST_SECRET);
				if (at + SLICE < BLOCK)
					XXH3_scrambleAcc(lanes[b].acc, SCRAMBLE_SECRET);
			}
		for (b = 0; b < LANES; b++)
			hashes[b * n + i] = finish(lanes[b].acc, BLOCK);
	}
	for (b = 0; b < LANES; b++)
		store_carry(&lanes[b], to + (b + 1) * n * BLOCK);
}

static void copies(uint8_t *to, const uint8_t *from, uint64_t n, uint64_t *hashes, enum block_how how)
{
	slice_fn *one = slice_for(to, how);
	uint64_t i, in_lane;

	for (i = 0; i + LANES <= n; i += LANES * in_lane) {
		in_lane = (n - i) / LANES < LANE_MAX ? (n - i) / LANES : LANE_MAX;
		copy_lanes(to + i * BLOCK, from + i * BLOCK, in_lane, hashes + i, one);
	}
	for (; i < n; i++)
		hashes[i] = copy(to + i * BLOCK, from + i * BLOCK, BLOCK, how);
}

static uint64_t hash(const void *data, uint64_t bytes, uint64_t seed)
{
	uint64_t found = XXH3_64bits_withSeed(data, bytes, seed);

	CLEAR();
	return found;
}

#define VARIANT_STRING_(name) #name
#define VARIANT_NAME_(name) block_##name
#define VARIANT_STRING(name) VARIANT_STRING_(name)
#define VARIANT_NAME(name) VARIANT_NAME_(name)
const struct block_variant VARIANT_NAME(VARIANT) = {VARIANT_STRING(VARIANT), copy, copies, hash};
