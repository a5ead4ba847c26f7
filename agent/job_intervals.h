/* A job's own intervals: how often the level above is asked to come for what is new of it, and to save it; and
 * whether that happens by itself. They lie in the job's arena, where its program and its user set them. */
#ifndef CPA_AGENT_JOB_INTERVALS_H
#define CPA_AGENT_JOB_INTERVALS_H

#include "agent/jobs.h"
#include "lib/arena/mailbox.h"

/* What the arena says now. */
void job_intervals_take(struct job *j, const struct arena_says *says);

/* From time to time. */
void job_intervals_tick(struct job *j, int64_t now);

/* Is it carried up only when somebody asks for that? */
bool job_on_demand(const struct job *j);

#endif
