/* The hostile reader: see reader.h. This file is how it gets at the bytes. Every number that comes from the file
 * is bounded by the file's length and the format's limits before it is used, and everything that is judged is
 * judged in a private copy. */
#include "lib/arena/reader.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/arena/reader_internal.h"

int read_at(struct arena_reader *r, uint64_t at, void *out, uint64_t length)
{
	uint64_t done = 0;
	ssize_t n;

	if (at > r->file_bytes || length > r->file_bytes - at)
		return -EPROTO;
	if (r->image) {
		memcpy(out, (const uint8_t *)r->image + at, length);
		return 0;
	}
	while (done < length) {
		n = pread(r->fd, (uint8_t *)out + done, length - done, (off_t)(at + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -EIO;
		if (n == 0)
			return -EPROTO; /* cut short since it was opened */
		done += (uint64_t)n;
	}
	return 0;
}

int read_head(struct arena_reader *r)
{
	int rc = read_at(r, 0, &r->head, sizeof r->head);

	if (!rc)
		rc = arena_header_check(&r->head);
	if (rc)
		return rc;
	if (arena_file_bytes(r->head.heap_bytes) > r->file_bytes ||
	    r->head.table >= arena_tables(r->head.heap_bytes))
		return -EPROTO;
	return 0;
}

int arena_read_open(struct arena_reader *r)
{
	struct stat st;

	r->file_bytes = r->image_bytes;
	if (!r->image) {
		if (fstat(r->fd, &st) != 0)
			return -EIO;
		if (!S_ISREG(st.st_mode))
			return -EPROTO;
		r->file_bytes = (uint64_t)st.st_size;
	}
	return read_head(r);
}
