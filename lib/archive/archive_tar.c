/* The file of an archive: a tar of the manifest, the checksums and the values, compressed, written aside, made durable and
 * renamed. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/archive/archive_impl.h"
#include "lib/archive/libarchive.h"
#include "lib/base/clock.h"
#include "lib/base/fs.h"

#define PIECE ((size_t)256 << 10)

static int tar_failed(struct archive_out *o, struct archive *tar, struct err *e)
{
	int code = la.archive_errno(tar);

	return archive_fail(e, code > 0 ? -code : -EIO, "%s: cannot write: %s", o->path,
			    la.archive_error_string(tar) ? la.archive_error_string(tar) : "libarchive does not say why");
}

static int begin_member(struct archive_out *o, struct archive *tar, const char *name, uint64_t bytes, int64_t time_ns,
			struct err *e)
{
	struct archive_entry *entry = la.archive_entry_new();
	int rc;

	if (!entry)
		return archive_fail(e, -ENOMEM, "out of memory");
	la.archive_entry_set_pathname(entry, name);
	la.archive_entry_set_size(entry, (int64_t)bytes);
	la.archive_entry_set_filetype(entry, AE_IFREG);
	la.archive_entry_set_perm(entry, 0644);
	la.archive_entry_set_mtime(entry, (time_t)(time_ns / NS_PER_S), 0);
	rc = la.archive_write_header(tar, entry) == ARCHIVE_OK ? 0 : tar_failed(o, tar, e);
	la.archive_entry_free(entry);
	return rc;
}

static int write_all(struct archive_out *o, struct archive *tar, const uint8_t *data, size_t bytes, struct err *e)
{
	la_ssize_t n;

	for (; bytes; data += n, bytes -= (size_t)n) {
		n = la.archive_write_data(tar, data, bytes);
		if (n <= 0)
			return tar_failed(o, tar, e);
	}
	return 0;
}

static int write_text(struct archive_out *o, struct archive *tar, const char *name, const char *text, size_t bytes,
		      struct err *e)
{
	int rc = begin_member(o, tar, name, bytes, o->info.time_ns, e);

	return rc ? rc : write_all(o, tar, (const uint8_t *)text, bytes, e);
}

/* The next bytes of the values. */
static int write_values(struct archive_out *o, struct archive *tar, uint64_t bytes, uint8_t *piece, struct err *e)
{
	size_t take;
	int rc = 0;

	for (; bytes && !rc; bytes -= take) {
		take = bytes < PIECE ? (size_t)bytes : PIECE;
		if (fs_read_full(o->values, piece, take) != 0)
			return archive_fail(e, -EIO, "%s: cannot read back what was written beside it", o->path);
		rc = write_all(o, tar, piece, take, e);
	}
	return rc;
}

static int write_members(struct archive_out *o, struct archive *tar, struct err *e)
{
	char name[MEMBER_MAX], *manifest = NULL, *sums = NULL;
	size_t manifest_bytes, sums_bytes, k, v;
	uint8_t *piece = malloc(PIECE);
	int rc = piece ? 0 : archive_fail(e, -ENOMEM, "out of memory");

	if (!rc)
		rc = archive_json_write(&o->info, &manifest, &manifest_bytes, e);
	if (!rc && manifest_bytes > MANIFEST_MAX)
		rc = archive_fail(e, -EFBIG, "%s: more keys than an archive can list", o->path);
	if (!rc)
		rc = archive_sums_text(manifest, manifest_bytes, &o->info, &sums, &sums_bytes, e);
	if (!rc)
		rc = write_text(o, tar, MANIFEST_NAME, manifest, manifest_bytes, e);
	if (!rc)
		rc = write_text(o, tar, SUMS_NAME, sums, sums_bytes, e);
	for (k = 0; k < o->info.n && !rc; k++)
		for (v = 0; v < o->info.keys[k].n && !rc; v++) {
			const struct archive_var *var = &o->info.keys[k].vars[v];

			rc = begin_member(o, tar, archive_member(name, k, v, var->name), var->bytes,
					  o->info.keys[k].time_ns, e);
			if (!rc)
				rc = write_values(o, tar, var->bytes, piece, e);
		}
	free(piece);
	free(manifest);
	free(sums);
	return rc;
}

static int write_tar(struct archive_out *o, int fd, struct err *e)
{
	struct archive *tar;
	int rc = libarchive_load(e);

	if (rc)
		return rc;
	tar = la.archive_write_new();
	if (!tar)
		return archive_fail(e, -ENOMEM, "out of memory");
	if (la.archive_write_set_format_pax_restricted(tar) != ARCHIVE_OK || la.archive_write_add_filter_zstd(tar) != ARCHIVE_OK)
		rc = archive_fail(e, -ENOTSUP, "%s: this machine's libarchive cannot write zstd: %s", o->path,
				  la.archive_error_string(tar) ? la.archive_error_string(tar) : "it does not say why");
	else if (la.archive_write_open_fd(tar, fd) != ARCHIVE_OK)
		rc = tar_failed(o, tar, e);
	else
		rc = write_members(o, tar, e);
	if (!rc && la.archive_write_close(tar) != ARCHIVE_OK)
		rc = tar_failed(o, tar, e);
	if (rc)
		la.archive_write_fail(tar); /* else it would go on writing zeros where its member ends */
	la.archive_write_free(tar);
	return rc;
}

int archive_out_commit(struct archive_out *o, struct err *e)
{
	char aside[FS_PATH_MAX];
	int fd, rc;

	if (lseek(o->values, 0, SEEK_SET) != 0)
		return archive_fail(e, -errno, "%s: %s", o->path, strerror(errno));
	fs_path(aside, "%s.XXXXXX", o->path);
	fd = mkostemp(aside, O_CLOEXEC);
	if (fd < 0)
		return archive_fail(e, -errno, "%s: cannot write here: %s", o->path, strerror(errno));
	rc = write_tar(o, fd, e);
	if (!rc && (fsync(fd) != 0 || rename(aside, o->path) != 0))
		rc = archive_fail(e, -errno, "%s: cannot write: %s", o->path, strerror(errno));
	if (rc)
		unlink(aside);
	close(fd);
	if (!rc && fsync(o->dir) != 0)
		rc = archive_fail(e, -errno, "%s: cannot make it durable: %s", o->path, strerror(errno));
	return rc;
}
