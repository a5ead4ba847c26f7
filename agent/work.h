/* Blocking work off the loop: straight-line code in a worker thread, its end back on the loop. */
#ifndef CPA_AGENT_WORK_H
#define CPA_AGENT_WORK_H

#include <uv.h>

/* run(ctx) in a worker thread; then done(ctx) on the loop, where ctx is usually freed. Out of memory: run and
 * done are called here and now, so that nothing is ever lost. */
void work_start(uv_loop_t *loop, void (*run)(void *ctx), void (*done)(void *ctx), void *ctx);

/* Threads that all work of this process shares; before the first work_start(). A restore may wait for another
 * node for a while, so there are more of them than cores. */
void work_threads(unsigned n);

#endif
