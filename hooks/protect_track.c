/* The kernel's tracking of writes, for the regions of one handle: userfaultfd write-protection in asynchronous
 * mode marks a page as written at its first write, and PAGEMAP_SCAN reads the marks and takes them back in one step.
 * Linux 6.7; no privilege needed. What kernels and sandboxes really do is found out by a round on four pages. */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "hooks/regions.h"

/* Of linux/fs.h and linux/userfaultfd.h since 6.7, which the build machine need not have. */
struct scan_query {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define SCAN_PAGES _IOWR('f', 16, struct scan_query)
enum { SCAN_RESET = 1, SCAN_CHECK = 2, PAGE_WRITTEN = 2, PAGE_NEVER = 1 << 3 | 1 << 4 };
#define WP_UNPOPULATED (UINT64_C(1) << 13)
#define WP_ASYNC (UINT64_C(1) << 15)
#define USER_MODE_ONLY 1

#define RUNS 4096 /* changed runs of pages that one call of the kernel returns */

static long query(const struct tracker *t, struct page_run *runs, uintptr_t *from, uintptr_t to, uint64_t flags,
		  uint64_t pages)
{
	struct scan_query q = {.size = sizeof q,
			       .flags = flags,
			       .start = *from,
			       .end = to,
			       .vec = (uintptr_t)runs,
			       .vec_len = RUNS,
			       .category_mask = pages,
			       .return_mask = PAGE_WRITTEN};
	long n = ioctl(t->pagemap, SCAN_PAGES, &q);

	if (n < 0)
		return -errno;
	if (q.walk_end <= *from)
		return -EIO;
	*from = (uintptr_t)q.walk_end;
	return n;
}

long track_read(const struct tracker *t, struct page_run *runs, uintptr_t *from, uintptr_t to)
{
	return query(t, runs, from, to, SCAN_RESET | SCAN_CHECK, PAGE_WRITTEN);
}

/* The marks stay: no page is present and swapped out. */
int track_is(const struct tracker *t, struct page_run *runs, uintptr_t from, uintptr_t to)
{
	long n = 0;

	while (from < to && n >= 0)
		n = query(t, runs, &from, to, SCAN_CHECK, PAGE_NEVER);
	return n >= 0;
}

int track_watch(const struct tracker *t, uintptr_t from, uintptr_t to)
{
	struct uffdio_register q = {.range = {from, to - from}, .mode = UFFDIO_REGISTER_MODE_WP};

	return ioctl(t->uffd, UFFDIO_REGISTER, &q) == 0 ? 0 : -errno;
}

/* ---- can it be done? ---- */

/* Four pages: one written, one thrown away, one left alone, one never touched. */
static int try_pages(const struct tracker *t, struct page_run *runs, volatile uint8_t *p)
{
	uintptr_t from = (uintptr_t)p, at = from, to = from + 4 * PAGE;
	long n;
	int rc;

	p[0] = p[PAGE] = p[2 * PAGE] = 1;
	rc = track_watch(t, from, to);
	if (rc)
		return rc;
	n = track_read(t, runs, &at, to);
	if (n < 0)
		return (int)n;
	p[PAGE] = 2;
	madvise((void *)(from + 2 * PAGE), PAGE, MADV_DONTNEED);
	at = from;
	n = track_read(t, runs, &at, to);
	if (n < 0)
		return (int)n;
	return n >= 1 && runs[0].from == from + PAGE && runs[n - 1].to == from + 3 * PAGE ? 0 : -EPROTO;
}

static int self_test(const struct tracker *t, struct page_run *runs)
{
	void *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int rc;

	if (p == MAP_FAILED)
		return -ENOMEM;
	rc = try_pages(t, runs, p);
	munmap(p, 4 * PAGE);
	return rc;
}

static int is_passing(int rc)
{
	return rc == -ENOMEM || rc == -EMFILE || rc == -ENFILE;
}

int track_works(struct regions *r)
{
	int rc = self_test(&r->tracker, r->runs);

	if (rc && !is_passing(rc))
		r->never = "this process may no longer track writes";
	return rc == 0;
}

static void identify(int fd, struct file_id *id)
{
	struct stat st = {0};

	fstat(fd, &st);
	*id = (struct file_id){st.st_dev, st.st_ino};
}

static int open_proc(const char *path, int *fd, struct file_id *id)
{
	*fd = open(path, O_RDONLY | O_CLOEXEC);
	if (*fd < 0)
		return -errno;
	identify(*fd, id);
	return 0;
}

static int open_files(struct tracker *t, const char **why)
{
	struct uffdio_api api = {.api = UFFD_API, .features = WP_ASYNC | WP_UNPOPULATED};
	int rc;

	t->open = 1;
	t->uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | USER_MODE_ONLY);
	if (t->uffd < 0) {
		*why = errno == ENOSYS ? "this kernel has no userfaultfd" : "userfaultfd is not permitted here";
		return -errno;
	}
	identify(t->uffd, &t->uffd_id);
	*why = "/proc/self/pagemap or /proc/self/maps cannot be opened";
	rc = open_proc("/proc/self/pagemap", &t->pagemap, &t->pagemap_id);
	if (!rc)
		rc = open_proc("/proc/self/maps", &t->maps, &t->maps_id);
	if (rc)
		return rc;
	*why = "this kernel cannot track writes (Linux 6.7 or later can)";
	return ioctl(t->uffd, UFFDIO_API, &api) == 0 ? 0 : -errno;
}

