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
	k->hash = arena_hash(name, length, 0);
	return 0;
}

uint8_t *extent_at(struct arena *a, struct arena_record *r, uint32_t slot)
{
	const struct arena_extent *e = &record_slots(r)[slot];

	if (e->length < sizeof(struct arena_slot) || e->length > a->heap_bytes || e->at > a->heap_bytes - e->length ||
	    e->at % ARENA_LINE)
		return NULL;
	return a->heap + e->at;
}

uint64_t slot_version(struct arena *a, struct arena_record *r, uint32_t slot)
{
	struct arena_slot *s = slot_of(a, r, slot);
	uint64_t version = s ? load_acquire(&s->version) : 0;

	return version <= load_relaxed(&r->commit) >> 8 ? version : 0;
}

/* Does another slot hold the same version? A death in share_leave() leaves two of one, equally good. */
static int is_twin(struct arena *a, struct arena_record *r, uint32_t slot, uint64_t version)
{
	uint32_t i;

	if (version == r->commit >> 8)
		return slot != (r->commit & 0xff);
	for (i = 0; i < slot; i++)
		if (slot_version(a, r, i) == version)
			return 1;
	return 0;
}

/* An empty slot while fewer than keep + 1 versions are there, else the one with the oldest. */
static uint32_t idle_of_many(struct arena *a, struct arena_record *r)
{
	uint32_t newest = (uint32_t)(r->commit & 0xff), i, versions = 0, empty = UINT32_MAX, last = UINT32_MAX;
	uint64_t oldest = UINT64_MAX;

	for (i = 0; i < r->slots; i++) {
		uint64_t version = slot_version(a, r, i);

		if (version && !is_twin(a, r, i, version)) {
			versions++;
			if (version < oldest && !(r->commit && i == newest)) {
				oldest = version;
				last = i;
			}
		} else if (!(r->commit && i == newest) &&
			   (empty == UINT32_MAX || (!extent_at(a, r, empty) && extent_at(a, r, i)))) {
			empty = i; /* rather one that has its memory */
		}
	}
	if (empty != UINT32_MAX && (versions <= record_keep(r) || last == UINT32_MAX))
		return empty;
	return last != UINT32_MAX ? last : newest == 0;
}

uint32_t slot_idle(struct arena *a, struct arena_record *r)
{
	if (r->slots == 2)
		return r->commit && (r->commit & 0xff) == 0;
	return idle_of_many(a, r);
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
