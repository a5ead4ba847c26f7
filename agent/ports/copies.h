/* Copies of chunks of a job's keyed checkpoints, for its parent to fetch while the job goes on overwriting them: a
 * directory with one file for each chunk, named by its id. A copy is complete or absent, never changed, and
 * checked whenever it is read; so it does not matter who fetches which keyset while the next one is made, and an
 * agent that was killed leaves nothing but copies that the next one uses or removes. One writer at a time.
 * Everything blocks. */
#ifndef CPA_PORTS_COPIES_H
#define CPA_PORTS_COPIES_H

#include "lib/base/err.h"
#include "lib/chunk/chunk.h"

/* A pack has many small keys: it is kept as long as a keyset names it, because the next one is made of it. Chunks
 * of large keys lie in the arena as well, and go when a level above has them. */
enum copies_kind { COPIES_LARGE, COPIES_PACK };

/* Keep a chunk of CHUNK_BYTES under its id, unless it is there. ERR_FAILED. */
int copies_put(const char *dir, enum copies_kind kind, const uint8_t *id, const void *data, struct err *e);

/* The chunk into buf of CHUNK_BYTES. ERR_NOT_FOUND, ERR_FAILED (damaged). */
int copies_get(const char *dir, const uint8_t *id, void *buf);

/* Is there a copy of this kind? */
bool copies_have(const char *dir, enum copies_kind kind, const uint8_t *id);

/* Remove every copy that is not among these. ids: borrowed; sorted here. */
void copies_keep(const char *dir, struct chunk_id *ids, size_t n);

/* Remove the copies of large keys. */
void copies_drop_large(const char *dir);

#endif
