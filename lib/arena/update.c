/* The data of a version that shares blocks with others: each goes to a slot in which no version that is kept has it. */
#include "lib/arena/block.h"
#include "lib/arena/internal.h"

/* Blocks from b to end (as far as they go to one slot) to where they lie; returns the first behind them. */
static uint64_t put_run(uint8_t *slot, const struct slot_plan *p, struct stream *s, const struct share *sh, uint64_t b,
			uint64_t end)
{
	uint64_t *sums = (uint64_t *)(void *)(slot + p->sums_at), n = 1;
	uint8_t to = share_slot(sh, b);

	while (b + n < end && share_slot(sh, b + n) == to)
		n++;
	memset(slot + p->map_at + b, to, n);
	blocks_put(sh->to.area[to] + b * BLOCK, s, p, b, n, sums + b, BLOCK_STREAM);
	return b + n;
}

void blocks_share(uint8_t *slot, const struct slot_plan *p, struct stream *s, const struct share *sh)
{
	uint64_t b;

	for (b = 0; b < p->blocks;)
		b = put_run(slot, p, s, sh, b, p->blocks);
	block_done();
}

/* The next block from b on that changed; p->blocks if none did. */
static uint64_t next_changed(const uint64_t *changed, const struct slot_plan *p, uint64_t b)
{
	uint64_t word = b / 64, words = (p->blocks + 63) / 64, bits;

	if (b >= p->blocks)
		return p->blocks;
	bits = changed[word] & (UINT64_MAX << b % 64);
	while (!bits && ++word < words)
		bits = changed[word];
	b = bits ? word * 64 + (uint64_t)__builtin_ctzll(bits) : p->blocks;
	return b < p->blocks ? b : p->blocks;
}

/* The first from b on that did not. */
static uint64_t end_of_changed(const uint64_t *changed, const struct slot_plan *p, uint64_t b)
{
	while (b < p->blocks && changed[b / 64] >> b % 64 & 1)
		b++;
	return b;
}

void blocks_update(uint8_t *slot, const struct slot_plan *p, struct stream *s, const struct share *sh,
		   const uint8_t *base, const uint64_t *changed)
{
	uint64_t b = next_changed(changed, p, 0), end;

	memcpy(slot + p->sums_at, base + p->sums_at, p->data_at - p->sums_at);
	while (b < p->blocks) {
		end = end_of_changed(changed, p, b);
		while (b < end)
			b = put_run(slot, p, s, sh, b, end);
		b = next_changed(changed, p, end);
	}
	block_done();
}
