/* What the parts of the arena's writer share: locks, heap, index and slots. Not for users of lib/arena. */
#ifndef CPA_ARENA_INTERNAL_H
#define CPA_ARENA_INTERNAL_H

#include <string.h>

#include "lib/arena/arena.h"
#include "lib/arena/block.h"
#include "lib/arena/stream.h"

/* Words that several processes read and write at once. */
#define load_acquire(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define load_relaxed(p) __atomic_load_n(p, __ATOMIC_RELAXED)
#define store_release(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
#define store_relaxed(p, v) __atomic_store_n(p, v, __ATOMIC_RELAXED)

/* The thread sanitizer does not know fences. */
#if !defined(__SANITIZE_THREAD__) && defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define __SANITIZE_THREAD__ 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define FENCES 0
#else
#define FENCES 1
#endif

static inline uint64_t round_up(uint64_t n, uint64_t to)
{
	return (n + to - 1) & ~(to - 1);
}

/* A key as callers name it, with what every step of a lookup needs. */
struct key {
	const char *name;
	uint8_t bytes;
	uint64_t hash;
};

static inline struct arena_extent *record_slots(struct arena_record *r)
{
	return (struct arena_extent *)(void *)(r + 1);
}

static inline char *record_name(struct arena_record *r)
{
	return (char *)(record_slots(r) + r->slots);
}

/* ---- key.c ---- */

/* -EINVAL: too long, or none. */
int key_make(struct key *k, const char *name);

/* A slot's memory, NULL if it has none (or an impossible one). */
static inline uint8_t *extent_at(struct arena *a, struct arena_record *r, uint32_t slot)
{
	const struct arena_extent *e = &record_slots(r)[slot];

	if (e->length < sizeof(struct arena_slot) || e->length > a->heap_bytes || e->at > a->heap_bytes - e->length ||
	    e->at % ARENA_LINE)
		return NULL;
	return a->heap + e->at;
}

static inline struct arena_slot *slot_of(struct arena *a, struct arena_record *r, uint32_t slot)
{
	return (struct arena_slot *)(void *)extent_at(a, r, slot);
}

/* The version that a slot holds, 0 for none: also when its writer died before it was published. */
uint64_t slot_version(struct arena *a, struct arena_record *r, uint32_t slot);

/* How many versions are kept. */
static inline uint32_t record_keep(const struct arena_record *r)
{
	return r->keep && r->keep < r->slots ? r->keep : r->slots - 1u;
}

/* The slot to write next. The versions in all others are kept. The caller holds the key's lock. */
uint32_t idle_of_many(struct arena *a, struct arena_record *r);
static inline uint32_t slot_idle(struct arena *a, struct arena_record *r)
{
	if (r->slots == 2)
		return r->commit && (r->commit & 0xff) == 0;
	return idle_of_many(a, r);
}

/* ---- arena.c ---- */

/* Which boot of the machine this is. */
void arena_boot(uint64_t boot[2]);

/* ---- lock.c ---- */

/* The lock of a key (never lock 0 or ARENA_LOCK_ASKS). */
static inline uint32_t lock_of(uint64_t hash)
{
	return 1 + (uint32_t)(hash >> 40) % (ARENA_LOCK_COUNT - 2);
}
/* 0, -EDEADLK, -ETIMEDOUT, -EPROTO. The death of a holder hands the lock on; everything that locks guard is
 * whole at every instruction, so there is nothing to repair. */
int lock_take(struct arena *a, uint32_t lock);
void lock_give(struct arena *a, uint32_t lock);
/* Make all of them, in a mapping of the lock area. */
void lock_make_all(void *area);

/* ---- heap.c: the caller holds lock 0 ---- */

/* Find room for bytes (a multiple of ARENA_LINE), backed by memory, of which the byte at `inner` lies at a multiple
 * of align. Whoever takes it puts it where the index reaches it before the lock is given back, or it is free again.
 * -ENOSPC, -ENOMEM. */
int heap_take(struct arena *a, uint64_t bytes, uint64_t align, uint64_t inner, uint64_t *at);

