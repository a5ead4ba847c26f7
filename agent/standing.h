/* This agent towards those above it: joining a parent, registering with the registry that the parent names,
 * renewing the lease, and telling the registry what becomes of jobs until it has heard. The decisions are
 * core/node's. */
#ifndef CPA_AGENT_STANDING_H
#define CPA_AGENT_STANDING_H

#include "agent/agent.h"
#include "lib/wire/cpagent.pb-c.h"

/* All of these do nothing, or say the obvious, for an agent without parents. */
int standing_open(struct agent *a, struct err *e);
void standing_close(struct agent *a);
/* Something waits to be told: at the end of this turn of the loop. */
void standing_poke(struct agent *a);

/* Local decisions about a job, for the count of incarnations. */
void standing_job_here(struct agent *a, const char *uuid, uint32_t incarnation);
void standing_job_gone(struct agent *a, const char *uuid);
/* May a job be started here by our own decision? */
bool standing_may_run(struct agent *a);
/* Is there a registry that could take a job elsewhere? */
bool standing_has_registry(const struct agent *a);
/* Where it is; NULL: not known, or this agent's own. */
const char *standing_registry_url(const struct agent *a);
const char *standing_registry_name(const struct agent *a);
const char *standing_parent_name(const struct agent *a);
/* Where the parent is that we have joined; NULL: none just now. */
const char *standing_parent_url(const struct agent *a);
/* The level of the top agent; 0: not known. */
uint32_t standing_top(const struct agent *a);
/* A sentence on why no registry answers, for errors. */
const char *standing_why(const struct agent *a);

/* Orders of the registry; the answer is filled in. */
void standing_start(struct agent *a, const Cpa__Start *order, Cpa__Answer *answer);
void standing_stop(struct agent *a, const Cpa__Stop *order, Cpa__Answer *answer);

/* Ask the parent to collect this job ("": anything new) for this level; asked: somebody waits for it. */
void standing_offer(struct agent *a, const char *job, uint32_t level, bool asked);

/* What this agent says of itself. Fields are borrowed from the agent; buffers from out. */
struct standing_info {
	Cpa__Agent agent;
	Cpa__Machine machine;
	uint64_t features[4];
	char arch[16];
	char *others[CORE_PARENTS];
};
Cpa__Agent *standing_describe(struct agent *a, struct standing_info *out);

#endif
