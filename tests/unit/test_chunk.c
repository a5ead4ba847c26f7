/* Chunks: ids that are the same everywhere, zeros that have no content, packing that is bounded both ways. */
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "lib/chunk/chunk.h"
#include "tests/unit/harness.h"

static unsigned char buf[CHUNK_BYTES], packed[CHUNK_BYTES], back[CHUNK_BYTES];

/* Bytes that do not compress, the same ones in every run. */
static void noise(unsigned char *p, size_t n, uint64_t seed)
{
	for (size_t i = 0; i < n; i++) {
		seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		p[i] = (unsigned char)(seed >> 56);
	}
}

static void an_id_is_the_xxh3_128_of_the_content_in_canonical_order(void)
{
	char hex[CHUNK_HEX_MAX];
	struct chunk_id id = chunk_id("cpagent", 7);

	CU_ASSERT_STRING_EQUAL(chunk_hex(id.b, hex), "96056a1f12be0da45f985702089ca274");
	for (size_t i = 0; i < CHUNK_BYTES; i++)
		buf[i] = (unsigned char)(i * 7 + i / 256);
	id = chunk_id(buf, CHUNK_BYTES);
	CU_ASSERT_STRING_EQUAL(chunk_hex(id.b, hex), "8791ce561b8e4239a7f4639f0ccbfda9");
}

static void an_id_is_xxh3_in_its_canonical_order(void)
{
	XXH128_canonical_t want;

	noise(buf, sizeof buf, 1);
	for (size_t len = 1; len <= CHUNK_BYTES; len = len * 3 + 1) {
		struct chunk_id id = chunk_id(buf, len);
		XXH128_canonicalFromHash(&want, XXH3_128bits(buf, len));
		CU_ASSERT(chunk_id_equal(want.digest, id.b));
	}
}

static void zeros_have_the_zero_id_at_any_length_and_one_set_bit_anywhere_is_seen(void)
{
	memset(buf, 0, sizeof buf);
	for (size_t len = 0; len <= 300; len++) {
		struct chunk_id id = chunk_id(buf, len);
		CU_ASSERT(chunk_is_zero(buf, len));
		CU_ASSERT(chunk_id_is_zero(id.b));
		for (size_t at = 0; at < len; at++) {
			buf[at] = 0x80;
			CU_ASSERT(!chunk_is_zero(buf, len));
			CU_ASSERT(chunk_is_zero(buf, at));
			buf[at] = 0;
		}
	}
	buf[CHUNK_BYTES - 1] = 1;
	struct chunk_id id = chunk_id(buf, CHUNK_BYTES);
	CU_ASSERT(!chunk_id_is_zero(id.b));
}

static void hex_goes_there_and_back_and_nothing_else_is_taken(void)
{
	char hex[CHUNK_HEX_MAX];
	struct chunk_id a = chunk_id("x", 1), b;

	CU_ASSERT(chunk_from_hex(chunk_hex(a.b, hex), &b));
	CU_ASSERT(chunk_id_equal(a.b, b.b));
	CU_ASSERT(!chunk_from_hex("", &b));
	CU_ASSERT(!chunk_from_hex("0123456789abcdef0123456789abcde", &b));
	CU_ASSERT(!chunk_from_hex("0123456789abcdef0123456789abcdef0", &b));
	CU_ASSERT(!chunk_from_hex("0123456789ABCDEF0123456789abcdef", &b));
	CU_ASSERT(!chunk_from_hex("0123456789abcdeg0123456789abcdef", &b));
}

