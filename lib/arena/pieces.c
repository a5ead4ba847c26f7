/* See pieces.h. A piece of a value is a run of parts of variables; each part is some bytes of the slot's data, and
 * lies in blocks. The blocks that it touches are read whole, from where the map says, checked, and cut. */
#include "lib/arena/pieces.h"

#include <errno.h>
#include <stdlib.h>

#include "lib/arena/reader_internal.h"

#define RUN_BLOCKS UINT64_C(257) /* that are read at a time: a piece of 1 MiB, wherever it begins */

struct arena_pieces {
	struct arena_key info;
	struct record rec;
	struct slot_plan plan;
	uint32_t slot;
	int checked;
	uint8_t *head; /* the slot's beginning: up to the sums, or, checked, up to the data */
};

static int open_slot(struct arena_reader *r, struct arena_pieces *p, uint64_t version)
{
	uint64_t found;
	int slot = read_slot_of(r, &p->rec, version, &found), rc;

	if (slot < 0)
		return -ENOENT;
	p->slot = (uint32_t)slot;
	rc = read_slot_head(r, &p->rec, p->slot, p->checked, &p->head, &p->plan);
	if (rc)
		return rc;
	if (((const struct arena_slot *)(const void *)p->head)->version != version)
		return -ENOENT;
	if (p->plan.block_shift != BLOCK_SHIFT)
		return -ENOTSUP;
	return p->checked ? slot_verify_head(p->head, &p->plan, p->rec.fixed.hash ^ version) : 0;
}

int arena_pieces_open(struct arena_reader *r, const char *key, uint64_t version, int checked,
		      struct arena_pieces **out)
{
	struct arena_pieces *p = calloc(1, sizeof *p);
	int rc = p ? read_head(r) : -ENOMEM;

	if (!rc)
		rc = find_record(r, key, &p->rec);
	if (!rc) {
		p->checked = checked;
		rc = open_slot(r, p, version);
	}
	if (!rc)
		rc = read_info(&p->rec, p->head, &p->info);
	if (rc) {
		arena_pieces_close(p);
		p = NULL;
	}
	*out = p;
	return rc;
}

void arena_pieces_close(struct arena_pieces *p)
{
	if (!p)
		return;
	arena_key_free(&p->info);
	free(p->head);
	free(p);
}

const struct arena_key *arena_pieces_key(const struct arena_pieces *p)
{
	return &p->info;
}

/* ---- where a piece lies ---- */

/* A part of a variable, in the piece and in the slot's data. */
struct part {
	uint64_t in_piece, at, length;
};

/* Where we are among the variables. */
struct walk {
	size_t var;
	uint64_t packed, data; /* ends of the variable before: in the value, in the slot's data */
};

/* The next part of [offset, offset + length) of the value. 0: there is none. */
static int next_part(const struct arena_pieces *p, struct walk *w, uint64_t offset, uint64_t length,
		     struct part *out)
{
	const struct arena_desc *d = slot_descs(p->head);
	uint64_t bytes, from, to;

	for (; w->var < p->info.n;) {
		const struct arena_desc *v = &d[w->var++];

		bytes = v->count * arena_type_size(v->type);
		w->packed = round_up(w->packed, 8);
		w->data = round_up(w->data, 8) + v->pad;
		from = w->packed > offset ? w->packed : offset;
		to = w->packed + bytes < offset + length ? w->packed + bytes : offset + length;
		*out = (struct part){from - offset, w->data + (from - w->packed), to - from};
		w->packed += bytes;
		w->data += bytes;
		if (from < to)
			return 1;
	}
	return 0;
}

/* ---- reading ---- */

/* The map of n blocks from b on: what was checked at the beginning, or, unchecked, what stands there now. */
static int read_map(struct arena_reader *r, const struct arena_pieces *p, uint64_t b, uint64_t n, uint8_t *map)
{
	if (!p->plan.map_at) {
		memset(map, (int)p->slot, n);
		return 0;
	}
	if (p->checked) {
		memcpy(map, p->head + p->plan.map_at + b, n);
		return 0;
	}
	return read_slot_at(r, &p->rec, p->slot, &p->plan, p->plan.map_at + b, map, n);
}

