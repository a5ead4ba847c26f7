/* What the parts of libcpagent share: the handle, and how an error becomes a sentence. */
#ifndef CPA_HOOKS_INTERNAL_H
#define CPA_HOOKS_INTERNAL_H

#include "hooks/cpagent.h"
#include "lib/arena/arena.h"

/* The handle. Each part beyond the arena is owned by one file, made when it is first needed, NULL until then. */
struct cpa {
	struct arena *arena;
	uint32_t incarnation;    /* of which the program has been told; job.c */
	struct regions *regions; /* protect.c */
	struct routes *routes;   /* file.c */
	struct memos *memos;     /* memo.c */
	struct life *life;       /* job.c: callbacks, and when a checkpoint is due */
};

void regions_free(cpa *cp);
void routes_free(cpa *cp);
void memos_free(cpa *cp);
void life_free(cpa *cp);

void notice_slow(cpa *cp); /* job.c */

/* The first thing in every call: the agent may want the userfaultfds back, or this process may have been restored. Two
 * loads when there is nothing to do. */
static inline void notice(cpa *cp)
{
	const struct arena_header *h = cp->arena->head;

	if (__builtin_expect((cp->regions && __atomic_load_n(&h->give_up, __ATOMIC_RELAXED)) ||
				     __atomic_load_n(&h->incarnation, __ATOMIC_RELAXED) != cp->incarnation,
			     0))
		notice_slow(cp);
}
void regions_let_go(cpa *cp); /* protect.c: no userfaultfd is open in this process when it returns */

/* A checkpoint took so long: what cpa_should_checkpoint() reckons with. job.c */
void life_cost(cpa *cp, int64_t ns);

/* Keep a sentence for cpa_strerror() in this thread; returns code. */
int fail(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The same for what lib/arena returned, about `what` ("key state"). 0 and counts pass. */
int fail_arena(int rc, const char *what, const char *name);

/* ---- place.c: where an arena lies ---- */
#define PLACE_MAX 4096

/* The arena that cpa_open(where) means, made if it is a private one that does not exist yet. */
int place_find(char path[PLACE_MAX], const char *where);

#endif
