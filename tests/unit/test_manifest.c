/* Manifests: what went in comes out; whatever was changed, cut, sealed by another or is not allowed is refused. */
#include <stdlib.h>
#include <string.h>

#include "lib/chunk/manifest.h"
#include "tests/unit/harness.h"

#define JOB "0b6f2c5e-1111-4222-8333-444455556666"

static const uint8_t key[MANIFEST_KEY_BYTES] = { 1, 2, 3 }, other_key[MANIFEST_KEY_BYTES] = { 1, 2, 4 };
static uint8_t ids[3 * CHUNK_ID_BYTES] = { 9, 8, 7 };

/* A generation of two files and a keyset of two keys, on this frame; no test frees them. */
struct sample {
	Cpa__File a, b, values, *files[2];
	Cpa__Past past, *history[1];
	Cpa__Generation gen;
	Cpa__Var var, *vars[1];
	Cpa__Key k1, k2, *ks[2];
	Cpa__Keyset keys;
};

static void sample(struct sample *s)
{
	cpa__file__init(&s->a);
	s->a.name = "pages-1.img";
	s->a.size = 2 * CHUNK_BYTES + 1;
	s->a.mode = 0600;
	s->a.chunks = (ProtobufCBinaryData){ 3 * CHUNK_ID_BYTES, ids };
	s->b = s->a;
	s->b.name = "files/0";
	s->b.size = 10;
	s->b.chunks.len = CHUNK_ID_BYTES;
	s->files[0] = &s->a;
	s->files[1] = &s->b;
	cpa__past__init(&s->past);
	s->past.note = "pie: Error\t(criu/x.c:1): no";
	s->history[0] = &s->past;
	cpa__generation__init(&s->gen);
	s->gen.job = JOB;
	s->gen.generation = 12;
	s->gen.incarnation = 3;
	s->gen.time_ns = -5;
	s->gen.reason = "demand";
	s->gen.uid = 1000;
	s->gen.size = s->a.size + s->b.size;
	s->gen.n_files = 2;
	s->gen.files = s->files;
	s->gen.n_history = 1;
	s->gen.history = s->history;
	cpa__var__init(&s->var);
	s->var.name = "u";
	s->vars[0] = &s->var;
	cpa__key__init(&s->k1);
	s->k1.key = "step";
	s->k1.bytes = 8;
	s->k1.n_vars = 1;
	s->k1.vars = s->vars;
	s->k2 = s->k1;
	s->k2.key = "solver_main_u";
	s->k2.offset = 64;
	s->k2.bytes = 2 * CHUNK_BYTES + 1 - 64;
	s->ks[0] = &s->k1;
	s->ks[1] = &s->k2;
	s->values = s->a;
	s->values.name = "";
	cpa__keyset__init(&s->keys);
	s->keys.job = JOB;
	s->keys.serial = 7;
	s->keys.uid = 1000;
	s->keys.by_keys = 1;
	s->keys.n_keys = 2;
	s->keys.keys = s->ks;
	s->keys.values = &s->values;
}

static void a_generation_comes_out_as_it_went_in(void)
{
	struct sample s;
	struct err e = { 0 };
	uint8_t *out;
	size_t len;
	struct manifest m;
	char text[40];

	sample(&s);
	CU_ASSERT_EQUAL_FATAL(manifest_pack_generation(&s.gen, key, &out, &len, &e), 0);
	CU_ASSERT_EQUAL_FATAL(manifest_unpack(CPA__WHAT__GENERATION, out, len, key, &m, &e), 0);
	CU_ASSERT_STRING_EQUAL(manifest_job(&m), JOB);
	CU_ASSERT_EQUAL(manifest_number(&m), 12);
	CU_ASSERT_EQUAL(manifest_incarnation(&m), 3);
	CU_ASSERT_EQUAL(manifest_time_ns(&m), -5);
	CU_ASSERT_EQUAL(manifest_uid(&m), 1000);
	CU_ASSERT_EQUAL(manifest_bytes(&m), CHUNK_BYTES + s.b.size); /* the other chunks are holes */
	CU_ASSERT_STRING_EQUAL(manifest_file(&m, 1)->name, "files/0");
	CU_ASSERT_EQUAL(memcmp(manifest_file(&m, 0)->chunks.data, ids, sizeof ids), 0);
	CU_ASSERT_PTR_NULL(manifest_file(&m, 2));
	CU_ASSERT_STRING_EQUAL(m.gen->history[0]->note, s.past.note);
	CU_ASSERT_STRING_EQUAL(manifest_text(m.what, 12, text, sizeof text), "generation 12");
	manifest_free(&m);
	manifest_free(&m);
	free(out);
}

