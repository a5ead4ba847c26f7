/* Reading an archive that may come from anyone: members must be the ones that the manifest lists, in its order, each as
 * long as it says and with the checksum it says; nothing is read beyond that, and nothing is written anywhere. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/archive/archive_impl.h"
#include "lib/archive/libarchive.h"

#define PIECE ((size_t)256 << 10)

struct archive_in {
	int fd; /* -1: from memory */
	struct archive *tar;
	struct archive_sum *sum;
	struct archive_info info;
	uint8_t *piece; /* where values go that are only checked */
	size_t next;    /* key */
};

static int damaged(struct err *e, const char *what)
{
	return archive_fail(e, -EBADMSG, "it is damaged: %s", what);
}

static int tar_failed(struct archive_in *i, struct err *e)
{
	const char *why = la.archive_error_string(i->tar);

	return archive_fail(e, -EBADMSG, "it is damaged, or no archive: %s", why ? why : "it cannot be read");
}

/* The next member must be this one. bytes UINT64_MAX: of any size, *bytes is what it has. */
static int next_member(struct archive_in *i, const char *name, uint64_t *bytes, struct err *e)
{
	struct archive_entry *entry;
	const char *found;
	int rc = la.archive_read_next_header(i->tar, &entry);

	if (rc == ARCHIVE_EOF)
		return damaged(e, "it ends too early");
	if (rc != ARCHIVE_OK)
		return tar_failed(i, e);
	found = la.archive_entry_pathname(entry);
	if (!found || strcmp(found, name) != 0 || la.archive_entry_filetype(entry) != AE_IFREG ||
	    la.archive_entry_hardlink(entry) || !la.archive_entry_size_is_set(entry) || la.archive_entry_size(entry) < 0)
		return archive_fail(e, -EBADMSG, "it is damaged, or no archive of cpagent's: %s is not where it should be",
				    name);
	if (*bytes == UINT64_MAX)
		*bytes = (uint64_t)la.archive_entry_size(entry);
	return *bytes == (uint64_t)la.archive_entry_size(entry) ? 0 : damaged(e, "a file in it has another size");
}

/* Exactly so many bytes of the member. */
static int read_all(struct archive_in *i, uint8_t *data, size_t bytes, struct err *e)
{
	la_ssize_t n;

	for (; bytes; data += n, bytes -= (size_t)n) {
		n = la.archive_read_data(i->tar, data, bytes);
		if (n < 0)
			return tar_failed(i, e);
		if (n == 0)
			return damaged(e, "a file in it ends too early");
	}
	return 0;
}

/* A member of text, owned by the caller, with a NUL behind it. */
static int read_text(struct archive_in *i, const char *name, size_t max, char **text, uint64_t *bytes, struct err *e)
{
	int rc;

	*text = NULL;
	*bytes = UINT64_MAX;
	rc = next_member(i, name, bytes, e);
	if (rc)
		return rc;
	if (*bytes > max)
		return damaged(e, "its list is too long");
	*text = malloc((size_t)*bytes + 1);
	if (!*text)
		return archive_fail(e, -ENOMEM, "out of memory");
	(*text)[*bytes] = '\0';
	return read_all(i, (uint8_t *)*text, (size_t)*bytes, e);
}

/* The checksums say of the manifest that it is whole, and must be the ones it lists. */
static int check_sums(struct archive_in *i, const char *manifest, size_t bytes, struct err *e)
{
	char *expected, *found = NULL;
	size_t length;
	uint64_t found_bytes;
	int rc = archive_sums_text(manifest, bytes, &i->info, &expected, &length, e);

	if (rc)
		return rc;
	rc = read_text(i, SUMS_NAME, length, &found, &found_bytes, e);
	if (!rc && (found_bytes != length || memcmp(found, expected, length) != 0))
		rc = damaged(e, "the checksum of its manifest does not fit");
	free(expected);
	free(found);
	return rc;
}

static int read_lists(struct archive_in *i, uint64_t max_bytes, struct err *e)
{
	uint64_t bytes;
	char *manifest;
	int rc = read_text(i, MANIFEST_NAME, MANIFEST_MAX, &manifest, &bytes, e);

	if (!rc)
		rc = archive_json_read(manifest, (size_t)bytes, &i->info, e);
	if (!rc)
		rc = check_sums(i, manifest, (size_t)bytes, e);
	free(manifest);
	if (!rc && max_bytes && i->info.bytes > max_bytes)
		rc = archive_fail(e, -EFBIG, "it holds %llu bytes, and there is room for %llu",
				  (unsigned long long)i->info.bytes, (unsigned long long)max_bytes);
	return rc;
}

/* ---- opening ---- */

