/* The hostile reader's way from a record to a version: the slot that has it, its blocks where its map says, and
 * another look when the writer was faster. */
#include <errno.h>
#include <stdlib.h>

#include "lib/arena/reader_internal.h"

#define TRIES 20      /* how often a value that moved is read again */
#define HEAD_GUESS 512 /* bytes that most descriptions fit into */

/* Does an extent lie in the heap, and is it a slot's size? */
int read_extent_ok(const struct arena_reader *r, const struct arena_extent *e, uint64_t least)
{
	uint64_t heap = r->head.heap_bytes;

	return e->length >= least && e->length >= sizeof(struct arena_slot) && e->length <= heap &&
	       e->at <= heap - e->length;
}

uint64_t read_extent_at(const struct arena_reader *r, const struct arena_extent *e)
{
	return arena_heap_at(r->head.heap_bytes) + e->at;
}

/* The first `want` bytes of a slot in memory of `room` bytes. */
static int read_part(struct arena_reader *r, const struct arena_extent *e, uint64_t want, uint64_t room, uint8_t **copy)
{
	free(*copy);
	*copy = malloc(room ? room : 1);
	return *copy ? read_at(r, read_extent_at(r, e), *copy, want) : -ENOMEM;
}

/* A slot's description, as far as it can be judged without its sums. */
int read_slot_description(struct arena_reader *r, const struct arena_extent *e, uint8_t **copy, struct slot_plan *p)
{
	uint64_t have = e->length < HEAD_GUESS ? e->length : HEAD_GUESS;
	int rc = -EAGAIN, rounds;

	for (rounds = 0; rc == -EAGAIN && rounds < 4; rounds++) {
		rc = read_part(r, e, have, have, copy);
		if (!rc)
			rc = slot_check(*copy, have, e->length, p);
		have = p->total < e->length ? p->total : e->length;
	}
	return rc;
}

/* Blocks from where the map says to where they would lie without one; runs of blocks at a time. */
static int read_mapped(struct arena_reader *r, const struct record *rec, uint8_t *copy, const struct slot_plan *p)
{
	const uint8_t *map = copy + p->map_at;
	uint64_t b, n, at, bytes;
	int rc = 0;

	for (b = 0; !rc && b < p->blocks; b += n) {
		for (n = 1; b + n < p->blocks && map[b + n] == map[b];)
			n++;
		if (map[b] >= rec->fixed.slots || !read_extent_ok(r, &rec->slot[map[b]], p->total))
			return -EPROTO;
		at = p->data_at + (b << p->block_shift);
		bytes = ((n - 1) << p->block_shift) + block_bytes(p, b + n - 1);
		rc = read_at(r, read_extent_at(r, &rec->slot[map[b]]) + at, copy + at, bytes);
	}
	return rc;
}

/* The description again, up to `want` bytes, which is where it ends or its data do; memory for all. It must still be
 * laid out as it was. */
static int read_again(struct arena_reader *r, const struct arena_extent *e, uint64_t want, uint64_t room, uint8_t **copy,
		      struct slot_plan *p)
{
	struct slot_plan now;
	int rc = read_part(r, e, want, room, copy);

	if (!rc)
		rc = slot_check(*copy, want, e->length, &now);
	if (!rc && (now.total != p->total || now.data_at != p->data_at || now.map_at != p->map_at))
		rc = -EPROTO; /* it has changed since its size was read */
	if (!rc)
		*p = now;
	return rc;
}

/* A slot with its data. */
static int read_whole(struct arena_reader *r, const struct record *rec, const struct arena_extent *e, uint8_t **copy,
		      struct slot_plan *p)
{
	int rc;

	if (r->max_bytes && p->data_bytes > r->max_bytes)
		return -EFBIG;
	rc = read_again(r, e, p->map_at ? p->data_at : p->total, p->total, copy, p);
	return rc || !p->map_at ? rc : read_mapped(r, rec, *copy, p);
}

static int read_slot(struct arena_reader *r, const struct record *rec, uint32_t slot, int verify, uint8_t **copy,
		     struct slot_plan *p)
{
	const struct arena_extent *e = &rec->slot[slot];
	uint64_t version;
	int rc = read_extent_ok(r, e, 0) ? 0 : -EPROTO;

