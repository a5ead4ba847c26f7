/* What kind of memory an address of this process is: asked mapping by mapping (Linux 6.11), or read from
 * /proc/self/maps. Knows nothing of tracking but which memory it is good for. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hooks/regions.h"

/* Of linux/fs.h since 6.11, which the build machine need not have. */
struct mapping_query {
	uint64_t size, flags, address, from, to, kind, page_bytes, offset, inode;
	uint32_t major, minor, name_bytes, build_id_bytes;
	uint64_t name, build_id;
};
#define MAPPING_QUERY _IOWR('f', 17, struct mapping_query)
enum { KIND_READ = 1, KIND_WRITE = 2, KIND_SHARED = 8 };

#define MET_FEW 16 /* mappings remembered when they are asked for one by one */

void maps_begin(struct maps *m, int fd)
{
	*m = (struct maps){.fd = fd, .own_fd = -1};
	if (fd < 0)
		m->fd = m->own_fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
}

void maps_end(struct maps *m)
{
	if (m->own_fd >= 0)
		close(m->own_fd);
	free(m->met);
	*m = (struct maps){.fd = -1, .own_fd = -1};
}

static int remember(struct maps *m, const struct mapping *g)
{
	struct mapping *more;

	if (m->n == m->room) {
		more = realloc(m->met, (m->room ? 2 * m->room : MET_FEW) * sizeof *more);
		if (!more)
			return -ENOMEM;
		m->met = more;
		m->room = m->room ? 2 * m->room : MET_FEW;
	}
	m->met[m->n++] = *g;
	return 0;
}

/* "55d0c0a00000-55d0c0a21000 rw-p 00000000 00:00 0   [heap]" */
static int parse_line(const char *line, struct mapping *g)
{
	char *end;
	int field;

	*g = (struct mapping){0};
	g->from = (uintptr_t)strtoull(line, &end, 16);
	if (*end != '-')
		return -1;
	g->to = (uintptr_t)strtoull(end + 1, &end, 16);
	if (end[0] != ' ' || strlen(end) < 5)
		return -1;
	g->readable = end[1] == 'r';
	g->writable = end[2] == 'w';
	g->shared = end[4] == 's';
	for (field = 0; field < 3 && end; field++) /* permissions, offset, device */
		end = strchr(end + 1, ' ');
	g->file = end && strtoull(end, NULL, 10) != 0;
	return 0;
}

/* All of them, from the text. A huge page file counts as a file. */
static int read_all(struct maps *m)
{
	char text[8192], *line, *end;
	size_t have = 0;
	struct mapping g;
	ssize_t n;
	int rc = 0;

	m->n = 0;
	if (lseek(m->fd, 0, SEEK_SET) < 0)
		return -errno;
	while (!rc && (n = read(m->fd, text + have, sizeof text - 1 - have)) > 0) {
		have += (size_t)n;
		text[have] = '\0';
		for (line = text; !rc && (end = strchr(line, '\n')) != NULL; line = end + 1) {
			*end = '\0';
			rc = parse_line(line, &g) == 0 ? remember(m, &g) : 0;
		}
		have -= (size_t)(line - text);
		if (have == sizeof text - 1) /* a path longer than any */
			have = 0;
		memmove(text, line, have);
	}
	m->whole = !rc;
	return rc ? rc : n < 0 ? -errno : 0;
}

/* Can this kernel be asked? 0 and g, -ENOENT, or -ENOTTY: read the text. */
static int ask(const struct maps *m, uintptr_t address, struct mapping *g)
{
	struct mapping_query q = {.size = sizeof q, .address = address};

	if (ioctl(m->fd, MAPPING_QUERY, &q) != 0)
		return errno == ENOENT ? -ENOENT : -ENOTTY;
	*g = (struct mapping){.from = (uintptr_t)q.from,
			      .to = (uintptr_t)q.to,
			      .readable = !!(q.kind & KIND_READ),
			      .writable = !!(q.kind & KIND_WRITE),
			      .shared = !!(q.kind & KIND_SHARED),
			      .file = q.inode != 0,
			      .huge = q.page_bytes != PAGE};
	return g->from <= address && address < g->to ? 0 : -ENOTTY;
}

static int among_met(const struct maps *m, uintptr_t address, struct mapping *out)
{
	size_t i;

	for (i = 0; i < m->n; i++) {
		if (m->met[i].from <= address && address < m->met[i].to) {
			*out = m->met[i];
			return 0;
		}
	}
	return -ENOENT;
}

int maps_at(struct maps *m, uintptr_t address, struct mapping *out)
{
	int rc;

	if (m->fd < 0)
		return -EBADF;
	if (among_met(m, address, out) == 0)
		return 0;
	if (m->whole)
		return -ENOENT;
	rc = ask(m, address, out);
	if (rc == -ENOTTY) {
		rc = read_all(m);
		return rc ? rc : among_met(m, address, out);
	}
	if (!rc) {
		if (m->n == MET_FEW)
			m->n = 0;
		rc = remember(m, out);
	}
	return rc;
}

/* Behind the end of a file there is no memory, though it is mapped. (-EINVAL: kernels before 5.14 cannot tell.) */
static int is_backed(uintptr_t from, uintptr_t to)
{
	from = page_of(from);
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif
	return madvise((void *)from, to - from, MADV_POPULATE_READ) == 0 || errno == EINVAL;
}

int maps_check(struct maps *m, const void *data, uint64_t bytes, int write)
{
	uintptr_t at, from = (uintptr_t)data, end = from + bytes;
	struct mapping g;
	int rc, files = 0;

	for (at = from; at < end; at = g.to) {
		rc = maps_at(m, at, &g);
		if (rc)
			return rc;
		if (!g.readable || (write && !g.writable))
			return -EACCES;
		files |= g.file;
	}
	for (at = from; at < end && files; at = g.to) {
		rc = maps_at(m, at, &g);
		if (rc || (g.file && !is_backed(at, g.to < end ? g.to : end)))
			return rc ? rc : -EACCES;
	}
	return 0;
}

static const char *why_not(const struct mapping *g)
{
	if (g->shared)
		return "its memory is shared (MAP_SHARED): another process could change it unseen";
	if (g->huge)
		return "its memory is of huge pages (hugetlb)";
	if (g->file)
		return "its memory is a mapping of a file";
	return NULL;
}

/* The ends of an array may lie in other memory than its bulk: .bss begins in the last page of .data. Those pages
 * are always copied; what is tracked is private anonymous memory. */
void maps_trackable(struct maps *m, struct region *g)
{
	uintptr_t at = page_of((uintptr_t)g->data), end = page_of((uintptr_t)g->data + g->bytes + PAGE - 1), upto;
	struct mapping is;

	g->from = g->to = 0;
	g->why = "it is small: copying it is as cheap as asking what changed";
	if (g->bytes < TRACK_FROM)
		return;
	for (; at < end; at = upto) {
		if (maps_at(m, at, &is) != 0)
			break;
		upto = is.to < end ? is.to : end;
		if (why_not(&is)) {
			if (g->to - g->from >= TRACK_FROM)
				break;
			g->why = why_not(&is);
			g->from = g->to = 0;
			continue;
		}
		if (g->from == g->to)
			g->from = at;
		g->to = upto;
	}
	if (g->to - g->from < TRACK_FROM)
		g->from = g->to = 0;
	else
		g->why = NULL;
}
