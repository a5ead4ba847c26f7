/* A copy of an arena file that takes no more memory than the arena itself: what a process snapshot keeps. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/arena/reader.h"

#define PIECE (UINT64_C(1) << 20)

static int copy_run(int from, int to, off_t at, off_t end, uint8_t *buf)
{
	while (at < end) {
		size_t want = (uint64_t)(end - at) < PIECE ? (size_t)(end - at) : PIECE;
		ssize_t n = pread(from, buf, want, at), put;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EPROTO;
		for (ssize_t done = 0; done < n; done += put) {
			put = pwrite(to, buf + done, (size_t)(n - done), at + done);
			if (put <= 0)
				return put < 0 ? -errno : -ENOSPC;
		}
		at += n;
	}
	return 0;
}

static int copy_file(int from, int to, off_t length)
{
	uint8_t *buf = malloc(PIECE);
	off_t at = 0, data, hole;
	int rc = buf ? 0 : -ENOMEM;

	while (!rc && at < length) {
		data = lseek(from, at, SEEK_DATA);
		if (data < 0) {
			rc = errno == ENXIO ? 0 : -errno;
			break;
		}
		hole = lseek(from, data, SEEK_HOLE);
		if (hole < 0 || hole > length)
			hole = length;
		rc = copy_run(from, to, data, hole, buf);
		at = hole;
	}
	free(buf);
	return rc;
}

int arena_clone(int fd, const char *path, mode_t mode)
{
	struct arena_reader r = {.fd = fd};
	char *aside = NULL;
	int to, rc = arena_read_open(&r);

	if (rc)
		return rc;
	if (asprintf(&aside, "%s.XXXXXX", path) < 0)
		return -ENOMEM;
	to = mkostemp(aside, O_CLOEXEC);
	if (to < 0) {
		rc = -errno;
	} else {
		if (ftruncate(to, (off_t)r.file_bytes) != 0 || fchmod(to, mode) != 0)
			rc = -errno;
		if (!rc)
			rc = copy_file(fd, to, (off_t)r.file_bytes);
		if (!rc && link(aside, path) != 0)
			rc = -errno;
		unlink(aside);
		close(to);
	}
	free(aside);
	return rc;
}
