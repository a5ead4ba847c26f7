/* What the files of lib/archive share. */
#ifndef CPA_ARCHIVE_IMPL_H
#define CPA_ARCHIVE_IMPL_H

#include "lib/archive/archive.h"
#include "lib/base/fs.h"

#define MANIFEST_NAME "manifest.json"
#define SUMS_NAME "XXH128SUMS"
#define MANIFEST_MAX ((size_t)128 << 20) /* bytes of a manifest that is believed */
#define MEMBER_MAX 128                   /* bytes of a name in the archive */

/* Fail with a sentence; -errno codes as archive.h says. */
int archive_fail(struct err *e, int rc, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* ---- archive_out.c, archive_tar.c ---- */

struct archive_out {
	char path[FS_PATH_MAX];
	int dir;    /* where it will lie */
	int values; /* the file without a name */
	struct archive_sum *sum;
	struct archive_info info;
	size_t room; /* for keys */
};

/* ---- archive_values.c ---- */

/* The type of a name ("f64"), 0 for none. */
uint32_t archive_type(const char *name);

/* "keys/000003/1-u" for variable v of key k: letters, digits, '_' and '-' alone. Into buf of MEMBER_MAX. */
const char *archive_member(char *buf, size_t k, size_t v, const char *name);

/* Turn elements into the other byte order. -1: there is no such thing for the type. */
int archive_swap(uint32_t type, void *data, uint64_t count);

static inline uint64_t archive_align(uint64_t at)
{
	return (at + 7) & ~UINT64_C(7);
}

/* ---- archive_json.c ---- */

/* The manifest's text (owned, free). */
int archive_json_write(const struct archive_info *info, char **text, size_t *bytes, struct err *e);

/* Read one from anywhere: *info owned (archive_info_free), everything in it bounded and consistent. */
int archive_json_read(const char *text, size_t bytes, struct archive_info *info, struct err *e);
void archive_info_free(struct archive_info *info);

/* ---- archive_sums.c ---- */

struct archive_sum; /* a checksum under way */
int archive_sum_begin(struct archive_sum **s);
void archive_sum_add(struct archive_sum *s, const void *data, size_t bytes);
void archive_sum_end(struct archive_sum *s, uint64_t sum[2]); /* ready for another */
void archive_sum_free(struct archive_sum *s);

/* The text of XXH128SUMS (owned, free) for a manifest and what it lists. */
int archive_sums_text(const void *manifest, size_t bytes, const struct archive_info *info, char **text, size_t *length,
		      struct err *e);

#endif