int track_open(struct regions *r, const char **why)
{
	struct tracker *t = &r->tracker;
	int rc = 0;

	*why = r->never;
	if (t->open || r->never)
		return t->open ? 0 : -1;
	if (!r->runs)
		r->runs = calloc(RUNS, sizeof *r->runs);
	trackers_lock();
	rc = r->runs ? open_files(t, why) : -ENOMEM;
	if (!rc)
		rc = self_test(t, r->runs);
	if (is_passing(rc))
		*why = "memory or file descriptors were short when tracking was to begin";
	else if (rc)
		r->never = *why;
	if (rc)
		tracker_shut(t);
	trackers_unlock();
	return rc ? -1 : 0;
}

/* ---- regions ---- */

void track_all_changed(struct region *g, uint32_t scan_number)
{
	size_t i, n = (g->to - g->from) / PAGE;

	for (i = 0; i < n; i++)
		g->seen[i] = scan_number;
	g->seen_last = scan_number;
}

void track_region(struct regions *r, struct region *g)
{
	int rc;

	if (track_open(r, &g->why) != 0)
		return;
	if (!g->seen)
		g->seen = malloc((g->to - g->from) / PAGE * sizeof *g->seen);
	if (!g->seen) {
		g->why = "memory was short when tracking was to begin";
		return;
	}
	rc = track_watch(&r->tracker, g->from, g->to);
	g->why = rc == 0	 ? NULL
		 : rc == -EBUSY ? "something else tracks its memory (another handle, or another library)"
				: "the kernel cannot track this memory";
	if (rc)
		return;
	track_all_changed(g, r->scan);
	rest_tracked(g);
	g->tracked = 1;
	free(r->by_address);
	r->by_address = NULL;
}

/* Pages that it shares with others go on being tracked for them; they count as written then. The memory may be
 * gone already, so no error matters. */
void untrack_region(struct regions *r, struct region *g)
{
	struct uffdio_range q = {g->from, g->to - g->from};
	size_t i;

	if (!g->tracked)
		return;
	g->tracked = 0;
	free(r->by_address);
	r->by_address = NULL;
	ioctl(r->tracker.uffd, UFFDIO_UNREGISTER, &q);
	for (i = 0; i < r->list->n; i++) {
		struct region *o = r->list->at[i];

		if (o->tracked && !o->moved && o->from < g->to && g->from < o->to)
			track_watch(&r->tracker, o->from < g->from ? g->from : o->from,
				    o->to < g->to ? o->to : g->to);
	}
}

void track_renumber(struct regions *r)
{
	size_t i;

	bases_free(r);
	r->scan = 1;
	for (i = 0; i < r->list->n; i++)
		if (r->list->at[i]->seen)
			track_all_changed(r->list->at[i], 1);
}
