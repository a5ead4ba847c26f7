/* Waiting for a job's output and for its end: the verbs follow and wait. */
#ifndef CPA_AGENT_FOLLOW_H
#define CPA_AGENT_FOLLOW_H

#include "agent/jobs.h"

int follow_open(struct agent *a, struct err *e);
void follow_close(struct agent *a);

#endif
