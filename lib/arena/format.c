/* The arena's geometry, types, checksums and the words for its errors: what the writer and the hostile reader
 * must agree on. Pure: no file, no mapping. */
#include "lib/arena/format.h"

#include <errno.h>
#include <string.h>

#include "lib/arena/block.h"

const uint8_t arena_type_sizes[ARENA_TYPES] = {
	[ARENA_I8] = 1,   [ARENA_U8] = 1,    [ARENA_I16] = 2,  [ARENA_U16] = 2,  [ARENA_I32] = 4,  [ARENA_U32] = 4,
	[ARENA_I64] = 8,  [ARENA_U64] = 8,   [ARENA_F32] = 4,  [ARENA_F64] = 8,  [ARENA_F80] = 16, [ARENA_F128] = 16,
	[ARENA_C32] = 8,  [ARENA_C64] = 16,  [ARENA_C80] = 32, [ARENA_C128] = 32,
	[ARENA_BOOL] = 1, [ARENA_CHAR] = 1,  [ARENA_BYTES] = 1,
};

static const char *const names[ARENA_TYPES] = {
	[ARENA_I8] = "i8",     [ARENA_U8] = "u8",     [ARENA_I16] = "i16",    [ARENA_U16] = "u16",
	[ARENA_I32] = "i32",   [ARENA_U32] = "u32",   [ARENA_I64] = "i64",    [ARENA_U64] = "u64",
	[ARENA_F32] = "f32",   [ARENA_F64] = "f64",   [ARENA_F80] = "f80",    [ARENA_F128] = "f128",
	[ARENA_C32] = "c32",   [ARENA_C64] = "c64",   [ARENA_C80] = "c80",    [ARENA_C128] = "c128",
	[ARENA_BOOL] = "bool", [ARENA_CHAR] = "char", [ARENA_BYTES] = "bytes",
};

const char *arena_type_name(uint32_t type)
{
	return type < ARENA_TYPES && names[type] ? names[type] : "?";
}

/* A key takes two units at the least, so a heap of n units has n / 2 keys at the most: they fill a quarter of the
 * last table, and also the one before it has room for all. */
uint32_t arena_tables(uint64_t heap_bytes)
{
	uint32_t tables = 2;

	while (tables < ARENA_LEVELS && ((uint64_t)ARENA_TABLE0 << (tables - 1)) < 2 * (heap_bytes / ARENA_UNIT))
		tables++;
	return tables;
}

uint64_t arena_heap_at(uint64_t heap_bytes)
{
	return (arena_table_at(arena_tables(heap_bytes)) + 4095) & ~UINT64_C(4095);
}

uint64_t arena_file_bytes(uint64_t heap_bytes)
{
	return arena_heap_at(heap_bytes) + heap_bytes;
}

uint64_t arena_hash(const void *data, size_t bytes, uint64_t seed)
{
	return block_hash(data, bytes, seed);
}

/* Bytes of the well-formed sequence at the beginning of text; 0 for none. No overlong forms, no surrogates. */
static size_t utf8_sequence(const uint8_t *text, size_t bytes)
{
	uint32_t lead = text[0], length, code, i;
	static const uint32_t least[] = {0, 1, 0x80, 0x800, 0x10000};

	length = lead < 0x80 ? 1 : lead >> 5 == 6 ? 2 : lead >> 4 == 14 ? 3 : lead >> 3 == 30 ? 4 : 0;
	if (length == 0 || length > bytes)
		return 0;
	code = length == 1 ? lead : lead & (0x7fu >> length);
	for (i = 1; i < length; i++) {
		if (text[i] >> 6 != 2)
			return 0;
		code = code << 6 | (text[i] & 0x3f);
	}
	if (code < least[length] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
		return 0;
	return length;
}

int arena_utf8(const char *text, size_t bytes)
{
	size_t at, n;

	for (at = 0; at < bytes; at += n) {
		n = utf8_sequence((const uint8_t *)text + at, bytes - at);
		if (n == 0)
			return 0;
	}
	return 1;
}

uint64_t arena_header_sum(const struct arena_header *h)
{
	return arena_hash(h, offsetof(struct arena_header, sum), 0);
}

int arena_header_check(const struct arena_header *h)
{
	if (memcmp(h->magic, ARENA_MAGIC, sizeof h->magic) != 0)
		return -EPROTO;
	if (h->format != ARENA_FORMAT || h->endian != ARENA_ENDIAN)
		return -EPROTONOSUPPORT;
	if (h->sum != arena_header_sum(h))
		return -EPROTO;
	if (h->heap_bytes < ARENA_HEAP_MIN || h->heap_bytes > ARENA_HEAP_MAX || h->heap_bytes % 4096)
		return -EPROTO;
	return 0;
}

const char *arena_strerror(int code)
{
	switch (code) {
	case 0:
		return "done";
	case -ENOSPC:
		return "the arena's budget, or the memory behind it, is spent; the version before stands";
	case -ENOENT:
		return "no such key";
	case -EINVAL:
		return "an argument is out of bounds";
	case -EPROTO:
		return "the arena is damaged, or the file is no arena";
	case -EPROTONOSUPPORT:
		return "the arena has another format version or byte order";
	case -EBADMSG:
		return "the checksum does not fit: no whole version is left";
	case -EMEDIUMTYPE:
		return "a variable differs from the checkpoint in type or count";
	case -EDEADLK:
		return "the key is being written by the code that this call interrupted";
	case -ETIMEDOUT:
		return "it did not happen in time";
	case -EAGAIN:
		return "the value kept changing while it was read";
	case -EFBIG:
		return "the value is larger than the reader allows";
	case -EEXIST:
		return "it exists already";
	case -ENOTCONN:
		return "no agent serves this arena";
	default:
		return strerror(-code);
	}
}
