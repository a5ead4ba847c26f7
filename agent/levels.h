/* Carrying checkpoints up: what a child offers and serves, what a parent collects and keeps.
 * A parent pulls: it asks what there is, fetches the chunks it lacks, and tells who now holds what. */
#ifndef CPA_AGENT_LEVELS_H
#define CPA_AGENT_LEVELS_H

#include "agent/jobs.h"
#include "agent/ports/bus.h"

/* ---- child (serve.c, serve_collect.c, serve_held.c) ---- */

/* Something of this job is new: ask the parent to collect it now, up to level (0: the top, 1: nothing to do).
 * asked: somebody waits for it, so it is carried up even where updates are off. */
void levels_offer(struct job *j, uint32_t level, bool asked);

/* Answers to a parent or to a restoring node; the request is adopted. */
void serve_collect(struct agent *a, struct bus_request *rq, const Cpa__Collect *q);
void serve_manifest(struct agent *a, struct bus_request *rq, const Cpa__Manifest *q);
void serve_fetch(struct agent *a, struct bus_request *rq, const Cpa__Fetch *q);
void serve_held(struct agent *a, const Cpa__Held *q);

/* A worker is done with its keys: nobody removed this job meanwhile, so here, then. */
void serve_let_go(struct job *j);

/* From time to time: what nobody fetches any more may go. */
void serve_tick(int64_t now);

/* Reply to a call with this answer and bytes; a NULL request is one that came from this agent itself. */
void serve_answer(struct bus_request *rq, const Cpa__Answer *answer, const void *data, size_t len);
void serve_fail(struct bus_request *rq, int code, const char *text);

/* ---- parent (collect.c, collect_child.c): level 2 and up ---- */

int collect_open(struct agent *a, struct err *e);
void collect_close(struct agent *a);
/* An agent below introduced itself. */
void collect_join(struct agent *a, const Cpa__Agent *child);
/* A child has something new. */
void collect_offer(struct agent *a, const char *child, const Cpa__Offer *offer);
/* What is known of a job that is held here: which level above holds what, for our own parent. */
void collect_fill_stock(struct agent *a, Cpa__Stock *s);
void collect_held_above(struct agent *a, const char *job, const Cpa__Holding *h);
/* Everything that is held here, told to the registry again. */
void collect_tell_all(struct agent *a);
/* Forget a job: it ended well, or the registry forgot it. */
void collect_drop(struct agent *a, const char *job);
/* Write the store to disk now; done on the loop. */
void collect_save(struct agent *a, void (*done)(void *ctx, const struct err *e), void *ctx);
/* CLOCK_REALTIME of the newest update and save; 0: none. */
int64_t collect_last_update(const struct agent *a);
int64_t collect_last_save(const struct agent *a);
/* The url of the child that a job's checkpoints came from; NULL: unknown. */
const char *collect_source(struct agent *a, const char *job);
/* Changed intervals (SIGHUP). */
void collect_reload(struct agent *a);

/* Tell the registry, wherever it is, who holds what. */
void levels_tell_hold(struct agent *a, const char *job, const Cpa__Holding *h);

#endif
