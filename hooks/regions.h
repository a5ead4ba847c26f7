/* What the parts of protected regions share: the list of them in one process, what the kernel tracks, and which
 * checkpoint each key had last. Not for users of the library.
 *
 *   protect.c        the list, and the calls that change it or tell of it
 *   protect_put.c    checkpoints; protect_get.c: restores; protect_choose.c: the regions that a call is about
 *   protect_bits.c   which blocks of a checkpoint changed since the key's last one
 *   protect_track.c  the kernel's tracking: userfaultfd and PAGEMAP_SCAN; protect_scan.c: what it saw
 *   protect_rest.c   regions that are not worth it for a while
 *   protect_maps.c   what kind of memory an address is
 *   protect_own.c    one thread at a time, and one process: what fork() does to all this */
#ifndef CPA_HOOKS_REGIONS_H
#define CPA_HOOKS_REGIONS_H

#include <pthread.h>
#include <sys/types.h>

#include "hooks/internal.h"

#define PAGE UINT64_C(4096)           /* machines with other pages copy whole */
#define TRACK_FROM (UINT64_C(64) << 10) /* bytes: below that, copying is as cheap as asking */
#define SCANS_MAX (UINT32_C(1) << 31) /* scan numbers stay below it */
#define BASES_MAX 64                  /* keys whose last checkpoint is remembered */

static inline uintptr_t page_of(uintptr_t address)
{
	return address & ~(uintptr_t)(PAGE - 1);
}

struct region {
	uint64_t id; /* never the same twice: a region that was protected again is another */
	void *data;
	uint64_t count, bytes;
	uint32_t type;
	uint8_t tracked; /* the kernel marks its pages */
	uint8_t moved;   /* its memory is not what was protected: an error until it is protected again */
	uint8_t chosen;  /* for the checkpoint in progress */
	uintptr_t from, to; /* the pages that can be tracked; none: equal. Those outside are always copied */
	uint32_t *seen;     /* for each of these pages: the number of the last scan that found it changed */
	uint32_t seen_last; /* the greatest of them */
	const char *why;    /* it is not tracked: a sentence that lives for ever */
	struct {
		uint64_t written;    /* pages that the scans since the last look found */
		uint16_t left, last; /* checkpoints until it is tracked again; of how many that was at its start */
		uint8_t looked;      /* since it is tracked */
		uint8_t busy;        /* looks in a row that found most of it written */
	} rest;
	char name[];
};

/* Replaced, never changed: a fork() in another thread at any instruction leaves the child a whole one. */
struct region_list {
	size_t n;
	struct region *at[];
};

/* The last checkpoint of a key from here: what changed since is known. */
struct base {
	struct base *next; /* used before this one */
	uint64_t version, sum;
	uint32_t scan; /* the number of the scan it was copied after */
	size_t n;
	uint64_t *ids; /* of its regions, in order */
	char key[];
};

struct file_id {
	dev_t dev;
	ino_t ino;
};

/* The open files of the tracking. */
struct tracker {
	struct tracker *next; /* of this process: protect_own.c */
	int open;
	int uffd, pagemap, maps; /* userfaultfd, /proc/self/pagemap, /proc/self/maps */
	struct file_id uffd_id, pagemap_id, maps_id;
	uint32_t *alive; /* of its struct regions */
};

struct regions {
	pthread_mutex_t lock;
	uint32_t *alive;   /* in a page that a fork() empties in the child */
	int busy;          /* a thread is inside */
	int let_go;        /* wanted by who could not get in */
	struct region_list *list;
	struct base *bases;
	struct region **by_address; /* those that a scan looks at; NULL: to be made */
	size_t tracked;
	uint64_t next_id;
	uint32_t scan; /* the number of the last one */
	struct tracker tracker;
	struct page_run *runs; /* what a scan fills */
	const char *never;     /* why nothing can be tracked in this process; NULL: not known, or it can */
};

/* ---- protect_own.c ---- */

/* The regions of a handle, made at the first call. NULL: out of memory. */
struct regions *regions_of(cpa *cp);
/* One thread at a time, until regions_leave(). 0, or CPA_ERR_BUSY: this thread is inside already (a handler). */
int regions_enter(struct regions *r, const char *call);
void regions_leave(cpa *cp, struct regions *r);
/* A tracker's files are opened under this lock, so that no fork() comes between. */
void trackers_lock(void);
void trackers_unlock(void);
/* Close its files, if they still are its own. Under the lock. */
void tracker_shut(struct tracker *t);

