/* Writing an archive: values go to a file without a name beside the one to come, so that the manifest, which needs their
 * checksums, can stand first; then all of it is written aside, made durable, and renamed. */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/archive/archive_impl.h"
#include "lib/arena/arena.h"
#include "lib/base/clock.h"
#include "lib/base/fs.h"

#define PIECE ((size_t)256 << 10)

struct archive_out {
	char path[FS_PATH_MAX];
	int dir;    /* where it will lie */
	int values; /* the file without a name */
	struct archive_sum *sum;
	struct archive_info info;
	size_t room; /* for keys */
};

/* ---- where it goes ---- */

/* The file that path means, following links, if it can be replaced. */
static int find_place(struct archive_out *o, const char *path, struct err *e)
{
	char real[FS_PATH_MAX];
	struct stat st;

	if (!path || !*path || strlen(path) + sizeof ".XXXXXX" > sizeof o->path)
		return archive_fail(e, -EINVAL, "an archive needs a path of less than %d bytes", FS_PATH_MAX);
	if (stat(path, &st) != 0)
		fs_path(o->path, "%s", path);
	else if (S_ISDIR(st.st_mode))
		return archive_fail(e, -EISDIR, "%s: it is a directory; name a file", path);
	else if (!S_ISREG(st.st_mode))
		return archive_fail(e, -EINVAL, "%s: it is no regular file; name one", path);
	else if (!realpath(path, real) || strlen(real) + sizeof ".XXXXXX" > sizeof o->path)
		return archive_fail(e, -errno, "%s: %s", path, strerror(errno));
	else
		fs_path(o->path, "%s", real);
	return 0;
}

