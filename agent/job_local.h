/* A job's record on its node, RUN/jobs/UUID/local: written at every change, read when an agent adopts. */
#ifndef CPA_AGENT_JOB_LOCAL_H
#define CPA_AGENT_JOB_LOCAL_H

#include "agent/jobs.h"

/* Fill j from its local record and its image directories. ERR_NOT_FOUND: there is no record. */
int job_load(struct job *j, struct err *e);

/* Find the complete generations in its image directories; what is not complete is left for reuse. */
void job_find_gens(struct job *j);

/* Drop the records of the oldest ended jobs beyond JOBS_ENDED_MAX. */
void jobs_forget_old(struct agent *a);

/* The runtime directory is nearly full: ended jobs go first, oldest first, with their arenas and images. */
void jobs_make_room(struct agent *a);

/* When this pid started, in the kernel's clock ticks: tells a reused pid from the one we knew. 0: gone. */
uint64_t job_pid_start(pid_t pid);

#endif
