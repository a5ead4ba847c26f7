/* Owns turning what another agent holds into what a restart needs here: an image directory, an arena. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/fetch.h"
#include "agent/ports/images.h"
#include "lib/arena/arena.h"
#include "lib/arena/reader.h"
#include "lib/base/fs.h"
#include "lib/base/scoped.h"

/* ---- chunks into one open file, holes for zeros ---- */

struct into_file {
	int fd;
	const Cpa__File *file;
	const uint64_t *index; /* of the chunks that are asked for */
	const struct chunk_id *ids;
	uint8_t *raw; /* CHUNK_BYTES */
};

static int write_chunk(void *ctx, size_t i, const uint8_t *bytes, size_t len, bool compressed, size_t raw_len,
                       struct err *e)
{
	struct into_file *in = ctx;
	uint64_t at = in->index[i];
	size_t want = chunk_len(in->file->size, at);
	if (raw_len != want)
		return err_set(e, ERR_FAILED, "a chunk of %s has %zu bytes instead of %zu", in->file->name,
		               raw_len, want);
	if (chunk_unpack(bytes, len, compressed, in->raw, want, e) < 0)
		return e->code;
	struct chunk_id id = chunk_id(in->raw, want);
	if (!chunk_id_equal(id.b, in->ids[i].b))
		return err_set(e, ERR_FAILED, "a chunk of %s was altered on its way", in->file->name);
	if (pwrite(in->fd, in->raw, want, (off_t)(at * CHUNK_BYTES)) != (ssize_t)want)
		return err_sys(e, ERR_FAILED, "cannot write %s", in->file->name);
	return 0;
}

static int fetch_file(const struct fetch *f, const Cpa__File *file, int fd, struct err *e)
{
	uint64_t n = chunk_count(file->size);
	scoped_free uint64_t *index = malloc((n + 1) * sizeof *index);
	scoped_free struct chunk_id *ids = malloc((n + 1) * sizeof *ids);
	scoped_free uint8_t *raw = malloc(CHUNK_BYTES);
	size_t wanted = 0;
	if (!index || !ids || !raw)
		return err_set(e, ERR_FAILED, "out of memory");
	for (uint64_t i = 0; i < n; i++) {
		const uint8_t *id = file->chunks.data + i * CHUNK_ID_BYTES;
		if (chunk_id_is_zero(id))
			continue;
		index[wanted] = i;
		memcpy(ids[wanted++].b, id, CHUNK_ID_BYTES);
	}
	if (ftruncate(fd, 0) < 0 || ftruncate(fd, (off_t)file->size) < 0)
		return err_sys(e, ERR_FAILED, "cannot make room for %s", file->name);
	struct into_file in = { fd, file, index, ids, raw };
	return fetch_chunks(f, ids, wanted, write_chunk, &in, e);
}

static int fetch_into_dir(const struct fetch *f, const Cpa__Generation *g, const char *dir, struct err *e)
{
	for (size_t i = 0; i < g->n_files; i++) {
		char path[FS_PATH_MAX];
		const char *slash = strchr(g->files[i]->name, '/');
		if (slash) {
			fs_path(path, "%s/%.*s", dir, (int)(slash - g->files[i]->name), g->files[i]->name);
			if (fs_mkdirs(path, 0700, e) < 0)
				return e->code;
		}
		scoped_fd int fd = open(fs_path(path, "%s/%s", dir, g->files[i]->name),
		                        O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, g->files[i]->mode & 0700);
		if (fd < 0)
			return err_sys(e, ERR_FAILED, "cannot create %s", path);
		int rc = fetch_file(f, g->files[i], fd, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int fetch_generation(struct agent *a, const Cpa__Holding *h, const char *job, const char *dir,
                     Cpa__Generation **out, struct err *e)
{
	struct fetch f = { a, h->url, job, CPA__WHAT__GENERATION, h->number, 0 };
	struct manifest m;
	scoped_free uint8_t *sealed = NULL;
	char path[FS_PATH_MAX];
	size_t len;
	/* what an older generation left is in the way: names that this one lacks */
	if (fs_remove_tree(dir, e) < 0 || fs_mkdirs(dir, 0700, e) < 0)
		return e->code;
	int rc = fetch_manifest(&f, &sealed, &len, &m, e);
	if (rc < 0)
		return rc;
	rc = fetch_into_dir(&f, m.gen, dir, e);
	if (rc == 0)
		rc = fs_write_aside(fs_path(path, "%s/.manifest", dir), sealed, len, 0600, 0, e);
	if (rc == 0) {
		*out = m.gen;
		return 0;
	}
	manifest_free(&m);
	fs_remove_tree(dir, NULL); /* half of an image is worth nothing, and it may lie in memory */
	return rc;
}

/* ---- keys into an arena ---- */

static int load_key(struct arena *a, const Cpa__Key *k, uint8_t *values, struct err *e)
{
	scoped_free struct arena_var *vars = calloc(k->n_vars + 1, sizeof *vars);
	if (!vars)
		return err_set(e, ERR_FAILED, "out of memory");
	for (size_t i = 0; i < k->n_vars; i++)
		vars[i] = (struct arena_var){ .name = k->vars[i]->name,
			                      .count = k->vars[i]->count,
			                      .type = k->vars[i]->type };
	int rc = arena_vars_lay(vars, k->n_vars, values + k->offset, k->bytes);
	if (rc == 0)
		rc = arena_load(a, k->key, vars, k->n_vars, k->version, k->incarnation, k->time_ns);
	return rc == 0 ? 0
	               : err_set(e, ERR_FAILED, "key %s does not go into the arena: %s", k->key, strerror(-rc));
}

static int load_keys(const Cpa__Keyset *keys, uint8_t *values, const char *path, struct err *e)
{
	struct arena *arena;
	int rc = arena_map(&arena, path);
	if (rc < 0)
		return err_set(e, ERR_FAILED, "cannot map the arena %s: %s", path, strerror(-rc));
	for (size_t i = 0; i < keys->n_keys && rc == 0; i++)
		rc = load_key(arena, keys->keys[i], values, e);
	arena_unmap(arena);
	return rc;
}

static int load_mapped(const Cpa__Keyset *keys, int fd, uint64_t size, const char *arena, struct err *e)
{
	uint8_t none = 0, *values = &none;
	if (size)
		values = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (values == MAP_FAILED)
		return err_sys(e, ERR_FAILED, "no room for %llu bytes of keys", (unsigned long long)size);
	int rc = load_keys(keys, values, arena, e);
	if (size)
		munmap(values, size);
	return rc;
}

int fetch_keys(struct agent *a, const Cpa__Holding *h, const char *job, const char *arena, struct err *e)
{
	struct fetch f = { a, h->url, job, CPA__WHAT__KEYSET, h->number, 0 };
	struct manifest m;
	scoped_free uint8_t *sealed = NULL;
	size_t len;
	int rc = fetch_manifest(&f, &sealed, &len, &m, e);
	if (rc < 0)
		return rc;
	scoped_fd int fd = memfd_create("keys", MFD_CLOEXEC);
	uint64_t size = m.keys->values ? m.keys->values->size : 0;
	if (fd < 0)
		rc = err_sys(e, ERR_FAILED, "no memory for the keys");
	if (rc == 0 && m.keys->values)
		rc = fetch_file(&f, m.keys->values, fd, e);
	if (rc == 0)
		rc = load_mapped(m.keys, fd, size, arena, e);
	manifest_free(&m);
	return rc;
}
