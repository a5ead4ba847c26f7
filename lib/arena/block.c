/* Which variant of block.h runs here, and the one in plain C. */
#include "lib/arena/block.h"

#include <string.h>

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

#define XXH_INLINE_ALL
#include <xxhash.h>

/* Hashed from where it was stored, while it is in the first cache. */
static uint64_t plain_copy(uint8_t *to, const uint8_t *from, uint64_t bytes, enum block_how how)
{
	(void)how;
	if (bytes)
		memcpy(to, from, bytes);
	return XXH3_64bits(to, bytes);
}

static void plain_copies(uint8_t *to, const uint8_t *from, uint64_t n, uint64_t *hashes, enum block_how how)
{
	uint64_t i;

	for (i = 0; i < n; i++)
		hashes[i] = plain_copy(to + i * BLOCK, from + i * BLOCK, BLOCK, how);
}

static void plain_moves(const struct block_move *moves, uint64_t n)
{
	uint64_t i;

	for (i = 0; i < n; i++)
		*moves[i].hash = plain_copy(moves[i].to, moves[i].from, BLOCK, BLOCK_STREAM);
}

static uint64_t plain_hash(const void *data, uint64_t bytes, uint64_t seed)
{
	return XXH3_64bits_withSeed(data, bytes, seed);
}

static void plain_hash128(const void *data, uint64_t bytes, uint64_t out[2])
{
	XXH128_hash_t h = XXH3_128bits(data, bytes);

	out[0] = h.low64;
	out[1] = h.high64;
}

static void plain_add(struct block_sum *s, const uint8_t *from, uint64_t slices)
{
	uint64_t i;

	for (; slices; slices--, from += BLOCK_SLICE) {
		for (i = 0; i < BLOCK_SLICE / 64; i++)
			XXH3_accumulate_512(s->acc, from + 64 * i, s->secrets[i]);
		XXH3_scrambleAcc(s->acc, s->secret + sizeof s->secret - 64);
	}
}

const struct block_variant block_plain = {"plain",    plain_copy,    plain_copies, plain_moves,
					  plain_hash, plain_hash128, plain_add};

/* Fills all[], best first. The 512-bit registers only where they came with AVX-512 VBMI2: processors before that
 * lower the clock of the whole core for a while when they are used, and the program would pay for it. */
static size_t find_variants(const struct block_variant *all[4])
{
	size_t n = 0;

#if defined(__x86_64__)
	__builtin_cpu_init(); /* a caller may be a constructor that runs before the C library's own */
	if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vbmi") &&
	    __builtin_cpu_supports("avx512vbmi2"))
		all[n++] = &block_avx512;
	if (__builtin_cpu_supports("avx2"))
		all[n++] = &block_avx2;
	all[n++] = &block_sse2;
#endif
	all[n++] = &block_plain;
	return n;
}

const struct block_variant *block_variant(size_t i)
{
	const struct block_variant *all[4];

	return i < find_variants(all) ? all[i] : NULL;
}

/* Threads that come here at the same time find the same. */
static const struct block_variant *best(void)
{
	static const struct block_variant *found;
	const struct block_variant *v = __atomic_load_n(&found, __ATOMIC_RELAXED);

	if (__builtin_expect(!v, 0)) {
		v = block_variant(0);
		__atomic_store_n(&found, v, __ATOMIC_RELAXED);
	}
	return v;
}

uint64_t block_copy(uint8_t *to, const uint8_t *from, uint64_t bytes, enum block_how how)
{
	return best()->copy(to, from, bytes, how);
}

void block_copies(uint8_t *to, const uint8_t *from, uint64_t n, uint64_t *hashes, enum block_how how)
{
	best()->copies(to, from, n, hashes, how);
}

void block_moves(const struct block_move *moves, uint64_t n)
{
	best()->moves(moves, n);
}

uint64_t block_hash(const void *data, uint64_t bytes, uint64_t seed)
{
	if (bytes <= XXH3_MIDSIZE_MAX) /* XXH3 has no use for vectors */
		return XXH3_64bits_withSeed(data, bytes, seed);
	return best()->hash(data, bytes, seed);
}

void block_hash128(const void *data, uint64_t bytes, uint64_t out[2])
{
	(bytes <= XXH3_MIDSIZE_MAX ? plain_hash128 : best()->hash128)(data, bytes, out);
}

void block_sum_open(struct block_sum *s, uint64_t seed)
{
	static const uint64_t first[8] = XXH3_INIT_ACC;
	uint64_t i;

	memcpy(s->acc, first, sizeof first);
	XXH3_initCustomSecret_scalar(s->secret, seed);
	for (i = 0; i < BLOCK_SECRETS - 1; i++)
		memcpy(s->secrets[i], s->secret + 8 * i, 64);
	memcpy(s->secrets[i], s->secret + sizeof s->secret - 64 - 7, 64);
}

void block_sum_add(struct block_sum *s, const uint8_t *from, uint64_t slices)
{
	best()->add(s, from, slices);
}

uint64_t block_sum_close(struct block_sum *s, const uint8_t *from, uint64_t bytes, uint64_t total)
{
	uint64_t at, i;

	for (i = 0, at = 0; at + 64 < bytes; i++, at += 64)
		XXH3_accumulate_512(s->acc, from + at, s->secrets[i]);
	XXH3_accumulate_512(s->acc, from + bytes - 64, s->secrets[BLOCK_SECRETS - 1]);
	return XXH3_mergeAccs(s->acc, s->secret + 11, total * XXH_PRIME64_1);
}

void block_done(void)
{
#if defined(__x86_64__)
	_mm_sfence();
#endif
}
