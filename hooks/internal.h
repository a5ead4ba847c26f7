/* What the parts of libcpagent share: the handle, and how an error becomes a sentence. */
#ifndef CPA_HOOKS_INTERNAL_H
#define CPA_HOOKS_INTERNAL_H

#include "hooks/cpagent.h"
#include "lib/arena/arena.h"

/* The handle. Each part beyond the arena is owned by one file, made when it is first needed, NULL until then. A
 * fork()ed child has a copy, of what lies in memory too: parts that mean something in one process know which. */
struct cpa {
	struct arena *arena;
	uint32_t incarnation;    /* of which the program has been told; job.c */
	uint32_t began;          /* enum cpa_began, of a private arena */
	uint32_t forgot;         /* a key was reset through this handle: its absence is meant */
	struct regions *regions; /* protect.c */
	struct routes *routes;   /* file.c */
	struct memos *memos;     /* memo.c */
	struct life *life;       /* job.c: callbacks, and when a checkpoint is due */
};

/* cpa_close() calls these; NULL parts are allowed. In a fork()ed child they free memory and touch nothing else. */
void regions_free(cpa *cp);
void routes_free(cpa *cp);
void memos_free(cpa *cp);
void life_free(cpa *cp);

/* memo_evict.c: the arena is full; forget results of memos, so that bytes may fit. 0: there is nothing to forget, or it
 * would not help. Then try again, with turn = 0, 1, 2, … until it says 0. */
int memos_make_room(cpa *cp, uint64_t bytes, unsigned turn);

/* arena_put(), and again while forgetting memos makes room: a cache never stands in a checkpoint's way. */
int memos_put(cpa *cp, const char *key, const struct arena_var *vars, size_t n);

void notice_slow(cpa *cp); /* job.c */

/* The first thing in every call: the agent may want the userfaultfds back, or this process may have been restored. Two
 * loads when there is nothing to do. */
static inline void notice(cpa *cp)
{
	const struct arena_header *h = cp->arena->head;

	if (__builtin_expect((cp->regions && __atomic_load_n(&h->give_up, __ATOMIC_RELAXED)) ||
				     __atomic_load_n(&h->incarnation, __ATOMIC_RELAXED) !=
					     __atomic_load_n(&cp->incarnation, __ATOMIC_RELAXED),
			     0))
		notice_slow(cp);
}
void regions_let_go(cpa *cp); /* protect.c: no userfaultfd is open in this process when it returns */

/* ---- cpagent.c: what every call of a family begins and ends with ---- */

/* Is the handle there, the key one, the level one? Names the call when not. */
int bad_call(const char *call, const cpa *cp, const char *key, int level);
int bad_vars(const char *call, const char *key, const struct cpa_var *vars, size_t n);

/* After a commit of key: ask for a level above 1. */
int carry(cpa *cp, const char *key, int level);

/* Keys that the library itself uses begin so: calls with such a key are refused, lists leave them out. */
#define MEMO_PREFIX "memo:"
static inline int is_memo(const char *key)
{
	return *key == *MEMO_PREFIX && __builtin_strncmp(key, MEMO_PREFIX, sizeof MEMO_PREFIX - 1) == 0;
}

static inline const struct arena_var *as_arena(const struct cpa_var *vars)
{
	return (const struct arena_var *)(const void *)vars;
}

/* Results with which an agent answers an ask: the codes of its own errors. */
enum { AGENT_USAGE = -2, AGENT_NOTHING = -3, AGENT_NOBODY = -4, AGENT_DENIED = -5, AGENT_TIMEOUT = -6 };

#define FETCH_S 60 /* for an agent to bring a version from a level above */

/* A timeout as lib/arena takes it: nanoseconds, -1 for ever. */
int64_t timeout_ns(double s);

/* ---- job_due.c ---- */

/* Now, if anybody reckons with the cost of checkpoints; else 0. Monotonic nanoseconds. */
int64_t life_clock(const cpa *cp);
/* A checkpoint took so long: what cpa_should_checkpoint() reckons with. */
void life_cost(cpa *cp, int64_t ns);

/* ---- errors ---- */

/* Keep a sentence for cpa_strerror() in this thread; returns code. */
int fail(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The same for what lib/arena returned, about `what` ("key state"). 0 and counts pass. */
int fail_arena(int rc, const char *what, const char *name);

/* ---- place.c: where an arena lies ---- */
#define PLACE_MAX 4096

struct place {
	char path[PLACE_MAX];
	int is_private; /* found by its name in a directory, not named itself */
};

/* The arena that cpa_open_named() means, made if it is a private one that does not exist yet. */
int place_find(struct place *p, const char *where, const char *name, uint64_t budget);

/* Map it, if it is not another user's. */
int place_map(const struct place *p, struct arena **a);

#endif
