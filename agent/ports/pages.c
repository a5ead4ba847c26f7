/* Receives the pages of a dump into files whose memory was touched before. See pages.h.
 * The bytes come from CRIU, that is from a program that has just read a hostile job's memory: every number
 * in a message is checked here. Pages go from the socket into the mapping by the kernel's copy, so a file
 * that cannot grow is an error code and never a SIGBUS. */
#include "agent/ports/pages.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/ports/criu_rpc.pb-c.h"
#include "lib/base/fs.h"
#include "lib/base/scoped.h"

#define PAGE UINT64_C(4096)
#define GROW (UINT64_C(16) << 20)
#define FILES_MAX 65536
#define FILE_MAX (UINT64_C(1) << 44) /* 16 TiB in one image is garbage */

enum command {
	OPEN2 = 4,
	ADD_FLAGS = 6,
	CLOSE = 0x1023,
	FORCE_CLOSE = 0x1024,
};

enum { ENTRY_PRESENT = 4 };             /* pagemap flag: the pages follow */
enum { IMAGE_OF_PROCESS = 1, IMAGE_OF_SHARED = 2 }; /* low byte of dst_id */

/* As CRIU 4.2 puts it on the wire (with the padding of its struct). */
struct message {
	uint32_t command; /* low half; flags in the high half */
	uint32_t pad;
	uint64_t pages, vaddr, dst_id;
};
_Static_assert(sizeof(struct message) == 32, "CRIU's page server message has 32 bytes");

/* ---- page files ------------------------------------------------------------------------------- */

static void page_file_name(char *name, size_t size, size_t index)
{
	snprintf(name, size, "pages-%zu.img", index + 1);
}

/* Allocate and map at least size bytes of the file. */
static int page_file_reserve(struct page_file *f, uint64_t size)
{
	size = (size + PAGE - 1) & ~(PAGE - 1);
	if (size <= f->room)
		return 0;
	int rc = posix_fallocate(f->fd, (off_t)f->room, (off_t)(size - f->room));
	if (rc) {
		errno = rc;
		return -1;
	}
	void *map = f->map ? mremap(f->map, f->room, size, MREMAP_MAYMOVE)
			   : mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);
	if (map == MAP_FAILED)
		return -1;
	f->map = map;
	/* on kernels before 5.14 the pages are touched by the copy itself */
	madvise(f->map + f->room, size - f->room, MADV_POPULATE_WRITE);
	f->room = size;
	return 0;
}

/* Open the next page file with room for what it is expected to hold, or for what it held before. */
static int page_file_open(struct pages *p, uint64_t expected, struct err *e)
{
	char name[32];
	struct stat st;
	if (p->nfiles >= FILES_MAX)
		return err_set(e, ERR_FAILED, "CRIU sent more than %d page images", FILES_MAX);
	struct page_file *more = realloc(p->files, (p->nfiles + 1) * sizeof *more);
	if (!more)
		return err_set(e, ERR_FAILED, "out of memory for page images");
	p->files = more;
	page_file_name(name, sizeof name, p->nfiles);
	struct page_file f = {.fd = openat(p->dir, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600)};
	if (f.fd < 0 || fstat(f.fd, &st))
		goto fail;
	uint64_t size = (uint64_t)st.st_size > expected ? (uint64_t)st.st_size : expected;
	if (page_file_reserve(&f, size))
		goto fail;
	p->files[p->nfiles++] = f;
	return ERR_OK;
fail:
	err_sys(e, ERR_FAILED, "no room for the pages of the snapshot (%s)", name);
	if (f.fd >= 0)
		close(f.fd);
	return ERR_FAILED;
}

int pages_open(struct pages *p, int dir, const uint64_t *expected, size_t n, struct err *e)
{
	*p = (struct pages){.dir = dir};
	for (size_t i = 0;; i++) {
		char name[32];
		struct stat st;
		page_file_name(name, sizeof name, i);
		/* beyond the processes there are the images of shared memory, known from the generation before */
		if (i >= n && (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) || st.st_size == 0))
			return ERR_OK;
		if (page_file_open(p, i < n ? expected[i] : 0, e)) {
			pages_close(p);
			return ERR_FAILED;
		}
	}
}

