/* What the tests of archives share: an arena with a few keys, and archives made by hand, right or wrong. */
#ifndef TESTS_UNIT_ARCHIVE_SAMPLE_H
#define TESTS_UNIT_ARCHIVE_SAMPLE_H

#include <archive.h>
#include <archive_entry.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/archive/archive_arena.h"
#include "lib/archive/archive_impl.h"
#include "tests/unit/harness.h"
#include "tests/unit/scratch.h"

static inline struct arena *sample_arena(uint64_t budget)
{
	char path[FS_PATH_MAX];
	struct arena *a = NULL;

	scratch_path(path);
	CU_ASSERT_EQUAL_FATAL(arena_create(path, budget, 0600), 0);
	CU_ASSERT_EQUAL_FATAL(arena_map(&a, path), 0);
	return a;
}

static inline void sample_drop(struct arena *a)
{
	unlink(a->path);
	arena_unmap(a);
}

static inline int sample_put(struct arena *a, const char *key, const char *text)
{
	struct arena_var v = {"text", (void *)(uintptr_t)text, strlen(text), ARENA_CHAR};

	return arena_put(a, key, &v, 1, NULL);
}

/* Is the key's newest version this text? */
static inline int sample_is(struct arena *a, const char *key, const char *text)
{
	char buf[64] = "";
	struct arena_var v = {"text", buf, strlen(text), ARENA_CHAR};

	return arena_get(a, key, &v, 1, 0, NULL, NULL) == 0 && memcmp(buf, text, v.count) == 0;
}

static inline int sample_save(struct arena *a, const char *path, struct err *e)
{
	return archive_save_arena(a, path, "test", "host", NULL, NULL, NULL, e);
}

static inline int sample_load(struct arena *a, const char *path, struct err *e)
{
	uint64_t needs;

	return archive_load_arena(a, path, NULL, NULL, &needs, e);
}

/* ---- archives by hand ---- */

struct member {
	const char *name;
	const void *data;
	size_t bytes;
	unsigned type; /* AE_IFREG when 0 */
	const char *link;
};

/* A tar of the members, compressed with zstd or not, in memory. */
static inline size_t sample_tar(void *to, size_t room, int zstd, const struct member *m, size_t n)
{
	struct archive *tar = archive_write_new();
	struct archive_entry *entry;
	size_t used = 0, i;

	archive_write_set_format_pax_restricted(tar);
	if (zstd)
		archive_write_add_filter_zstd(tar);
	CU_ASSERT_EQUAL_FATAL(archive_write_open_memory(tar, to, room, &used), ARCHIVE_OK);
	for (i = 0; i < n; i++) {
		entry = archive_entry_new();
		archive_entry_set_pathname(entry, m[i].name);
		archive_entry_set_filetype(entry, m[i].type ? m[i].type : AE_IFREG);
		archive_entry_set_size(entry, (int64_t)m[i].bytes);
		if (m[i].link && m[i].type == AE_IFLNK)
			archive_entry_set_symlink(entry, m[i].link);
		else if (m[i].link)
			archive_entry_set_hardlink(entry, m[i].link);
		archive_entry_set_perm(entry, 0644);
		CU_ASSERT_EQUAL(archive_write_header(tar, entry), ARCHIVE_OK);
		archive_write_data(tar, m[i].data, m[i].bytes);
		archive_entry_free(entry);
	}
	CU_ASSERT_EQUAL(archive_write_close(tar), ARCHIVE_OK);
	archive_write_free(tar);
	return used;
}

/* Open and check all of it: 0, or the error. */
static inline int sample_check(const void *data, size_t bytes, uint64_t max_bytes)
{
	struct archive_in *in;
	struct err e = {0};
	int rc = archive_in_open_memory(&in, data, bytes, max_bytes, &e);

	while (rc == 0 && (rc = archive_in_next(in, NULL, &e)) > 0)
		rc = 0;
	archive_in_close(in);
	if (rc && !*e.text)
		rc = -1; /* an error without a sentence */
	return rc;
}

/* The archive's checksum of some bytes. */
static inline void sample_sum(const void *data, size_t bytes, uint64_t sum[2])
{
	struct archive_sum *s;

	CU_ASSERT_EQUAL_FATAL(archive_sum_begin(&s), 0);
	archive_sum_add(s, data, bytes);
	archive_sum_end(s, sum);
	archive_sum_free(s);
}

#endif
