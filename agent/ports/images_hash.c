/* Owns how a file's chunks are read and hashed: with pread() into a buffer that stays in the cache, because a
 * mapping would kill the agent when somebody cuts the file meanwhile. */
#include "agent/ports/images_hash.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/chunk/chunk.h"

/* From this many chunks on a second thread pays; more than two leave the job's own cores alone. */
#define TWO_THREADS_FROM 8

enum fault { FAULT_READ, FAULT_SHORT, FAULT_DIFFERS };

struct pass {
	int fd;
	uint64_t size, count;
	uint8_t *ids;        /* written to, or */
	const uint8_t *want; /* compared with */
	atomic_uint_fast64_t next;
	pthread_mutex_t lock;
	uint64_t bad; /* the lowest index that failed; count when none did */
	enum fault fault;
	int error;
};

/* Of several faults the first in the file counts. Later chunks need not be looked at any more. */
static void report(struct pass *p, uint64_t index, enum fault fault, int error)
{
	pthread_mutex_lock(&p->lock);
	if (index < p->bad) {
		p->bad = index;
		p->fault = fault;
		p->error = error;
	}
	pthread_mutex_unlock(&p->lock);
	atomic_store(&p->next, p->count);
}

static bool read_chunk(struct pass *p, uint64_t index, unsigned char *buf, size_t len)
{
	for (size_t have = 0; have < len;) {
		ssize_t n = pread(p->fd, buf + have, len - have, (off_t)(index * CHUNK_BYTES + have));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			report(p, index, n < 0 ? FAULT_READ : FAULT_SHORT, errno);
			return false;
		}
		have += (size_t)n;
	}
	return true;
}

/* Nothing but a hole there: an arena is gigabytes of it, and need not be read to be known as zeros. */
static bool is_hole(const struct pass *p, uint64_t index, size_t len)
{
	off_t begin = (off_t)(index * CHUNK_BYTES), end = begin + (off_t)len;
	off_t data = lseek(p->fd, begin, SEEK_DATA);

	if (data >= end)
		return true;
	return data < 0 && errno == ENXIO && lseek(p->fd, 0, SEEK_END) >= end;
}

static void work(struct pass *p, void *buf)
{
	for (uint64_t i; (i = atomic_fetch_add(&p->next, 1)) < p->count;) {
		size_t len = chunk_len(p->size, i);
		struct chunk_id id = { 0 };
		if (!is_hole(p, i, len)) {
			if (!read_chunk(p, i, buf, len))
				return;
			id = chunk_id(buf, len);
		}
		if (p->ids)
			memcpy(p->ids + i * CHUNK_ID_BYTES, id.b, CHUNK_ID_BYTES);
		else if (!chunk_id_equal(id.b, p->want + i * CHUNK_ID_BYTES))
			report(p, i, FAULT_DIFFERS, 0);
	}
}

static void *helper(void *arg)
{
	void *buf = malloc(CHUNK_BYTES);

	if (buf)
		work(arg, buf); /* without memory the other thread does it all */
	free(buf);
	return NULL;
}

static int run(struct pass *p, const char *name, void *buf, struct err *e)
{
	pthread_t second;

	p->bad = p->count;
	pthread_mutex_init(&p->lock, NULL);
	bool two = p->count >= TWO_THREADS_FROM && pthread_create(&second, NULL, helper, p) == 0;
	work(p, buf);
	if (two)
		pthread_join(second, NULL);
	pthread_mutex_destroy(&p->lock);
	if (p->bad == p->count)
		return 0;
	uint64_t at = p->bad * CHUNK_BYTES;
	if (p->fault == FAULT_SHORT)
		return err_set(e, ERR_FAILED, "%s ends before its %" PRIu64 " bytes", name, p->size);
	if (p->fault == FAULT_DIFFERS)
		return err_set(e, ERR_FAILED,
		               "%s is damaged in the %zu bytes from offset %" PRIu64 ": checksum mismatch", name,
		               chunk_len(p->size, p->bad), at);
	errno = p->error;
	return err_sys(e, ERR_FAILED, "cannot read %s at offset %" PRIu64, name, at);
}

int images_hash(int fd, const char *name, uint64_t size, uint8_t *ids, void *buf, struct err *e)
{
	struct pass p = { .fd = fd, .size = size, .count = chunk_count(size), .ids = ids };

	return run(&p, name, buf, e);
}

int images_check(int fd, const char *name, uint64_t size, const uint8_t *ids, void *buf, struct err *e)
{
	struct pass p = { .fd = fd, .size = size, .count = chunk_count(size), .want = ids };

	return run(&p, name, buf, e);
}
