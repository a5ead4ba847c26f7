/* What node.c and node_jobs.c share, and nobody else sees. */
#ifndef CPA_CORE_NODE_IMPL_H
#define CPA_CORE_NODE_IMPL_H

#include "agent/core/node.h"

struct node_job {
	char uuid[CORE_UUID];
	uint32_t given; /* as a registry ordered it; later ones were started here by ourselves */
	uint32_t seen;  /* the highest incarnation here, or the highest that may not start here any more */
	bool live;      /* a copy may be left */
	bool taken;     /* the order for given was taken, and not stopped since */
	bool known;     /* seen means something */
};

void node_jobs_sweep(struct node *n);
void node_jobs_free(struct node *n);

#endif
