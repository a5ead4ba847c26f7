/* Whose the regions are: one thread's at a time, and one process's. A fork()ed child inherits the list and the
 * memory, but nothing that the kernel tracks, and perhaps a lock that a thread held which it does not have. It
 * begins with whole copies and files of its own. The parent goes on unharmed.
 *
 * A child is known by a page that the kernel empties in it (and CRIU puts back as it was). The files
 * are closed in the child at once: one that never calls this library again could not be dumped by CRIU while it
 * holds a userfaultfd. */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hooks/regions.h"
#include "lib/arena/mailbox.h"

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

enum { FORKED = 0, ADOPTING = 1, HERE = 2 }; /* *alive */

static pthread_mutex_t trackers = PTHREAD_MUTEX_INITIALIZER;
static struct tracker *all;

void trackers_lock(void)
{
	pthread_mutex_lock(&trackers);
}

void trackers_unlock(void)
{
	pthread_mutex_unlock(&trackers);
}

/* The program may have closed it, and opened something else in its place. */
static int is_own(int fd, const struct file_id *id)
{
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && st.st_dev == id->dev && st.st_ino == id->ino;
}

static void close_own(int fd, const struct file_id *id)
{
	if (is_own(fd, id))
		close(fd);
}

void tracker_shut(struct tracker *t)
{
	if (t->open) {
		close_own(t->uffd, &t->uffd_id);
		close_own(t->pagemap, &t->pagemap_id);
		close_own(t->maps, &t->maps_id);
	}
	t->open = 0;
	t->uffd = t->pagemap = t->maps = -1;
}

static int files_are_own(const struct tracker *t)
{
	return is_own(t->uffd, &t->uffd_id) && is_own(t->pagemap, &t->pagemap_id) && is_own(t->maps, &t->maps_id);
}

static void in_the_child(void)
{
	struct tracker *t;

	for (t = all; t; t = t->next) {
		tracker_shut(t);
		__atomic_store_n(t->alive, FORKED, __ATOMIC_RELEASE);
	}
	trackers_unlock();
}

static void register_handlers(void)
{
	pthread_atfork(trackers_lock, trackers_unlock, in_the_child);
}

static void list_tracker(struct tracker *t)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, register_handlers);
	trackers_lock();
	t->next = all;
	all = t;
	trackers_unlock();
}

static void unlist_tracker(struct tracker *t)
{
	struct tracker **at;

	trackers_lock();
	for (at = &all; *at && *at != t; at = &(*at)->next)
		;
	if (*at)
		*at = t->next;
	tracker_shut(t);
	trackers_unlock();
}

static void make_lock(pthread_mutex_t *lock)
{
	pthread_mutexattr_t kind;

	pthread_mutexattr_init(&kind);
	pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_ERRORCHECK);
	pthread_mutex_init(lock, &kind);
	pthread_mutexattr_destroy(&kind);
}

static struct regions *make(void)
{
	struct regions *r = calloc(1, sizeof *r);
	const char *set = getenv("CPAGENT_TRACKING");

	if (!r)
		return NULL;
	r->list = calloc(1, sizeof *r->list);
	r->alive = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (!r->list || r->alive == MAP_FAILED) {
		if (r->alive != MAP_FAILED)
			munmap(r->alive, PAGE);
		free(r->list);
		free(r);
		return NULL;
	}
	madvise(r->alive, PAGE, MADV_WIPEONFORK); /* without it, fork() alone is noticed, not a clone() by hand */
	*r->alive = HERE;
	make_lock(&r->lock);
	if (set && strcmp(set, "off") == 0)
		r->never = "tracking is turned off (CPAGENT_TRACKING=off)";
	else if (sysconf(_SC_PAGESIZE) != (long)PAGE)
		r->never = "this machine's pages are not of 4096 bytes";
	r->tracker = (struct tracker){.uffd = -1, .pagemap = -1, .maps = -1, .alive = r->alive};
	return r;
}

static void unmake(struct regions *r)
{
	size_t i;

	bases_free(r);
	for (i = 0; i < r->list->n; i++) {
		free(r->list->at[i]->seen);
		free(r->list->at[i]);
	}
	pthread_mutex_destroy(&r->lock);
	munmap(r->alive, PAGE);
	free(r->by_address);
	free(r->runs);
	free(r->list);
	free(r);
}

struct regions *regions_of(cpa *cp)
{
	struct regions *r = __atomic_load_n(&cp->regions, __ATOMIC_ACQUIRE), *none = NULL;

	if (r)
		return r;
	r = make();
	if (!r)
		return NULL;
	list_tracker(&r->tracker);
	if (__atomic_compare_exchange_n(&cp->regions, &none, r, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return r;
	unlist_tracker(&r->tracker);
	unmake(r);
	return none;
}

void regions_free(cpa *cp)
{
	struct regions *r = cp->regions;

	if (!r)
		return;
	cp->regions = NULL;
	unlist_tracker(&r->tracker);
	unmake(r);
}

/* This process is a child that calls for the first time. What a thread of the parent was amid is left as it is. */
static void adopt(struct regions *r)
{
	size_t i;

	make_lock(&r->lock);
	trackers_lock();
	tracker_shut(&r->tracker);
	trackers_unlock();
	if (r->busy) {
		r->bases = NULL;
		r->by_address = NULL;
		r->runs = NULL;
	}
	r->busy = r->let_go = 0;
	for (i = 0; i < r->list->n; i++)
		r->list->at[i]->chosen = 0;
	regions_forget(r);
}

int regions_enter(struct regions *r, const char *call)
{
	uint32_t state;

	while ((state = __atomic_load_n(r->alive, __ATOMIC_ACQUIRE)) != HERE) {
		if (state == FORKED && __atomic_compare_exchange_n(r->alive, &state, ADOPTING, 0, __ATOMIC_ACQ_REL,
								   __ATOMIC_RELAXED)) {
			adopt(r);
			__atomic_store_n(r->alive, HERE, __ATOMIC_RELEASE);
		}
		sched_yield();
	}
	if (pthread_mutex_lock(&r->lock) == EDEADLK)
		return fail(CPA_ERR_BUSY, "%s: it was called from a handler that interrupted the like", call);
	r->busy = 1;
	if (r->tracker.open && !files_are_own(&r->tracker))
		regions_forget(r);
	return 0;
}

static void let_go(cpa *cp, struct regions *r)
{
	if (regions_forget(r))
		arena_ring(cp->arena);
}

void regions_leave(cpa *cp, struct regions *r)
{
	if (__atomic_exchange_n(&r->let_go, 0, __ATOMIC_ACQ_REL))
		let_go(cp, r);
	r->busy = 0;
	pthread_mutex_unlock(&r->lock);
}

/* From a handler that interrupted a thread which is inside: that thread does it when it leaves. */
void regions_let_go(cpa *cp)
{
	struct regions *r = __atomic_load_n(&cp->regions, __ATOMIC_ACQUIRE);

	if (!r)
		return;
	if (regions_enter(r, "cpa") != 0) {
		__atomic_store_n(&r->let_go, 1, __ATOMIC_RELEASE);
		return;
	}
	let_go(cp, r);
	regions_leave(cp, r);
}