void pages_close(struct pages *p)
{
	char name[32];
	for (size_t i = 0; i < p->nfiles; i++) {
		struct page_file *f = &p->files[i];
		if (f->map)
			munmap(f->map, f->room);
		page_file_name(name, sizeof name, i);
		if (i >= p->nused || ftruncate(f->fd, (off_t)f->used))
			unlinkat(p->dir, name, 0);
		close(f->fd);
	}
	free(p->files);
	free(p->pagemap);
	*p = (struct pages){.dir = p->dir, .bytes = p->bytes, .closed = p->closed, .broken = p->broken};
}

/* ---- pagemap images --------------------------------------------------------------------------- */

static int pagemap_append(struct pages *p, const void *data, size_t len)
{
	if (p->pagemap_len + len > p->pagemap_cap) {
		size_t cap = (p->pagemap_cap + len) * 2;
		uint8_t *more = realloc(p->pagemap, cap);
		if (!more)
			return -1;
		p->pagemap = more;
		p->pagemap_cap = cap;
	}
	memcpy(p->pagemap + p->pagemap_len, data, len);
	p->pagemap_len += len;
	return 0;
}

static int pagemap_append_message(struct pages *p, const ProtobufCMessage *m)
{
	uint8_t buf[64];
	uint32_t len = (uint32_t)protobuf_c_message_get_packed_size(m);
	if (len > sizeof buf)
		return -1;
	protobuf_c_message_pack(m, buf);
	return pagemap_append(p, &len, sizeof len) || pagemap_append(p, buf, len) ? -1 : 0;
}

static int pagemap_begin(struct pages *p)
{
	static const uint32_t magic[2] = {0x54564319, 0x56084025};
	CriuImgPagemapHead head = CRIU_IMG_PAGEMAP_HEAD__INIT;
	head.pages_id = (uint32_t)p->nused;
	p->pagemap_len = 0;
	return pagemap_append(p, magic, sizeof magic) || pagemap_append_message(p, &head.base) ? -1 : 0;
}

static int pagemap_add(struct pages *p, const struct message *m, uint32_t flags)
{
	CriuImgPagemapEntry entry = CRIU_IMG_PAGEMAP_ENTRY__INIT;
	entry.vaddr = m->vaddr;
	entry.has_nr_pages = entry.has_flags = true;
	entry.nr_pages = m->pages;
	entry.flags = flags;
	return pagemap_append_message(p, &entry.base);
}

/* Write the pagemap of the image that has been received. */
static int pagemap_end(struct pages *p, struct err *e)
{
	char name[48];
	if (!p->dst_id)
		return ERR_OK;
	snprintf(name, sizeof name, "pagemap-%s%llu.img", (p->dst_id & 0xff) == IMAGE_OF_SHARED ? "shmem-" : "",
		 (unsigned long long)(p->dst_id >> 8));
	p->dst_id = 0;
	scoped_fd int fd = openat(p->dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 || fs_write_full(fd, p->pagemap, p->pagemap_len))
		return err_sys(e, ERR_FAILED, "cannot write %s", name);
	return ERR_OK;
}

/* ---- messages --------------------------------------------------------------------------------- */

/* Exactly len bytes: 1 when they came, 0 when the stream ended before the first, -1 with errno. */
static int receive(struct pages *p, int sock, void *buf, uint64_t len)
{
	uint64_t got = 0;
	while (got < len) {
		ssize_t n = recv(sock, (uint8_t *)buf + got, len - got, MSG_WAITALL);
		if (n < 0 && errno == EINTR)
			continue;
		p->broken = n == 0 || (n < 0 && errno == ECONNRESET);
		if (n < 0)
			return -1;
		if (n == 0) {
			errno = ECONNRESET;
			return got ? -1 : 0;
		}
		got += (uint64_t)n;
	}
	return 1;
}