static void a_value_is_cut_into_chunks_and_the_last_one_is_shorter(void)
{
	size_t len = 2 * CHUNK_BYTES + 5;
	unsigned char *v = calloc(1, len);
	uint8_t ids[3 * CHUNK_ID_BYTES];

	CU_ASSERT_EQUAL_FATAL(chunk_count(len), 3);
	CU_ASSERT_EQUAL(chunk_count(0), 0);
	CU_ASSERT_EQUAL(chunk_count(CHUNK_BYTES), 1);
	CU_ASSERT_EQUAL(chunk_len(len, 1), CHUNK_BYTES);
	CU_ASSERT_EQUAL(chunk_len(len, 2), 5);
	noise(v, CHUNK_BYTES, 2);
	memcpy(v + 2 * CHUNK_BYTES, "tail!", 5);
	chunk_ids(v, len, ids);
	struct chunk_id first = chunk_id(v, CHUNK_BYTES), last = chunk_id("tail!", 5);
	CU_ASSERT(chunk_id_equal(ids, first.b));
	CU_ASSERT(chunk_id_is_zero(ids + CHUNK_ID_BYTES));
	CU_ASSERT(chunk_id_equal(ids + 2 * CHUNK_ID_BYTES, last.b));
	free(v);
}

static void packing_helps_or_is_not_done(void)
{
	struct err e = { 0 };

	for (size_t i = 0; i < CHUNK_BYTES; i++)
		buf[i] = (unsigned char)("abcd"[i / 7 % 4]);
	size_t n = chunk_pack(buf, CHUNK_BYTES, packed);
	CU_ASSERT(n > 0 && n < CHUNK_BYTES / 10);
	CU_ASSERT_EQUAL(chunk_unpack(packed, n, true, back, CHUNK_BYTES, &e), 0);
	CU_ASSERT_EQUAL(memcmp(buf, back, CHUNK_BYTES), 0);
	noise(buf, sizeof buf, 3);
	CU_ASSERT_EQUAL(chunk_pack(buf, CHUNK_BYTES, packed), 0);
	CU_ASSERT_EQUAL(chunk_pack(buf, 1, packed), 0);
	CU_ASSERT_EQUAL(chunk_pack(buf, 0, packed), 0);
}

static void unpacking_gives_exactly_the_length_asked_for_or_a_sentence(void)
{
	struct err e = { 0 };
	size_t len = 100000;

	memset(buf, 'a', len);
	size_t n = chunk_pack(buf, len, packed);
	CU_ASSERT_FATAL(n > 0);
	back[len - 1] = back[len] = 'x';
	CU_ASSERT_EQUAL(chunk_unpack(packed, n, true, back, len - 1, &e), ERR_FAILED);
	CU_ASSERT_EQUAL(back[len - 1], 'x'); /* never a byte beyond what was asked for */
	CU_ASSERT_EQUAL(chunk_unpack(packed, n, true, back, len + 1, &e), ERR_FAILED);
	CU_ASSERT_EQUAL(chunk_unpack(packed, n - 1, true, back, len, &e), ERR_FAILED);
	CU_ASSERT(e.text[0] != '\0');
	CU_ASSERT_EQUAL(chunk_unpack(packed, 0, true, back, len, &e), ERR_FAILED);
	CU_ASSERT_EQUAL(chunk_unpack(packed, n, true, back, CHUNK_BYTES + 1, &e), ERR_FAILED);
	CU_ASSERT_EQUAL(chunk_unpack(buf, len, false, back, len - 1, &e), ERR_FAILED);
	CU_ASSERT_EQUAL(chunk_unpack(buf, len, false, back, len, &e), 0);
}

static const struct test tests[] = {
	{ "an id is the XXH3-128 of the content in canonical order",
	  an_id_is_the_xxh3_128_of_the_content_in_canonical_order },
	{ "an id is XXH3-128 in its canonical order", an_id_is_xxh3_in_its_canonical_order },
	{ "zeros have the zero id at any length, and one set bit anywhere is seen",
	  zeros_have_the_zero_id_at_any_length_and_one_set_bit_anywhere_is_seen },
	{ "hex goes there and back, and nothing else is taken",
	  hex_goes_there_and_back_and_nothing_else_is_taken },
	{ "a value is cut into chunks, and the last one is shorter",
	  a_value_is_cut_into_chunks_and_the_last_one_is_shorter },
	{ "packing helps or is not done", packing_helps_or_is_not_done },
	{ "unpacking gives exactly the length asked for, or a sentence",
	  unpacking_gives_exactly_the_length_asked_for_or_a_sentence },
};

int main(void)
{
	return harness_run("chunk", tests, sizeof tests / sizeof *tests);
}
