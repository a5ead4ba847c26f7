/* From a key to its record: an open-addressed table of 4-byte buckets with linear probing. It grows by filling the
 * next table and then naming it in the header, one store; a record appears by one store into its bucket. Readers
 * take no lock 0: a table stays as it was while the next one is filled. */
#include <errno.h>
#include <sys/mman.h>

#include "lib/arena/internal.h"

static uint32_t *table_base(struct arena *a, uint32_t table)
{
	return (uint32_t *)(void *)(a->base + arena_table_at(table));
}

/* The record that a bucket's word names; NULL when it names none. */
static inline struct arena_record *record_of(struct arena *a, uint32_t word)
{
	uint64_t at = ((uint64_t)word - 1) * ARENA_UNIT;
	struct arena_record *r;

	if (word == ARENA_BUCKET_EMPTY || word == ARENA_BUCKET_GONE || at + ARENA_UNIT > a->heap_bytes)
		return NULL;
	r = (struct arena_record *)(void *)(a->heap + at);
	if (r->slots < 2 || r->slots > ARENA_SLOTS_MAX ||
	    at + arena_record_bytes(r->slots, r->name_bytes) > a->heap_bytes)
		return NULL; /* not ours: somebody wrote over it */
	return r;
}

struct arena_record *index_at(struct arena *a, uint32_t table, uint64_t bucket)
{
	return record_of(a, load_acquire(&table_base(a, table)[bucket]));
}

static int is_key(struct arena_record *r, const struct key *k)
{
	return r->hash == k->hash && r->name_bytes == k->bytes &&
	       memcmp(record_name(r), k->name, k->bytes) == 0;
}

/* The bucket of a key in a table, and its record; -1 if it is not there. *room (may be NULL): a bucket that it could
 * be put into. Each bucket is read once: without lock 0 the table may be given up and emptied at any moment. */
static inline __attribute__((always_inline)) int64_t probe(struct arena *a, uint32_t table, const struct key *k,
							   int64_t *room, struct arena_record **found)
{
	uint64_t mask = table_buckets(table) - 1, i, b = k->hash & mask;
	const uint32_t *base = table_base(a, table);
	struct arena_record *r;
	uint32_t word;

	if (room)
		*room = -1;
	for (i = 0; i <= mask; i++, b = (b + 1) & mask) {
		word = load_acquire(&base[b]);
		if (room && *room < 0 && (word == ARENA_BUCKET_EMPTY || word == ARENA_BUCKET_GONE))
			*room = (int64_t)b;
		if (word == ARENA_BUCKET_EMPTY)
			break;
		r = record_of(a, word);
		if (r && is_key(r, k)) {
			*found = r;
			return (int64_t)b;
		}
	}
	return -1;
}

uint32_t index_table(struct arena *a)
{
	uint32_t table = load_acquire(&a->head->table);

	return table < a->tables ? table : 0;
}

struct arena_record *index_find(struct arena *a, const struct key *k)
{
	struct arena_record *found = NULL;
	uint32_t moves;

	do
		moves = load_acquire(&a->head->moves);
	while (probe(a, index_table(a), k, NULL, &found) < 0 && moves != load_acquire(&a->head->moves));
	return found;
}

/* Fill table `to` with what `from` has, and name it. -ENOSPC: no room, or no memory. */
static int move_into(struct arena *a, uint32_t from, uint32_t to)
{
	uint32_t *base = table_base(a, to);
	uint64_t mask = table_buckets(to) - 1, b, at, n = 0;
	struct arena_record *r;

	if (heap_back(base, (mask + 1) * sizeof *base) != 0)
		return -ENOSPC;
	memset(base, 0, (mask + 1) * sizeof *base);
	for (b = 0; b < table_buckets(from); b++) {
		if (!(r = index_at(a, from, b)))
			continue;
		if (++n * 5 > (mask + 1) * 4)
			return -ENOSPC;
		for (at = r->hash & mask; base[at] != ARENA_BUCKET_EMPTY; at = (at + 1) & mask)
			;
		base[at] = table_base(a, from)[b];
	}
	store_relaxed(&a->head->keys, n);
	store_relaxed(&a->head->gone, 0);
	store_release(&a->head->moves, a->head->moves + 1);
	store_release(&a->head->table, to);
	store_release(&a->head->moves, a->head->moves + 1);
	/* a reader that is still in there finds nothing, and then that the table has moved */
	madvise(table_base(a, from), table_buckets(from) * sizeof *base, MADV_REMOVE);
	return 0;
}

