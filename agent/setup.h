/* Building and tearing down one agent: its directories, keys, tools and parts, in the order they need each other.
 */
#ifndef CPA_AGENT_SETUP_H
#define CPA_AGENT_SETUP_H

#include "agent/agent.h"

/* For an agent that was alone: listen where other agents, such as this one, can reach us. */
int setup_open_bus(struct agent *a, const char *facing, struct err *e);

int setup_open(struct agent *a, struct err *e);
/* Hand over cleanly: jobs run on, cpfence guards on, what waits is told. Idempotent. */
void setup_close(struct agent *a);
/* Read the configuration again: what can change while it runs, changes; the rest is named in the log. */
void setup_reload(struct agent *a);

#endif
