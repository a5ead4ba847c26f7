/* The key of a result: its name, and a hash of what it was computed from and what it looks like. One fold for each
 * variable, so that large inputs are hashed where they lie. */
#include <string.h>

#include "hooks/memo_impl.h"
#include "lib/arena/block.h"

#define X87 10    /* bytes of an x87 number that mean something, of … */
#define X87_ROOM 16

static int is_x87(uint32_t type)
{
	return type == ARENA_F80 || type == ARENA_C80;
}

/* x87 numbers without what stands behind each: a program never writes it. */
static void hash_x87(const uint8_t *data, uint64_t bytes, uint64_t out[2])
{
	struct {
		uint64_t before[2];
		uint8_t numbers[64][X87_ROOM];
	} block = {0};
	uint64_t at, i;

	for (at = 0; at < bytes; at += sizeof block.numbers) {
		memset(block.numbers, 0, sizeof block.numbers);
		for (i = 0; i < 64 && at + i * X87_ROOM < bytes; i++)
			memcpy(block.numbers[i], data + at + i * X87_ROOM, X87);
		block_hash128(&block, sizeof block, block.before);
	}
	out[0] = block.before[0];
	out[1] = block.before[1];
}

int memo_same(uint32_t type, uint64_t count, const void *a, const void *b)
{
	uint64_t bytes = count * arena_type_size(type), at;

	if (bytes == 0)
		return 1;
	if (!is_x87(type))
		return memcmp(a, b, bytes) == 0;
	for (at = 0; at < bytes; at += X87_ROOM)
		if (memcmp((const uint8_t *)a + at, (const uint8_t *)b + at, X87) != 0)
			return 0;
	return 1;
}

struct fold {
	uint64_t before[2], name[2], data[2], count;
	uint32_t type, output;
};

static void fold(struct fold *f, const struct cpa_var *v, int output)
{
	uint64_t bytes = v->count * arena_type_size(v->type);

	block_hash128(v->name ? v->name : "", v->name ? strlen(v->name) : 0, f->name);
	f->data[0] = f->data[1] = 0;
	if (!output && is_x87(v->type))
		hash_x87(v->data, bytes, f->data);
	else if (!output && bytes)
		block_hash128(v->data, bytes, f->data);
	f->count = v->count;
	f->type = v->type;
	f->output = (uint32_t)output;
	block_hash128(f, sizeof *f, f->before);
}

static char *put_hex(char *to, uint64_t word)
{
	int shift;

	for (shift = 60; shift >= 0; shift -= 4)
		*to++ = "0123456789abcdef"[word >> shift & 15];
	return to;
}

void memo_count_key(char key[CPA_KEY_MAX + 1], const char *name)
{
	size_t length = strlen(name);

	memcpy(key, MEMO_PREFIX, MEMO_PREFIX_BYTES);
	memcpy(key + MEMO_PREFIX_BYTES, name, length);
	memcpy(key + MEMO_PREFIX_BYTES + length, ":", 2);
}

void memo_key(char key[CPA_KEY_MAX + 1], const char *name, const struct cpa_var *in, size_t n_in,
	      const struct cpa_var *out, size_t n_out)
{
	struct fold f = {0};
	char *to;
	size_t i;

	for (i = 0; i < n_in; i++)
		fold(&f, &in[i], 0);
	for (i = 0; i < n_out; i++)
		fold(&f, &out[i], 1);
	memo_count_key(key, name);
	to = put_hex(key + strlen(key), f.before[1]);
	*put_hex(to, f.before[0]) = '\0';
}

size_t memo_name_in(const char *key, int *result)
{
	size_t length = strlen(key), tail;

	if (length < MEMO_PREFIX_BYTES + 2 || memcmp(key, MEMO_PREFIX, MEMO_PREFIX_BYTES) != 0)
		return 0;
	*result = key[length - 1] != ':';
	tail = *result ? MEMO_HASH_BYTES + 1 : 1;
	if (length < MEMO_PREFIX_BYTES + 1 + tail || key[length - tail] != ':' ||
	    (*result && strspn(key + length - MEMO_HASH_BYTES, "0123456789abcdef") != MEMO_HASH_BYTES))
		return 0;
	return length - tail - MEMO_PREFIX_BYTES;
}