/* Keep a fifth of the buckets empty. Too many removed ones: a smaller table may take the rest. */
static int make_room(struct arena *a, uint32_t table)
{
	struct arena_header *h = a->head;
	uint64_t keys = load_relaxed(&h->keys), gone = load_relaxed(&h->gone), buckets = table_buckets(table);

	if ((keys + gone + 1) * 5 <= buckets * 4)
		return 0;
	if (table > 0 && (keys + 1) * 4 <= buckets && move_into(a, table, table - 1) == 0)
		return 0;
	if (table + 1 < a->tables && move_into(a, table, table + 1) == 0)
		return 0;
	if (table > 0 && keys * 5 + 5 <= buckets * 2 && move_into(a, table, table - 1) == 0)
		return 0;
	return keys + gone + 1 < buckets ? 0 : -ENOSPC;
}

/* Room for a record, cleared. */
static int make_record(struct arena *a, const struct key *k, uint8_t slots, uint64_t *at)
{
	size_t bytes = arena_record_bytes(slots, k->bytes);
	struct arena_record *r;
	int rc = heap_take(a, bytes, ARENA_UNIT, 0, at);

	if (rc)
		return rc;
	r = (struct arena_record *)(void *)(a->heap + *at);
	memset(r, 0, bytes);
	r->hash = k->hash;
	r->slots = slots;
	r->name_bytes = k->bytes;
	memcpy(record_name(r), k->name, k->bytes);
	return 0;
}

static int insert(struct arena *a, const struct key *k, uint8_t slots, struct arena_record **r)
{
	struct arena_header *h = a->head;
	uint64_t at;
	uint32_t table, *bucket;
	int64_t room;
	struct arena_record *had;
	int rc = make_room(a, index_table(a));

	if (rc || (rc = make_record(a, k, slots, &at)))
		return rc;
	table = index_table(a);
	if (probe(a, table, k, &room, &had) >= 0 || room < 0)
		return -EPROTO; /* the key's lock keeps everyone else from inserting it */
	bucket = &table_base(a, table)[room];
	if (*bucket == ARENA_BUCKET_GONE && h->gone)
		store_relaxed(&h->gone, h->gone - 1);
	store_relaxed(&h->keys, h->keys + 1);
	store_release(bucket, (uint32_t)(at / ARENA_UNIT) + 1);
	*r = (struct arena_record *)(void *)(a->heap + at);
	return 0;
}

int index_add(struct arena *a, const struct key *k, uint8_t slots, struct arena_record **r)
{
	int rc = lock_take(a, 0);

	if (rc)
		return rc;
	rc = insert(a, k, slots, r);
	lock_give(a, 0);
	return rc;
}

/* The new record has the old one's slots, and takes its place by one store. */
static int widen(struct arena *a, const struct key *k, uint8_t slots, struct arena_record **r)
{
	struct arena_record *old = NULL, *now;
	uint64_t at;
	int64_t b;
	int rc = make_record(a, k, slots, &at);

	if (rc)
		return rc;
	b = probe(a, index_table(a), k, NULL, &old);
	if (b < 0 || old->slots > slots)
		return -EPROTO;
	now = (struct arena_record *)(void *)(a->heap + at);
	memcpy(now, old, sizeof *now);
	now->slots = slots;
	memcpy(record_slots(now), record_slots(old), old->slots * sizeof *record_slots(old));
	store_release(&table_base(a, index_table(a))[b], (uint32_t)(at / ARENA_UNIT) + 1);
	*r = now;
	return 0;
}

int index_widen(struct arena *a, const struct key *k, uint8_t slots, struct arena_record **r)
{
	int rc = lock_take(a, 0);

	if (rc)
		return rc;
	rc = widen(a, k, slots, r);
	lock_give(a, 0);
	return rc;
}

int index_remove(struct arena *a, const struct key *k)
{
	struct arena_header *h = a->head;
	struct arena_record *r = NULL;
	uint32_t table;
	int64_t b;
	int rc = lock_take(a, 0);

	if (rc)
		return rc;
	table = index_table(a);
	b = probe(a, table, k, NULL, &r);
	if (b >= 0) {
		store_release(&r->commit, 0);
		store_release(&table_base(a, table)[b], ARENA_BUCKET_GONE);
		store_relaxed(&h->gone, h->gone + 1);
		if (h->keys)
			store_relaxed(&h->keys, h->keys - 1);
	}
	lock_give(a, 0);
	return b >= 0 ? 0 : -ENOENT;
}
