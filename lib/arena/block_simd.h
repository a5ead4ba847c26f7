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
 *   ADD(x, y)           sums of their 64-bit numbers
 *   MUL(x, y)           products of the lower halves of those
 *   XOR(x, y)
 *   HIGH(x)             the upper halves, where the lower ones were
 *   SWAP(x)             each two of the numbers swapped */
#include "lib/arena/block_stripe.h"

#define LANES 4u     /* blocks copied side by side: memory is faster when several of its pages are open */
#define LANE_MAX 16u /* blocks, one after the other */

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
	VECTOR v, before = l->carry;
	size_t i, j, at;
	struct sums s[CHAINS];

	sums_open(s, l->acc);
	for (i = 0; i < SLICE / STRIPE; i++) {
		const uint8_t *secret = i + 1 < SLICE / STRIPE ? SECRET(i) : last;

#pragma GCC unroll 4
		for (j = 0; j < VECTORS; j++) {
			at = i * STRIPE + j * sizeof(VECTOR);
			v = read_once(from + at);
			if (at == 0 && !l->begun)
				store_part(to, v, 0, sizeof(VECTOR) - shift);
			else
				STREAM(to + at - shift, JOIN(before, v, shift, index));
			hash_vector(s, j, v, secret);
			before = v;
		}
	}
	sums_close(s, l->acc);
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

/* A block in each lane, slice by slice in turns. */
static void lanes_copy(struct lane lanes[LANES], const struct block_move *moves, slice_fn *one)
{
	uint64_t at, i;

	for (i = 0; i < LANES; i++)
		start(lanes[i].acc);
	for (at = 0; at < BLOCK; at += SLICE)
		for (i = 0; i < LANES; i++) {
			one(&lanes[i], moves[i].to + at, moves[i].from + at,
			    at + SLICE < BLOCK ? SLICE_SECRET : LAST_SECRET);
			if (at + SLICE < BLOCK)
				XXH3_scrambleAcc(lanes[i].acc, SCRAMBLE_SECRET);
		}
	for (i = 0; i < LANES; i++)
		*moves[i].hash = finish(lanes[i].acc, BLOCK);
}

/* Lanes of n blocks each. */
static void copy_lanes(uint8_t *to, const uint8_t *from, uint64_t n, uint64_t *hashes, slice_fn *one)
{
	struct block_move moves[LANES];
	struct lane lanes[LANES];
	uint64_t i, b;

	for (b = 0; b < LANES; b++)
		lanes[b].begun = 0;
	for (i = 0; i < n; i++) {
		for (b = 0; b < LANES; b++) {
			uint64_t block = b * n + i;

			moves[b] = (struct block_move){to + block * BLOCK, from + block * BLOCK, hashes + block};
		}
		lanes_copy(lanes, moves, one);
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

static int all_streamable(const struct block_move *moves)
{
	uintptr_t at = 0;
	size_t i;

	for (i = 0; i < LANES; i++)
		at |= (uintptr_t)moves[i].to;
	return at % sizeof(VECTOR) == 0;
}

/* The next ones: the pages that they lie in are found, and their first lines are under way, when they come to be copied. */
static void foresee(const struct block_move *m, uint64_t n)
{
	uint64_t i;

	for (i = 0; i < n && i < LANES; i++) {
		__builtin_prefetch(m[i].from);
		__builtin_prefetch(m[i].from + STRIPE);
		__builtin_prefetch(m[i].to);
	}
}

static void moves(const struct block_move *m, uint64_t n)
{
	struct lane lanes[LANES];

	for (; n >= LANES && all_streamable(m); m += LANES, n -= LANES) {
		foresee(m + LANES, n - LANES);
		lanes_copy(lanes, m, slice_stream);
	}
	for (; n; m++, n--)
		*m->hash = copy(m->to, m->from, BLOCK, BLOCK_STREAM);
}

static uint64_t hash(const void *data, uint64_t bytes, uint64_t seed)
{
	uint64_t found = XXH3_64bits_withSeed(data, bytes, seed);

	CLEAR();
	return found;
}

static void hash128(const void *data, uint64_t bytes, uint64_t out[2])
{
	XXH128_hash_t found = XXH3_128bits(data, bytes);

	CLEAR();
	out[0] = found.low64;
	out[1] = found.high64;
}

static void add(struct block_sum *s, const uint8_t *from, uint64_t slices)
{
	for (; slices; slices--, from += SLICE)
		slice_sum(s, from);
	CLEAR();
}

#define VARIANT_STRING_(name) #name
#define VARIANT_NAME_(name) block_##name
#define VARIANT_STRING(name) VARIANT_STRING_(name)
#define VARIANT_NAME(name) VARIANT_NAME_(name)
const struct block_variant VARIANT_NAME(VARIANT) = {VARIANT_STRING(VARIANT), copy, copies, moves, hash, hash128, add};
