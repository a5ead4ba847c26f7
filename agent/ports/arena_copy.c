/* See arena_copy.h. */
#include "agent/ports/arena_copy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/ports/jobfiles.h"
#include "lib/base/fs.h"
#include "lib/base/scoped.h"

#define ARENA_MAX (UINT64_C(1) << 42)

/* The next run of data at or behind at: [*start, *end). False when there is none. */
static bool next_data(const struct arena_copy *a, uint64_t at, uint64_t *start, uint64_t *end)
{
	off_t data = lseek(a->from, (off_t)at, SEEK_DATA);
	off_t hole = data < 0 ? -1 : lseek(a->from, data, SEEK_HOLE);
	if (data < 0 || hole < 0 || (uint64_t)data >= a->size)
		return false;
	*start = (uint64_t)data;
	*end = (uint64_t)hole < a->size ? (uint64_t)hole : a->size;
	return true;
}

/* Make sure that the copy has memory for a run of data. */
static int reserve(const struct arena_copy *a, uint64_t start, uint64_t end)
{
	errno = posix_fallocate(a->to, (off_t)start, (off_t)(end - start));
	return errno ? -1 : 0;
}

static int open_both(struct arena_copy *a, const char *path, int img_dir, struct err *e)
{
	struct stat st;
	a->from = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (a->from < 0 || fstat(a->from, &st))
		return err_sys(e, ERR_FAILED, "cannot open the job's arena %s", path);
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1 || st.st_size <= 0 || (uint64_t)st.st_size > ARENA_MAX)
		return err_set(e, ERR_FAILED, "the job's arena %s is not a file that an arena can be in", path);
	a->size = (uint64_t)st.st_size;
	a->owner = st.st_uid;
	a->group = st.st_gid;
	a->mode = st.st_mode & 0777;
	a->to = openat(img_dir, "arena", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (a->to < 0 || ftruncate(a->to, st.st_size))
		return err_sys(e, ERR_FAILED, "no room for a copy of the job's arena");
	return ERR_OK;
}

static int touch(struct arena_copy *a, struct err *e)
{
	void *map = mmap(NULL, a->size, PROT_READ | PROT_WRITE, MAP_SHARED, a->to, 0);
	if (map == MAP_FAILED)
		return err_sys(e, ERR_FAILED, "cannot map a copy of the job's arena");
	a->map = map;
	for (uint64_t start, end = 0; next_data(a, end, &start, &end);) {
		if (reserve(a, start, end))
			return err_sys(e, ERR_FAILED, "no room for a copy of the job's arena");
		uint64_t page = start & ~UINT64_C(4095);
		madvise(a->map + page, end - page, MADV_POPULATE_WRITE);
	}
	return ERR_OK;
}

int arena_copy_open(struct arena_copy *a, const char *path, int img_dir, struct err *e)
{
	*a = (struct arena_copy){.from = -1, .to = -1};
	if (!path) {
		unlinkat(img_dir, "arena", 0);
		return ERR_OK;
	}
	a->is_open = true;
	if (!open_both(a, path, img_dir, e) && !touch(a, e))
		return ERR_OK;
	arena_copy_close(a);
	return ERR_FAILED;
}

static int copy_run(struct arena_copy *a, uint64_t start, uint64_t end)
{
	if (reserve(a, start, end))
		return -1;
	while (start < end) {
		ssize_t n = pread(a->from, a->map + start, end - start, (off_t)start);
		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0)
			errno = EIO;
		if (n <= 0)
			return -1;
		start += (uint64_t)n;
	}
	return 0;
}

/* What is a hole in the arena reads as zero in the copy, whatever an older generation had there. */
static int clear(struct arena_copy *a, uint64_t start, uint64_t end)
{
	if (start >= end)
		return 0;
	return fallocate(a->to, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)start, (off_t)(end - start));
}

int arena_copy_run(struct arena_copy *a, struct err *e)
{
	uint64_t start, end, done = 0;
	if (!a->is_open)
		return ERR_OK;
	for (; next_data(a, done, &start, &end); done = end)
		if (clear(a, done, start) || copy_run(a, start, end))
			return err_sys(e, ERR_FAILED, "cannot copy the job's arena");
	if (clear(a, done, a->size))
		return err_sys(e, ERR_FAILED, "cannot copy the job's arena");
	return ERR_OK;
}

void arena_copy_close(struct arena_copy *a)
{
	if (!a->is_open)
		return;
	a->is_open = false;
	if (a->map)
		munmap(a->map, a->size);
	a->map = NULL;
	if (a->from >= 0)
		close(a->from);
	if (a->to >= 0)
		close(a->to);
}

int arena_put_back(int img_dir, const char *path, uid_t owner, gid_t group, mode_t mode, struct err *e)
{
	char aside[FS_PATH_MAX];
	struct stat st;
	scoped_fd int from = openat(img_dir, "arena", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (from < 0 && errno == ENOENT)
		return ERR_OK;
	if (from < 0 || fstat(from, &st))
		return err_sys(e, ERR_FAILED, "cannot read the arena in the snapshot");
	fs_path(aside, "%s.new", path);
	unlink(aside);
	scoped_fd int to = open(aside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (to < 0)
		return err_sys(e, ERR_FAILED, "cannot make the job's arena %s", path);
	if (jobfiles_copy(from, 0, to, 0, (uint64_t)st.st_size, true) || ftruncate(to, st.st_size) ||
	    fchown(to, owner, group) || fchmod(to, mode) || rename(aside, path)) {
		err_sys(e, ERR_FAILED, "cannot put the job's arena back to %s", path);
		unlink(aside);
		return ERR_FAILED;
	}
	return ERR_OK;
}
