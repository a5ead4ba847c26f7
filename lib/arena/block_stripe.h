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
#define SLICE BLOCK_SLICE
#define SCRAMBLE_SECRET (XXH3_kSecret + sizeof XXH3_kSecret - STRIPE)
#define SECRET(stripe) ((const uint8_t *)block_secret[stripe])
#define SLICE_SECRET SECRET(SLICE / STRIPE - 1)
#define LAST_SECRET SECRET(BLOCK_SECRETS - 1)
#define MERGE_SECRET (XXH3_kSecret + 11)
#define VECTORS (STRIPE / sizeof(VECTOR))
#define CHAINS (VECTORS > 2 ? 1 : 2) /* stripes are summed up in turns, as far as there are registers for it */

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
	KEEP(s->data[i]); /* or the compiler sums up in another order, and has not enough registers for it */
	KEEP(s->acc[i]);
}

/* CHAINS of them. */
static inline __attribute__((always_inline)) void sums_open(struct sums *s, const uint64_t *acc)
{
	size_t i, c;

#pragma GCC unroll 4
	for (i = 0; i < VECTORS; i++) {
		s->acc[i] = LOAD((const uint8_t *)acc + i * sizeof(VECTOR));
		s->data[i] = XOR(s->acc[i], s->acc[i]);
#pragma GCC unroll 2
		for (c = 1; c < CHAINS; c++)
			s[c].acc[i] = s[c].data[i] = s->data[i];
	}
}

static inline __attribute__((always_inline)) void sums_close(struct sums *s, uint64_t *acc)
{
	size_t i, c;

#pragma GCC unroll 4
	for (i = 0; i < VECTORS; i++) {
#pragma GCC unroll 2
		for (c = 1; c < CHAINS; c++) {
			s->acc[i] = ADD(s->acc[i], s[c].acc[i]);
			s->data[i] = ADD(s->data[i], s[c].data[i]);
		}
		STORE((uint8_t *)acc + i * sizeof(VECTOR), ADD(s->acc[i], SWAP(s->data[i])));
	}
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
	struct sums s[CHAINS];
	size_t i;

	sums_open(s, acc);
#pragma GCC unroll 16
	for (i = 0; i < SLICE / STRIPE - 1; i++)
		stripe(&s[i % CHAINS], to + i * STRIPE, from + i * STRIPE, SECRET(i), how);
	stripe(s, to + i * STRIPE, from + i * STRIPE, last, how);
	sums_close(s, acc);
}

/* 16 stripes that stay where they are. */
static inline __attribute__((always_inline)) void slice_sum(struct block_sum *b, const uint8_t *from)
{
	struct sums s[CHAINS];
	size_t i, j;

	sums_open(s, b->acc);
#pragma GCC unroll 16
	for (i = 0; i < SLICE / STRIPE; i++)
#pragma GCC unroll 4
		for (j = 0; j < VECTORS; j++)
			hash_vector(&s[i % CHAINS], j, read_once(from + i * STRIPE + j * sizeof(VECTOR)),
				    (const uint8_t *)b->secrets[i]);
	sums_close(s, b->acc);
	XXH3_scrambleAcc(b->acc, b->secret + sizeof b->secret - STRIPE);
}

static void start(uint64_t *acc)
{
	static const uint64_t first[8] = XXH3_INIT_ACC;

	memcpy(acc, first, sizeof first);
}

/* gcc 12 does not everywhere clear the upper halves by itself, and the next instruction of an older kind, in the C
 * library's mutex, would wait 60 ns for them. */
static inline __attribute__((always_inline)) uint64_t finish(const uint64_t *acc, uint64_t bytes)
{
	uint64_t found = bytes * XXH_PRIME64_1;
	size_t i;

#pragma GCC unroll 4
	for (i = 0; i < 4; i++)
		found += XXH3_mix2Accs(acc + 2 * i, MERGE_SECRET + 16 * i);
	CLEAR();
	return XXH3_avalanche(found);
}

/* What is left of at most a slice. The last 64 bytes are hashed from where they were stored. */
static void end(uint64_t *acc, uint8_t *to, const uint8_t *from, uint64_t bytes)
{
	struct sums s[CHAINS];
	uint64_t at, i;

	sums_open(s, acc);
	for (i = 0, at = 0; at + STRIPE < bytes; i++, at += STRIPE)
		stripe(s, to + at, from + at, SECRET(i), BLOCK_CACHED);
	sums_close(s, acc);
	memcpy(to + at, from + at, bytes - at);
	XXH3_accumulate_512(acc, to + bytes - STRIPE, LAST_SECRET);
}
