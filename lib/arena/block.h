/* One pass over memory that copies it and hashes it: what keeps a checksummed checkpoint at the speed of memcpy.
 *
 * The hash is always XXH3-64 of exactly the bytes that were put at `to`, also when another thread changes the
 * source meanwhile: every byte of the source is read once, and hashed from the register that is stored (or from
 * where it was stored). There is one variant for each set of vector instructions; which of them the processor has
 * is looked up once. Used where versions are written and read, and through arena_hash() by everyone. */
#ifndef CPA_ARENA_BLOCK_H
#define CPA_ARENA_BLOCK_H

#include <stddef.h>
#include <stdint.h>

#define BLOCK_SHIFT 12
#define BLOCK (UINT64_C(1) << BLOCK_SHIFT)

/* Stream: past the caches, for what is too large to be found there again. Needs block_done() before others are
 * told of the bytes. Where `to` is at no multiple of 16, it may be the same as cached. */
enum block_how { BLOCK_CACHED, BLOCK_STREAM };

/* Copy bytes (any number); returns their XXH3-64 with seed 0. No overlap. */
uint64_t block_copy(uint8_t *to, const uint8_t *from, uint64_t bytes, enum block_how how);

/* Copy n whole blocks of BLOCK bytes that lie one after the other, hashes[i] for each. Faster than one by one. */
void block_copies(uint8_t *to, const uint8_t *from, uint64_t n, uint64_t *hashes, enum block_how how);

/* Copy n whole blocks from and to wherever they lie, streamed. */
struct block_move {
	uint8_t *to;
	const uint8_t *from;
	uint64_t *hash;
};
void block_moves(const struct block_move *moves, uint64_t n);

/* Streamed bytes are visible to whoever sees what is stored after this call. */
void block_done(void);

uint64_t block_hash(const void *data, uint64_t bytes, uint64_t seed);

/* The same hash of more than 240 bytes that lie one after the other, as they become known. block_sum_add() takes as many
 * slices as are told, but never the last byte; block_sum_close() the last 1 to BLOCK_SLICE bytes, which end `total`. */
#define BLOCK_SLICE UINT64_C(1024)
#define BLOCK_SECRETS 17

struct block_sum {
	_Alignas(64) uint64_t acc[8];
	uint64_t secrets[BLOCK_SECRETS][8]; /* as block_secret */
	uint8_t secret[192];
};
void block_sum_open(struct block_sum *s, uint64_t seed);
void block_sum_add(struct block_sum *s, const uint8_t *from, uint64_t slices);
uint64_t block_sum_close(struct block_sum *s, const uint8_t *from, uint64_t bytes, uint64_t total);

/* XXH3-128: low half, high half. */
void block_hash128(const void *data, uint64_t bytes, uint64_t out[2]);

/* The variants, for tests: the i-th that this processor can run, best first (what the functions above use); NULL
 * behind the last. */
struct block_variant {
	const char *name;
	uint64_t (*copy)(uint8_t *to, const uint8_t *from, uint64_t bytes, enum block_how how);
	void (*copies)(uint8_t *to, const uint8_t *from, uint64_t n, uint64_t *hashes, enum block_how how);
	void (*moves)(const struct block_move *moves, uint64_t n);
	uint64_t (*hash)(const void *data, uint64_t bytes, uint64_t seed);
	void (*hash128)(const void *data, uint64_t bytes, uint64_t out[2]);
	void (*add)(struct block_sum *s, const uint8_t *from, uint64_t slices);
};
const struct block_variant *block_variant(size_t i);

extern const struct block_variant block_plain;

/* block_secret.c: rows 0 to 15 for the stripes of a slice, the last row for the last stripe of all. */
extern const uint64_t block_secret[BLOCK_SECRETS][8];
#if defined(__x86_64__)
extern const struct block_variant block_sse2, block_avx2, block_avx512;
#endif

#endif
