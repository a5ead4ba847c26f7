/* Owns what is done with an image directory that has been described: verify, trim, find and read its chunks. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/ports/images.h"
#include "agent/ports/images_hash.h"
#include "lib/base/fs.h"
#include "lib/base/scoped.h"

static int open_image(const char *path, int flags, struct err *e)
{
	int fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (fd < 0)
		err_sys(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_FAILED, "cannot open %s", path);
	return fd;
}

static int verify_one(const char *path, const Cpa__File *file, void *buf, struct err *e)
{
	scoped_fd int fd = open_image(path, O_RDONLY, e);

	return fd < 0 ? ERR_FAILED : images_check(fd, path, file->size, file->chunks.data, buf, e);
}

int images_verify_file(const char *path, const Cpa__File *file, struct err *e)
{
	scoped_free void *buf = malloc(CHUNK_BYTES);

	if (!buf)
		return err_set(e, ERR_FAILED, "out of memory checking %s", path);
	return verify_one(path, file, buf, e);
}

int images_verify(const char *dir, const Cpa__Generation *gen, struct err *e)
{
	char path[FS_PATH_MAX];
	scoped_free void *buf = malloc(CHUNK_BYTES);

	if (!buf)
		return err_set(e, ERR_FAILED, "out of memory checking %s", dir);
	if (access(dir, F_OK) < 0)
		return err_sys(e, ERR_NOT_FOUND, "there is no image directory %s", dir);
	for (size_t i = 0; i < gen->n_files; i++)
		if (verify_one(fs_path(path, "%s/%s", dir, gen->files[i]->name), gen->files[i], buf, e) < 0)
			return ERR_FAILED;
	return 0;
}

int images_trim(const char *dir, const Cpa__Generation *gen, struct err *e)
{
	for (size_t i = 0; i < gen->n_files; i++) {
		char path[FS_PATH_MAX];
		struct stat st;
		scoped_fd int fd = open_image(fs_path(path, "%s/%s", dir, gen->files[i]->name), O_RDWR, e);
		if (fd < 0)
			return ERR_FAILED;
		if (fstat(fd, &st) < 0)
			return err_sys(e, ERR_FAILED, "cannot look at %s", path);
		if ((uint64_t)st.st_size > gen->files[i]->size && ftruncate(fd, (off_t)gen->files[i]->size) < 0)
			return err_sys(e, ERR_FAILED, "cannot cut %s to its size", path);
	}
	return 0;
}

static int find_in(const Cpa__File *file, const uint8_t *id, uint64_t *offset, size_t *len)
{
	for (size_t i = 0; i < file->chunks.len / CHUNK_ID_BYTES; i++) {
		if (!chunk_id_equal(file->chunks.data + i * CHUNK_ID_BYTES, id))
			continue;
		*offset = i * CHUNK_BYTES;
		*len = chunk_len(file->size, i);
		return 0;
	}
	return ERR_NOT_FOUND;
}

int images_find(const Cpa__Generation *gen, const uint8_t *id, size_t *file, uint64_t *offset, size_t *len)
{
	for (size_t i = 0; i < gen->n_files; i++) {
		if (find_in(gen->files[i], id, offset, len) < 0)
			continue;
		*file = i;
		return 0;
	}
	return ERR_NOT_FOUND;
}

static int read_at(const char *path, uint64_t offset, const uint8_t *id, void *buf, size_t len, struct err *e)
{
	scoped_fd int fd = open_image(path, O_RDONLY, e);
	if (fd < 0)
		return ERR_FAILED;
	if (lseek(fd, (off_t)offset, SEEK_SET) < 0 || fs_read_full(fd, buf, len) < 0)
		return errno ? err_sys(e, ERR_FAILED, "cannot read %s", path)
		             : err_set(e, ERR_FAILED, "%s is shorter than its manifest says", path);
	struct chunk_id is = chunk_id(buf, len);
	if (!chunk_id_equal(is.b, id))
		return err_set(e, ERR_FAILED, "%s is damaged in the %zu bytes from offset %llu: checksum mismatch",
		               path, len, (unsigned long long)offset);
	return 0;
}

int images_read(const char *dir, const Cpa__Generation *gen, const uint8_t *id, void *buf, size_t *len,
                struct err *e)
{
	char path[FS_PATH_MAX], hex[CHUNK_HEX_MAX];
	size_t file;
	uint64_t offset;

	if (images_find(gen, id, &file, &offset, len) < 0)
		return err_set(e, ERR_NOT_FOUND, "%s has no chunk %s", dir, chunk_hex(id, hex));
	return read_at(fs_path(path, "%s/%s", dir, gen->files[file]->name), offset, id, buf, *len, e);
}

int images_read_file(const char *path, const Cpa__File *file, const uint8_t *id, void *buf, size_t *len,
                     struct err *e)
{
	char hex[CHUNK_HEX_MAX];
	uint64_t offset;

	if (find_in(file, id, &offset, len) < 0)
		return err_set(e, ERR_NOT_FOUND, "%s has no chunk %s", path, chunk_hex(id, hex));
	return read_at(path, offset, id, buf, *len, e);
}
