/* Chunks: every checkpoint travels and is kept as pieces of at most CHUNK_BYTES, named by a hash of their
 * content, so that what a receiver holds is not sent again. The id is XXH3-128: fast, no defence against a
 * crafted collision, so chunks are shared only within one user's data (see the store) and a manifest carries a
 * keyed checksum. A chunk of zeros only has the all-zero id; it is never stored or sent. */
#ifndef CPA_CHUNK_CHUNK_H
#define CPA_CHUNK_CHUNK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"

#define CHUNK_BYTES ((size_t)1 << 20)
#define CHUNK_ID_BYTES 16
#define CHUNK_HEX_MAX (2 * CHUNK_ID_BYTES + 1)

struct chunk_id {
	uint8_t b[CHUNK_ID_BYTES];
};

/* How many chunks a file or value of size bytes has; the length of its last or any other one. */
static inline uint64_t chunk_count(uint64_t size)
{
	return size / CHUNK_BYTES + (size % CHUNK_BYTES != 0);
}

static inline size_t chunk_len(uint64_t size, uint64_t index)
{
	uint64_t left = size - index * CHUNK_BYTES;

	return left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES;
}

/* Are these bytes all zero? Stops at the first that is not. */
bool chunk_is_zero(const void *data, size_t len);

/* The id of len <= CHUNK_BYTES bytes; all-zero for zeros. */
struct chunk_id chunk_id(const void *data, size_t len);

/* The ids of a whole value in memory, one after the other: chunk_count(len) * CHUNK_ID_BYTES bytes at ids. */
void chunk_ids(const void *data, size_t len, uint8_t *ids);

bool chunk_id_is_zero(const uint8_t *id);
bool chunk_id_equal(const uint8_t *a, const uint8_t *b);

/* 32 hex digits and a NUL into buf of CHUNK_HEX_MAX; returns buf. And back: false unless 32 hex digits. */
const char *chunk_hex(const uint8_t *id, char *buf);
bool chunk_from_hex(const char *hex, struct chunk_id *id);

/* Compress for storing or sending into out, which has room for CHUNK_BYTES. Returns the packed length, or 0
 * when it does not help by at least an eighth: then send raw as it is. Safe from any thread. */
size_t chunk_pack(const void *raw, size_t len, void *out);

/* Undo it: exactly raw_len <= CHUNK_BYTES bytes come out at raw, or ERR_FAILED with a sentence. With compressed
 * false it is a checked copy. Does not look at the id. */
int chunk_unpack(const void *packed, size_t len, bool compressed, void *raw, size_t raw_len, struct err *e);

#endif
