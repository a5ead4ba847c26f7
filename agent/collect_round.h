/* Shared by the two parts of a round of collecting from one child: collect_child.c asks what there is and tells
 * what came of it, collect_take.c makes the store hold it, or let it go. */
#ifndef CPA_AGENT_COLLECT_ROUND_H
#define CPA_AGENT_COLLECT_ROUND_H

#include "agent/collect.h"

struct got {
	char job[CORE_UUID];
	Cpa__What what;
	uint64_t number;
	uint32_t incarnation;
	int64_t time_ns;
	uint64_t bytes;
	bool by_keys;
};

struct round {
	struct child *child;
	struct agent *agent;
	char url[CORE_URL], only[CORE_UUID];
	uint32_t level; /* asked for by the offer; 0: the top */
	bool offered, asked;
	int64_t timeout;
	int code;
	struct err err;
	struct got *got;
	size_t n_got;
	char (*gone)[CORE_UUID]; /* dropped here */
	size_t n_gone;
	char (*heard)[CORE_UUID]; /* that these are gone: the child may forget them */
	size_t n_heard;
	struct seen {
		char job[CORE_UUID];
		uint64_t ahead;
	} * seen;
	size_t n_seen;
	char after[CORE_UUID];   /* the next page of what there is */
	struct save_wait *waits; /* owned */
	uint64_t keyset;         /* the newest held of `only`, for them */
};

/* Is it the child itself that is not there? */
static inline bool round_unreachable(int code)
{
	return code == ERR_NO_AGENT || code == ERR_TIMEOUT;
}

/* Take over what the child has of one job; the round has room for the results (blocking). */
int collect_take(struct round *r, const Cpa__Stock *s);

#endif
