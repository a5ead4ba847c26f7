/* Blocking work off the loop: straight-line code in a worker thread, its end back on the loop. */
#ifndef CPA_AGENT_WORK_H
#define CPA_AGENT_WORK_H

#include <uv.h>

/* run(ctx) in a worker thread; then done(ctx) on the loop, where ctx is usually freed. Out of memory: run and
 * done are called here and now, so that nothing is ever lost. */
void work_start(uv_loop_t *loop, void (*run)(void *ctx), void (*done)(void *ctx), void *ctx);

/* The same through a gate: of the work that goes through it, at most `limit` at once, the others in their order.
 * What waits for other agents goes through one, so that a thread is always left to answer those who wait for us.
 */
struct work;
struct work_gate {
	unsigned limit, running;
	struct work *head, *tail; /* not begun */
};
void work_start_in(struct work_gate *gate, uv_loop_t *loop, void (*run)(void *ctx), void (*done)(void *ctx),
                   void *ctx);

/* Threads that all work of this process shares; before the first work_start(). A restore may wait for another
 * node for a while, so there are more of them than cores. */
void work_threads(unsigned n);

#endif
