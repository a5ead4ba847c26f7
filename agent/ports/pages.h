/* The receiver for a job's memory during a dump: CRIU's page-server protocol in, page images out.
 *
 * The page files of an image directory (pages-N.img) are kept from an older generation and written in place:
 * the first touch of a page costs many times its copy, and the copy happens while the job is frozen.
 * pages_open() makes room before the freeze, pages_receive() runs during it, pages_close() leaves exact files
 * after it. One thread at a time; no global state. */
#ifndef CPA_PORTS_PAGES_H
#define CPA_PORTS_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"

#define PAGES_SOCKET_BUFFER (16 << 20) /* what CRIU can be ahead of the receiver */

struct page_file {
	int fd;
	uint8_t *map;
	uint64_t room; /* bytes that are allocated and mapped */
	uint64_t used;
};

struct pages {
	int dir; /* borrowed */
	struct page_file *files;
	size_t nfiles; /* open ones; the image of the n-th file is pages-(n+1).img */
	size_t nused;
	uint64_t dst_id;       /* of the image being received; 0: none */
	uint8_t *pagemap;      /* its pagemap image so far */
	size_t pagemap_len, pagemap_cap;
	uint64_t bytes;        /* of pages received */
	bool closed;           /* CRIU said that it is done */
	bool broken;           /* the stream ended without that */
};

/* Open the directory's page files and touch room for the expected sizes (bytes per process, parents first; a file
 * never gets smaller than it is). ERR_FAILED: no space, …; nothing stays open then. */
int pages_open(struct pages *p, int dir, const uint64_t *expected, size_t n, struct err *e);

/* Serve one dump on sock until CRIU closes it in order. began(ctx) is called once, with the first message: from
 * then on the job is frozen. ERR_FAILED: broken stream, garbage, no space. Does not outlive shutdown(sock). */
int pages_receive(struct pages *p, int sock, void (*began)(void *ctx), void *ctx, struct err *e);

/* Cut the page files to what they hold and remove those not needed. Idempotent; also for a failed dump. */
void pages_close(struct pages *p);

#endif
