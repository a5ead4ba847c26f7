/* libFuzzer entry: bytes that claim to be a manifest, in three ways: as they come (what a disk or the wire
 * brings), and as the body of a generation and of a keyset that the right key has sealed (what a broken agent
 * sends). Build: clang -fsanitize=fuzzer,address,undefined with lib/base, lib/chunk and the generated
 * cpagent.pb-c.c. */
#include <stdlib.h>
#include <string.h>

#include "lib/chunk/manifest.h"
#include "lib/chunk/manifest_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t key[MANIFEST_KEY_BYTES] = { 7 };

static void walk(const struct manifest *m)
{
	const Cpa__File *f;
	uint64_t chunks = 0;

	for (size_t i = 0; (f = manifest_file(m, i)); i++)
		chunks += chunk_count(f->size) - f->chunks.len / CHUNK_ID_BYTES;
	if (chunks != 0 || !manifest_job_ok(manifest_job(m)))
		abort(); /* what the checks promise does not hold */
}

static void as_generation(const uint8_t *data, size_t size)
{
	struct manifest m = { .what = CPA__WHAT__GENERATION, .gen = cpa__generation__unpack(NULL, size, data) };
	uint8_t *out;
	size_t len;

	if (m.gen && manifest_pack_generation(m.gen, key, &out, &len, NULL) == 0) {
		struct manifest again;
		walk(&m);
		/* may fail: protobuf-c 1.4 packs some unknown fields so that it cannot read them back */
		if (manifest_unpack(m.what, out, len, key, &again, NULL) == 0)
			walk(&again);
		manifest_free(&again);
		free(out);
	}
	manifest_free(&m);
}

static void as_keyset(const uint8_t *data, size_t size)
{
	struct manifest m = { .what = CPA__WHAT__KEYSET, .keys = cpa__keyset__unpack(NULL, size, data) };
	uint8_t *out;
	size_t len;

	if (m.keys && manifest_pack_keyset(m.keys, key, &out, &len, NULL) == 0) {
		walk(&m);
		free(out);
	}
	manifest_free(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct manifest m;
	struct err e;

	for (int what = 0; what < 2; what++)
		if (manifest_unpack((Cpa__What)what, data, size, key, &m, &e) == 0)
			manifest_free(&m);
	as_generation(data, size);
	as_keyset(data, size);
	return 0;
}
