/* An arena file's life: made aside and then linked into place, mapped, unmapped; and whose boot its locks belong
 * to. What lies in it is the business of index.c, heap.c and keys.c. */
#include "lib/arena/arena.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/arena/internal.h"

/* Everything before the heap that a new arena uses. */
#define HEAD_BYTES (ARENA_INDEX + 4 * ARENA_TABLE0)

void arena_boot(uint64_t boot[2])
{
	char text[64] = "";
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text);

	if (fd >= 0)
		close(fd);
	boot[0] = n > 0 ? arena_hash(text, (size_t)n, 0) : 0;
	boot[1] = n > 0 ? arena_hash(text, (size_t)n, 1) : 0;
}

static void fill_head(struct arena_header *h, uint64_t heap_bytes)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	memcpy(h->magic, ARENA_MAGIC, sizeof h->magic);
	h->format = ARENA_FORMAT;
	h->endian = ARENA_ENDIAN;
	h->heap_bytes = heap_bytes;
	h->lock_bytes = sizeof(pthread_mutex_t);
	h->created_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
	h->sum = arena_header_sum(h);
	h->free_end = heap_bytes;
	arena_boot(h->boot);
}

static int write_head(int fd, uint64_t heap_bytes)
{
	uint8_t *head = calloc(1, HEAD_BYTES);
	ssize_t n;
	int rc = 0;

	if (!head)
		return -ENOMEM;
	fill_head((struct arena_header *)(void *)head, heap_bytes);
	lock_make_all(head + ARENA_LOCKS);
	n = pwrite(fd, head, HEAD_BYTES, 0);
	if (n != (ssize_t)HEAD_BYTES)
		rc = n < 0 ? -errno : -ENOSPC;
	free(head);
	return rc;
}

int arena_create(const char *path, uint64_t budget, mode_t mode)
{
	uint64_t heap = round_up(budget, 4096);
	char *aside = NULL;
	int fd, rc = 0;

	if (heap < ARENA_HEAP_MIN || heap > ARENA_HEAP_MAX)
		return -EINVAL;
	if (asprintf(&aside, "%s.XXXXXX", path) < 0)
		return -ENOMEM;
	fd = mkostemp(aside, O_CLOEXEC);
	if (fd < 0) {
		rc = -errno;
		goto free_name;
	}
	if (ftruncate(fd, (off_t)arena_file_bytes(heap)) != 0 || fchmod(fd, mode) != 0)
		rc = -errno;
	if (!rc)
		rc = write_head(fd, heap);
	if (!rc && link(aside, path) != 0)
		rc = -errno;
	unlink(aside);
	close(fd);
free_name:
	free(aside);
	return rc;
}

/* Locks that were made during another boot may name holders that no kernel knows of. */
static int renew_locks(int fd, struct arena *a)
{
	uint64_t boot[2];

	arena_boot(boot);
	if (memcmp(boot, a->head->boot, sizeof boot) == 0)
		return 0;
	if (flock(fd, LOCK_EX) != 0)
		return -errno;
	if (memcmp(boot, a->head->boot, sizeof boot) != 0) {
		lock_make_all(a->base + ARENA_LOCKS);
		a->head->boot[0] = boot[0];
		a->head->boot[1] = boot[1];
	}
	flock(fd, LOCK_UN);
	return 0;
}

static int check_file(int fd, struct arena *a)
{
	struct arena_header h;
	struct stat st;
	int rc;

	if (fstat(fd, &st) != 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || pread(fd, &h, sizeof h, 0) != (ssize_t)sizeof h)
		return -EPROTO;
	rc = arena_header_check(&h);
	if (rc)
		return rc;
	if (h.lock_bytes != sizeof(pthread_mutex_t))
		return -EPROTONOSUPPORT;
	a->owner = st.st_uid;
	a->heap_bytes = h.heap_bytes;
	a->file_bytes = arena_file_bytes(h.heap_bytes);
	a->tables = arena_tables(h.heap_bytes);
	return (uint64_t)st.st_size < a->file_bytes ? -EPROTO : 0;
}

static int map_file(int fd, struct arena *a)
{
	void *base = mmap(NULL, a->file_bytes, PROT_READ | (a->read_only ? 0 : PROT_WRITE), MAP_SHARED, fd, 0);

	if (base == MAP_FAILED)
		return -errno;
	madvise(base, a->file_bytes, MADV_DONTDUMP);
	a->base = base;
	a->heap = a->base + arena_heap_at(a->heap_bytes);
	a->head = base;
	return 0;
}

static int open_file(const char *path, int *read_only)
{
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

	*read_only = fd < 0 && (errno == EACCES || errno == EROFS);
	if (*read_only)
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}

int arena_map(struct arena **out, const char *path)
{
	struct arena *a = calloc(1, sizeof *a);
	int fd, rc = -ENOMEM;

	*out = NULL;
	if (!a)
		return -ENOMEM;
	a->path = strdup(path);
	if (!a->path)
		goto free_arena;
	rc = fd = open_file(path, &a->read_only);
	if (fd < 0)
		goto free_arena;
	rc = check_file(fd, a);
	if (!rc)
		rc = map_file(fd, a);
	if (!rc && !a->read_only)
		rc = renew_locks(fd, a);
	close(fd);
	if (rc)
		goto free_arena;
	*out = a;
	return 0;
free_arena:
	arena_unmap(a);
	return rc;
}

void arena_unmap(struct arena *a)
{
	if (!a)
		return;
	if (a->base)
		munmap(a->base, a->file_bytes);
	free(a->path);
	free(a);
}

/* By pwrite(): the file may be a job's, who cuts it short. */
int arena_unlock_all(const char *path)
{
	const size_t bytes = (size_t)ARENA_LOCK_COUNT * ARENA_LINE;
	struct arena a = {0};
	void *locks = NULL;
	uint64_t boot[2];
	int fd, rc;

	fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	rc = check_file(fd, &a);
	if (!rc && !(locks = malloc(bytes)))
		rc = -ENOMEM;
	if (!rc) {
		lock_make_all(locks);
		arena_boot(boot);
		if (pwrite(fd, locks, bytes, ARENA_LOCKS) != (ssize_t)bytes ||
		    pwrite(fd, boot, sizeof boot, offsetof(struct arena_header, boot)) != (ssize_t)sizeof boot)
			rc = -EIO;
	}
	free(locks);
	close(fd);
	return rc;
}
