/* The version that cpagentd and cpagent print. */
#ifndef CPA_AGENT_VERSION_H
#define CPA_AGENT_VERSION_H

#define CPAGENT_VERSION "0.1.0"

#endif
