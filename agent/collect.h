/* Shared by the parts of the parent's side: collect.c decides when, collect_child.c, collect_take.c and
 * collect_store.c do it. */
#ifndef CPA_AGENT_COLLECT_H
#define CPA_AGENT_COLLECT_H

#include "agent/core/interval.h"
#include "agent/levels.h"
#include "agent/work.h"

struct child {
	struct child *next;
	struct agent *agent;
	char name[CORE_NAME], url[CORE_URL];
	uint32_t level;
	int64_t joined;      /* when it last introduced itself, CLOCK_BOOTTIME */
	struct round *round; /* a worker collects from it; NULL: none does, or only from an earlier life of it */
	bool all_due;        /* collect everything as soon as no round is under way */
	unsigned absent;     /* how often in a row it was not to be reached */
	int64_t not_before;  /* … so it is not asked before this, CLOCK_BOOTTIME */
	struct offer {       /* collect these as soon as no round is under way */
		struct offer *next;
		char job[CORE_UUID];
		uint32_t level;
		bool asked;
		struct save_wait *waits; /* owned: for this round, to save what it brings */
	} * offers;
};

/* Where a job's checkpoints came from, and which level above holds what of it. */
struct origin {
	char job[CORE_UUID];
	char url[CORE_URL];
	uint64_t above_generation, above_keyset;
	uint64_t ahead; /* as Stock has it */
	uint32_t generation_level, keyset_level;
};

struct collector {
	struct agent *agent;
	struct child *children;
	struct table origins; /* job -> struct origin, owned */
	struct interval update, save;
	struct save_wait *to_save; /* collected; the next save is for them */
	uv_timer_t tick;
	struct work_gate rounds; /* threads that wait for children: never all there are */
	bool saving;
	bool gc_due, gc_busy; /* something was given up */
	int64_t gc_after;
	bool clean_busy;
	int64_t clean_due;
	uint64_t clean_budget;
	size_t cleaned;
	int64_t last_update, last_save; /* CLOCK_REALTIME */
};

/* Collect from a child: everything (job ""), or one job wanted on level. Who waits for that goes with the round:
 * o->waits is then NULL. */
void collect_from(struct child *c, struct offer *o);
/* A child wants this job saved: the offer under which it is collected next. NULL: that child is not known. */
struct offer *collect_offer_to_save(struct agent *a, const char *child, const char *job);
/* Collect what a child has offered. */
void collect_go_on(struct agent *a, const char *child);
/* The child's worker is done: what else is due? */
void collect_next(struct child *c);
void collect_remember(struct collector *k, const char *job, const char *url, uint64_t ahead);
void collect_forget(struct collector *k, const char *job);

/* ---- collect_store.c ---- */

/* Open the store, with what the last save left on disk. */
int collect_store_open(struct collector *k, struct err *e);
/* At the ticks: sweep chunks that were given up; forget jobs that ended long ago. */
void collect_gc(struct collector *k, int64_t now);
void collect_clean(struct collector *k, int64_t now);

#endif
