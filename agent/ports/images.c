/* Owns the walk over an image directory and its description as Files. Hashing is images_hash.c's. */
#include "agent/ports/images.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/ports/images_hash.h"
#include "lib/base/fs.h"
#include "lib/base/scoped.h"
#include "lib/chunk/manifest.h"

struct walk {
	int dir;
	const char *path;
	const struct images_size *sizes;
	size_t n_sizes;
	Cpa__Generation *gen;
	size_t room;
	void *buf;
};

static void file_free(Cpa__File *f)
{
	cpa__file__free_unpacked(f, NULL);
}

static Cpa__File *file_new(const char *name)
{
	Cpa__File *f = malloc(sizeof *f);

	if (!f)
		return NULL;
	cpa__file__init(f);
	f->name = strdup(name);
	if (f->name)
		return f;
	free(f);
	return NULL;
}

/* Room for the ids of size bytes; also for none of them, so that data is never NULL. */
static bool file_room(Cpa__File *f, uint64_t size)
{
	uint64_t bytes = chunk_count(size) * CHUNK_ID_BYTES;

	free(f->chunks.data);
	f->chunks.data = bytes <= MANIFEST_MAX ? malloc(bytes + 1) : NULL;
	f->chunks.len = f->chunks.data ? bytes : 0;
	f->size = f->chunks.data ? size : 0;
	return f->chunks.data;
}

Cpa__File *images_file_of(const char *name, const void *data, size_t len)
{
	Cpa__File *f = file_new(name);

	if (!f || !file_room(f, len)) {
		if (f)
			file_free(f);
		return NULL;
	}
	f->mode = 0600;
	chunk_ids(data, len, f->chunks.data);
	return f;
}

/* Size, mode and chunks of an open file; want: how much of it counts, or UINT64_MAX for all. */
static int describe_fd(int fd, const char *path, uint64_t want, Cpa__File *f, void *buf, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(e, ERR_FAILED, "cannot look at %s", path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_FAILED, "%s is not a plain file", path);
	if (want == UINT64_MAX)
		want = (uint64_t)st.st_size;
	if (!file_room(f, want))
		return err_set(e, ERR_FAILED, "out of memory describing %s of %" PRIu64 " bytes", path, want);
	f->mode = st.st_mode & 0777;
	return images_hash(fd, path, want, f->chunks.data, buf, e);
}

static uint64_t size_of(const struct walk *w, const char *name)
{
	for (size_t i = 0; i < w->n_sizes; i++)
		if (strcmp(w->sizes[i].name, name) == 0)
			return w->sizes[i].bytes;
	return UINT64_MAX;
}

static int append(struct walk *w, Cpa__File *f)
{
	if (w->gen->n_files == w->room) {
		size_t room = w->room ? 2 * w->room : 64;
		Cpa__File **files = realloc(w->gen->files, room * sizeof(Cpa__File *));
		if (!files)
			return -1;
		w->gen->files = files;
		w->room = room;
	}
	w->gen->files[w->gen->n_files++] = f;
	w->gen->size += f->size;
	return 0;
}

static int add_file(struct walk *w, const char *name, struct err *e)
{
	char path[FS_PATH_MAX];
	fs_path(path, "%s/%s", w->path, name);
	/* not blocking: a fifo must not hang the agent before it is seen to be one */
	scoped_fd int fd = openat(w->dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return err_sys(e, ERR_FAILED, "cannot open %s", path);
	Cpa__File *f = file_new(name);
	if (!f)
		return err_set(e, ERR_FAILED, "out of memory describing %s", path);
	int rc = describe_fd(fd, path, size_of(w, name), f, w->buf, e);
	if (rc == 0 && append(w, f) < 0)
		rc = err_set(e, ERR_FAILED, "out of memory describing %s", path);
	if (rc < 0)
		file_free(f);
	return rc;
}

static bool is_log(const char *name)
{
	size_t n = strlen(name);

	return n >= 4 && strcmp(name + n - 4, ".log") == 0;
}

/* sub: "" at the top, else the subdirectory's name. */
static int walk_dir(struct walk *w, const char *sub, struct err *e)
{
	int fd = openat(w->dir, *sub ? sub : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	scoped_dir DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		err_sys(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_FAILED, "cannot list %s/%s", w->path, sub);
		if (fd >= 0)
			close(fd);
		return ERR_FAILED;
	}
	for (const struct dirent *ent; (ent = readdir(d));) {
		char name[2 * NAME_MAX + 2];
		struct stat st;
		if (ent->d_name[0] == '.' || (!*sub && is_log(ent->d_name)))
			continue;
		snprintf(name, sizeof name, "%s%s%s", sub, *sub ? "/" : "", ent->d_name);
		if (fstatat(w->dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return err_sys(e, ERR_FAILED, "cannot look at %s/%s", w->path, name);
		if (S_ISDIR(st.st_mode) && *sub)
			return err_set(e, ERR_FAILED, "%s/%s is a directory too deep for an image directory",
			               w->path, name);
		if ((S_ISDIR(st.st_mode) ? walk_dir(w, name, e) : add_file(w, name, e)) < 0)
			return ERR_FAILED;
	}
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp((*(Cpa__File *const *)a)->name, (*(Cpa__File *const *)b)->name);
}

int images_describe(const char *dir, const struct images_size *sizes, size_t n_sizes, Cpa__Generation *gen,
                    struct err *e)
{
	images_forget(gen);
	scoped_fd int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_FAILED,
		               "cannot open the image directory %s", dir);
	scoped_free void *buf = malloc(CHUNK_BYTES);
	if (!buf)
		return err_set(e, ERR_FAILED, "out of memory describing %s", dir);
	struct walk w = { .dir = fd, .path = dir, .sizes = sizes, .n_sizes = n_sizes, .gen = gen, .buf = buf };
	if (walk_dir(&w, "", e) < 0) {
		images_forget(gen);
		return ERR_FAILED;
	}
	if (gen->n_files)
		qsort(gen->files, gen->n_files, sizeof *gen->files, by_name);
	return 0;
}

void images_forget(Cpa__Generation *gen)
{
	for (size_t i = 0; i < gen->n_files; i++)
		file_free(gen->files[i]);
	free(gen->files);
	gen->files = NULL;
	gen->n_files = 0;
	gen->size = 0;
}

int images_describe_file(const char *path, Cpa__File *file, struct err *e)
{
	scoped_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return err_sys(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_FAILED, "cannot open %s", path);
	scoped_free void *buf = malloc(CHUNK_BYTES);
	if (!buf)
		return err_set(e, ERR_FAILED, "out of memory describing %s", path);
	return describe_fd(fd, path, UINT64_MAX, file, buf, e);
}
