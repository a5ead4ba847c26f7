/* Which jobs are on this node and at which incarnation, and which orders about them still count.
 * Owns the entries of node->jobs. */
#include "agent/core/node_impl.h"

#include <stdlib.h>

static struct node_job *entry(struct node *n, const char *uuid)
{
	struct node_job *j = table_get(&n->jobs, uuid);
	if (j)
		return j;
	j = calloc(1, sizeof *j);
	if (!j)
		abort();
	core_copy(j->uuid, sizeof j->uuid, uuid);
	table_put(&n->jobs, j->uuid, j);
	return j;
}

/* Stopped or refused up to an incarnation: an order for it that comes late takes nothing. */
static void bury(struct node_job *j, uint32_t incarnation)
{
	if (j->known && incarnation <= j->seen)
		return;
	j->seen = incarnation;
	j->known = true;
	j->taken = false;
}

void node_job_here(struct node *n, const char *uuid, uint32_t incarnation)
{
	struct node_job *j = entry(n, uuid);
	if (!j->live) {
		j->given = 0;
		j->taken = false;
	}
	j->live = j->known = true;
	if (incarnation > j->seen)
		j->seen = incarnation;
}

uint32_t node_job_given(const struct node *n, const char *uuid)
{
	const struct node_job *j = table_get(&n->jobs, uuid);
	return j ? j->given : 0;
}

void node_job_gone(struct node *n, const char *uuid)
{
	struct node_job *j = table_get(&n->jobs, uuid);
	if (j)
		j->live = false;
}

enum start_answer node_start(struct node *n, const char *uuid, uint32_t incarnation, uint64_t term, int64_t now)
{
	struct node_job *j = entry(n, uuid);
	if (j->taken && incarnation == j->given)
		return START_HAVE;
	/* refusing says that no copy is left here, so not while one is still dying */
	if (j->live)
		return START_WAIT;
	/* refused for good: terms and incarnations only grow, so that no copy of this order is ever taken */
	if (term != n->term || (j->known && incarnation <= j->seen))
		return START_REFUSE;
	/* the registration was heard but its answer is not here yet, or the lease may still be renewed */
	if (n->standing != STANDING_LEASED || lease_over(&n->lease, now))
		return START_WAIT;
	*j = (struct node_job){.seen = incarnation, .given = incarnation, .live = true, .taken = true, .known = true};
	core_copy(j->uuid, sizeof j->uuid, uuid);
	return START_TAKE;
}

bool node_stop(struct node *n, const char *uuid, uint32_t incarnation, uint32_t *last)
{
	struct node_job *j = entry(n, uuid);
	*last = incarnation;
	if (j->live && incarnation < j->given)
		return false;
	if (j->known && j->seen > incarnation)
		*last = j->seen;
	if (j->live) {
		if (incarnation > j->seen)
			j->seen = incarnation;
		j->taken = false;
		return true;
	}
	bury(j, incarnation);
	j->taken = false;
	return false;
}

/* A registration was answered: orders of earlier ones are refused by their term, so that what is over can go. */
void node_jobs_sweep(struct node *n)
{
	struct table left = {0};
	size_t at = 0;
	for (struct node_job *j; (j = table_each(&n->jobs, &at));) {
		/* Except incarnations that we started ourselves: the registry may not have heard of them and give the
		 * number again, while what we reported of ours is still on its way. */
		if (j->live || j->seen > j->given)
			table_put(&left, j->uuid, j);
		else
			free(j);
	}
	table_free(&n->jobs);
	n->jobs = left;
}

void node_jobs_free(struct node *n)
{
	size_t at = 0;
	for (struct node_job *j; (j = table_each(&n->jobs, &at));)
		free(j);
	table_free(&n->jobs);
}
