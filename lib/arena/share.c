/* Versions of one key that share the blocks which did not change: who has which block where, where a new one may
 * be put, and how a slot is cleared of what other versions have in it. The caller holds the key's lock.
 *
 * Only versions with a map share, and only those laid out alike. What holds at every instruction: the slots that
 * the map of a kept version names were last written by versions laid out like it. */
#include "lib/arena/internal.h"

void areas_find(struct arena *a, struct arena_record *r, const struct slot_plan *p, struct areas *out)
{
	uint32_t i;

	memset(out, 0, sizeof *out);
	for (i = 0; i < r->slots; i++)
		if (extent_at(a, r, i) && record_slots(r)[i].length >= p->total)
			out->area[i] = extent_at(a, r, i) + p->data_at;
}

/* The description of the version with a map that a slot holds; NULL for none. */
static const uint8_t *mapped(struct arena *a, struct arena_record *r, uint32_t slot, struct slot_plan *p)
{
	const struct arena_slot *s = slot_of(a, r, slot);
	uint64_t most = record_slots(r)[slot].length;

	if (!s || s->how == ARENA_PLAIN || !s->block_shift || !slot_version(a, r, slot) ||
	    slot_check((const uint8_t *)s, most, most, p) != 0)
		return NULL;
	return (const uint8_t *)s;
}

static void admit(struct share *sh, const uint8_t *slot, const struct slot_plan *p, uint32_t i)
{
	sh->map[sh->n++] = slot + p->map_at;
	sh->usable |= UINT64_C(1) << i;
}

void share_open(struct arena *a, struct arena_record *r, uint32_t own, const struct content *c,
		const struct slot_plan *p, struct share *sh)
{
	const uint8_t *slot;
	struct slot_plan ps;
	uint32_t i;

	sh->n = 0;
	sh->own = own;
	sh->usable = UINT64_C(1) << own;
	areas_find(a, r, p, &sh->to);
	for (i = 0; i < r->slots; i++)
		if (i != own && sh->to.area[i] && (slot = mapped(a, r, i, &ps)) && slot_like(slot, &ps, c, p))
			admit(sh, slot, &ps, i);
}

int share_blocks(struct arena *a, struct arena_record *r, uint32_t own, const struct content *c,
		 const struct slot_plan *p)
{
	int fits = extent_at(a, r, own) && record_slots(r)[own].length >= p->total;
	const uint8_t *slot;
	struct slot_plan ps;
	uint32_t i;

	for (i = 0; i < r->slots; i++)
		if (i != own && (slot = mapped(a, r, i, &ps)) && !(fits && slot_like(slot, &ps, c, p)))
			return 1;
	return 0;
}

/* ---- leaving a slot ---- */

/* Where the version in slot `from` may move to: as share_open(), without a slot of its own to write. */
static void share_moving(struct arena *a, struct arena_record *r, uint32_t from, uint32_t leave,
			 const struct slot_plan *p, struct share *sh)
{
	const uint8_t *like = extent_at(a, r, from), *slot;
	struct slot_plan ps;
	uint32_t i;

	sh->n = 0;
	sh->own = from;
	sh->usable = 0;
	areas_find(a, r, p, &sh->to);
	for (i = 0; i < r->slots; i++)
		if (i != leave && (slot = mapped(a, r, i, &ps)) && slot_alike(like, p, slot, &ps))
			admit(sh, slot, &ps, i);
}

/* Put the version into `to`, described as it is in `from`: from there on it is found in both. */
static void publish(struct arena *a, struct arena_record *r, uint32_t to, uint64_t version)
{
	store_release(&slot_of(a, r, to)->version, version);
	if (version == r->commit >> 8)
		store_release(&r->commit, version << 8 | to);
}

static void withdraw(struct arena *a, struct arena_record *r, uint32_t slot)
{
	__atomic_exchange_n(&slot_of(a, r, slot)->version, 0, __ATOMIC_SEQ_CST);
}

/* Copy what slot `from` says of its version to `to`, all but the version's number. */
static void copy_head(struct arena *a, struct arena_record *r, uint32_t from, uint32_t to, const struct slot_plan *p)
{
	const size_t behind = offsetof(struct arena_slot, sum);

	memcpy(extent_at(a, r, to) + behind, extent_at(a, r, from) + behind, p->data_at - behind);
}

/* Move one version's blocks out of slot `leave`. A map cannot be changed in place at one stroke, so the version is
 * described in `leave` too, with its new map, while its own description is changed. */
static void move_version(struct arena *a, struct arena_record *r, uint32_t from, uint32_t leave,
			 const struct slot_plan *p)
{
	uint64_t version = slot_version(a, r, from), b;
	uint8_t *map = extent_at(a, r, leave) + p->map_at, to;
	struct share sh;

	share_moving(a, r, from, leave, p, &sh);
	withdraw(a, r, leave);
	copy_head(a, r, from, leave, p);
	for (b = 0; b < p->blocks; b++) {
		if (map[b] != leave)
			continue;
		to = share_slot(&sh, b);
		memcpy(sh.to.area[to] + (b << p->block_shift), sh.to.area[leave] + (b << p->block_shift),
		       block_bytes(p, b));
		map[b] = to;
	}
	slot_seal(extent_at(a, r, leave), p, r->hash ^ version);
	publish(a, r, leave, version);
	withdraw(a, r, from);
	copy_head(a, r, leave, from, p);
	publish(a, r, from, version);
	withdraw(a, r, leave);
}

void share_leave(struct arena *a, struct arena_record *r, uint32_t leave)
{
	struct slot_plan p;
	const uint8_t *slot;
	uint32_t i;

	for (i = 0; i < r->slots; i++) {
		if (i == leave || !(slot = mapped(a, r, i, &p)) || !memchr(slot + p.map_at, (int)leave, p.blocks))
			continue;
		/* one that is damaged stays so: a new checksum would pass it off as whole */
		if (extent_at(a, r, leave) && record_slots(r)[leave].length >= p.total &&
		    slot_verify_head(slot, &p, r->hash ^ slot_version(a, r, i)) == 0)
			move_version(a, r, i, leave, &p);
	}
}
