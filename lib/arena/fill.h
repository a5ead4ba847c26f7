/* Filling a version piece by piece where it is going to lie, for values that are too large to be in memory twice.
 * Only in an arena that nobody else has yet: its checksums fit again when it is done. */
#ifndef CPA_ARENA_FILL_H
#define CPA_ARENA_FILL_H

#include "lib/arena/arena.h"

/* Make a version of key as arena_load() does, all zeros; vars[i].data is not looked at. *data is where its *bytes of
 * data begin, the variables at multiples of 8, for the caller to write. Errors as arena_load(), -ENOMEM. */
int arena_fill_open(struct arena *a, const char *key, const struct arena_var *vars, size_t n, uint64_t version,
		    uint32_t incarnation, int64_t time_ns, uint8_t **data, uint64_t *bytes);

/* All is written: make its checksums fit. -ENOENT, -EPROTO. */
int arena_fill_close(struct arena *a, const char *key);

#endif
