/* The data of a version that shares blocks with others: each goes to a slot in which no version that is kept has
 * it. */
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

/* The next block from b on that changed; p->blocks if none did. */
static uint64_t next_changed(const uint64_t *changed, const struct slot_plan *p, uint64_t b)
{
	uint64_t bits;

	while (b < p->blocks) {
		bits = changed[b / 64] >> b % 64;
		if (bits) {
			b += (uint64_t)__builtin_ctzll(bits);
			return b < p->blocks ? b : p->blocks;
		}
		b = (b | 63) + 1;
	}
	return p->blocks;
}

static int is_changed(const uint64_t *changed, uint64_t b)
{
	return changed[b / 64] >> b % 64 & 1;
}

/* Blocks that lie alone, to be copied several at a time. */
struct queue {
	struct block_move moves[32];
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

void blocks_update(uint8_t *slot, const struct slot_plan *p, struct stream *s, const struct share *sh,
		   const uint8_t *base, const uint64_t *changed)
{
	struct queue q = {.n = 0};
	uint64_t b = 0, n;
	uint8_t to;

	memcpy(slot + p->sums_at, base + p->sums_at, p->data_at - p->sums_at);
	for (; (b = next_changed(changed, p, b)) < p->blocks; b += n) {
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
}