static int check_blocks(const struct arena_pieces *p, uint64_t b, uint64_t n, const uint8_t *data)
{
	const uint64_t *sums = (const uint64_t *)(const void *)(p->head + p->plan.sums_at);
	uint64_t i;

	for (i = 0; i < n; i++, data += BLOCK)
		if (arena_hash(data, block_bytes(&p->plan, b + i), 0) != sums[b + i])
			return -EBADMSG;
	return 0;
}

/* n blocks from b on, one after the other; runs of those that lie in one slot at a time. */
static int read_blocks(struct arena_reader *r, const struct arena_pieces *p, uint64_t b, uint64_t n, uint8_t *data)
{
	uint8_t map[RUN_BLOCKS];
	uint64_t i, run, at, bytes;
	int rc = read_map(r, p, b, n, map);

	for (i = 0; !rc && i < n; i += run) {
		for (run = 1; i + run < n && map[i + run] == map[i];)
			run++;
		at = p->plan.data_at + ((b + i) << BLOCK_SHIFT);
		bytes = ((run - 1) << BLOCK_SHIFT) + block_bytes(&p->plan, b + i + run - 1);
		rc = read_slot_at(r, &p->rec, map[i], &p->plan, at, data + (i << BLOCK_SHIFT), bytes);
	}
	return rc || !p->checked ? rc : check_blocks(p, b, n, data);
}

static int read_part_of(struct arena_reader *r, const struct arena_pieces *p, const struct part *part,
			uint8_t *room, uint8_t *out)
{
	uint64_t at = part->at, left = part->length, b, n, skip, take;
	int rc = 0;

	for (; !rc && left; at += take, out += take, left -= take) {
		b = at >> BLOCK_SHIFT;
		skip = at & (BLOCK - 1);
		n = (skip + left + BLOCK - 1) >> BLOCK_SHIFT;
		n = n < RUN_BLOCKS ? n : RUN_BLOCKS;
		take = (n << BLOCK_SHIFT) - skip < left ? (n << BLOCK_SHIFT) - skip : left;
		rc = read_blocks(r, p, b, n, room);
		if (!rc)
			memcpy(out, room + skip, take);
	}
	return rc;
}

int arena_pieces_read(struct arena_reader *r, const struct arena_pieces *p, uint64_t offset, uint64_t length,
		      void *out)
{
	uint8_t *room = malloc(RUN_BLOCKS << BLOCK_SHIFT);
	struct walk w = {0, 0, 0};
	struct part part;
	int rc = room ? 0 : -ENOMEM;

	if (!rc && (offset > p->info.bytes || length > p->info.bytes - offset))
		rc = -EPROTO;
	if (!rc)
		memset(out, 0, length); /* between variables */
	while (!rc && next_part(p, &w, offset, length, &part))
		rc = read_part_of(r, p, &part, room, (uint8_t *)out + part.in_piece);
	free(room);
	return rc;
}

/* ---- comparing ---- */

static int laid_out_alike(const struct arena_pieces *x, const struct arena_pieces *y)
{
	const struct arena_desc *dx = slot_descs(x->head), *dy = slot_descs(y->head);
	size_t i;

	if (!x->checked || !y->checked || x->plan.data_bytes != y->plan.data_bytes || x->info.n != y->info.n)
		return 0;
	for (i = 0; i < x->info.n; i++)
		if (dx[i].pad != dy[i].pad || dx[i].count != dy[i].count || dx[i].type != dy[i].type)
			return 0;
	return 1;
}

int arena_pieces_same(const struct arena_pieces *x, const struct arena_pieces *y, uint64_t offset,
		      uint64_t length)
{
	const uint64_t *sx = (const uint64_t *)(const void *)(x->head + x->plan.sums_at);
	const uint64_t *sy = (const uint64_t *)(const void *)(y->head + y->plan.sums_at);
	struct walk w = {0, 0, 0};
	struct part part;
	uint64_t b, n;

	if (!laid_out_alike(x, y) || offset > x->info.bytes || length > x->info.bytes - offset)
		return 0;
	while (next_part(x, &w, offset, length, &part)) {
		b = part.at >> BLOCK_SHIFT;
		n = ((part.at + part.length - 1) >> BLOCK_SHIFT) - b + 1;
		if (memcmp(sx + b, sy + b, n * sizeof *sx) != 0)
			return 0;
	}
	return 1;
}
