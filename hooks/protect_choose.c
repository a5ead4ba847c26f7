/* Which regions a call is about, and whether their memory is still what was protected. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hooks/regions.h"

void choice_free(struct choice *p)
{
	size_t i;

	for (i = 0; i < p->n; i++)
		p->chosen[i]->chosen = 0;
	free(p->chosen);
	*p = (struct choice){0};
}

/* One allocation for all that has an element per region. */
static int make_room(struct choice *p, size_t n)
{
	uint8_t *room = malloc(n * (sizeof *p->chosen + sizeof *p->vars + 2 * sizeof(uint64_t) + sizeof *p->pads));

	if (!room)
		return fail(CPA_ERR_MEMORY, "protected regions: out of memory");
	p->chosen = (struct region **)(void *)room;
	p->vars = (struct arena_var *)(void *)(p->chosen + n);
	p->at = (uint64_t *)(void *)(p->vars + n);
	p->ids = p->at + n;
	p->pads = (uint32_t *)(void *)(p->ids + n);
	return 0;
}

static int choose_one(struct choice *p, struct region *g, const char *name)
{
	if (!g)
		return fail(CPA_ERR_REGION, "region %s: there is none of that name; was cpa_protect() called?",
			    name);
	if (g->chosen)
		return fail(CPA_ERR_ARG, "region %s: it is named twice", name);
	g->chosen = 1;
	p->ids[p->n] = g->id;
	p->vars[p->n] = (struct arena_var){g->name, g->data, g->count, g->type};
	p->chosen[p->n++] = g;
	return 0;
}

int choice_make(struct choice *p, struct regions *r, const char *call, const char *const *names, size_t n)
{
	size_t i, all = names ? n : r ? r->list->n : 0;
	int rc;

	if (all == 0)
		return fail(names ? CPA_ERR_ARG : CPA_ERR_REGION, "%s: no region is %s", call,
			    names ? "named" : "protected");
	if (all > ARENA_VARS_MAX)
		return fail(CPA_ERR_ARG, "%s: at most %u regions, not %zu", call, ARENA_VARS_MAX, all);
	rc = make_room(p, all);
	for (i = 0; i < all && !rc; i++) {
		if (!names)
			rc = choose_one(p, r->list->at[i], "");
		else if (!names[i])
			rc = fail(CPA_ERR_ARG, "%s: name %zu is NULL", call, i);
		else
			rc = choose_one(p, regions_find(r, names[i]), names[i]);
	}
	return rc;
}

/* ---- is the memory what was protected? ---- */

int region_moved(struct region *g)
{
	g->moved = 1;
	return fail(CPA_ERR_REGION,
		    "region %s: its memory was unmapped or moved (munmap, mremap, realloc) since it was protected; "
		    "call cpa_protect() for where it is now, or cpa_unprotect()", g->name);
}

int choice_check(const struct choice *p, const struct regions *r, int write)
{
	struct maps m;
	size_t i;
	int rc = 0;

	maps_begin(&m, r->tracker.maps);
	for (i = 0; i < p->n && !rc; i++) {
		struct region *g = p->chosen[i];

		rc = g->moved ? -ENOENT : maps_check(&m, g->data, g->bytes, write);
		if (rc == -ENOENT)
			rc = region_moved(g);
		else if (rc == -EACCES)
			rc = fail(CPA_ERR_REGION,
				  "region %s: its memory cannot be %s: mprotect() took the permission, or its file is "
				  "shorter than it was", g->name, write ? "written" : "read");
		else if (rc)
			rc = fail(CPA_ERR_SYSTEM, "region %s: /proc/self/maps cannot be read: %s", g->name,
				  strerror(-rc));
	}
	maps_end(&m);
	return rc;
}
