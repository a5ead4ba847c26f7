/* XXH3-128 inlined, twice: for any CPU, and with AVX2 for those that have it. Private to lib/chunk. */
#ifndef CPA_CHUNK_HASH_H
#define CPA_CHUNK_HASH_H

#include <stddef.h>
#include <stdint.h>

/* The canonical (big-endian) 16 bytes of the hash into out. */
void hash_plain(const void *data, size_t len, uint8_t *out);
#if defined(__x86_64__)
void hash_avx2(const void *data, size_t len, uint8_t *out);
#endif

#endif
