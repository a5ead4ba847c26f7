/* Registering this agent with a parent that its configuration does not name, while it runs: asked by a program of
 * one of its jobs or by its user. Lasts until the agent's restart. */
#ifndef CPA_AGENT_REGISTER_H
#define CPA_AGENT_REGISTER_H

#include <sys/types.h>

#include "agent/agent.h"

/* e NULL: it has joined that parent and holds a lease from its registry. */
typedef void register_fn(void *ctx, const struct err *e);

/* May this user have the agent registered elsewhere? */
bool register_permitted(uid_t uid);

/* done is called once, now or later, on the loop. After an error the parents are what they were, but for
 * ERR_TIMEOUT: then the new one is the last of them. */
void register_with(struct agent *a, const char *url, register_fn *done, void *ctx);

/* Something about the agent's standing may have changed. */
void register_look(struct agent *a);

#endif
