/* Owns what is remembered of a job's checkpoints: its history, its generations here, and copies that others hold.
 */
#include <stdlib.h>
#include <string.h>

#include "agent/jobs.h"
#include "lib/wire/copy.h"

void job_history_add(struct job *j, Cpa__Past *past)
{
	if (j->n_history == JOBS_HISTORY_MAX) {
		cpa__past__free_unpacked(j->history[0], NULL);
		memmove(j->history, j->history + 1, (JOBS_HISTORY_MAX - 1) * sizeof *j->history);
		j->n_history--;
	}
	j->history[j->n_history++] = past;
}

Cpa__Past *job_history_find(struct job *j, uint64_t generation)
{
	for (size_t i = j->n_history; i-- > 0;)
		if (j->history[i]->generation == generation)
			return j->history[i];
	return NULL;
}

struct gen *job_gen_find(struct job *j, uint64_t generation)
{
	for (size_t i = j->n_gens; i-- > 0;)
		if (j->gens[i].number == generation || (generation == 0 && !j->gens[i].bad))
			return &j->gens[i];
	return NULL;
}

static void past_held(Cpa__Past *p, uint32_t level)
{
	for (size_t i = 0; i < p->n_levels; i++)
		if (p->levels[i] == level)
			return;
	uint32_t *more = realloc(p->levels, (p->n_levels + 1) * sizeof *more);
	if (!more)
		return;
	p->levels = more;
	p->levels[p->n_levels++] = level;
}

/* Remember the copy, in place of an older one of the same holder and kind when it is one of keys. */
void job_remember_held(struct job *j, const Cpa__Holding *h)
{
	Cpa__Holding *copy = wire_copy(&h->base);
	if (!copy)
		return;
	/* numbers go on from what others hold of it: none is ever used twice */
	uint64_t *last = h->what == CPA__WHAT__KEYSET ? &j->last_keyset : &j->last_generation;
	if (h->number > *last)
		*last = h->number;
	for (size_t i = 0; i < j->n_held; i++) {
		Cpa__Holding *old = j->held[i];
		bool same = old->what == h->what && strcmp(old->holder, h->holder) == 0 &&
		            (h->what == CPA__WHAT__KEYSET || old->number == h->number ||
		             old->number + JOBS_KEEP_MAX < h->number);
		if (!same)
			continue;
		cpa__holding__free_unpacked(old, NULL);
		j->held[i] = copy;
		return;
	}
	Cpa__Holding **more = realloc(j->held, (j->n_held + 1) * sizeof(Cpa__Holding *));
	if (!more) {
		cpa__holding__free_unpacked(copy, NULL);
		return;
	}
	j->held = more;
	j->held[j->n_held++] = copy;
}

void job_held(struct job *j, const Cpa__Holding *h)
{
	job_remember_held(j, h);
	if (h->what == CPA__WHAT__KEYSET) {
		if (h->number > j->keyset_held || (h->number == j->keyset_held && h->level > j->keyset_level)) {
			j->keyset_held = h->number;
			j->keyset_level = h->level;
		}
	} else {
		struct gen *g = job_gen_find(j, h->number);
		if (g && h->number && h->level > g->level)
			g->level = h->level;
		Cpa__Past *p = job_history_find(j, h->number);
		if (p)
			past_held(p, h->level);
	}
	job_touched(j);
}
