/* Kernel process events of this node's jobs, where the kernel gives them: a process of a job that was killed or
 * failed is logged though the job goes on. A job's own end is noticed by its pidfd, with or without these. */
#ifndef CPA_AGENT_EVENTS_H
#define CPA_AGENT_EVENTS_H

#include "agent/agent.h"

void events_open(struct agent *a);
void events_close(struct agent *a);

#endif
