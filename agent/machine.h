/* What this machine is, as far as an image taken on one must fit the other. */
#ifndef CPA_AGENT_MACHINE_H
#define CPA_AGENT_MACHINE_H

#include "agent/agent.h"
#include "agent/core/words.h"
#include "lib/wire/cpagent.pb-c.h"

/* Fill a->machine (architecture and CPU features as text) and a->has (the same for the registry) at start. */
void machine_look(struct agent *a);

/* Does what was taken on `needs` run here? ERR_FAILED names the feature that lacks. */
int machine_fits(const struct agent *a, const char *needs, struct err *e);

#endif
