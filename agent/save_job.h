/* One job's holdings on the disks of the levels above, now: each level collects the job from the one below, writes
 * its store to disk, and asks the next. */
#ifndef CPA_AGENT_SAVE_JOB_H
#define CPA_AGENT_SAVE_JOB_H

#include "agent/agent.h"
#include "agent/ports/bus.h"
#include "lib/wire/cpagent.pb-c.h"

/* e NULL: every level above has it on its disk; keyset: the serial of its newest keyset there, 0 for none. */
typedef void save_job_fn(void *ctx, const struct err *e, uint64_t keyset);

/* Ask the parent. done is called on the loop, once. */
void save_job_ask(struct agent *a, const char *job, save_job_fn *done, void *ctx);

/* ---- at the parent ---- */

/* The request of a child (its name); adopted. */
void serve_save_job(struct agent *a, struct bus_request *rq, const char *child, const Cpa__SaveJob *q);

/* The round in which these wanted their job collected is over; e NULL: it worked. The list is adopted. */
struct save_wait;
void save_job_collected(struct save_wait *list, const struct err *e, uint64_t keyset);

/* Save for those that wait for it, unless a save is under way. */
void save_job_tick(struct agent *a);

#endif
