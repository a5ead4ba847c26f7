/* What a user who submits a job may ask for: the kernel's word on the submitter's groups, limits and priority
 * stands above what the request says. Root may ask for anything. */
#ifndef CPA_AGENT_SUBMITTER_H
#define CPA_AGENT_SUBMITTER_H

#include "agent/request.h"
#include "lib/wire/cpagent.pb-c.h"

/* Put the submitter's real groups into spec and cut its limits and priority to what the submitter has. Only for
 * requests that came over this agent's own socket. ERR_DENIED, ERR_FAILED. */
int submitter_check(const struct request *rq, Cpa__Spec *spec, struct err *e);

/* Without root this agent cannot become another user: then it runs the jobs of its own user only. ERR_DENIED. */
int submitter_may_run_here(const struct agent *a, const Cpa__Spec *spec, struct err *e);

#endif
