/* Owns a job's generations on its node: which image directories they lie in, which are kept, and what history says
 * of each. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/job_start.h"
#include "lib/base/clock.h"
#include "lib/chunk/manifest.h"
#include "lib/wire/copy.h"

unsigned job_free_slot(const struct job *j)
{
	/* what has no generation may be overwritten; the lowest first, so that touched pages are used again */
	for (unsigned slot = 0; slot < JOBS_KEEP_MAX + 2; slot++) {
		bool used = false;
		for (size_t i = 0; i < j->n_gens; i++)
			used |= j->gens[i].slot == slot;
		if (!used)
			return slot;
	}
	return j->n_gens ? j->gens[0].slot : 0;
}

static const Cpa__File *file_named(const Cpa__Generation *g, const char *name)
{
	for (size_t i = 0; g && i < g->n_files; i++)
		if (strcmp(g->files[i]->name, name) == 0)
			return g->files[i];
	return NULL;
}

/* Bytes of the chunks that the generation before does not have at the same place: what carrying it up costs. */
static uint64_t new_bytes(const Cpa__Generation *g, const Cpa__Generation *before)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < g->n_files; i++) {
		const Cpa__File *f = g->files[i], *old = file_named(before, f->name);
		for (uint64_t c = 0; c < chunk_count(f->size); c++) {
			const uint8_t *id = f->chunks.data + c * CHUNK_ID_BYTES;
			bool had = old && c < chunk_count(old->size) &&
			           chunk_id_equal(id, old->chunks.data + c * CHUNK_ID_BYTES);
			if (!had && !chunk_id_is_zero(id))
				sum += chunk_len(f->size, c);
		}
	}
	return sum;
}

/* A complete generation in the words of its job's history. */
static Cpa__Past *past_of(const Cpa__Generation *g, const Cpa__Generation *before)
{
	Cpa__Past *p = malloc(sizeof *p);
	if (!p)
		return NULL;
	cpa__past__init(p);
	p->generation = g->generation;
	p->time_ns = g->time_ns;
	wire_set(&p->reason, g->reason);
	p->frozen_ns = g->frozen_ns;
	p->incarnation = g->incarnation;
	wire_set(&p->node, g->node);
	p->size = manifest_generation_bytes(g);
	p->stored = new_bytes(g, before);
	p->levels = malloc(sizeof *p->levels);
	if (p->levels)
		p->levels[p->n_levels++] = 1;
	return p;
}

static void drop_gen(struct job *j, size_t i)
{
	cpa__generation__free_unpacked(j->gens[i].g, NULL);
	memmove(&j->gens[i], &j->gens[i + 1], (--j->n_gens - i) * sizeof *j->gens);
}

void job_drop_gens(struct job *j)
{
	while (j->n_gens)
		drop_gen(j, j->n_gens - 1);
}

void job_gen_add(struct job *j, Cpa__Generation *g, unsigned slot)
{
	size_t keep = j->spec->keep ? j->spec->keep : 1;
	if (g->generation > j->last_generation)
		j->last_generation = g->generation;
	if (j->n_history == 0) /* it comes from elsewhere: its history comes along */
		for (size_t i = 0; i < g->n_history; i++) {
			Cpa__Past *p = wire_copy(&g->history[i]->base);
			if (p)
				job_history_add(j, p);
		}
	const Cpa__Generation *before = j->n_gens ? j->gens[j->n_gens - 1].g : NULL;
	Cpa__Past *own = job_history_find(j, g->generation) ? NULL : past_of(g, before);
	if (own)
		job_history_add(j, own);
	for (size_t i = 0; i < j->n_gens; i++)
		if (j->gens[i].slot == slot || j->gens[i].number == g->generation)
			drop_gen(j, i--);
	j->gens[j->n_gens++] = (struct gen){ .number = g->generation, .slot = slot, .level = 1, .g = g };
	for (size_t i = 0; i + keep < j->n_gens; i++) { /* the oldest, never one of the newest `keep` */
		if (j->gens[i].fetched_until > clock_boot_ns() && j->n_gens <= keep + 2)
			continue; /* its parent is in the middle of it */
		char path[FS_PATH_MAX], dir[FS_PATH_MAX - 16];
		snprintf(dir, sizeof dir, "%s/img.%u", j->dir, j->gens[i].slot);
		unlink(fs_path(path, "%s/.manifest", dir)); /* its pages stay touched for the next one */
		drop_gen(j, i--);
	}
}

void job_slot_lost(struct job *j, unsigned slot)
{
	for (size_t i = 0; i < j->n_gens; i++)
		if (j->gens[i].slot == slot)
			drop_gen(j, i--);
}
