/* One version of a key as bytes: how its parts are laid out, its description, and the check of a description that
 * came from a hostile arena. Knows neither keys nor locks, and of the data only their length.
 *
 * Data beyond BLOCKED_FROM carries one checksum per block, so that hashing happens while a block is in the first
 * cache, and so that a later version can keep the checksums of the blocks it does not change. */
#include <errno.h>

#include "lib/arena/block.h"
#include "lib/arena/internal.h"

#define BLOCKED_FROM (UINT64_C(1) << 10)
#define PAD_MAX 4095u

/* The parts of a slot, from what its head says. names: bytes of all names together. */
static void lay(size_t vars, uint64_t names, uint64_t data_bytes, uint8_t shift, uint8_t how, struct slot_plan *p)
{
	p->data_bytes = data_bytes;
	p->block_shift = shift;
	p->how = how;
	p->blocks = shift ? (data_bytes + (UINT64_C(1) << shift) - 1) >> shift : 0;
	p->sums_at = round_up(sizeof(struct arena_slot) + vars * sizeof(struct arena_desc) + names, 8);
	p->data_at = p->sums_at + 8 * p->blocks;
	p->map_at = 0;
	if (shift && how > ARENA_PLAIN) {
		p->map_at = p->data_at;
		p->data_at += p->blocks;
	}
	if (shift) /* a map is there for blocks that are copied one by one: each in one page */
		p->data_at = round_up(p->data_at, p->map_at ? BLOCK : ARENA_LINE);
	p->total = p->data_at + data_bytes;
}

/* Add one variable to the data, which are *data_bytes long. *at: where its elements begin. -1: beyond any arena. */
static int add_var(uint64_t *data_bytes, uint64_t count, uint32_t type, uint32_t pad, uint64_t *at)
{
	uint64_t bytes, size = arena_type_size(type);

	if (!size || pad > PAD_MAX || __builtin_mul_overflow(count, size, &bytes) || bytes > ARENA_HEAP_MAX)
		return -1;
	*at = round_up(*data_bytes, 8) + pad;
	*data_bytes = *at + bytes;
	return *data_bytes > ARENA_HEAP_MAX ? -1 : 0;
}

uint64_t arena_offsets(const struct arena_var *vars, const uint32_t *pads, size_t n, uint64_t *at)
{
	uint64_t data = 0;
	size_t i;

	if (n > ARENA_VARS_MAX)
		return 0;
	for (i = 0; i < n; i++)
		if (add_var(&data, vars[i].count, vars[i].type, pads ? pads[i] : 0, &at[i]) != 0)
			return 0;
	return data;
}

static size_t name_length(const struct slot_plan *p, const struct content *c, size_t i)
{
	return i < PLAN_NAMES ? p->name_bytes[i] : c->vars[i].name ? strlen(c->vars[i].name) : 0;
}

int slot_plan(const struct content *c, struct slot_plan *p)
{
	uint64_t data = 0, names = 0, at;
	size_t i, length;

	if (c->n == 0 || c->n > ARENA_VARS_MAX || c->how > ARENA_DIRTY)
		return -EINVAL;
	for (i = 0; i < c->n; i++) {
		const struct arena_var *v = &c->vars[i];

		length = v->name ? strlen(v->name) : 0;
		if (length > ARENA_NAME_MAX || (!v->data && v->count))
			return -EINVAL;
		if (add_var(&data, v->count, v->type, c->pads ? c->pads[i] : 0, &at) != 0)
			return -EINVAL;
		if (i < PLAN_NAMES)
			p->name_bytes[i] = (uint8_t)length;
		names += length;
	}
	lay(c->n, names, data, data > BLOCKED_FROM ? BLOCK_SHIFT : 0, c->how, p);
	return 0;
}

void slot_write_head(uint8_t *slot, const struct slot_plan *p, const struct content *c)
{
	struct arena_slot *s = (struct arena_slot *)(void *)slot;
	struct arena_desc *d = (struct arena_desc *)(void *)(s + 1);
	char *name = (char *)(d + c->n);
	size_t i, length;

	memset(slot + p->sums_at - 8, 0, 8); /* what the names leave of it stays so */
	s->time_ns = c->time_ns;
	s->incarnation = c->incarnation;
	s->vars = (uint16_t)c->n;
	s->block_shift = p->block_shift;
	s->how = p->how;
	s->bytes = p->data_bytes;
	for (i = 0; i < c->n; i++) {
		const struct arena_var *v = &c->vars[i];

		length = name_length(p, c, i);
		d[i] = (struct arena_desc){v->count, (uint8_t)v->type, (uint8_t)length, 0, c->pads ? c->pads[i] : 0};
		if (length)
			memcpy(name, v->name, length);
		name += length;
	}
}