static int open_tar(struct archive_in *i, const void *data, size_t bytes, struct err *e)
{
	int rc = libarchive_load(e);

	if (rc)
		return rc;
	i->tar = la.archive_read_new();
	i->piece = malloc(PIECE);
	if (!i->tar || !i->piece || archive_sum_begin(&i->sum) != 0)
		return archive_fail(e, -ENOMEM, "out of memory");
	/* another return than OK: by a program of that name, which nobody asked for */
	if (la.archive_read_support_format_tar(i->tar) != ARCHIVE_OK || la.archive_read_support_filter_zstd(i->tar) != ARCHIVE_OK)
		return archive_fail(e, -ENOTSUP, "this machine's libarchive cannot read zstd");
	if (data ? la.archive_read_open_memory(i->tar, data, bytes) != ARCHIVE_OK :
		   la.archive_read_open_fd(i->tar, i->fd, PIECE) != ARCHIVE_OK)
		return tar_failed(i, e);
	return 0;
}

static int open_any(struct archive_in **out, int fd, const void *data, size_t bytes, uint64_t max_bytes, struct err *e)
{
	struct archive_in *i = calloc(1, sizeof *i);
	int rc;

	*out = NULL;
	if (!i) {
		if (fd >= 0)
			close(fd);
		return archive_fail(e, -ENOMEM, "out of memory");
	}
	i->fd = fd;
	rc = open_tar(i, data, bytes, e);
	if (!rc && !data && la.archive_filter_code(i->tar, 0) != ARCHIVE_FILTER_ZSTD)
		rc = damaged(e, "it is not compressed with zstd, or no archive of cpagent's");
	if (!rc)
		rc = read_lists(i, max_bytes, e);
	if (rc) {
		archive_in_close(i);
		return rc;
	}
	*out = i;
	return 0;
}

static int open_file(const char *path, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0)
		return archive_fail(e, -errno, "%s", strerror(errno));
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		return fd;
	close(fd);
	return archive_fail(e, -EBADMSG, "it is no regular file");
}

int archive_in_open(struct archive_in **i, const char *path, uint64_t max_bytes, struct err *e)
{
	int rc = open_file(path, e);

	*i = NULL;
	if (rc >= 0)
		rc = open_any(i, rc, NULL, 0, max_bytes, e);
	if (rc < 0)
		err_wrap(e, "%s", path);
	return rc;
}

int archive_in_open_memory(struct archive_in **i, const void *data, size_t bytes, uint64_t max_bytes, struct err *e)
{
	return open_any(i, -1, data, bytes, max_bytes, e);
}

const struct archive_info *archive_in_info(const struct archive_in *i)
{
	return &i->info;
}

void archive_in_close(struct archive_in *i)
{
	if (!i)
		return;
	if (i->tar)
		la.archive_read_free(i->tar);
	if (i->fd >= 0)
		close(i->fd);
	archive_sum_free(i->sum);
	archive_info_free(&i->info);
	free(i->piece);
	free(i);
}

/* ---- values ---- */

/* One variable to `to`, or nowhere, by its checksum. */
static int read_var(struct archive_in *i, const struct archive_var *v, uint8_t *to, struct err *e)
{
	uint64_t left, sum[2];
	size_t take;
	int rc = 0;

	for (left = v->bytes; left && !rc; left -= take) {
		uint8_t *at = to ? to + (v->bytes - left) : i->piece;

		take = left < PIECE ? (size_t)left : PIECE;
		rc = read_all(i, at, take, e);
		if (!rc)
			archive_sum_add(i->sum, at, take);
	}
	archive_sum_end(i->sum, sum);
	if (!rc && memcmp(sum, v->sum, sizeof sum) != 0)
		rc = damaged(e, "the checksum of a value does not fit");
	if (!rc && to && i->info.swapped && archive_swap(v->type, to, v->count) != 0)
		rc = archive_fail(e, -EPROTONOSUPPORT, "variable %s: a machine of this byte order has no %s", v->name,
				  arena_type_name(v->type));
	return rc;
}

static int read_vars(struct archive_in *i, const struct archive_key *k, uint8_t *data, struct err *e)
{
	char name[MEMBER_MAX];
	uint64_t at = 0, bytes, gap;
	size_t v;
	int rc = 0;

	for (v = 0; v < k->n && !rc; v++, at += bytes) {
		gap = archive_align(at) - at;
		if (data)
			memset(data + at, 0, gap);
		at += gap;
		bytes = k->vars[v].bytes;
		rc = next_member(i, archive_member(name, i->next, v, k->vars[v].name), &bytes, e);
		if (!rc)
			rc = read_var(i, &k->vars[v], data ? data + at : NULL, e);
	}
	return rc;
}

int archive_in_next(struct archive_in *i, void **data, struct err *e)
{
	const struct archive_key *k = &i->info.keys[i->next];
	struct archive_entry *entry;
	uint8_t *room = NULL;
	int rc;

	if (data)
		*data = NULL;
	if (i->next == i->info.n) {
		rc = la.archive_read_next_header(i->tar, &entry);
		return rc == ARCHIVE_EOF ? 0 : rc == ARCHIVE_OK ? damaged(e, "it holds more than it lists") : tar_failed(i, e);
	}
	if (data && !(room = malloc(k->bytes ? k->bytes : 1)))
		return archive_fail(e, -ENOMEM, "out of memory: key %s has %llu bytes", k->key, (unsigned long long)k->bytes);
	rc = read_vars(i, k, room, e);
	if (rc) {
		free(room);
		return rc;
	}
	i->next++;
	if (data)
		*data = room;
	return 1;
}
