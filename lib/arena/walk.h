/* Keys by their prefix, and by how long ago they were used: what a cache in the arena needs (hooks/memo*.c). Works on
 * the trusted mapping and takes each key's lock for a moment only; nothing is read but descriptions. Errors as arena.h. */
#ifndef CPA_ARENA_WALK_H
#define CPA_ARENA_WALK_H

#include "lib/arena/arena.h"

struct arena_found {
	const char *key;  /* lies behind the list */
	uint64_t version; /* the newest; 0: none */
	uint64_t bytes;   /* of its data */
	uint64_t takes;   /* bytes of the heap that forgetting it gives back */
	uint32_t used;    /* arena_record.used */
};

/* Every key that begins with prefix ("" for all), once, in no order. *list: arena_found_free(), NULL for none. -ENOMEM. A
 * handler may call it, which malloc() and its like must not. */
int arena_find(struct arena *a, const char *prefix, struct arena_found **list, size_t *n);
void arena_found_free(struct arena_found *list);

/* The key is used now: no other key that is used so was used later. out may be NULL; its key is not set. -ENOENT. */
int arena_use(struct arena *a, const char *key, struct arena_found *out);

/* Is this newest version of key whole? Reads all of it. -EBADMSG, -ENOENT (no such key, or another version by now). */
int arena_whole(struct arena *a, const char *key, uint64_t version);

#endif
