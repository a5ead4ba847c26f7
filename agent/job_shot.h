/* One snapshot while it is taken: job_snapshot.c begins and ends it on the loop, job_shot.c works on it. */
#ifndef CPA_AGENT_JOB_SHOT_H
#define CPA_AGENT_JOB_SHOT_H

#include "agent/job_start.h"
#include "agent/ports/snapshot.h"
#include "lib/base/clock.h"

#define LET_GO_NS (10 * NS_PER_S) /* for a job to let go of its userfaultfds */

struct shot {
	struct job *job;
	struct wanted *wanted; /* who asked before it began */
	unsigned slot;
	char reason[32];
	Cpa__Generation *g; /* owned */
	struct snapshot_taken taken;
	int64_t let_go_by; /* 0: not yet asked */
	bool waits; /* for the job to let go */
	bool began; /* its image directory is being overwritten */
	uv_timer_t *pause;
	int watch;
	int code;
	struct err err;
};

/* In a worker thread; a struct shot. When it waits, it is to be run again a moment later. */
void shot_run(void *ctx);

#endif
