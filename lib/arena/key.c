/* A key's record as its users see it: the name that it goes by, its slots, and which of them is written next. */
#include <errno.h>

#include "lib/arena/internal.h"

int key_make(struct key *k, const char *name)
{
	size_t length = name ? strnlen(name, ARENA_KEY_MAX + 1) : 0;

	if (length == 0 || length > ARENA_KEY_MAX)
		return -EINVAL;
	k->name = name;
	k->bytes = (uint8_t)length;
	k->hash = block_hash(name, length, 0);
	return 0;
}

uint64_t slot_version(struct arena *a, struct arena_record *r, uint32_t slot)
{
	struct arena_slot *s = slot_of(a, r, slot);
	uint64_t version = s ? load_acquire(&s->version) : 0;

	return version <= load_relaxed(&r->commit) >> 8 ? version : 0;
}

/* One whose writer died before it published it; else one with a version that is also elsewhere, because who moved it
 * died (share.c): the others may be all that are kept; else an empty one while fewer than keep + 1 versions are there;
 * else that with the oldest. */
uint32_t idle_of_many(struct arena *a, struct arena_record *r)
{
	uint64_t version, oldest = UINT64_MAX, newest = r->commit >> 8;
	uint64_t seen = 1; /* bit d: version newest - d; the newest is where the record says */
	uint32_t i, versions = 0, empty = UINT32_MAX, last = UINT32_MAX, twin = UINT32_MAX;
	struct arena_slot *s;

	for (i = 0; i < r->slots; i++) {
		s = slot_of(a, r, i);
		version = s ? s->version : 0;
		if (version > newest)
			return i; /* or the next version would have its number */
		versions += version != 0;
		if (newest && i == (r->commit & 0xff))
			continue;
		if (version && newest - version < 64) {
			twin = seen >> (newest - version) & 1 ? i : twin;
			seen |= UINT64_C(1) << (newest - version);
		}
		if (version && version < oldest) {
			oldest = version;
			last = i;
		} else if (!version && (empty == UINT32_MAX || (s && !slot_of(a, r, empty)))) {
			empty = i; /* rather one that has its memory */
		}
	}
	if (twin != UINT32_MAX)
		return twin;
	if (empty != UINT32_MAX && (versions <= record_keep(r) || last == UINT32_MAX))
		return empty;
	return last != UINT32_MAX ? last : (r->commit & 0xff) == 0;
}

uint64_t arena_newest(struct arena *a, const char *key, struct arena_record **record)
{
	struct arena_record *r = NULL;
	struct key k;

	if (key_make(&k, key) == 0)
		r = index_find(a, &k);
	if (record)
		*record = r;
	return r ? load_acquire(&r->commit) >> 8 : 0;
}