/* The same for less, where heap_take() has just failed: what is free is known already. -ENOSPC. */
int heap_take_less(struct arena *a, uint64_t bytes, uint64_t align, uint64_t inner, uint64_t *at);

/* Obtain memory for a part of the mapping (page-aligned) now, when it can still be refused: once /dev/shm is full,
 * the first touch of a page would be a SIGBUS. Needs no lock. -ENOSPC. */
int heap_back(void *from, uint64_t bytes);

/* ---- index.c ---- */

/* The record of a key, NULL if there is none. The caller holds the key's lock. */
struct arena_record *index_find(struct arena *a, const struct key *k);
/* A record for a key that has none. The caller holds the key's lock, not lock 0. */
int index_add(struct arena *a, const struct key *k, uint8_t slots, struct arena_record **r);
/* The record anew, with more slots. The same locks. */
int index_widen(struct arena *a, const struct key *k, uint8_t slots, struct arena_record **r);
/* Take the key out; its memory is free. The same locks. */
int index_remove(struct arena *a, const struct key *k);
/* The record that a bucket of the table in use names, NULL for none or an impossible one. */
struct arena_record *index_at(struct arena *a, uint32_t table, uint64_t bucket);
/* The table in use. */
uint32_t index_table(struct arena *a);
static inline uint64_t table_buckets(uint32_t table)
{
	return (uint64_t)ARENA_TABLE0 << table;
}

/* ---- slot.c: the layout of one version, in the arena or in a copy of it ---- */

#define PLAN_NAMES 16

struct slot_plan {
	uint64_t data_bytes;
	uint64_t blocks;  /* that have a checksum each; 0: all are under one */
	uint64_t sums_at; /* block sums, from the slot's beginning */
	uint64_t map_at;  /* the map; 0: none, blocks lie in their own slot */
	uint64_t data_at; /* data, from the slot's beginning */
	uint64_t total;
	uint8_t block_shift, how;
	uint8_t name_bytes[PLAN_NAMES]; /* of slot_plan(): the lengths of the first names, so that they are measured once */
};

/* What the checksum of a slot covers begins here: behind version and sum. */
#define SUM_FROM offsetof(struct arena_slot, time_ns)

/* What a version is made of. */
struct content {
	const struct arena_var *vars;
	const uint32_t *pads; /* or NULL */
	size_t n;
	uint64_t seed; /* hash ^ version */
	uint64_t sum;  /* out: of the slot */
	int64_t time_ns;
	uint32_t incarnation;
	uint8_t how;
	/* as arena_regions */
	uint64_t base, base_sum;
	const uint64_t *changed;
};

/* What it takes in the heap. -EINVAL for impossible variables. */
int slot_plan(const struct content *c, struct slot_plan *p);

/* Write what stands before the sums, all but the version and the checksum. */
void slot_write_head(uint8_t *slot, const struct slot_plan *p, const struct content *c);

/* The checksum over everything that is written. */
void slot_seal(uint8_t *slot, const struct slot_plan *p, uint64_t seed);

/* Read a slot's own description, of which `have` bytes are at hand, and which may take `most` bytes with its data.
 * 0, -EPROTO (makes no sense), -EAGAIN (needs p->total bytes at hand to tell). */
int slot_check(const uint8_t *slot, uint64_t have, uint64_t most, struct slot_plan *p);

/* Checksums: of the description, block sums, map and unblocked data. 0 or -EBADMSG. */
int slot_verify_head(const uint8_t *slot, const struct slot_plan *p, uint64_t seed);
/* … and of every block, of a version whose blocks all lie in its own slot. */
int slot_verify_all(const uint8_t *slot, const struct slot_plan *p, uint64_t seed);

/* Is a version laid out like c, or like another version, so that they may share blocks? */
int slot_like(const uint8_t *slot, const struct slot_plan *p, const struct content *c, const struct slot_plan *pc);
int slot_alike(const uint8_t *x, const struct slot_plan *px, const uint8_t *y, const struct slot_plan *py);

static inline uint64_t block_bytes(const struct slot_plan *p, uint64_t block)
{
	uint64_t at = block << p->block_shift, size = UINT64_C(1) << p->block_shift;

	return p->data_bytes - at < size ? p->data_bytes - at : size;
}

