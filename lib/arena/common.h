/* Which version do all have? For ranks that go back together, and for the keys of one program. Pure. */
#ifndef CPA_ARENA_COMMON_H
#define CPA_ARENA_COMMON_H

#include <stddef.h>
#include <stdint.h>

/* A rank has a version of a key, whole. Keys by number: the same one for the same name in all ranks. */
struct arena_has {
	uint64_t version;
	uint32_t rank, key;
};

/* The newest version that each of `ranks` ranks has of each of `keys` keys; 0: there is none. has: n of them in any
 * order, also more than once; sorted by this call. */
uint64_t arena_common(struct arena_has *has, size_t n, uint32_t ranks, uint32_t keys);

#endif
