/* What other agents ask of this one: from the bus to the part that answers. */
#ifndef CPA_AGENT_ASK_H
#define CPA_AGENT_ASK_H

#include "agent/ports/bus.h"

/* A bus_request_fn; ctx is the agent. */
void ask_handle(void *ctx, struct bus_request *rq, const struct bus_msg *msg);

#endif