static int open_values(struct archive_out *o, struct err *e)
{
	char dir[FS_PATH_MAX], *slash;

	fs_path(dir, "%s", o->path);
	slash = strrchr(dir, '/');
	if (slash)
		slash[slash == dir] = '\0';
	o->dir = open(slash ? dir : ".", O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	if (o->dir < 0)
		return archive_fail(e, -errno, "%s: cannot write here: %s", o->path, strerror(errno));
	o->values = openat(o->dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (o->values < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) { /* not every file system can */
		fs_path(dir, "%s.XXXXXX", o->path);
		o->values = mkostemp(dir, O_CLOEXEC);
		if (o->values >= 0)
			unlink(dir);
	}
	return o->values >= 0 ? 0 : archive_fail(e, -errno, "%s: cannot write here: %s", o->path, strerror(errno));
}

int archive_out_open(struct archive_out **out, const char *path, const char *program, const char *host, const char *job,
		     struct err *e)
{
	struct archive_out *o = calloc(1, sizeof *o);
	int rc = -ENOMEM;

	*out = NULL;
	if (!o)
		return archive_fail(e, -ENOMEM, "out of memory");
	o->dir = o->values = -1;
	o->info.time_ns = clock_real_ns();
	o->info.program = strndup(program ? program : "", 255);
	o->info.host = strndup(host ? host : "", 255);
	o->info.job = strndup(job ? job : "", 255);
	if (!o->info.program || !o->info.host || !o->info.job || archive_sum_begin(&o->sum) != 0)
		archive_fail(e, -ENOMEM, "out of memory");
	else if ((rc = find_place(o, path, e)) == 0)
		rc = open_values(o, e);
	if (rc) {
		archive_out_close(o);
		return rc;
	}
	*out = o;
	return 0;
}

void archive_out_close(struct archive_out *o)
{
	if (!o)
		return;
	if (o->dir >= 0)
		close(o->dir);
	if (o->values >= 0)
		close(o->values);
	archive_sum_free(o->sum);
	archive_info_free(&o->info);
	free(o);
}

/* ---- a key ---- */

static int add_var(struct archive_out *o, struct archive_key *k, const struct arena_var *from, struct err *e)
{
	struct archive_var *v = &k->vars[k->n];
	char *name = strdup(from->name ? from->name : "");

	if (!name)
		return archive_fail(e, -ENOMEM, "out of memory");
	*v = (struct archive_var){.name = name, .count = from->count, .type = from->type};
	k->n++;
	if (!arena_type_size(v->type) || __builtin_mul_overflow(v->count, arena_type_size(v->type), &v->bytes) ||
	    v->bytes > ARENA_HEAP_MAX)
		return archive_fail(e, -EINVAL, "key %s: variable %s is impossible", k->key, name);
	k->bytes = archive_align(k->bytes) + v->bytes;
	archive_sum_add(o->sum, from->data, v->bytes);
	archive_sum_end(o->sum, v->sum);
	if (v->bytes && fs_write_full(o->values, from->data, v->bytes) != 0)
		return archive_fail(e, -errno, "%s: cannot write: %s", o->path, strerror(errno));
	return 0;
}

static struct archive_key *add_key(struct archive_out *o, const struct archive_key *from, size_t n)
{
	size_t room = o->room ? 2 * o->room : 64;
	struct archive_key *k = o->info.keys;

	if (o->info.n == o->room) {
		k = realloc(k, room * sizeof *k);
		if (!k)
			return NULL;
		o->info.keys = k;
		o->room = room;
	}
	k = &o->info.keys[o->info.n++];
	*k = *from;
	k->n = 0;
	k->bytes = 0;
	k->key = strdup(from->key);
	k->vars = calloc(n, sizeof *k->vars);
	return k->key && k->vars ? k : NULL;
}

int archive_out_add(struct archive_out *o, const struct archive_key *from, const struct arena_var *vars, size_t n,
		    struct err *e)
{
	struct archive_key *k;
	size_t i;
	int rc = 0;

	if (n == 0 || n > ARENA_VARS_MAX || from->how > ARENA_DIRTY)
		return archive_fail(e, -EINVAL, "key %s: it is impossible", from->key);
	k = add_key(o, from, n);
	if (!k)
		return archive_fail(e, -ENOMEM, "out of memory");
	for (i = 0; i < n && !rc; i++)
		rc = add_var(o, k, &vars[i], e);
	o->info.bytes += k->bytes;
	return rc;
}

/* ---- the file ---- */

static int tar_failed(struct archive_out *o, struct archive *tar, struct err *e)
{
	int code = archive_errno(tar);

	return archive_fail(e, code > 0 ? -code : -EIO, "%s: cannot write: %s", o->path,
			    archive_error_string(tar) ? archive_error_string(tar) : "libarchive does not say why");
}

static int begin_member(struct archive_out *o, struct archive *tar, const char *name, uint64_t bytes, int64_t time_ns,
			struct err *e)
{
	struct archive_entry *entry = archive_entry_new();
	int rc;

	if (!entry)
		return archive_fail(e, -ENOMEM, "out of memory");
	archive_entry_set_pathname(entry, name);
	archive_entry_set_size(entry, (int64_t)bytes);
	archive_entry_set_filetype(entry, AE_IFREG);
	archive_entry_set_perm(entry, 0644);
	archive_entry_set_mtime(entry, (time_t)(time_ns / NS_PER_S), 0);
	rc = archive_write_header(tar, entry) == ARCHIVE_OK ? 0 : tar_failed(o, tar, e);
	archive_entry_free(entry);
	return rc;
}

static int write_all(struct archive_out *o, struct archive *tar, const uint8_t *data, size_t bytes, struct err *e)
{
	la_ssize_t n;

	for (; bytes; data += n, bytes -= (size_t)n) {
		n = archive_write_data(tar, data, bytes);
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
	struct archive *tar = archive_write_new();
	int rc;

	if (!tar)
		return archive_fail(e, -ENOMEM, "out of memory");
	if (archive_write_set_format_pax_restricted(tar) != ARCHIVE_OK || archive_write_add_filter_zstd(tar) != ARCHIVE_OK)
		rc = archive_fail(e, -ENOTSUP, "%s: this machine's libarchive cannot write zstd: %s", o->path,
				  archive_error_string(tar) ? archive_error_string(tar) : "it does not say why");
	else if (archive_write_open_fd(tar, fd) != ARCHIVE_OK)
		rc = tar_failed(o, tar, e);
	else
		rc = write_members(o, tar, e);
	if (!rc && archive_write_close(tar) != ARCHIVE_OK)
		rc = tar_failed(o, tar, e);
	if (rc)
		archive_write_fail(tar); /* else it would go on writing zeros where its member ends */
	archive_write_free(tar);
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
