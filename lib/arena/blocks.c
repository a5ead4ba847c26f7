/* The data of one version: copied in and out, block by block with their checksums where they have such. Which slot
 * a block goes to is share.c's to say. */
#include <errno.h>

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

#include "lib/arena/internal.h"

#define BLOCK UINT64_C(4096) /* the writer's; a reader takes what a slot says */

/* Write a block past the caches: the arena's other side is not going to be read soon. to: 64-byte aligned. */
static void store_block(uint8_t *to, const uint8_t *from, uint64_t bytes)
{
#if defined(__x86_64__)
	uint64_t i, whole = bytes & ~UINT64_C(63);

	for (i = 0; i < whole; i += 64) {
		__m128i a = _mm_load_si128((const __m128i *)(const void *)(from + i));
		__m128i b = _mm_load_si128((const __m128i *)(const void *)(from + i + 16));
		__m128i c = _mm_load_si128((const __m128i *)(const void *)(from + i + 32));
		__m128i d = _mm_load_si128((const __m128i *)(const void *)(from + i + 48));

		_mm_stream_si128((__m128i *)(void *)(to + i), a);
		_mm_stream_si128((__m128i *)(void *)(to + i + 16), b);
		_mm_stream_si128((__m128i *)(void *)(to + i + 32), c);
		_mm_stream_si128((__m128i *)(void *)(to + i + 48), d);
	}
	memcpy(to + whole, from + whole, bytes - whole);
#else
	memcpy(to, from, bytes);
#endif
}

static void stores_done(void)
{
#if defined(__x86_64__)
	_mm_sfence();
#endif
}

/* Through a block in the first cache, so that what is hashed is what is stored, even if another thread of the
 * program changes the variable meanwhile. Returns its checksum. */
static uint64_t write_block(uint8_t *to, struct stream *s, uint64_t at, uint64_t bytes)
{
	_Alignas(64) uint8_t block[BLOCK];
	uint64_t sum;

	stream_read(s, at, block, bytes);
	sum = arena_hash(block, bytes, 0);
	store_block(to, block, bytes);
	return sum;
}

void blocks_write(uint8_t *slot, const struct slot_plan *p, struct stream *s)
{
	uint64_t *sums = (uint64_t *)(void *)(slot + p->sums_at), b;

	if (!p->blocks)
		stream_read(s, 0, slot + p->data_at, p->data_bytes);
	for (b = 0; b < p->blocks; b++)
		sums[b] = write_block(slot + p->data_at + b * BLOCK, s, b * BLOCK, block_bytes(p, b));
	stores_done();
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

int slot_copy(const uint8_t *slot, const struct slot_plan *p, const struct areas *areas, uint64_t offset,
	      uint64_t length, uint8_t *out)
{
	uint64_t take, in_block, size = UINT64_C(1) << p->block_shift, b;
	const uint8_t *data = slot + p->data_at;

	if (!p->blocks) { /* slot_verify_head() has covered it */
		if (length)
			memcpy(out, data + offset, length);
		return 0;
	}
	for (; length; offset += take, out += take, length -= take) {
		b = offset >> p->block_shift;
		if (p->map_at) {
			uint8_t s = slot[p->map_at + b];

			data = s < ARENA_SLOTS_MAX ? areas->area[s] : NULL;
		}
		if (!data || verify_block(data + (b << p->block_shift), slot, p, b) != 0)
			return -EBADMSG;
		in_block = size - (offset & (size - 1));
		take = in_block < length ? in_block : length;
		memcpy(out, data + offset, take);
	}
	return 0;
}
