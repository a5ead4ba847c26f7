/* The data of a version that shares blocks with others: each goes to a slot in which no version that is kept has
 * it. */
#include <errno.h>

#include "lib/arena/block.h"
#include "lib/arena/internal.h"

static void put(uint8_t *slot, const struct slot_plan *p, struct stream *s, const struct share *sh, uint64_t b,
		uint64_t n, uint8_t to)
{
	uint64_t *sums = (uint64_t *)(void *)(slot + p->sums_at);

	memset(slot + p->map_at + b, to, n);
	blocks_put(sh->to.area[to] + b * BLOCK, s, p, b, n, sums + b, BLOCK_STREAM);
}

void blocks_share(uint8_t *slot, const struct slot_plan *p, struct stream *s, const struct share *sh)
{
	uint64_t b, n;
	uint8_t to;

	for (b = 0; b < p->blocks; b += n) {
		to = share_slot(sh, b);
		for (n = 1; b + n < p->blocks && share_slot(sh, b + n) == to;)
			n++;
		put(slot, p, s, sh, b, n, to);
	}
	block_done();
}

/* The next block from b on that changed; end if none before it did. */
static uint64_t next_changed(const uint64_t *changed, uint64_t b, uint64_t end)
{
	uint64_t bits;

	while (b < end) {
		bits = changed[b / 64] >> b % 64;
		if (bits) {
			b += (uint64_t)__builtin_ctzll(bits);
			return b < end ? b : end;
		}
		b = (b | 63) + 1;
	}
	return end;
}

static int is_changed(const uint64_t *changed, uint64_t b)
{
	return changed[b / 64] >> b % 64 & 1;
}

/* Blocks that lie alone, to be copied several at a time. */
struct queue {
	struct block_move moves[128];
	uint64_t n;
};

static void flush(struct queue *q)
{
	block_moves(q->moves, q->n);
	q->n = 0;
}

/* As put() for one block. */
static void put_later(struct queue *q, uint8_t *slot, const struct slot_plan *p, struct stream *s,
		      const struct share *sh, uint64_t b, uint8_t to)
{
	uint64_t *sums = (uint64_t *)(void *)(slot + p->sums_at), in_var;
	const uint8_t *from = stream_run(s, b * BLOCK, &in_var);

	if (in_var < BLOCK) {
		put(slot, p, s, sh, b, 1, to);
		return;
	}
	slot[p->map_at + b] = to;
	q->moves[q->n++] = (struct block_move){sh->to.area[to] + b * BLOCK, from, sums + b};
	if (q->n == sizeof q->moves / sizeof *q->moves)
		flush(q);
}

/* ---- what the slot says of its blocks ---- */

/* A slot's checksum, which is reckoned while the slot is in the first cache. */
struct seal {
	const uint8_t *slot;
	uint64_t upto; /* offset in the slot: what lies before it is in the sum */
	struct block_sum sum;
};

static void seal_open(struct seal *s, const uint8_t *slot, uint64_t seed)
{
	s->slot = slot;
	s->upto = SUM_FROM;
	block_sum_open(&s->sum, seed);
}

/* What lies before `end` is as it will be. */
static void seal_add(struct seal *s, uint64_t end)
{
	uint64_t slices = (end - s->upto - 1) / BLOCK_SLICE;

	block_sum_add(&s->sum, s->slot + s->upto, slices);
	s->upto += slices * BLOCK_SLICE;
}

static uint64_t seal_close(struct seal *s, uint64_t end)
{
	seal_add(s, end);
	return block_sum_close(&s->sum, s->slot + s->upto, end - s->upto, end - SUM_FROM);
}

/* What is told of each block in `size` bytes at `at` of both slots: that of the blocks which did not change. Of few that
 * did it is put aside meanwhile: to copy only what lies between them would take longer. */
static inline __attribute__((always_inline)) void keep_unchanged(struct seal *now, struct seal *was, uint8_t *slot,
								 const struct slot_plan *p, uint64_t at, uint64_t size,
								 const uint64_t *changed)
{
	uint8_t aside[BLOCK];
	uint64_t first, end, b, n;

	for (first = 0; first < p->blocks; first = end) {
		end = p->blocks - first > BLOCK / size ? first + BLOCK / size : p->blocks;
		for (n = 0, b = first; (b = next_changed(changed, b, end)) < end; b++, n++)
			memcpy(aside + n * size, slot + at + b * size, size);
		memcpy(slot + at + first * size, was->slot + at + first * size, (end - first) * size);
		for (n = 0, b = first; (b = next_changed(changed, b, end)) < end; b++, n++)
			memcpy(slot + at + b * size, aside + n * size, size);
		seal_add(was, at + end * size);
		seal_add(now, at + end * size);
	}
}

/* Complete sums and map from base, and seal the slot. */
static int take_over(uint8_t *slot, const struct slot_plan *p, const uint8_t *base, const uint64_t *changed,
		     uint64_t base_seed, uint64_t seed)
{
	const struct arena_slot *b = (const struct arena_slot *)(const void *)base;
	struct arena_slot *s = (struct arena_slot *)(void *)slot;
	struct seal was, now;

	seal_open(&was, base, base_seed);
	seal_open(&now, slot, seed);
	keep_unchanged(&now, &was, slot, p, p->sums_at, sizeof(uint64_t), changed);
	keep_unchanged(&now, &was, slot, p, p->map_at, 1, changed);
	memset(slot + p->map_at + p->blocks, 0, p->data_at - p->map_at - p->blocks);
	s->sum = seal_close(&now, p->data_at);
	return seal_close(&was, p->data_at) == b->sum ? 0 : -EBADMSG;
}

int blocks_update(uint8_t *slot, const struct slot_plan *p, struct stream *s, const struct share *sh,
		  const uint8_t *base, const uint64_t *changed, uint64_t base_seed, uint64_t seed)
{
	struct queue q;
	uint64_t b = 0, n;
	uint8_t to;

	q.n = 0;
	for (; (b = next_changed(changed, b, p->blocks)) < p->blocks; b += n) {
		to = share_slot(sh, b);
		for (n = 1; b + n < p->blocks && is_changed(changed, b + n) && share_slot(sh, b + n) == to;)
			n++;
		if (n > 1)
			put(slot, p, s, sh, b, n, to);
		else
			put_later(&q, slot, p, s, sh, b, to);
	}
	flush(&q);
	block_done();
	return take_over(slot, p, base, changed, base_seed, seed);
}
