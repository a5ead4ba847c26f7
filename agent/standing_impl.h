/* Shared by the files of standing: standing.c (the lease), standing_join.c (the parent), standing_jobs.c (orders
 * and what becomes of jobs), standing_tell.c (telling the registry until it has heard). */
#ifndef CPA_AGENT_STANDING_IMPL_H
#define CPA_AGENT_STANDING_IMPL_H

#include "agent/call.h"
#include "agent/core/node.h"
#include "agent/jobs.h"
#include "agent/standing.h"

struct upward {
	struct agent *agent;
	struct node core;
	struct node_actions acts;
	uint8_t session[CORE_SESSION];
	uv_timer_t timer, pulse;
	uv_prepare_t poked;
	bool performing;

	int parent; /* whose join the next fields are about */
	bool joined;
	char parent_name[CORE_NAME], parent_url[CORE_URL];
	char registry_name[CORE_NAME], registry_url[CORE_URL];
	uint32_t top; /* level of the top agent */
	int64_t join_due;
	bool joining;
	unsigned join_failures;
	char why[CORE_WHY]; /* why the registry was last not reached */
};

/* What is under way: answers name the registration and the message they are for. */
struct asked {
	struct upward *s;
	uint64_t term, seq;
	int64_t held;
	enum node_do what;
};

/* standing_join.c: introduce ourselves to the parent; q, adopted, says what follows when it answers. */
void standing_join(struct upward *s, struct asked *q);
/* standing.c: send what q, adopted, says to the registry. */
void standing_ask_registry(struct upward *s, struct asked *q);
/* Remember why "parent" or "registry" did not answer. */
void standing_say_why(struct upward *s, const char *what, const struct call_reply *r);

/* Let core have its tick, do what it says, and be called again when it wants. */
void standing_go_on(struct upward *s);

/* standing_jobs.c */
void standing_perform_job(struct upward *s, const struct node_action *act);
void standing_fence_jobs(struct upward *s, bool frozen);
/* The list for a registration: into reg where it is short, else compressed behind the message, *bulk and *len;
 * free all with standing_claims_free(). False: out of memory; a list that is not whole must not be sent, as what
 * is not in it counts as gone. */
bool standing_claims(struct upward *s, Cpa__Register *reg, void **bulk, size_t *len);
void standing_claims_free(Cpa__Register *reg, void *bulk);

/* standing_tell.c */
void standing_tell_due(struct upward *s);
void standing_tell_once(struct upward *s, const char *job, uint32_t incarnation, enum report what);

#endif
