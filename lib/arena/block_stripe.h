/* How XXH3 hashes what block_simd.h copies, stripe by stripe, with the vectors that its includer defined.
 *
 * XXH3 reads 64 bytes at a time (a stripe) into 8 accumulators, with a part of its secret that moves on by 8
 * bytes, and scrambles them after 16 stripes (a kibibyte; a slice here). The last 64 bytes are hashed with a part
 * of their own, and overlap what comes before when the length is no multiple of 64. What is done for each stripe is
 * spelled out here; the rest is xxhash.h's. */
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

/* The accumulators of XXH3 while a slice is hashed. It adds the data to them with each two numbers swapped; here
 * they are summed up as they are, and the sums are swapped in the end. */
struct sums {
	VECTOR acc[VECTORS], data[VECTORS];
};

static inline __attribute__((always_inline)) void hash_vector(struct sums *s, size_t i, VECTOR v,
							      const uint8_t *secret)
{
	VECTOR key = XOR(v, LOAD(secret + i * sizeof(VECTOR)));

	s->data[i] = ADD(s->data[i], v);
	s->acc[i] = ADD(s->acc[i], MUL(key, HIGH(key)));
}

static inline __attribute__((always_inline)) void sums_open(struct sums *s, const uint64_t *acc)
{
	size_t i;

#pragma GCC unroll 4
	for (i = 0; i < VECTORS; i++) {
		s->acc[i] = LOAD((const uint8_t *)acc + i * sizeof(VECTOR));
		s->data[i] = XOR(s->acc[i], s->acc[i]);
	}
}

static inline __attribute__((always_inline)) void sums_close(const struct sums *s, uint64_t *acc)
{
	size_t i;

#pragma GCC unroll 4
	for (i = 0; i < VECTORS; i++)
		STORE((uint8_t *)acc + i * sizeof(VECTOR), ADD(s->acc[i], SWAP(s->data[i])));
}

/* Read once, and by the register only: another thread may be changing it. */
static inline __attribute__((always_inline)) VECTOR read_once(const uint8_t *from)
{
	VECTOR v = LOAD(from);

	KEEP(v);
	return v;
}

static inline __attribute__((always_inline)) void stripe(struct sums *s, uint8_t *to, const uint8_t *from,
							 const uint8_t *secret, enum block_how how)
{
	size_t i;

#pragma GCC unroll 4
	for (i = 0; i < VECTORS; i++) {
		VECTOR v = read_once(from + i * sizeof(VECTOR));

		if (how == BLOCK_STREAM)
			STREAM(to + i * sizeof(VECTOR), v);
		else
			STORE(to + i * sizeof(VECTOR), v);
		hash_vector(s, i, v, secret);
	}
}

/* 16 stripes; last: the part of the secret for the 16th. */
static inline __attribute__((always_inline)) void slice(uint64_t *acc, uint8_t *to, const uint8_t *from,
							const uint8_t *last, enum block_how how)
{
	struct sums s;
	size_t i;

	sums_open(&s, acc);
#pragma GCC unroll 16
	for (i = 0; i < SLICE / STRIPE - 1; i++)
		stripe(&s, to + i * STRIPE, from + i * STRIPE, XXH3_kSecret + 8 * i, how);
	stripe(&s, to + i * STRIPE, from + i * STRIPE, last, how);
	sums_close(&s, acc);
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
	struct sums s;
	uint64_t at, i;

	sums_open(&s, acc);
	for (i = 0, at = 0; at + STRIPE < bytes; i++, at += STRIPE)
		stripe(&s, to + at, from + at, XXH3_kSecret + 8 * i, BLOCK_CACHED);
	sums_close(&s, acc);
	memcpy(to + at, from + at, bytes - at);
	XXH3_accumulate_512(acc, to + bytes - STRIPE, LAST_SECRET);
}
