/* What is held of each job, where. Says what a restart can use; not persisted. */
#include "agent/core/registry_impl.h"

#include <stdlib.h>
#include <string.h>

static struct holding *find(struct reg_job *j, const char *holder, enum source_kind kind, uint64_t number)
{
	for (size_t i = 0; i < j->held_count; i++) {
		struct holding *h = &j->held[i];
		if (h->kind == kind && !strcmp(h->holder, holder) && (kind == SOURCE_KEYS || h->number == number))
			return h;
	}
	return NULL;
}

static struct holding *append(struct reg_job *j)
{
	if (j->held_count == j->held_size) {
		j->held_size = j->held_size ? j->held_size * 2 : 4;
		j->held = realloc(j->held, j->held_size * sizeof *j->held);
		if (!j->held)
			abort();
	}
	struct holding *h = &j->held[j->held_count++];
	memset(h, 0, sizeof *h);
	return h;
}

/* Old news that comes late does not replace newer keys. */
static bool older(const struct holding *a, const struct holding *b)
{
	return a->incarnation < b->incarnation || (a->incarnation == b->incarnation && a->number < b->number);
}

int registry_held(struct registry *r, const char *uuid, const struct holding *held)
{
	struct reg_job *j = reg_job_find(r, uuid);
	if (!j)
		return ERR_NOT_FOUND;
	struct holding *h = find(j, held->holder, held->kind, held->number);
	if (h && h->kind == SOURCE_KEYS && older(held, h))
		return 0;
	/* a generation keeps its record of crashes, wherever else it is held */
	uint32_t crashes = 0;
	for (size_t i = 0; held->kind == SOURCE_SNAPSHOT && i < j->held_count; i++)
		if (j->held[i].kind == SOURCE_SNAPSHOT && j->held[i].number == held->number &&
		    j->held[i].incarnation == held->incarnation)
			crashes = j->held[i].crashes;
	if (!h)
		h = append(j);
	*h = *held;
	h->crashes = crashes;
	return 0;
}

void registry_dropped(struct registry *r, const char *uuid, const char *holder, enum source_kind kind,
		      uint64_t number)
{
	struct reg_job *j = reg_job_find(r, uuid);
	struct holding *h = j ? find(j, holder, kind, number) : NULL;
	if (h)
		*h = j->held[--j->held_count];
}

void registry_held_bad(struct registry *r, const char *uuid, const char *holder, uint64_t number)
{
	struct reg_job *j = reg_job_find(r, uuid);
	struct holding *h = j ? find(j, holder, SOURCE_SNAPSHOT, number) : NULL;
	if (h)
		h->bad = true;
}

void registry_held_crashed(struct registry *r, const char *uuid, uint64_t number)
{
	struct reg_job *j = reg_job_find(r, uuid);
	for (size_t i = 0; j && i < j->held_count; i++)
		if (j->held[i].kind == SOURCE_SNAPSHOT && j->held[i].number == number)
			j->held[i].crashes++;
}

size_t registry_sources(struct registry *r, const char *uuid, const struct source_wish *wish, struct source **out)
{
	struct reg_job *j = reg_job_find(r, uuid);
	*out = NULL;
	if (!j)
		return 0;
	struct source_wish own = {.mode = j->spec.mode, .by_keys = j->by_keys};
	for (size_t i = 0; i < j->held_count; i++) {
		const struct reg_node *n = reg_node_find(r, j->held[i].holder);
		j->held[i].reachable = !n || n->state != NODE_DOWN;
	}
	*out = calloc(j->held_count + 1, sizeof **out);
	if (!*out)
		abort();
	return source_order(wish ? wish : &own, j->held, j->held_count, *out);
}
