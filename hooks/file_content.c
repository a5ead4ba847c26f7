/* A file's content, between the file and the arena: all of it or none. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hooks/file_content.h"

int content_room(struct content *c, uint64_t bytes)
{
	content_free(c);
	if (bytes == 0)
		return 0;
	c->data = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (c->data == MAP_FAILED) {
		c->data = NULL;
		return -ENOMEM;
	}
	c->bytes = bytes;
	return 0;
}

static int changed(const struct stat *a, const struct stat *b)
{
	return a->st_size != b->st_size || a->st_mtim.tv_sec != b->st_mtim.tv_sec ||
	       a->st_mtim.tv_nsec != b->st_mtim.tv_nsec;
}

/* All of the file, by read(): a mapping of it would be a SIGBUS when somebody cuts it short. */
static int read_all(int fd, struct content *c)
{
	uint64_t done = 0;
	ssize_t n;

	while (done < c->bytes) {
		n = read(fd, c->data + done, c->bytes - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -ESTALE;
		done += (uint64_t)n;
	}
	return 0;
}

/* Has anybody the file open for writing? What lies in his buffers would be missing. The kernel grants a read lease on
 * a file that nobody writes; without leases (a file system may have none), no is the answer. It is given back at once:
 * who opens the file meanwhile breaks it, which the kernel tells its holder by a signal: by one that is ignored unless
 * the program wants it. */
static int has_writer(int fd)
{
	if (fcntl(fd, F_SETSIG, SIGURG) != 0)
		return 0;
	if (fcntl(fd, F_SETLEASE, F_RDLCK) != 0)
		return errno == EAGAIN;
	fcntl(fd, F_SETLEASE, F_UNLCK);
	return 0;
}

int content_read(const char *path, struct content *c)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK), rc = 0;
	struct stat before, after;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &before) != 0)
		rc = -errno;
	else if (!S_ISREG(before.st_mode))
		rc = -EISDIR;
	else if (has_writer(fd))
		rc = -EBUSY;
	else
		rc = content_room(c, (uint64_t)before.st_size);
	if (!rc)
		rc = read_all(fd, c);
	if (!rc && (fstat(fd, &after) != 0 || changed(&before, &after)))
		rc = -ESTALE;
	close(fd);
	return rc;
}

void content_free(struct content *c)
{
	if (c->data)
		munmap(c->data, c->bytes);
	*c = (struct content){0};
}

static int write_all(int fd, const struct content *c)
{
	uint64_t done = 0;
	ssize_t n;

	while (done < c->bytes) {
		n = write(fd, c->data + done, c->bytes - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ENOSPC;
		done += (uint64_t)n;
	}
	return 0;
}

int content_write(const char *path, const struct content *c)
{
	char aside[FILE_PATH_MAX + 8];
	size_t bytes = strlen(path);
	int fd, rc;

	memcpy(aside, path, bytes);
	memcpy(aside + bytes, ".XXXXXX", sizeof ".XXXXXX");
	fd = mkostemp(aside, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	rc = write_all(fd, c);
	if (close(fd) != 0 && !rc)
		rc = -errno;
	if (!rc && rename(aside, path) != 0)
		rc = -errno;
	if (rc)
		unlink(aside);
	return rc;
}
