/* One file's chunks, hashed or checked with as many threads as pay. Private to images. */
#ifndef CPA_PORTS_IMAGES_HASH_H
#define CPA_PORTS_IMAGES_HASH_H

#include <stdint.h>

#include "lib/base/err.h"

/* Write the ids of the first size bytes of fd to ids. name is for the sentence. buf: CHUNK_BYTES of room. */
int images_hash(int fd, const char *name, uint64_t size, uint8_t *ids, void *buf, struct err *e);

/* Compare them with ids instead; ERR_FAILED names the first offset that differs. */
int images_check(int fd, const char *name, uint64_t size, const uint8_t *ids, void *buf, struct err *e);

#endif