	memset(p, 0, sizeof *p);
	if (!rc)
		rc = read_slot_description(r, e, copy, p);
	if (!rc && verify)
		rc = read_whole(r, rec, e, copy, p);
	if (rc)
		return rc == -EAGAIN ? -EPROTO : rc;
	version = ((const struct arena_slot *)(const void *)*copy)->version;
	if (version == 0 || version > rec->fixed.commit >> 8)
		return -EPROTO;
	return verify ? slot_verify_all(*copy, p, rec->fixed.hash ^ version) : 0;
}

/* Of the slots left, that of the newest version below `below`, by the slots' own words; -1 for none. Of two that say
 * the same, a damaged number is not that of the slot which the record names. */
static int slot_below(struct arena_reader *r, const struct record *rec, uint64_t below, uint64_t left, uint64_t *version)
{
	int found = -1;
	uint64_t v;
	uint32_t i;

	*version = 0;
	for (i = 0; i < rec->fixed.slots; i++) {
		if (!(left >> i & 1) || !read_extent_ok(r, &rec->slot[i], 0) ||
		    read_at(r, read_extent_at(r, &rec->slot[i]), &v, sizeof v) != 0)
			continue;
		if (v && v < below && (v > *version || (v == *version && i == (rec->fixed.commit & 0xff)))) {
			*version = v;
			found = (int)i;
		}
	}
	return found;
}

int read_slot_of(struct arena_reader *r, const struct record *rec, uint64_t version, uint64_t *found)
{
	int slot = version <= rec->fixed.commit >> 8 ? slot_below(r, rec, version + 1, UINT64_MAX, found) : -1;

	return slot >= 0 && *found == version ? slot : -1;
}

int read_slot_head(struct arena_reader *r, const struct record *rec, uint32_t slot, int whole, uint8_t **head,
		   struct slot_plan *p)
{
	const struct arena_extent *e = &rec->slot[slot];
	int rc = read_slot_description(r, e, head, p);

	if (!rc && whole)
		rc = read_again(r, e, p->data_at, p->data_at, head, p);
	return rc == -EAGAIN ? -EPROTO : rc;
}

int read_slot_at(struct arena_reader *r, const struct record *rec, uint32_t slot, const struct slot_plan *p, uint64_t at,
		 void *out, uint64_t length)
{
	if (slot >= rec->fixed.slots || !read_extent_ok(r, &rec->slot[slot], p->total) || at > p->total ||
	    length > p->total - at)
		return -EPROTO;
	return read_at(r, read_extent_at(r, &rec->slot[slot]) + at, out, length);
}

/* One look at a key: the newest version (or the one wanted) that can be read now. Slot by slot, as the library's
 * get_locked() does. */
static int look(struct arena_reader *r, const struct record *rec, uint64_t wanted, int verify, uint8_t **copy,
		struct slot_plan *p, int *skipped)
{
	uint64_t newest = rec->fixed.commit >> 8, last = wanted ? wanted : newest, left = UINT64_MAX, v;
	int slot, rc, damaged = 0;

	if (newest == 0 || wanted > newest)
		return -ENOENT;
	for (;; left &= ~(UINT64_C(1) << slot), last = v) {
		slot = slot_below(r, rec, last + 1, left, &v);
		if (slot < 0 || (wanted && v != wanted))
			return wanted && left == UINT64_MAX && wanted != newest ? -ENOENT : -EBADMSG;
		damaged += v != last;
		rc = read_slot(r, rec, (uint32_t)slot, verify, copy, p);
		if (rc == 0) {
			*skipped = damaged;
			return 0;
		}
		if (rc != -EPROTO && rc != -EBADMSG)
			return rc;
	}
}

/* look() again while the writer moves on underneath. What looks damaged is looked at twice: a slot may have been
 * cleared for the next version since the first time. */
int read_version(struct arena_reader *r, struct record *rec, uint64_t wanted, int verify, uint8_t **copy,
		 struct slot_plan *p, int *skipped)
{
	struct record now;
	int rc = 0, tries, steady = 0;

	*copy = NULL;
	for (tries = 0; tries < TRIES; tries++) {
		rc = look(r, rec, wanted, verify, copy, p, skipped);
		if ((rc == 0 && *skipped == 0) || (rc && rc != -EBADMSG))
			return rc;
		if (read_record(r, rec->at, &now) != 0 || strcmp(now.name, rec->name) != 0)
			return rc; /* taken out, or written over */
		steady = now.fixed.commit == rec->fixed.commit ? steady + 1 : 0;
		if (steady == 2)
			return rc; /* nobody was writing: it is damaged */
		*rec = now;
	}
	return rc ? -EAGAIN : 0;
}
