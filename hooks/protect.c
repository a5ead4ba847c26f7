/* The list of protected regions, and the calls that change it or tell of it. What a checkpoint does with them is
 * in protect_put.c. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hooks/regions.h"

struct region *regions_find(const struct regions *r, const char *name)
{
	size_t i;

	for (i = 0; i < r->list->n; i++)
		if (strcmp(r->list->at[i]->name, name) == 0)
			return r->list->at[i];
	return NULL;
}

static void free_region(struct region *g)
{
	if (g)
		free(g->seen);
	free(g);
}

int regions_any_tracked(const struct regions *r)
{
	size_t i;

	for (i = 0; i < r->list->n; i++)
		if (r->list->at[i]->tracked)
			return 1;
	return 0;
}

int regions_forget(struct regions *r)
{
	int was_open;
	size_t i;

	trackers_lock();
	was_open = r->tracker.open;
	tracker_shut(&r->tracker);
	trackers_unlock();
	for (i = 0; i < r->list->n; i++)
		r->list->at[i]->tracked = 0;
	free(r->by_address);
	r->by_address = NULL;
	bases_free(r);
	return was_open;
}

/* ---- cpa_protect ---- */

static int bad_region(const char *name, const void *data, uint64_t count, int type, uint64_t *bytes)
{
	if (!name || !*name || strnlen(name, ARENA_NAME_MAX + 1) > ARENA_NAME_MAX)
		return fail(CPA_ERR_ARG, "cpa_protect: a region's name has 1 to %u bytes", ARENA_NAME_MAX);
	if (!data && count)
		return fail(CPA_ERR_ARG, "cpa_protect: region %s: its address is NULL", name);
	if (type <= 0 || !arena_type_size((uint32_t)type))
		return fail(CPA_ERR_ARG, "cpa_protect: region %s: there is no type %d", name, type);
	if (__builtin_mul_overflow(count, arena_type_size((uint32_t)type), bytes) || *bytes > ARENA_HEAP_MAX ||
	    (uintptr_t)data > UINTPTR_MAX - *bytes - PAGE)
		return fail(CPA_ERR_ARG, "cpa_protect: region %s: %llu elements are more than an arena holds",
			    name, (unsigned long long)count);
	return 0;
}

/* What is known of the memory: can it be copied at all, and which part of it can be tracked? */
static int look_at(const struct regions *r, struct region *g)
{
	struct maps m;
	int rc;

	maps_begin(&m, r->tracker.maps);
	rc = maps_check(&m, g->data, g->bytes, 1);
	if (!rc)
		maps_trackable(&m, g);
	maps_end(&m);
	if (rc == -ENOENT || rc == -EACCES)
		return fail(CPA_ERR_REGION, "region %s: %s", g->name,
			    rc == -ENOENT ? "a part of it is not mapped memory"
					  : "a part of it cannot be read and written");
	if (rc)
		fail(CPA_ERR_SYSTEM, "region %s: /proc/self/maps cannot be read: %s", g->name, strerror(-rc));
	return rc ? CPA_ERR_SYSTEM : 0;
}

/* With g in place of the one of its name, or as the last; g NULL: without `gone`. */
static int publish(struct regions *r, struct region *g, struct region *gone)
{
	struct region_list *old = r->list, *list;
	size_t i, n = 0;

	list = malloc(sizeof *list + (old->n + 1) * sizeof *list->at);
	if (!list)
		return fail(CPA_ERR_MEMORY, "cpa_protect: out of memory");
	for (i = 0; i < old->n; i++) {
		if (old->at[i] != gone)
			list->at[n++] = old->at[i];
		else if (g)
			list->at[n++] = g;
	}
	if (g && !gone)
		list->at[n++] = g;
	list->n = n;
	__atomic_store_n(&r->list, list, __ATOMIC_RELEASE);
	free(old);
	free(r->by_address);
	r->by_address = NULL;
	if (gone)
		untrack_region(r, gone);
	free_region(gone);
	return 0;
}

static int add_region(struct regions *r, struct region *g)
{
	struct region *old = regions_find(r, g->name);
	int rc = look_at(r, g);

	if (!rc && !old && r->list->n == ARENA_VARS_MAX)
		rc = fail(CPA_ERR_ARG, "cpa_protect: region %s: there are %u regions already", g->name,
			  ARENA_VARS_MAX);
	if (rc)
		return rc;
	g->id = ++r->next_id;
	return publish(r, g, old);
}

