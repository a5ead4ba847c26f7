/* One version of a key as bytes: laying it out, copying it in and out with its checksums, checking a copy of it
 * that came from a hostile arena. Knows neither keys nor locks.
 *
 * Data beyond BLOCKED_FROM carries one checksum per block, so that hashing happens while a block is in the first
 * cache, and so that a later version can keep the checksums of the blocks it does not change. */
#include <errno.h>

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

#include "lib/arena/internal.h"

#define BLOCKED_FROM (UINT64_C(32) << 10)
#define BLOCK_SHIFT 12
#define BLOCK (UINT64_C(1) << BLOCK_SHIFT)
#define SUM_FROM offsetof(struct arena_slot, time_ns) /* the checksum covers what follows version and sum */

/* The parts of a slot, from what its head says. names: bytes of all names together. */
static void lay(size_t vars, uint64_t names, uint64_t data_bytes, uint8_t shift, struct slot_plan *p)
{
	uint64_t blocks = shift ? (data_bytes + (UINT64_C(1) << shift) - 1) >> shift : 0;

	p->data_bytes = data_bytes;
	p->block_shift = shift;
	p->sums_at = round_up(sizeof(struct arena_slot) + vars * sizeof(struct arena_desc) + names, 8);
	p->data_at = p->sums_at + 8 * blocks;
	if (shift)
		p->data_at = round_up(p->data_at, ARENA_LINE);
	p->total = p->data_at + data_bytes;
}

/* Add one variable to the data: the next multiple of 8, then its elements. -1 if that is beyond any arena. */
static int add_var(uint64_t *data_bytes, uint64_t count, uint32_t type)
{
	uint64_t bytes, size = arena_type_size(type);

	if (!size || __builtin_mul_overflow(count, size, &bytes) || bytes > ARENA_HEAP_MAX)
		return -1;
	*data_bytes = round_up(*data_bytes, 8) + bytes;
	return *data_bytes > ARENA_HEAP_MAX ? -1 : 0;
}

int slot_plan(const struct arena_var *vars, size_t n, struct slot_plan *p)
{
	uint64_t data = 0, names = 0;
	size_t i, length;

	if (n == 0 || n > ARENA_VARS_MAX)
		return -EINVAL;
	for (i = 0; i < n; i++) {
		length = vars[i].name ? strlen(vars[i].name) : 0;
		if (length > ARENA_NAME_MAX || (!vars[i].data && vars[i].count))
			return -EINVAL;
		if (add_var(&data, vars[i].count, vars[i].type) != 0)
			return -EINVAL;
		names += length;
	}
	lay(n, names, data, data > BLOCKED_FROM ? BLOCK_SHIFT : 0, p);
	return 0;
}

static void write_head(uint8_t *slot, const struct slot_plan *p, const struct arena_var *vars, size_t n)
{
	struct arena_slot *s = (struct arena_slot *)(void *)slot;
	struct arena_desc *d = (struct arena_desc *)(void *)(s + 1);
	char *name = (char *)(d + n);
	size_t i, length;

	s->vars = (uint16_t)n;
	s->block_shift = p->block_shift;
	s->how = ARENA_PLAIN;
	s->bytes = p->data_bytes;
	for (i = 0; i < n; i++) {
		length = vars[i].name ? strlen(vars[i].name) : 0;
		d[i] = (struct arena_desc){vars[i].count, (uint8_t)vars[i].type, (uint8_t)length, 0, 0};
		memcpy(name, vars[i].name, length);
		name += length;
	}
	memset(name, 0, p->sums_at - (uint64_t)((uint8_t *)name - slot));
}

/* The variables as one stream of bytes: where it stands. */
struct stream {
	const struct arena_var *vars;
	size_t n, i;
	uint64_t in_var; /* bytes of vars[i] delivered */
	uint64_t at;     /* bytes of the stream delivered */
};

static uint64_t var_bytes(const struct arena_var *v)
{
	return v->count * arena_type_size(v->type);
}

/* Deliver the next bytes into out, with zeros between variables. */
static void stream_take(struct stream *s, uint8_t *out, uint64_t bytes)
{
	while (bytes) {
		uint64_t take, left = s->i < s->n ? var_bytes(&s->vars[s->i]) - s->in_var : 0;

		if (left) {
			take = left < bytes ? left : bytes;
			memcpy(out, (const uint8_t *)s->vars[s->i].data + s->in_var, take);
			s->in_var += take;
		} else { /* behind a variable: padding to the next multiple of 8 */
			take = round_up(s->at, 8) - s->at;
			take = take < bytes ? take : bytes;
			memset(out, 0, take);
			if ((s->at + take) % 8 == 0) {
				s->i++;
				s->in_var = 0;
			}
		}
		out += take;
		s->at += take;
		bytes -= take;
	}
}

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
 * program changes the variable meanwhile. */
