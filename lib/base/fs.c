/* Owns how files are written, read and removed. Knows nothing of what is in them. */
#include "lib/base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/scoped.h"

const char *fs_path(char *buf, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(buf, FS_PATH_MAX, fmt, ap);
	va_end(ap);
	return buf;
}

int fs_write_full(int fd, const void *data, size_t len)
{
	for (const char *p = data; len > 0;) {
		ssize_t n = write(fd, p, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int fs_read_full(int fd, void *data, size_t len)
{
	for (char *p = data; len > 0;) {
		ssize_t n = read(fd, p, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0)
			errno = 0;
		if (n <= 0)
			return -1;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int sync_dir_of(const char *path)
{
	char dir[FS_PATH_MAX];
	fs_path(dir, "%s", path);
	char *slash = strrchr(dir, '/');
	if (slash)
		*(slash == dir ? slash + 1 : slash) = '\0';
	scoped_fd int fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -1 : fsync(fd);
}

int fs_write_aside(const char *path, const void *data, size_t len, mode_t mode, int durable, struct err *e)
{
	char aside[FS_PATH_MAX];
	fs_path(aside, "%s.XXXXXX", path);
	scoped_fd int fd = mkostemp(aside, O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, ERR_FAILED, "cannot create a file beside %s", path);
	if (fchmod(fd, mode) == 0 && fs_write_full(fd, data, len) == 0 && (!durable || fsync(fd) == 0) &&
	    rename(aside, path) == 0)
		return !durable || sync_dir_of(path) == 0 ?
			       0 :
			       err_sys(e, ERR_FAILED, "cannot make %s durable", path);
	err_sys(e, ERR_FAILED, "cannot write %s", path);
	unlink(aside);
	return ERR_FAILED;
}

int fs_read(const char *path, size_t max, char **data, size_t *len, struct err *e)
{
	scoped_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno == ENOENT ? ERR_NOT_FOUND : errno == EACCES ? ERR_DENIED : ERR_FAILED,
			       "cannot open %s", path);
	size_t have = 0, room = 4096;
	scoped_free char *buf = malloc(room + 1);
	while (buf) {
		ssize_t n = read(fd, buf + have, room - have);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, ERR_FAILED, "cannot read %s", path);
		have += (size_t)n;
		if (have > max)
			return err_set(e, ERR_FAILED, "%s is larger than the %zu bytes it may have", path, max);
		if (n == 0) {
			buf[have] = '\0';
			*data = scoped_take(buf);
			*len = have;
			return 0;
		}
		if (have < room)
			continue;
		char *more = realloc(buf, room * 2 + 1);
		if (!more)
			break;
		buf = more;
		room *= 2;
	}
	return err_set(e, ERR_FAILED, "out of memory reading %s", path);
}

int fs_mkdirs(const char *path, mode_t mode, struct err *e)
{
	char part[FS_PATH_MAX];
	fs_path(part, "%s", path);
	for (char *p = part + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(part, mode) < 0 && errno != EEXIST)
			return err_sys(e, errno == EACCES ? ERR_DENIED : ERR_FAILED, "cannot create the directory %s",
				       part);
		*p = '/';
	}
	if (mkdir(part, mode) < 0 && errno != EEXIST)
		return err_sys(e, errno == EACCES ? ERR_DENIED : ERR_FAILED, "cannot create the directory %s", part);
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
	(void)st, (void)type, (void)where;
	return remove(path) < 0 && errno != ENOENT ? -1 : 0;
}

int fs_remove_tree(const char *path, struct err *e)
{
	if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) < 0 && errno != ENOENT)
		return err_sys(e, ERR_FAILED, "cannot remove %s", path);
	return 0;
}

int fs_put(const char *path, const char *text)
{
	scoped_fd int fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd < 0 ? -1 : fs_write_full(fd, text, strlen(text));
}