int cpa_protect(cpa *cp, const char *name, void *data, uint64_t count, int type)
{
	struct regions *r;
	struct region *g;
	uint64_t bytes = 0;
	int rc;

	if (!cp)
		return fail(CPA_ERR_ARG, "cpa_protect: no handle; has cpa_open() failed, or is it closed?");
	notice(cp);
	if (bad_region(name, data, count, type, &bytes))
		return CPA_ERR_ARG;
	r = regions_of(cp);
	g = calloc(1, sizeof *g + strlen(name) + 1);
	if (!r || !g) {
		free(g);
		return fail(CPA_ERR_MEMORY, "cpa_protect: out of memory");
	}
	*g = (struct region){.data = data, .count = count, .bytes = bytes, .type = (uint32_t)type};
	memcpy(g->name, name, strlen(name) + 1);
	rc = regions_enter(r, "cpa_protect");
	if (!rc) {
		rc = add_region(r, g);
		regions_leave(cp, r);
	}
	if (rc)
		free(g);
	return rc;
}

/* ---- cpa_unprotect ---- */

static int remove_regions(struct regions *r, const char *name)
{
	struct region *g = name ? regions_find(r, name) : NULL;
	int rc = 0;

	if (name && !g)
		return fail(CPA_ERR_REGION, "region %s: there is none of that name", name);
	if (name)
		return publish(r, NULL, g);
	while (!rc && r->list->n)
		rc = publish(r, NULL, r->list->at[r->list->n - 1]);
	return rc;
}

int cpa_unprotect(cpa *cp, const char *name)
{
	struct regions *r;
	int rc;

	if (!cp)
		return fail(CPA_ERR_ARG, "cpa_unprotect: no handle; has cpa_open() failed, or is it closed?");
	notice(cp);
	r = __atomic_load_n(&cp->regions, __ATOMIC_ACQUIRE);
	if (!r)
		return name ? fail(CPA_ERR_REGION, "region %s: there is none of that name", name) : 0;
	rc = regions_enter(r, "cpa_unprotect");
	if (rc)
		return rc;
	rc = remove_regions(r, name);
	regions_leave(cp, r);
	return rc;
}

/* ---- cpa_tracking ---- */

static const char given_up[] = "tracking is given up while a snapshot of the process is taken";

static int tell(cpa *cp, struct regions *r, const char *name, const char **why)
{
	const struct region *g = name ? regions_find(r, name) : NULL;
	const char *not = NULL;

	if (name && !g)
		return fail(CPA_ERR_REGION, "region %s: there is none of that name", name);
	if (g && g->tracked && !g->moved) {
		*why = "the kernel tells which of its pages were written";
		return 1;
	}
	if (g && g->moved)
		not = "its memory was unmapped or moved since it was protected";
	else if (g && g->from == g->to)
		not = g->why;
	else if (__atomic_load_n(&cp->arena->head->give_up, __ATOMIC_ACQUIRE))
		not = given_up;
	else if (track_open(r, &not) == 0)
		not = g ? g->why : NULL;
	if (!not)
		*why = g ? "its writes are tracked from its next checkpoint on"
			 : "this kernel tells which pages were written";
	else
		*why = not;
	return not ? 0 : 1;
}

int cpa_tracking(cpa *cp, const char *name, const char **why)
{
	const char *sentence = "";
	struct regions *r;
	int rc;

	if (!cp)
		return fail(CPA_ERR_ARG, "cpa_tracking: no handle; has cpa_open() failed, or is it closed?");
	notice(cp);
	r = regions_of(cp);
	if (!r)
		return fail(CPA_ERR_MEMORY, "cpa_tracking: out of memory");
	rc = regions_enter(r, "cpa_tracking");
	if (rc)
		return rc;
	rc = tell(cp, r, name, &sentence);
	if (!regions_any_tracked(r)) /* a userfaultfd is open only while it is of use */
		regions_forget(r);
	regions_leave(cp, r);
	if (why)
		*why = sentence;
	return rc;
}
