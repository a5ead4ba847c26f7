/* The hostile reader's answer to "which versions of this key could be restored": every slot's, checked to the last
 * block, without holding more of the data than one block. */
#include <errno.h>
#include <stdlib.h>

#include "lib/arena/reader_internal.h"

#define LOOKS 3 /* a slot that a writer changes underneath looks damaged: look again */

/* Blocks of a version that has a description, block sums and perhaps a map at hand. */
static int check_blocks(struct arena_reader *r, const struct record *rec, uint32_t slot, const uint8_t *head,
			const struct slot_plan *p)
{
	const uint64_t *sums = (const uint64_t *)(const void *)(head + p->sums_at);
	uint8_t *block = malloc(UINT64_C(1) << p->block_shift);
	uint64_t b, bytes;
	uint32_t in;
	int rc = block ? 0 : -ENOMEM;

	for (b = 0; !rc && b < p->blocks; b++) {
		in = p->map_at ? head[p->map_at + b] : slot;
		bytes = block_bytes(p, b);
		if (in >= rec->fixed.slots || read_extent_ok(r, &rec->slot[in], p->total) == 0)
			rc = -EPROTO;
		else
			rc = read_at(r, read_extent_at(r, &rec->slot[in]) + p->data_at + (b << p->block_shift), block,
				     bytes);
		if (!rc && arena_hash(block, bytes, 0) != sums[b])
			rc = -EBADMSG;
	}
	free(block);
	return rc;
}

/* The parts of a slot that its description's checksum covers: *head owned by the caller, also after an error. */
static int read_covered(struct arena_reader *r, const struct arena_extent *e, uint8_t **head, struct slot_plan *p)
{
	struct slot_plan now;
	uint64_t bytes;
	int rc = read_slot_description(r, e, head, p);

	if (rc)
		return rc;
	bytes = p->block_shift ? p->data_at : p->total;
	free(*head);
	*head = malloc(bytes);
	rc = *head ? read_at(r, read_extent_at(r, e), *head, bytes) : -ENOMEM;
	if (!rc)
		rc = slot_check(*head, bytes, e->length, &now);
	if (!rc && (now.total != p->total || now.data_at != p->data_at || now.map_at != p->map_at))
		rc = -EAGAIN; /* it has changed since its size was read */
	return rc;
}

/* The version in a slot, 0 if it is not whole. -ENOMEM, -EIO. */
static int whole_version(struct arena_reader *r, const struct record *rec, uint32_t slot, uint64_t *version,
			 uint64_t *bytes)
{
	struct slot_plan p;
	uint8_t *head = NULL;
	uint64_t v = 0;
	int rc = read_extent_ok(r, &rec->slot[slot], 0) ? read_covered(r, &rec->slot[slot], &head, &p) : -EPROTO;

	if (!rc)
		v = ((const struct arena_slot *)(const void *)head)->version;
	if (!rc && (v == 0 || v > rec->fixed.commit >> 8)) /* not published */
		rc = -EPROTO;
	if (!rc)
		rc = slot_verify_head(head, &p, rec->fixed.hash ^ v);
	*bytes += rc ? 0 : p.data_bytes;
	if (!rc && p.block_shift)
		rc = check_blocks(r, rec, slot, head, &p);
	free(head);
	*version = rc ? 0 : v;
	return rc == -ENOMEM || rc == -EIO ? rc : 0;
}

static int in_list(const struct arena_whole *w, uint64_t version)
{
	size_t i;

	for (i = 0; i < w->n; i++)
		if (w->version[i] == version)
			return 1;
	return 0;
}

static int look_at_slots(struct arena_reader *r, const struct record *rec, struct arena_whole *out)
{
	uint64_t v = 0;
	uint32_t i;
	int rc = 0;

	for (out->n = 0, i = 0; !rc && i < rec->fixed.slots; i++) {
		rc = whole_version(r, rec, i, &v, &out->bytes);
		if (!rc && v && !in_list(out, v))
			out->version[out->n++] = v;
	}
	return rc;
}

int arena_read_whole(struct arena_reader *r, const char *key, struct arena_whole *out)
{
	struct record rec, now;
	int rc, looks;

	*out = (struct arena_whole){0};
	for (looks = 0; looks < LOOKS; looks++) {
		rc = read_head(r);
		if (!rc)
			rc = find_record(r, key, &rec);
		if (!rc)
			rc = look_at_slots(r, &rec, out);
		if (rc)
			return rc;
		out->newest = rec.fixed.commit >> 8;
		if (read_record(r, rec.at, &now) == 0 && now.fixed.commit == rec.fixed.commit)
			break; /* nobody committed meanwhile */
	}
	return 0;
}
