/* Owns what a chunk is: its id, its zeros, its packed form. Keeps nothing and reads no file. */
#include "lib/chunk/chunk.h"

#include <endian.h>
#include <string.h>
#include <zstd.h>

#include "lib/arena/block.h"

/* zstd's fast level: 4.6 GB/s a core, where level 1 does 1.2; chunks are packed while the job runs. */
#define PACK_LEVEL (-1)

static const uint8_t zero_id[CHUNK_ID_BYTES];

bool chunk_is_zero(const void *data, size_t len)
{
	const unsigned char *p = data;
	uint64_t w[8];

	for (; len >= sizeof w; p += sizeof w, len -= sizeof w) {
		memcpy(w, p, sizeof w);
		if ((w[0] | w[1] | w[2] | w[3] | w[4] | w[5] | w[6] | w[7]) != 0)
			return false;
	}
	for (; len > 0; p++, len--)
		if (*p)
			return false;
	return true;
}

/* In xxhash's canonical order: big-endian, the high half first. */
static void hash(const void *data, size_t len, uint8_t *out)
{
	uint64_t halves[2], swapped[2];

	block_hash128(data, len, halves);
	swapped[0] = htobe64(halves[1]);
	swapped[1] = htobe64(halves[0]);
	memcpy(out, swapped, sizeof swapped);
}

struct chunk_id chunk_id(const void *data, size_t len)
{
	struct chunk_id id = { { 0 } };

	if (!chunk_is_zero(data, len))
		hash(data, len, id.b);
	return id;
}

void chunk_ids(const void *data, size_t len, uint8_t *ids)
{
	const unsigned char *p = data;

	for (uint64_t i = 0; i < chunk_count(len); i++) {
		struct chunk_id id = chunk_id(p + i * CHUNK_BYTES, chunk_len(len, i));
		memcpy(ids + i * CHUNK_ID_BYTES, id.b, CHUNK_ID_BYTES);
	}
}

bool chunk_id_is_zero(const uint8_t *id)
{
	return chunk_id_equal(id, zero_id);
}

bool chunk_id_equal(const uint8_t *a, const uint8_t *b)
{
	return memcmp(a, b, CHUNK_ID_BYTES) == 0;
}

const char *chunk_hex(const uint8_t *id, char *buf)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < CHUNK_ID_BYTES; i++) {
		buf[2 * i] = digits[id[i] >> 4];
		buf[2 * i + 1] = digits[id[i] & 15];
	}
	buf[CHUNK_HEX_MAX - 1] = '\0';
	return buf;
}

static int nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool chunk_from_hex(const char *hex, struct chunk_id *id)
{
	if (strlen(hex) != CHUNK_HEX_MAX - 1)
		return false;
	for (size_t i = 0; i < CHUNK_ID_BYTES; i++) {
		int high = nibble(hex[2 * i]), low = nibble(hex[2 * i + 1]);
		if (high < 0 || low < 0)
			return false;
		id->b[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

size_t chunk_pack(const void *raw, size_t len, void *out)
{
	if (len == 0 || len > CHUNK_BYTES)
		return 0;
	size_t n = ZSTD_compress(out, len - len / 8, raw, len, PACK_LEVEL);
	return ZSTD_isError(n) ? 0 : n;
}

int chunk_unpack(const void *packed, size_t len, bool compressed, void *raw, size_t raw_len, struct err *e)
{
	if (raw_len == 0 || raw_len > CHUNK_BYTES || len == 0 || len > CHUNK_BYTES)
		return err_set(e, ERR_FAILED,
		               "a chunk of %zu bytes in %zu cannot be: they are 1 to %zu bytes long", raw_len, len,
		               CHUNK_BYTES);
	if (!compressed) {
		if (len != raw_len)
			return err_set(e, ERR_FAILED, "a chunk has %zu bytes instead of %zu", len, raw_len);
		memcpy(raw, packed, len);
		return 0;
	}
	size_t n = ZSTD_decompress(raw, raw_len, packed, len);
	if (ZSTD_isError(n))
		return err_set(e, ERR_FAILED, "a compressed chunk is damaged: %s", ZSTD_getErrorName(n));
	if (n != raw_len)
		return err_set(e, ERR_FAILED, "a compressed chunk holds %zu bytes instead of %zu", n, raw_len);
	return 0;
}
