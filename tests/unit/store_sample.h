/* What the store's tests put into it: generations whose content is a function of (job, number), so that every byte
 * that comes back can be checked, and that share one chunk with all others of their user. */
#ifndef TESTS_UNIT_STORE_SAMPLE_H
#define TESTS_UNIT_STORE_SAMPLE_H

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/ports/images.h"
#include "agent/ports/store.h"
#include "lib/base/scoped.h"
#include "tests/unit/scratch.h"

#define SAMPLE_CHUNKS 5 /* of pages-1.img: shared, zero, own, own, own short */
#define SAMPLE_BYTES (4 * CHUNK_BYTES + 1234)

static const uint8_t sample_key[MANIFEST_KEY_BYTES] = { 0x5a, 1 };
static unsigned char sample_data[SAMPLE_BYTES];

/* The bytes of a generation; half of each own chunk compresses. */
static void sample_fill(const char *job, uint64_t number)
{
	uint64_t x = number * 1000003 + (unsigned char)job[0];

	memset(sample_data, 0, sizeof sample_data);
	memset(sample_data, 's', CHUNK_BYTES);
	for (size_t i = 2 * CHUNK_BYTES; i < SAMPLE_BYTES; i++) {
		x = x * UINT64_C(6364136223846793005) + 1;
		sample_data[i] = i / 4096 % 2 ? (unsigned char)(x >> 56) : (unsigned char)number;
	}
}

/* Sealed bytes (owned) of generation `number`, and the manifest itself; free both. */
static void sample_manifest(const char *job, uint64_t number, uint32_t incarnation, uint32_t uid, uint8_t **sealed,
                            size_t *len, struct manifest *m)
{
	Cpa__Generation g = CPA__GENERATION__INIT;
	Cpa__File *files[2];

	sample_fill(job, number);
	g.job = (char *)(uintptr_t)job;
	g.generation = number;
	g.incarnation = incarnation;
	g.uid = uid;
	g.time_ns = (int64_t)number;
	files[0] = images_file_of("files/0", "content", 7);
	files[1] = images_file_of("pages-1.img", sample_data, sizeof sample_data);
	g.files = files;
	g.n_files = 2;
	g.size = 7 + sizeof sample_data;
	if (manifest_pack_generation(&g, sample_key, sealed, len, NULL) < 0 ||
	    manifest_unpack(CPA__WHAT__GENERATION, *sealed, *len, sample_key, m, NULL) < 0)
		abort();
	cpa__file__free_unpacked(files[0], NULL);
	cpa__file__free_unpacked(files[1], NULL);
}

/* A chunk of the sample that was filled last, packed as the wire would bring it. */
static int sample_put_chunk(struct store *s, uint32_t uid, const struct chunk_id *id, struct err *e)
{
	static unsigned char packed[CHUNK_BYTES];
	struct chunk_id content = chunk_id("content", 7);

	if (chunk_id_equal(content.b, id->b))
		return store_put_chunk(s, uid, id->b, "content", 7, false, 7, e);
	for (uint64_t i = 0; i < SAMPLE_CHUNKS; i++) {
		const unsigned char *raw = sample_data + i * CHUNK_BYTES;
		size_t len = chunk_len(SAMPLE_BYTES, i);
		struct chunk_id is = chunk_id(raw, len);
		if (!chunk_id_equal(is.b, id->b))
			continue;
		size_t n = chunk_pack(raw, len, packed);
		return store_put_chunk(s, uid, id->b, n ? packed : raw, n ? n : len, n != 0, len, e);
	}
	abort();
}

/* The whole way in, as a collector takes it. */
static int sample_put(struct store *s, const char *job, uint64_t number, uint32_t incarnation, uint32_t uid,
                      struct err *e)
{
	scoped_free uint8_t *sealed = NULL;
	scoped_free struct chunk_id *ids = NULL;
	size_t len, n;
	struct manifest m;

	sample_manifest(job, number, incarnation, uid, &sealed, &len, &m);
	struct store_pin *pin = store_pin(s, &m);
	int rc = store_missing(s, &m, &ids, &n, e);
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = sample_put_chunk(s, uid, &ids[i], e);
	if (rc == 0)
		rc = store_put_manifest(s, CPA__WHAT__GENERATION, sealed, len, e);
	store_unpin(s, pin);
	manifest_free(&m);
	return rc;
}

/* Does an item come back byte for byte? Through the image directory, checked against its manifest and content. */
static bool sample_whole(struct store *s, const struct store_item *it, const char *dir)
{
	struct manifest m;
	struct err e = { 0 };
	char path[FS_PATH_MAX];
	scoped_free char *data = NULL;
	size_t len = 0;

	if (store_manifest_open(s, it->job, it->what, it->number, &m, &e) < 0)
		return false;
	bool ok = store_assemble(s, m.gen, dir, &e) == 0 && images_verify(dir, m.gen, &e) == 0 &&
	          fs_read(fs_path(path, "%s/pages-1.img", dir), 2 * SAMPLE_BYTES, &data, &len, &e) == 0;
	manifest_free(&m);
	sample_fill(it->job, it->number);
	if (!ok)
		fprintf(stderr, "    %s\n", e.text);
	return ok && len == SAMPLE_BYTES && memcmp(data, sample_data, len) == 0;
}

/* Is everything that it lists whole? */
static bool sample_all_whole(struct store *s)
{
	char dir[FS_PATH_MAX];
	scoped_free struct store_item *items = NULL;
	size_t n;
	bool ok = store_list(s, NULL, &items, &n, NULL) == 0;

	scratch_path(dir);
	for (size_t i = 0; i < n && ok; i++)
		ok = sample_whole(s, &items[i], dir);
	return ok;
}

#endif
