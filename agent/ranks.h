/* What the ranks of a group have in common: they are found, waited for, and asked which versions they have. */
#ifndef CPA_AGENT_RANKS_H
#define CPA_AGENT_RANKS_H

#include "agent/core/group.h"
#include "agent/jobs.h"

struct ranks_wish {
	uid_t uid; /* only jobs of this user count */
	char group[CORE_NAME];
	char launch[CORE_UUID]; /* "": whichever is there, a live one rather */
	uint32_t ranks;         /* 0: as its jobs say */
	char alone[CORE_UUID];  /* not "": this job is a group of one */
	char key[GROUP_KEY];    /* "": every key that any of them has, but memos */
	int64_t patience;       /* ns; for ranks that are not there yet */
};

struct ranks_found {
	int code;         /* ERR_NOT_FOUND: nothing that all have; ERR_TIMEOUT; ERR_USAGE: no such group; … */
	const char *why;  /* a sentence, with an error */
	uint64_t version; /* that all have */
	uint64_t newest;  /* that any of them has committed; also with ERR_NOT_FOUND */
};

/* On the loop. fn is called once, and not before this returns unless memory is out. wanted says now and then
 * whether anybody still waits for it: else it ends soon, with ERR_FAILED. */
typedef void ranks_fn(void *ctx, const struct ranks_found *found);
typedef bool ranks_wanted_fn(void *ctx);
void ranks_common(struct agent *a, const struct ranks_wish *wish, ranks_wanted_fn *wanted, ranks_fn *fn,
                  void *ctx);

#endif
