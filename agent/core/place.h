/* Which node gets a job: the node it wants, then its spares in order, then the least loaded that fits.
 * Ties go to the name that sorts first, so that one state of the cluster has one answer. */
#ifndef CPA_CORE_PLACE_H
#define CPA_CORE_PLACE_H

#include "agent/core/words.h"

struct place_node {
	const char *name;
	bool up, drained;
	uint32_t jobs;         /* live jobs it has or was given */
	uint64_t memory_used;  /* what those are expected to use */
	struct machine has;
};

struct place_want {
	struct machine needs;
	const char *wanted;         /* "" or NULL: any */
	bool only_wanted;           /* an operator's order: that node or none */
	const char (*spares)[CORE_NAME];
	size_t spare_count;
	const char *avoid;          /* the node that failed, "" or NULL */
	const char (*tried)[CORE_NAME]; /* nodes where this restart did not work */
	size_t tried_count;
};

/* The index of the chosen node, or -1 and in why a sentence: which node fails for which reason. */
int place(const struct place_want *want, const struct place_node *nodes, size_t n, char why[static CORE_WHY]);

/* NULL when the node fits, else in a few words why not. */
const char *place_misfit(const struct place_want *want, const struct place_node *node);

#endif