/* ---- protect.c ---- */
struct region *regions_find(const struct regions *r, const char *name);
int regions_any_tracked(const struct regions *r);
/* Nothing is tracked, no file is open, every next checkpoint is whole. Returns whether anything was open. */
int regions_forget(struct regions *r);

/* ---- protect_bits.c ---- */
struct base *base_find(struct regions *r, const char *key);
/* The key's last checkpoint is this now. Out of memory: it has none, so the next one is whole. */
void base_set(struct regions *r, const char *key, const struct base *is);
void bases_free(struct regions *r);
/* Set the bits of the blocks in which the region at offset `at` of the data may differ from what it was at scan
 * `since`. */
void bits_set(uint64_t *bits, const struct region *g, uint64_t at, uint32_t since);

/* ---- protect_choose.c ---- */

/* The regions of one call, in order, with what a checkpoint of them needs. */
struct choice {
	size_t n;
	struct region **chosen;
	struct arena_var *vars;
	uint32_t *pads;
	uint64_t *at, *ids;
	int tracked; /* one of them is */
};
/* Those named, or with NULL all. To be freed also after an error. */
int choice_make(struct choice *c, struct regions *r, const char *call, const char *const *names, size_t n);
void choice_free(struct choice *c);
/* Is all their memory there, to be read or to be written? 0 or the error, told. */
int choice_check(const struct choice *c, const struct regions *r, int write);
/* The region's memory is not what was protected: CPA_ERR_REGION, told, and so from now on. */
int region_moved(struct region *g);

/* ---- protect_track.c ---- */

struct page_run {
	uint64_t from, to, categories;
};
/* Fill runs with what was written in [*from, to), take the marks back, and move *from to the end of what was
 * looked at. Returns their number; -EPERM: a part is not tracked. */
long track_read(const struct tracker *t, struct page_run *runs, uintptr_t *from, uintptr_t to);
/* Is all of [from, to) tracked, by whomever? */
int track_is(const struct tracker *t, struct page_run *runs, uintptr_t from, uintptr_t to);
/* Have it tracked for us, if it is not. 0, -EBUSY: somebody else does; or another error. */
int track_watch(const struct tracker *t, uintptr_t from, uintptr_t to);
/* Can it still be done? If not, r->never says so. */
int track_works(struct regions *r);
void track_all_changed(struct region *g, uint32_t scan);

/* Can this process track at all? Opens the tracker's files. 0, or -1 and *why. */
int track_open(struct regions *r, const char **why);
/* Have the kernel track the region from now on; its pages count as changed. Else g->why says why not. */
void track_region(struct regions *r, struct region *g);
void untrack_region(struct regions *r, struct region *g);
/* Scan numbers begin anew, all pages count as changed. */
void track_renumber(struct regions *r);

/* ---- protect_rest.c ---- */

/* May it be tracked again? To be asked once at each checkpoint of a region that is not. */
int rest_over(struct region *g);
/* It is tracked from now on. */
void rest_tracked(struct region *g);
/* After a scan for its checkpoint: is it worth it? If not, it is tracked no more. */
void rest_look(struct regions *r, struct region *g);

/* ---- protect_scan.c ---- */

/* Write down in `seen` of every tracked region what changed in the pages of the chosen ones, and start anew. A
 * region that the kernel does not track any more is marked as moved. */
void track_scan(struct regions *r);

/* ---- protect_maps.c ---- */

/* One mapping of this process. */
struct mapping {
	uintptr_t from, to;
	uint8_t readable, writable, shared, file, huge;
};
/* A pass over the mappings: remembers those it met. fd: an open /proc/self/maps, or -1. */
struct maps {
	int fd, own_fd;
	int whole; /* all of them are in `met` */
	size_t n, room;
	struct mapping *met;
};
void maps_begin(struct maps *m, int fd);
void maps_end(struct maps *m);
/* The mapping that an address lies in. 0, -ENOENT (none), or another error. */
int maps_at(struct maps *m, uintptr_t address, struct mapping *out);
/* Is all of it mapped, and can it be read (and written)? 0, -ENOENT (a hole), -EACCES (no permission, or no memory
 * behind it), or another error. */
int maps_check(struct maps *m, const void *data, uint64_t bytes, int write);
/* The part of a region that can be tracked, as g->from and g->to; if none, g->why. */
void maps_trackable(struct maps *m, struct region *g);

#endif
