/* Owns how checkpoints leave the store for a restore: image directories and values of keys. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/ports/store_priv.h"
#include "lib/base/scoped.h"

/* ---- one file ---- */

static int write_at(int fd, const void *data, size_t len, uint64_t offset)
{
	for (const char *p = data; len > 0;) {
		ssize_t n = pwrite(fd, p, len, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		p += n;
		len -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

/* A hole where the file has old bytes; where the file system cannot, zeros. */
static int put_zeros(int fd, uint64_t offset, size_t len, uint64_t old_size, void *buf)
{
	if (offset >= old_size)
		return 0;
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)len) == 0)
		return 0;
	memset(buf, 0, len);
	return write_at(fd, buf, len, offset);
}

static int put_chunk(struct store *s, uint32_t uid, const Cpa__File *f, size_t index, int fd, uint64_t old_size,
                     struct store_chunk *c, struct err *e)
{
	const uint8_t *id = f->chunks.data + index * CHUNK_ID_BYTES;
	uint64_t offset = index * CHUNK_BYTES;
	size_t len = chunk_len(f->size, index);
	int rc;

	if (chunk_id_is_zero(id)) {
		rc = put_zeros(fd, offset, len, old_size, c->raw);
	} else {
		if (store_chunk_get(s, uid, id, c, e) < 0)
			return ERR_FAILED;
		if (c->raw_len != len)
			return err_set(e, ERR_FAILED, "a chunk of %s has %zu bytes instead of %zu", f->name,
			               c->raw_len, len);
		rc = write_at(fd, c->raw, len, offset);
	}
	return rc == 0 ? 0 : err_sys(e, ERR_FAILED, "cannot write %s at offset %" PRIu64, f->name, offset);
}

/* An existing plain file keeps its pages; anything else in its place goes. */
static int open_for(const char *path, uint64_t *old_size, struct err *e)
{
	struct stat st;

	if (lstat(path, &st) == 0 && !S_ISREG(st.st_mode) && fs_remove_tree(path, e) < 0)
		return -1;
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	if (fd < 0 || fstat(fd, &st) < 0) {
		err_sys(e, ERR_FAILED, "cannot create %s", path);
		if (fd >= 0)
			close(fd);
		return -1;
	}
	*old_size = (uint64_t)st.st_size;
	return fd;
}

static int put_file(struct store *s, uint32_t uid, const Cpa__File *f, const char *dir, struct store_chunk *c,
                    struct err *e)
{
	char path[FS_PATH_MAX];
	const char *slash = strchr(f->name, '/');
	uint64_t old_size;

	if (slash) {
		fs_path(path, "%s/%.*s", dir, (int)(slash - f->name), f->name);
		if (mkdir(path, 0700) < 0 && errno != EEXIST)
			return err_sys(e, ERR_FAILED, "cannot create the directory %s", path);
	}
	scoped_fd int fd = open_for(fs_path(path, "%s/%s", dir, f->name), &old_size, e);
	if (fd < 0)
		return ERR_FAILED;
	for (size_t i = 0; i < f->chunks.len / CHUNK_ID_BYTES; i++)
		if (put_chunk(s, uid, f, i, fd, old_size, c, e) < 0)
			return ERR_FAILED;
	if (ftruncate(fd, (off_t)f->size) < 0 || fchmod(fd, f->mode) < 0)
		return err_sys(e, ERR_FAILED, "cannot finish %s", path);
	return 0;
}

/* ---- the directory ---- */

static bool is_log(const char *name)
{
	size_t n = strlen(name);

	return n >= 4 && strcmp(name + n - 4, ".log") == 0;
}

/* Is this path one of gen's files, or a directory that one of them lies in? */
static bool wanted(const Cpa__Generation *gen, const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < gen->n_files; i++)
		if (strncmp(gen->files[i]->name, name, n) == 0 &&
		    (gen->files[i]->name[n] == '\0' || gen->files[i]->name[n] == '/'))
			return true;
	return false;
}

/* Images of an older generation would be taken for this one's. Logs are nobody's images. */
static int remove_others(const Cpa__Generation *gen, const char *dir, const char *sub, struct err *e)
{
	char path[FS_PATH_MAX];
	scoped_dir DIR *d = opendir(fs_path(path, "%s%s%s", dir, *sub ? "/" : "", sub));

	if (!d)
		return err_sys(e, ERR_FAILED, "cannot list %s", path);
	for (const struct dirent *ent; (ent = readdir(d));) {
		char name[FS_PATH_MAX];
		struct stat st;
		if (ent->d_name[0] == '.' || (!*sub && is_log(ent->d_name)))
			continue;
		fs_path(name, "%s%s%s", sub, *sub ? "/" : "", ent->d_name);
		fs_path(path, "%s/%s", dir, name);
		if (!wanted(gen, name)) {
			if (fs_remove_tree(path, e) < 0)
				return ERR_FAILED;
		} else if (!*sub && lstat(path, &st) == 0 && S_ISDIR(st.st_mode) &&
		           remove_others(gen, dir, name, e) < 0) {
			return ERR_FAILED;
		}
	}
	return 0;
}

int store_assemble(struct store *s, const Cpa__Generation *gen, const char *dir, struct err *e)
{
	struct store_chunk c;
	int rc = 0;

	if (fs_mkdirs(dir, 0700, e) < 0 || store_chunk_buffers(&c, e) < 0)
		return ERR_FAILED;
	if (remove_others(gen, dir, "", e) < 0)
		rc = ERR_FAILED;
	for (size_t i = 0; i < gen->n_files && rc == 0; i++)
		rc = put_file(s, gen->uid, gen->files[i], dir, &c, e);
	store_chunk_free(&c);
	return rc < 0 ? err_wrap(e, "cannot put generation %" PRIu64 " together in %s", gen->generation, dir) : 0;
}

/* ---- keys ---- */

int store_key_value(struct store *s, const Cpa__Keyset *keys, size_t index, void *buf, struct err *e)
{
	const Cpa__Key *k = index < keys->n_keys ? keys->keys[index] : NULL;
	const Cpa__File *f = keys->values;
	struct store_chunk c;

	if (!k)
		return err_set(e, ERR_NOT_FOUND, "the keyset has no key of number %zu", index);
	if (k->bytes == 0)
		return 0;
	if (!f || store_chunk_buffers(&c, e) < 0)
		return f ? ERR_FAILED : err_set(e, ERR_FAILED, "the keyset has no values");
	int rc = 0;
	for (uint64_t done = 0; done < k->bytes && rc == 0;) {
		uint64_t at = k->offset + done, i = at / CHUNK_BYTES, within = at % CHUNK_BYTES;
		uint64_t n = chunk_len(f->size, i) - within;
		const uint8_t *id = f->chunks.data + i * CHUNK_ID_BYTES;
		if (n > k->bytes - done)
			n = k->bytes - done;
		if (chunk_id_is_zero(id))
			memset((char *)buf + done, 0, n);
		else if ((rc = store_chunk_get(s, keys->uid, id, &c, e)) == 0 &&
		         c.raw_len != chunk_len(f->size, i))
			rc = err_set(e, ERR_FAILED, "a chunk has %zu bytes instead of its own number", c.raw_len);
		else if (rc == 0)
			memcpy((char *)buf + done, (char *)c.raw + within, n);
		done += n;
	}
	store_chunk_free(&c);
	return rc < 0 ? err_wrap(e, "cannot read the key %s", k->key) : 0;
}