static void a_keyset_comes_out_as_it_went_in(void)
{
	struct sample s;
	struct err e = { 0 };
	uint8_t *out;
	size_t len;
	struct manifest m;

	sample(&s);
	CU_ASSERT_EQUAL_FATAL(manifest_pack_keyset(&s.keys, key, &out, &len, &e), 0);
	CU_ASSERT_EQUAL_FATAL(manifest_unpack(CPA__WHAT__KEYSET, out, len, key, &m, &e), 0);
	CU_ASSERT_EQUAL(manifest_number(&m), 7);
	CU_ASSERT_EQUAL(m.keys->keys[1]->offset, 64);
	CU_ASSERT_EQUAL(manifest_file(&m, 0)->size, 2 * CHUNK_BYTES + 1);
	CU_ASSERT_PTR_NULL(manifest_file(&m, 1));
	manifest_free(&m);
	free(out);
}

static void a_keyset_without_keys_or_values_is_one_too(void)
{
	struct sample s;
	uint8_t *out;
	size_t len;
	struct manifest m;

	sample(&s);
	s.keys.n_keys = 0;
	s.keys.values = NULL;
	CU_ASSERT_EQUAL_FATAL(manifest_pack_keyset(&s.keys, key, &out, &len, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(manifest_unpack(CPA__WHAT__KEYSET, out, len, key, &m, NULL), 0);
	CU_ASSERT_PTR_NULL(manifest_file(&m, 0));
	CU_ASSERT_EQUAL(manifest_bytes(&m), 0);
	manifest_free(&m);
	free(out);
}

/* Bytes in a buffer of exactly their length, so that a sanitizer sees a read beyond it. */
static int unpack_exact(const uint8_t *data, size_t len, struct err *e)
{
	uint8_t *copy = malloc(len ? len : 1);
	struct manifest m;

	memcpy(copy, data, len);
	int rc = manifest_unpack(CPA__WHAT__GENERATION, copy, len, key, &m, e);
	manifest_free(&m);
	free(copy);
	return rc;
}

static void every_truncation_is_refused(void)
{
	struct sample s;
	uint8_t *out;
	size_t len;

	sample(&s);
	CU_ASSERT_EQUAL_FATAL(manifest_pack_generation(&s.gen, key, &out, &len, NULL), 0);
	for (size_t n = 0; n < len; n++) {
		struct err e = { 0 };
		CU_ASSERT_EQUAL(unpack_exact(out, n, &e), ERR_FAILED);
		CU_ASSERT(e.text[0] != '\0');
	}
	free(out);
}

static void every_flipped_bit_is_refused_and_so_are_bytes_behind(void)
{
	struct sample s;
	uint8_t *out, longer[4096];
	size_t len;

	sample(&s);
	CU_ASSERT_EQUAL_FATAL(manifest_pack_generation(&s.gen, key, &out, &len, NULL), 0);
	for (size_t i = 0; i < 8 * len; i++) {
		out[i / 8] ^= (uint8_t)(1 << i % 8);
		CU_ASSERT_EQUAL(unpack_exact(out, len, NULL), ERR_FAILED);
		out[i / 8] ^= (uint8_t)(1 << i % 8);
	}
	CU_ASSERT_EQUAL(unpack_exact(out, len, NULL), 0);
	CU_ASSERT_FATAL(len + 3 < sizeof longer);
	memcpy(longer, out, len);
	memcpy(longer + len, "\x78\x01\x00", 3); /* an unknown field that a lenient reader skips */
	CU_ASSERT_EQUAL(unpack_exact(longer, len + 2, NULL), ERR_FAILED);
	CU_ASSERT_EQUAL(unpack_exact(longer, len + 3, NULL), ERR_FAILED);
	free(out);
}

static void another_key_or_another_kind_does_not_open_it(void)
{
	struct sample s;
	uint8_t *out, *body;
	size_t len, n;
	struct manifest m;
	struct err e = { 0 };

	sample(&s);
	CU_ASSERT_EQUAL_FATAL(manifest_pack_generation(&s.gen, key, &out, &len, NULL), 0);
	CU_ASSERT_EQUAL(manifest_unpack(CPA__WHAT__GENERATION, out, len, other_key, &m, &e), ERR_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, "another key"));
	CU_ASSERT_EQUAL(manifest_unpack(CPA__WHAT__KEYSET, out, len, key, &m, NULL), ERR_FAILED);
	CU_ASSERT_EQUAL(manifest_open_note(out, len, key, &body, &n, NULL), ERR_FAILED);
	CU_ASSERT_EQUAL(manifest_unpack((Cpa__What)7, out, len, key, &m, NULL), ERR_USAGE);
	free(out);
}

static int packs(const struct sample *s)
{
	struct err e = { 0 };
	uint8_t *out = NULL;
	size_t len;
	int rc = manifest_pack_generation(&s->gen, key, &out, &len, &e);

	free(out);
	CU_ASSERT(rc == 0 || e.text[0] != '\0');
	return rc;
}

static void hostile_file_names_are_refused(void)
{
	static char longest[MANIFEST_NAME_MAX + 1], too_long[MANIFEST_NAME_MAX + 2];
	static char *const bad[] = { "",   "/etc/passwd", "..",    "../x", "a/../b", "a/..", ".", "./a",   "a//b",
		                     "a/", "a/b/c",       ".hide", "a/.b", "a\nb",   "\x7f", "/", too_long };
	struct sample s;

	memset(longest, 'n', MANIFEST_NAME_MAX);
	memset(too_long, 'n', MANIFEST_NAME_MAX + 1);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		sample(&s);
		s.b.name = bad[i];
		CU_ASSERT_EQUAL(packs(&s), ERR_FAILED);
	}
	sample(&s);
	s.b.name = longest;
	CU_ASSERT_EQUAL(packs(&s), 0);
	s.b.name = s.a.name;
	CU_ASSERT_EQUAL(packs(&s), ERR_FAILED); /* a name twice */
}