/* ---- share.c: which slot a block lies in ---- */

/* The data of a record's slots, for versions laid out like the one at hand; NULL: that slot has no such data. */
struct areas {
	uint8_t *area[ARENA_SLOTS_MAX];
};
void areas_find(struct arena *a, struct arena_record *r, const struct slot_plan *p, struct areas *out);

/* Where the blocks of a version may be written: in the slots of the versions laid out like it that are kept, and
 * its own, in the places that none of them uses. There are more such slots than versions, so one is always free. */
struct share {
	struct areas to;
	const uint8_t *map[ARENA_SLOTS_MAX]; /* of the versions kept */
	uint32_t n;
	uint32_t own;
	uint64_t usable; /* bit s: slot s */
};

static inline uint8_t share_slot(const struct share *sh, uint64_t block)
{
	uint64_t used = 0, free;
	uint32_t v;

	for (v = 0; v < sh->n; v++)
		used |= UINT64_C(1) << (sh->map[v][block] & (ARENA_SLOTS_MAX - 1));
	free = sh->usable & ~used;
	return (uint8_t)((free >> sh->own & 1) || !free ? sh->own : (uint32_t)__builtin_ctzll(free));
}

/* For a version of c in slot `own`, which has room for it. */
void share_open(struct arena *a, struct arena_record *r, uint32_t own, const struct content *c,
		const struct slot_plan *p, struct share *sh);

/* Have any versions besides that in slot `own` blocks that c must not lie upon? Then share_leave() before it is
 * used. */
int share_blocks(struct arena *a, struct arena_record *r, uint32_t own, const struct content *c,
		 const struct slot_plan *p);
static inline int share_blocked(struct arena *a, struct arena_record *r, uint32_t own, const struct content *c,
				const struct slot_plan *p)
{
	const struct arena_slot *other = r->slots == 2 ? slot_of(a, r, 1 - own) : NULL;

	if (other && other->how == ARENA_PLAIN) /* nearly always: it has no map */
		return 0;
	return share_blocks(a, r, own, c, p);
}

/* Bring what the versions of other slots have in this one into other slots. Its own version is gone. A death at
 * any instruction leaves each version whole. */
void share_leave(struct arena *a, struct arena_record *r, uint32_t slot);

/* ---- blocks.c: the data of one version ---- */

/* Write the data, with their block sums, into the version's own slot. */
void blocks_write(uint8_t *slot, const struct slot_plan *p, const struct content *c);

/* Do the data of such a version, in its own slot or not, go past the caches? */
int blocks_streamed(const struct slot_plan *p);

/* n blocks from block b on, to where they lie one after the other, and their checksums. */
void blocks_put(uint8_t *to, struct stream *s, const struct slot_plan *p, uint64_t b, uint64_t n, uint64_t *sums,
		enum block_how how);

/* Copy length bytes at offset of the data to out, checking the blocks they lie in. areas: for a version with a
 * map, else unused. 0 or -EBADMSG. */
int slot_copy(const uint8_t *slot, const struct slot_plan *p, const struct areas *areas, uint64_t offset,
	      uint64_t length, uint8_t *out);

/* ---- update.c: the data of one version that has a map ---- */

/* Write all of it, with block sums and map. */
void blocks_share(uint8_t *slot, const struct slot_plan *p, struct stream *s, const struct share *sh);

/* The same from `base`, a version laid out alike: only the blocks whose bit is set are looked at. base_seed, seed: of the
 * two versions' checksums; that of the slot is written too. -EBADMSG: what base says of its blocks does not fit its
 * checksum; then all has to be written. */
int blocks_update(uint8_t *slot, const struct slot_plan *p, struct stream *s, const struct share *sh,
		  const uint8_t *base, const uint64_t *changed, uint64_t base_seed, uint64_t seed);

static inline const struct arena_desc *slot_descs(const uint8_t *slot)
{
	return (const struct arena_desc *)(const void *)(slot + sizeof(struct arena_slot));
}

static inline const char *slot_names(const uint8_t *slot, size_t vars)
{
	return (const char *)(slot_descs(slot) + vars);
}

#endif
