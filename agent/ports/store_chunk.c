/* Owns chunks as files: `cpc1`, flags, raw length and stored length (u32 each, little-endian), then the bytes as
 * they came. A chunk is verified when it comes in and whenever it goes out. */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "agent/ports/store_priv.h"
#include "lib/base/scoped.h"

#define CHUNK_MAGIC 0x31637063u /* "cpc1" */
#define CHUNK_COMPRESSED 1u

struct chunk_head {
	uint32_t magic, flags, raw_len, len;
};

const char *store_chunk_path(const struct store *s, uint32_t uid, const uint8_t *id, char *buf)
{
	char hex[CHUNK_HEX_MAX];

	chunk_hex(id, hex);
	return fs_path(buf, "%s/chunks/%" PRIu32 "/%.2s/%s", s->dir, uid, hex, hex);
}

int store_chunk_buffers(struct store_chunk *c, struct err *e)
{
	c->packed = malloc(CHUNK_BYTES);
	c->raw = malloc(CHUNK_BYTES);
	if (c->packed && c->raw)
		return 0;
	store_chunk_free(c);
	return err_set(e, ERR_FAILED, "out of memory for a chunk");
}

void store_chunk_free(struct store_chunk *c)
{
	free(c->packed);
	free(c->raw);
	c->packed = c->raw = NULL;
}

/* ---- out ---- */

static int read_head(int fd, struct store_chunk *c)
{
	struct chunk_head h;

	if (fs_read_full(fd, &h, sizeof h) < 0 || le32toh(h.magic) != CHUNK_MAGIC)
		return -1;
	c->compressed = le32toh(h.flags) & CHUNK_COMPRESSED;
	c->len = le32toh(h.len);
	c->raw_len = le32toh(h.raw_len);
	return c->len <= CHUNK_BYTES && c->raw_len <= CHUNK_BYTES ? 0 : -1;
}

/* Take a damaged chunk away, so that a good copy can come in, and with it what is no longer complete. */
static void remove_damaged(struct store *s, uint32_t uid, const char *path, int fd)
{
	struct stat st, now;

	pthread_mutex_lock(&s->lock);
	/* unless another thread has put a good copy there meanwhile */
	if (fstat(fd, &st) == 0 && stat(path, &now) == 0 && st.st_ino == now.st_ino && unlink(path) == 0)
		store_uncount(s, (uint64_t)st.st_size);
	if (!s->durable)
		store_drop_incomplete(s, uid);
	pthread_mutex_unlock(&s->lock);
}