static void hostile_job_ids_are_refused(void)
{
	static char *const bad[] = {
		"",    "..",  "a/b",      "-rf",
		"a b", "a.b", "\xc3\xa4", "0123456789012345678901234567890123456789012345678901234567890123"
	};
	struct sample s;

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		sample(&s);
		s.gen.job = bad[i];
		CU_ASSERT_EQUAL(packs(&s), ERR_FAILED);
		CU_ASSERT(!manifest_job_ok(bad[i]));
	}
}

static void sizes_that_do_not_fit_their_chunks_are_refused(void)
{
	struct sample s;

	sample(&s);
	CU_ASSERT_EQUAL(packs(&s), 0);
	s.a.chunks.len -= CHUNK_ID_BYTES;
	CU_ASSERT_EQUAL(packs(&s), ERR_FAILED);
	s.a.chunks.len += CHUNK_ID_BYTES - 1;
	CU_ASSERT_EQUAL(packs(&s), ERR_FAILED);
	sample(&s);
	s.a.size = UINT64_MAX;
	s.gen.size = s.a.size + s.b.size;
	CU_ASSERT_EQUAL(packs(&s), ERR_FAILED);
	sample(&s);
	s.gen.size++;
	CU_ASSERT_EQUAL(packs(&s), ERR_FAILED);
	sample(&s);
	s.a.mode = 04755;
	CU_ASSERT_EQUAL(packs(&s), ERR_FAILED);
}

static int packs_keys(const struct sample *s)
{
	uint8_t *out = NULL;
	size_t len;
	int rc = manifest_pack_keyset(&s->keys, key, &out, &len, NULL);

	free(out);
	return rc;
}

