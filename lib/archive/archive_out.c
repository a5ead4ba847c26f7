/* An archive that is being made: where it will lie, and its keys so far. Values go to a file without a name beside the one
 * to come, so that the manifest, which needs their checksums, can stand first; archive_tar.c puts them together. */
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
