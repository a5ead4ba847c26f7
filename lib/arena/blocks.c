/* The data of one version: copied in and out, block by block with their checksums where they have such. Which slot
 * a block goes to is share.c's to say. */
#include <errno.h>

#include "lib/arena/block.h"
#include "lib/arena/internal.h"

/* From these sizes on the data pass by the caches: they would not be found there again, and would push out what
 * the program computes with. What is read back is wanted soon, so only what no second cache holds. */
#define STREAM_WRITE_FROM (UINT64_C(1) << 20)
#define STREAM_READ_FROM (UINT64_C(8) << 20)

/* One block that is shorter, or does not lie in one variable as it is. Returns its checksum. */
static uint64_t write_one(uint8_t *to, struct stream *s, uint64_t at, uint64_t bytes, enum block_how how)
{
	_Alignas(64) uint8_t block[BLOCK];
	uint64_t in_var;
	const uint8_t *from = stream_run(s, at, &in_var);

	if (in_var >= bytes)
		return block_copy(to, from, bytes, how);
	stream_read(s, at, block, bytes);
	return block_copy(to, block, bytes, how);
}

void blocks_put(uint8_t *to, struct stream *s, const struct slot_plan *p, uint64_t b, uint64_t n, uint64_t *sums,
		enum block_how how)
{
	uint64_t take, at, in_var;
	const uint8_t *from;

	for (; n; b += take, n -= take, to += take * BLOCK, sums += take) {
		at = b * BLOCK;
		from = stream_run(s, at, &in_var);
		take = in_var / BLOCK < n ? in_var / BLOCK : n;
		if (take == 1) {
			*sums = block_copy(to, from, BLOCK, how);
		} else if (take) {
			block_copies(to, from, take, sums, how);
		} else {
			take = 1;
			*sums = write_one(to, s, at, block_bytes(p, b), how);
		}
	}
}

int blocks_streamed(const struct slot_plan *p)
{
	return p->map_at || p->data_bytes >= STREAM_WRITE_FROM;
}

/* The stream of all variables at once. */
static void write_small(uint8_t *to, const struct content *c)
{
	uint64_t at = 0, start, bytes;
	size_t i;

	for (i = 0; i < c->n; i++, at = start + bytes) {
		bytes = c->vars[i].count * arena_type_size(c->vars[i].type);
		for (start = round_up(at, 8) + (c->pads ? c->pads[i] : 0); at < start; at++)
			to[at] = 0;
		if (bytes)
			memcpy(to + at, c->vars[i].data, bytes);
	}
}

void blocks_write(uint8_t *slot, const struct slot_plan *p, const struct content *c)
{
	uint64_t *sums = (uint64_t *)(void *)(slot + p->sums_at);
	enum block_how how = blocks_streamed(p) ? BLOCK_STREAM : BLOCK_CACHED;
	struct stream s;

	if (!p->blocks) {
		write_small(slot + p->data_at, c);
		return;
	}
	if (p->blocks == 1 && c->n == 1 && !(c->pads && c->pads[0])) {
		*sums = block_copy(slot + p->data_at, c->vars[0].data, p->data_bytes, how);
		return;
	}
	stream_open(&s, c->vars, c->pads, c->n);
	blocks_put(slot + p->data_at, &s, p, 0, p->blocks, sums, how);
	if (how == BLOCK_STREAM)
		block_done();
}

/* ---- and back ---- */

static int verify_block(const uint8_t *at, const uint8_t *slot, const struct slot_plan *p, uint64_t block)
{
	const uint64_t *sums = (const uint64_t *)(const void *)(slot + p->sums_at);

	return sums[block] == arena_hash(at, block_bytes(p, block), 0) ? 0 : -EBADMSG;
}

int slot_verify_all(const uint8_t *slot, const struct slot_plan *p, uint64_t seed)
{
	uint64_t b;

	if (slot_verify_head(slot, p, seed) != 0)
		return -EBADMSG;
	for (b = 0; b < p->blocks; b++)
		if (verify_block(slot + p->data_at + (b << p->block_shift), slot, p, b) != 0)
			return -EBADMSG;
	return 0;
}

/* n whole blocks that lie one after the other, each as it was checked. */
static int read_run(const uint8_t *from, const uint64_t *sums, uint64_t n, uint8_t *out, enum block_how how)
{
	uint64_t got[64], take;

	for (; n; n -= take, from += take * BLOCK, out += take * BLOCK, sums += take) {
		take = n < 64 ? n : 64;
		block_copies(out, from, take, got, how);
		if (memcmp(got, sums, take * sizeof *got) != 0)
			return -EBADMSG;
	}
	return 0;
}

/* A block whole, or a part of one, which is checked first. */
static int read_one(const uint8_t *from, uint64_t sum, uint64_t bytes, uint64_t at, uint64_t take, uint8_t *out,
		    enum block_how how)
{
	if (take == bytes)
		return block_copy(out, from, bytes, how) == sum ? 0 : -EBADMSG;
	if (arena_hash(from, bytes, 0) != sum)
		return -EBADMSG;
	memcpy(out, from + at, take);
	return 0;
}

/* The slot whose data have block b; -1: none has. */
static int slot_with(const uint8_t *slot, const struct slot_plan *p, uint64_t b)
{
	uint8_t s = slot[p->map_at + b];

	return s < ARENA_SLOTS_MAX ? s : -1;
}

/* Where the data lie that have block b, NULL: nowhere; and how many of `most` blocks from there lie in them. */
static const uint8_t *find_run(const uint8_t *slot, const struct slot_plan *p, const struct areas *areas,
			       uint64_t b, uint64_t most, uint64_t *run)
{
	int s;

	*run = most;
	if (!p->map_at)
		return slot + p->data_at;
	s = slot_with(slot, p, b);
	for (*run = 1; *run < most && slot_with(slot, p, b + *run) == s;)
		++*run;
	return s < 0 ? NULL : areas->area[s];
}

int slot_copy(const uint8_t *slot, const struct slot_plan *p, const struct areas *areas, uint64_t offset,
	      uint64_t length, uint8_t *out)
{
	const uint64_t *sums = (const uint64_t *)(const void *)(slot + p->sums_at);
	const uint64_t size = UINT64_C(1) << p->block_shift;
	enum block_how how = length >= STREAM_READ_FROM ? BLOCK_STREAM : BLOCK_CACHED;
	uint64_t take, in_block, b, run;
	const uint8_t *data;

	if (!p->blocks) { /* slot_verify_head() has covered it */
		if (length)
			memcpy(out, slot + p->data_at + offset, length);
		return 0;
	}
	for (; length; offset += take, out += take, length -= take) {
		b = offset >> p->block_shift;
		in_block = offset & (size - 1);
		take = size - in_block < length ? size - in_block : length;
		data = find_run(slot, p, areas, b, in_block ? 1 : length >> p->block_shift, &run);
		if (!data)
			return -EBADMSG;
		if (size == BLOCK && take == BLOCK) {
			take = run * BLOCK;
			if (read_run(data + offset, sums + b, run, out, how) != 0)
				return -EBADMSG;
		} else if (read_one(data + (b << p->block_shift), sums[b], block_bytes(p, b), in_block, take, out,
				    how) != 0) {
			return -EBADMSG;
		}
	}
	if (how == BLOCK_STREAM)
		block_done();
	return 0;
}