static void keys_that_lie_outside_their_values_are_refused(void)
{
	struct sample s;

	sample(&s);
	CU_ASSERT_EQUAL(packs_keys(&s), 0);
	s.k2.bytes++;
	CU_ASSERT_EQUAL(packs_keys(&s), ERR_FAILED);
	s.k2.bytes = 64;
	s.k2.offset = UINT64_MAX - 63; /* their sum wraps to 0 */
	CU_ASSERT_EQUAL(packs_keys(&s), ERR_FAILED);
	sample(&s);
	s.keys.values = NULL;
	CU_ASSERT_EQUAL(packs_keys(&s), ERR_FAILED);
	sample(&s);
	s.k2.key = s.k1.key;
	CU_ASSERT_EQUAL(packs_keys(&s), ERR_FAILED);
	sample(&s);
	s.k2.key = "";
	CU_ASSERT_EQUAL(packs_keys(&s), ERR_FAILED);
}

static void a_note_comes_back_and_a_changed_one_does_not(void)
{
	uint8_t *out, *body;
	size_t len, n;

	CU_ASSERT_EQUAL_FATAL(manifest_seal_note("hello", 5, key, &out, &len, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(manifest_open_note(out, len, key, &body, &n, NULL), 0);
	CU_ASSERT_EQUAL(n, 5);
	CU_ASSERT_STRING_EQUAL((char *)body, "hello");
	free(body);
	out[len / 2] ^= 1;
	CU_ASSERT_EQUAL(manifest_open_note(out, len, key, &body, &n, NULL), ERR_FAILED);
	free(out);
	CU_ASSERT_EQUAL_FATAL(manifest_seal_note("", 0, key, &out, &len, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(manifest_open_note(out, len, key, &body, &n, NULL), 0);
	CU_ASSERT_EQUAL(n, 0);
	free(body);
	free(out);
}

/* The bytes on disk of version 1: they must stay readable. */
static void the_sealed_form_is_what_it_was(void)
{
	static const uint8_t golden[] = { 0x0a, 0x05, 0x68, 0x65, 0x6c, 0x6c, 0x6f, 0x12, 0x20, 0xe5, 0x20,
		                          0xb2, 0x81, 0x20, 0xa0, 0x59, 0xc2, 0x2a, 0x4b, 0x46, 0x04, 0xad,
		                          0x46, 0x21, 0xa8, 0x63, 0xa2, 0x6e, 0x12, 0xc5, 0x21, 0x85, 0xa9,
		                          0x8b, 0x8a, 0xfe, 0x6e, 0xf3, 0x51, 0xbc, 0x9c };
	uint8_t *out, *body;
	size_t len, n;

	CU_ASSERT_EQUAL_FATAL(manifest_seal_note("hello", 5, key, &out, &len, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(len, sizeof golden);
	CU_ASSERT_EQUAL(memcmp(out, golden, len), 0);
	CU_ASSERT_EQUAL(manifest_open_note(golden, sizeof golden, key, &body, &n, NULL), 0);
	free(body);
	free(out);
}

static const struct test tests[] = {
	{ "a generation comes out as it went in", a_generation_comes_out_as_it_went_in },
	{ "a keyset comes out as it went in", a_keyset_comes_out_as_it_went_in },
	{ "a keyset without keys or values is one too", a_keyset_without_keys_or_values_is_one_too },
	{ "every truncation is refused", every_truncation_is_refused },
	{ "every flipped bit is refused, and so are bytes behind",
	  every_flipped_bit_is_refused_and_so_are_bytes_behind },
	{ "another key or another kind does not open it", another_key_or_another_kind_does_not_open_it },
	{ "hostile file names are refused", hostile_file_names_are_refused },
	{ "hostile job ids are refused", hostile_job_ids_are_refused },
	{ "sizes that do not fit their chunks are refused", sizes_that_do_not_fit_their_chunks_are_refused },
	{ "keys that lie outside their values are refused", keys_that_lie_outside_their_values_are_refused },
	{ "a note comes back, and a changed one does not", a_note_comes_back_and_a_changed_one_does_not },
	{ "the sealed form is what it was", the_sealed_form_is_what_it_was },
};

int main(void)
{
	return harness_run("manifest", tests, sizeof tests / sizeof *tests);
}