int store_chunk_get(struct store *s, uint32_t uid, const uint8_t *id, struct store_chunk *c, struct err *e)
{
	char path[FS_PATH_MAX];
	struct err why = { 0 };
	scoped_fd int fd = open(store_chunk_path(s, uid, id, path), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return err_sys(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_FAILED, "cannot open the chunk %s", path);
	errno = 0;
	if (read_head(fd, c) == 0 && fs_read_full(fd, c->packed, c->len) == 0 &&
	    chunk_unpack(c->packed, c->len, c->compressed, c->raw, c->raw_len, &why) == 0) {
		struct chunk_id is = chunk_id(c->raw, c->raw_len);
		if (chunk_id_equal(is.b, id))
			return 0;
	}
	if (errno == EIO || errno == EISDIR)
		return err_sys(e, ERR_FAILED, "cannot read the chunk %s", path);
	remove_damaged(s, uid, path, fd);
	return err_set(e, ERR_FAILED, "the chunk %s was damaged and is given up%s%s", path, *why.text ? ": " : "",
	               why.text);
}

int store_get_chunk(struct store *s, uint32_t uid, const uint8_t *id, void *buf, size_t *len, struct err *e)
{
	scoped_free void *packed = malloc(CHUNK_BYTES);
	struct store_chunk c = { .packed = packed, .raw = buf };

	if (!packed)
		return err_set(e, ERR_FAILED, "out of memory for a chunk");
	int rc = store_chunk_get(s, uid, id, &c, e);
	*len = c.raw_len;
	return rc;
}

int store_get_packed(struct store *s, uint32_t uid, const uint8_t *id, void *buf, size_t *len, bool *compressed,
                     size_t *raw_len, struct err *e)
{
	scoped_free void *raw = malloc(CHUNK_BYTES);
	struct store_chunk c = { .packed = buf, .raw = raw };

	if (!raw)
		return err_set(e, ERR_FAILED, "out of memory for a chunk");
	int rc = store_chunk_get(s, uid, id, &c, e);
	*len = c.len;
	*compressed = c.compressed;
	*raw_len = c.raw_len;
	return rc;
}

bool store_has(struct store *s, uint32_t uid, const uint8_t *id)
{
	char path[FS_PATH_MAX];

	return chunk_id_is_zero(id) || access(store_chunk_path(s, uid, id, path), F_OK) == 0;
}

/* ---- in ---- */

int store_chunk_write(const char *path, const struct store_chunk *c, bool start_writeback, struct err *e)
{
	struct chunk_head h = { htole32(CHUNK_MAGIC), htole32(c->compressed ? CHUNK_COMPRESSED : 0),
		                htole32((uint32_t)c->raw_len), htole32((uint32_t)c->len) };
	scoped_fd int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0 || fs_write_full(fd, &h, sizeof h) < 0 || fs_write_full(fd, c->packed, c->len) < 0) {
		err_sys(e, ERR_FAILED, "cannot write the chunk %s%s", path,
		        errno == ENOSPC ? ", free some space or name another directory" : "");
		if (fd >= 0)
			unlink(path);
		return ERR_FAILED;
	}
	if (start_writeback) /* only a hint: the fsync that follows is what counts */
		(void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
	return 0;
}

/* The directory that a chunk will lie in. */
int store_chunk_shelf(const struct store *s, uint32_t uid, const uint8_t *id, struct err *e)
{
	char path[FS_PATH_MAX];

	store_chunk_path(s, uid, id, path);
	*strrchr(path, '/') = '\0';
	return mkdir(path, 0700) == 0 || errno == EEXIST ? 0 : fs_mkdirs(path, 0700, e);
}

/* Claim the bytes before they are written, so that two threads cannot overdraw the budget together. */
static int reserve(struct store *s, uint64_t bytes, struct err *e)
{
	bool swept = false;
	int rc = 0;

	pthread_mutex_lock(&s->lock);
	if (s->budget && s->used + bytes > s->budget && s->garbage)
		swept = store_gc_locked(s, NULL, NULL) == 0;
	if (s->budget && s->used + bytes > s->budget)
		rc = err_set(e, ERR_FAILED,
		             "the memory for checkpoints is spent: %" PRIu64 " of %" PRIu64
		             " bytes are in use; keep fewer generations or raise --memory",
		             s->used, s->budget);
	else
		s->used += bytes;
	pthread_mutex_unlock(&s->lock);
	if (swept)
		store_gc_empty(s);
	return rc;
}

static void unreserve(struct store *s, uint64_t bytes)
{
	pthread_mutex_lock(&s->lock);
	store_uncount(s, bytes);
	pthread_mutex_unlock(&s->lock);
}

/* Write aside, then give it its name. 1: another thread was first. */
static int publish(struct store *s, uint32_t uid, const uint8_t *id, const struct store_chunk *c, struct err *e)
{
	char aside[FS_PATH_MAX], path[FS_PATH_MAX], hex[CHUNK_HEX_MAX];

	if (store_chunk_shelf(s, uid, id, e) < 0)
		return ERR_FAILED;
	fs_path(aside, "%s/aside/%" PRIu32 "-%s-%lx", s->dir, uid, chunk_hex(id, hex),
	        (unsigned long)pthread_self());
	if (store_chunk_write(aside, c, false, e) < 0)
		return ERR_FAILED;
	if (renameat2(AT_FDCWD, aside, AT_FDCWD, store_chunk_path(s, uid, id, path), RENAME_NOREPLACE) == 0)
		return 0;
	int first = errno == EEXIST;
	if (errno == EINVAL && rename(aside, path) == 0) /* a file system that cannot refuse to replace */
		return 0;
	if (!first)
		err_sys(e, ERR_FAILED, "cannot name the chunk %s", path);
	unlink(aside);
	return first ? 1 : ERR_FAILED;
}

static int check_incoming(const uint8_t *id, const struct store_chunk *c, struct err *e)
{
	char hex[CHUNK_HEX_MAX];
	scoped_free void *raw = malloc(CHUNK_BYTES);

	if (!raw)
		return err_set(e, ERR_FAILED, "out of memory for a chunk");
	if (chunk_unpack(c->packed, c->len, c->compressed, raw, c->raw_len, e) < 0)
		return err_wrap(e, "the chunk %s is refused", chunk_hex(id, hex));
	struct chunk_id is = chunk_id(raw, c->raw_len);
	if (chunk_id_equal(is.b, id))
		return 0;
	return err_set(e, ERR_FAILED, "the chunk %s is refused: its content does not match its id",
	               chunk_hex(id, hex));
}

int store_put_chunk(struct store *s, uint32_t uid, const uint8_t *id, const void *bytes, size_t len,
                    bool compressed, size_t raw_len, struct err *e)
{
	struct store_chunk c = {
		.packed = (void *)(uintptr_t)bytes, .len = len, .raw_len = raw_len, .compressed = compressed
	};
	uint64_t bytes_needed = sizeof(struct chunk_head) + len;

	if (store_has(s, uid, id))
		return 0;
	if (check_incoming(id, &c, e) < 0 || reserve(s, bytes_needed, e) < 0)
		return ERR_FAILED;
	int rc = publish(s, uid, id, &c, e);
	if (rc != 0)
		unreserve(s, bytes_needed);
	return rc < 0 ? rc : 0;
}