static uint64_t head_sum(const uint8_t *slot, const struct slot_plan *p, uint64_t seed)
{
	uint64_t end = p->block_shift ? p->data_at : p->total;

	return block_hash(slot + SUM_FROM, end - SUM_FROM, seed);
}

void slot_seal(uint8_t *slot, const struct slot_plan *p, uint64_t seed)
{
	uint64_t end = p->map_at ? p->map_at + p->blocks : p->sums_at + 8 * p->blocks;

	if (p->data_at > end)
		memset(slot + end, 0, p->data_at - end);
	((struct arena_slot *)(void *)slot)->sum = head_sum(slot, p, seed);
}

int slot_check(const uint8_t *slot, uint64_t have, uint64_t most, struct slot_plan *p)
{
	const struct arena_slot *s = (const struct arena_slot *)(const void *)slot;
	const struct arena_desc *d = slot_descs(slot);
	uint64_t data = 0, names = 0, at;
	size_t i;

	if (have < sizeof *s || most < have)
		return -EPROTO;
	if (s->vars == 0 || s->vars > ARENA_VARS_MAX || s->bytes > most || s->how > ARENA_DIRTY)
		return -EPROTO;
	if (s->block_shift && (s->block_shift < 12 || s->block_shift > 24))
		return -EPROTO;
	p->total = sizeof *s + s->vars * sizeof *d;
	if (p->total > most)
		return -EPROTO;
	if (p->total > have)
		return -EAGAIN;
	for (i = 0; i < s->vars; i++) {
		if (add_var(&data, d[i].count, d[i].type, d[i].pad, &at) != 0)
			return -EPROTO;
		names += d[i].name_bytes;
	}
	p->total += names;
	if (p->total > most || data != s->bytes)
		return -EPROTO;
	if (p->total > have)
		return -EAGAIN;
	lay(s->vars, names, data, s->block_shift, s->how, p);
	return p->total > most ? -EPROTO : 0;
}

int slot_verify_head(const uint8_t *slot, const struct slot_plan *p, uint64_t seed)
{
	const struct arena_slot *s = (const struct arena_slot *)(const void *)slot;

	return s->sum == head_sum(slot, p, seed) ? 0 : -EBADMSG;
}

int slot_like(const uint8_t *slot, const struct slot_plan *p, const struct content *c, const struct slot_plan *pc)
{
	const struct arena_slot *s = (const struct arena_slot *)(const void *)slot;
	const struct arena_desc *d = slot_descs(slot);
	const char *name = slot_names(slot, s->vars);
	size_t i, length;

	if (!pc->map_at || p->map_at != pc->map_at || p->sums_at != pc->sums_at || p->data_bytes != pc->data_bytes ||
	    p->block_shift != pc->block_shift || s->vars != c->n)
		return 0;
	for (i = 0; i < c->n; name += d[i].name_bytes, i++) {
		const struct arena_var *v = &c->vars[i];

		length = name_length(pc, c, i);
		if (d[i].count != v->count || d[i].type != v->type || d[i].pad != (c->pads ? c->pads[i] : 0) ||
		    d[i].name_bytes != length || memcmp(name, v->name ? v->name : "", length) != 0)
			return 0;
	}
	return 1;
}

int slot_alike(const uint8_t *x, const struct slot_plan *px, const uint8_t *y, const struct slot_plan *py)
{
	const struct arena_slot *sx = (const struct arena_slot *)(const void *)x;
	const struct arena_slot *sy = (const struct arena_slot *)(const void *)y;
	const size_t from = sizeof *sx;

	return px->map_at && px->map_at == py->map_at && px->sums_at == py->sums_at &&
	       px->data_bytes == py->data_bytes && px->block_shift == py->block_shift && sx->vars == sy->vars &&
	       memcmp(x + from, y + from, px->sums_at - from) == 0;
}
