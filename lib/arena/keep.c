/* How many versions of a key are kept: slots for more of them, or fewer, whose memory others may have. */
#include <errno.h>

#include "lib/arena/internal.h"

/* Take a slot's memory from it. No version has anything in it. */
static int give_up_extent(struct arena *a, struct arena_record *r, uint32_t slot)
{
	int rc = lock_take(a, 0);

	if (rc)
		return rc;
	store_release(&record_slots(r)[slot].length, 0);
	lock_give(a, 0);
	return 0;
}

static uint32_t versions_of(struct arena *a, struct arena_record *r)
{
	uint32_t i, n = 0;

	for (i = 0; i < r->slots; i++)
		n += slot_version(a, r, i) != 0;
	return n;
}

/* Forget versions, the oldest first, until as many are left as there would be, and what memory then is not used. */
static int forget_oldest(struct arena *a, struct arena_record *r)
{
	uint32_t i, spare;
	int rc = 0;

	for (;;) {
		i = slot_idle(a, r);
		if (versions_of(a, r) <= record_keep(r) + 1 || !slot_version(a, r, i))
			break;
		__atomic_exchange_n(&slot_of(a, r, i)->version, 0, __ATOMIC_SEQ_CST);
	}
	for (i = 0, spare = record_keep(r) + 1 - versions_of(a, r); i < r->slots && !rc; i++) {
		if (slot_version(a, r, i) || !extent_at(a, r, i))
			continue;
		if (spare) {
			spare--;
			continue;
		}
		share_leave(a, r, i);
		rc = give_up_extent(a, r, i);
	}
	return rc;
}

static int keep(struct arena *a, const struct key *k, uint32_t versions)
{
	struct arena_record *r = index_find(a, k);
	uint8_t slots = (uint8_t)(versions + 1);
	int rc = 0;

	if (!r)
		rc = arena_utf8(k->name, k->bytes) ? index_add(a, k, slots, &r) : -EINVAL;
	else if (r->slots < slots)
		rc = index_widen(a, k, slots, &r);
	if (rc)
		return rc;
	__atomic_store_n(&r->keep, (uint16_t)versions, __ATOMIC_RELEASE);
	return r->slots > slots ? forget_oldest(a, r) : 0;
}

int arena_keep(struct arena *a, const char *key, uint32_t versions)
{
	struct key k;
	int rc = a->read_only ? -EACCES : key_make(&k, key);

	if (!rc && (versions == 0 || versions > ARENA_SLOTS_MAX - 1))
		rc = -EINVAL;
	if (!rc)
		rc = lock_take(a, lock_of(k.hash));
	if (rc)
		return rc;
	rc = keep(a, &k, versions);
	lock_give(a, lock_of(k.hash));
	return rc;
}