static void write_blocks(uint8_t *slot, const struct slot_plan *p, struct stream *s)
{
	_Alignas(64) uint8_t block[BLOCK];
	uint64_t *sums = (uint64_t *)(void *)(slot + p->sums_at);
	uint64_t at, bytes;

	for (at = 0; at < p->data_bytes; at += BLOCK) {
		bytes = p->data_bytes - at < BLOCK ? p->data_bytes - at : BLOCK;
		stream_take(s, block, bytes);
		sums[at >> BLOCK_SHIFT] = arena_hash(block, bytes, 0);
		store_block(slot + p->data_at + at, block, bytes);
	}
	stores_done();
}

static uint64_t head_sum(const uint8_t *slot, const struct slot_plan *p, uint64_t seed)
{
	uint64_t end = p->block_shift ? p->data_at : p->total;

	return arena_hash(slot + SUM_FROM, end - SUM_FROM, seed);
}

void slot_write(uint8_t *slot, const struct slot_plan *p, const struct arena_var *vars, size_t n, uint64_t seed,
		uint32_t incarnation, int64_t time_ns)
{
	struct arena_slot *s = (struct arena_slot *)(void *)slot;
	struct stream stream = {.vars = vars, .n = n};
	uint64_t blocks = p->block_shift ? (p->data_bytes + BLOCK - 1) >> BLOCK_SHIFT : 0;
	uint64_t sums_end = p->sums_at + 8 * blocks;

	write_head(slot, p, vars, n);
	s->time_ns = time_ns;
	s->incarnation = incarnation;
	memset(slot + sums_end, 0, p->data_at - sums_end);
	if (p->block_shift)
		write_blocks(slot, p, &stream);
	else
		stream_take(&stream, slot + p->data_at, p->data_bytes);
	s->sum = head_sum(slot, p, seed);
}

int slot_check(const uint8_t *slot, uint64_t have, uint64_t most, struct slot_plan *p)
{
	const struct arena_slot *s = (const struct arena_slot *)(const void *)slot;
	const struct arena_desc *d = slot_descs(slot);
	uint64_t data = 0, names = 0;
	size_t i;

	if (have < sizeof *s || most < have)
		return -EPROTO;
	if (s->vars == 0 || s->vars > ARENA_VARS_MAX || s->bytes > most)
		return -EPROTO;
	if (s->block_shift && (s->block_shift < 12 || s->block_shift > 24))
		return -EPROTO;
	p->total = sizeof *s + s->vars * sizeof *d;
	if (p->total > most)
		return -EPROTO;
	if (p->total > have)
		return -EAGAIN;
	for (i = 0; i < s->vars; i++) {
		if (add_var(&data, d[i].count, d[i].type) != 0)
			return -EPROTO;
		names += d[i].name_bytes;
	}
	p->total += names;
	if (p->total > most || data != s->bytes)
		return -EPROTO;
	if (p->total > have)
		return -EAGAIN;
	lay(s->vars, names, data, s->block_shift, p);
	return p->total > most ? -EPROTO : 0;
}

int slot_verify_head(const uint8_t *slot, const struct slot_plan *p, uint64_t seed)
{
	const struct arena_slot *s = (const struct arena_slot *)(const void *)slot;

	return s->sum == head_sum(slot, p, seed) ? 0 : -EBADMSG;
}

int slot_verify_block(const uint8_t *slot, const struct slot_plan *p, uint64_t block)
{
	const uint64_t *sums = (const uint64_t *)(const void *)(slot + p->sums_at);
	uint64_t size = UINT64_C(1) << p->block_shift, at = block << p->block_shift;
	uint64_t bytes = p->data_bytes - at < size ? p->data_bytes - at : size;

	return sums[block] == arena_hash(slot + p->data_at + at, bytes, 0) ? 0 : -EBADMSG;
}

int slot_verify_all(const uint8_t *slot, const struct slot_plan *p, uint64_t seed)
{
	uint64_t b;

	if (slot_verify_head(slot, p, seed) != 0)
		return -EBADMSG;
	for (b = 0; p->block_shift && b << p->block_shift < p->data_bytes; b++)
		if (slot_verify_block(slot, p, b) != 0)
			return -EBADMSG;
	return 0;
}

int slot_copy(const uint8_t *slot, const struct slot_plan *p, uint64_t offset, uint64_t length, uint8_t *out)
{
	const uint8_t *data = slot + p->data_at;
	uint64_t take, in_block, size = UINT64_C(1) << p->block_shift;

	if (!p->block_shift) { /* slot_verify_head() has covered it */
		if (length)
			memcpy(out, data + offset, length);
		return 0;
	}
	for (; length; offset += take, out += take, length -= take) {
		if (slot_verify_block(slot, p, offset >> p->block_shift) != 0)
			return -EBADMSG;
		in_block = size - (offset & (size - 1));
		take = in_block < length ? in_block : length;
		memcpy(out, data + offset, take);
	}
	return 0;
}