static int on_open(struct pages *p, int sock, const struct message *m, struct err *e)
{
	static const char no_parent = 0;
	uint64_t type = m->dst_id & 0xff;
	if ((type != IMAGE_OF_PROCESS && type != IMAGE_OF_SHARED) || m->dst_id >> 40)
		return err_set(e, ERR_FAILED, "CRIU opened a page image of unknown kind %#llx",
			       (unsigned long long)m->dst_id);
	if (pagemap_end(p, e) || (p->nused == p->nfiles && page_file_open(p, 0, e)))
		return ERR_FAILED;
	p->nused++;
	p->dst_id = m->dst_id;
	if (pagemap_begin(p))
		return err_set(e, ERR_FAILED, "out of memory for a page map");
	if (send(sock, &no_parent, 1, MSG_NOSIGNAL) != 1)
		return err_sys(e, ERR_FAILED, "cannot answer CRIU");
	return ERR_OK;
}

static int on_add(struct pages *p, int sock, const struct message *m, struct err *e)
{
	uint32_t flags = m->command >> 16;
	if (!p->dst_id || m->dst_id != p->dst_id)
		return err_set(e, ERR_FAILED, "CRIU sent pages for an image that is not open");
	struct page_file *f = &p->files[p->nused - 1];
	if (!m->pages || m->pages > (FILE_MAX - f->used) / PAGE || m->vaddr % PAGE ||
	    m->vaddr > UINT64_MAX - m->pages * PAGE)
		return err_set(e, ERR_FAILED, "CRIU sent an impossible run of %llu pages at %#llx",
			       (unsigned long long)m->pages, (unsigned long long)m->vaddr);
	if (pagemap_add(p, m, flags))
		return err_set(e, ERR_FAILED, "out of memory for a page map");
	if (!(flags & ENTRY_PRESENT))
		return ERR_OK;
	uint64_t len = m->pages * PAGE;
	if (f->used + len > f->room && page_file_reserve(f, f->used + len + (f->room / 4) + GROW) &&
	    page_file_reserve(f, f->used + len))
		return err_sys(e, ERR_FAILED, "no room for the pages of the snapshot");
	if (receive(p, sock, f->map + f->used, len) <= 0)
		return err_sys(e, ERR_FAILED, "the stream of pages broke");
	f->used += len;
	p->bytes += len;
	return ERR_OK;
}

static int on_close(struct pages *p, int sock, struct err *e)
{
	static const int32_t fine = 0;
	if (pagemap_end(p, e))
		return ERR_FAILED;
	p->closed = true;
	/* CRIU lets the job go on only after this answer: all pages are here */
	if (send(sock, &fine, sizeof fine, MSG_NOSIGNAL) != sizeof fine)
		return err_sys(e, ERR_FAILED, "cannot answer CRIU");
	return ERR_OK;
}

static int on_message(struct pages *p, int sock, const struct message *m, struct err *e)
{
	switch (m->command & 0xffff) {
	case OPEN2:
		return on_open(p, sock, m, e);
	case ADD_FLAGS:
		return on_add(p, sock, m, e);
	case CLOSE & 0xffff:
	case FORCE_CLOSE & 0xffff:
		return on_close(p, sock, e);
	default:
		return err_set(e, ERR_FAILED, "CRIU sent the unknown page server command %#x", m->command);
	}
}

int pages_receive(struct pages *p, int sock, void (*began)(void *ctx), void *ctx, struct err *e)
{
	for (bool first = true; !p->closed; first = false) {
		struct message m;
		int got = receive(p, sock, &m, sizeof m);
		if (got < 0)
			return err_sys(e, ERR_FAILED, "the stream of pages broke");
		if (!got)
			return err_set(e, ERR_FAILED, "CRIU ended before it had sent all pages");
		if (first && began)
			began(ctx);
		if (on_message(p, sock, &m, e))
			return ERR_FAILED;
	}
	return ERR_OK;
}
