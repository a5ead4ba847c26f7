/* Checkpoints of protected regions. What changed is asked of the kernel before anything is copied: what is written
 * meanwhile counts for the next time. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hooks/regions.h"

/* May userfaultfds be open in this job? Asked again after one was opened: the agent may have looked in between. */
static int may_track(const cpa *cp)
{
	return __atomic_load_n(&cp->arena->head->give_up, __ATOMIC_SEQ_CST) == 0;
}

static void track_more(cpa *cp, struct regions *r, const struct choice *p)
{
	size_t i;

	for (i = 0; i < p->n && may_track(cp); i++) {
		struct region *g = p->chosen[i];

		if (!g->tracked && g->from < g->to && rest_over(g))
			track_region(r, g);
	}
}

static int find_changes(cpa *cp, struct regions *r, struct choice *p)
{
	size_t i;

	if (++r->scan == SCANS_MAX - 1)
		track_renumber(r);
	track_more(cp, r, p);
	if (!may_track(cp))
		regions_forget(r);
	track_scan(r);
	for (i = 0; i < p->n; i++) {
		if (p->chosen[i]->moved)
			return region_moved(p->chosen[i]);
		rest_look(r, p->chosen[i]);
		p->tracked |= p->chosen[i]->tracked;
	}
	return 0;
}

/* A region that can be tracked begins in the data where it begins in its page, so that its pages are blocks. Also
 * while it is not tracked: the layout stays the same. Returns the blocks, 0 when there is no such layout. */
static uint64_t lay_out(struct choice *p)
{
	uint64_t at = 0, bytes;
	size_t i;

	for (i = 0; i < p->n; i++) {
		const struct region *g = p->chosen[i];

		at = (at + 7) & ~UINT64_C(7);
		p->pads[i] = g->from < g->to ? (uint32_t)(((uintptr_t)g->data - at) % PAGE) : 0;
		at += p->pads[i] + g->bytes;
		if (at > ARENA_HEAP_MAX)
			return 0;
	}
	bytes = arena_offsets(p->vars, p->pads, p->n, p->at);
	return (bytes + PAGE - 1) / PAGE;
}

/* The key's last checkpoint, if it was of the same regions. */
static const struct base *usable_base(struct regions *r, const struct choice *p, const char *key)
{
	const struct base *b = p->tracked ? base_find(r, key) : NULL;

	if (!b || !b->version || b->n != p->n || memcmp(b->ids, p->ids, p->n * sizeof *p->ids) != 0)
		return NULL;
	return b;
}

/* The blocks that changed since then. NULL: out of memory, or there is no layout. */
static uint64_t *changes_since(const struct choice *p, const struct base *b, uint64_t blocks)
{
	uint64_t *bits = blocks ? calloc(blocks / 64 + 2, sizeof *bits) : NULL;
	size_t i;

	for (i = 0; i < p->n && bits; i++)
		bits_set(bits, p->chosen[i], p->at[i], b->scan);
	return bits;
}

static int commit(cpa *cp, struct regions *r, struct choice *p, const char *key)
{
	const struct base *b = usable_base(r, p, key);
	struct arena_regions data = {p->vars, p->pads, p->n, 0, 0, NULL, p->tracked ? ARENA_DIRTY : ARENA_WHOLE};
	struct base now = {.scan = r->scan, .n = p->n, .ids = p->ids};
	uint64_t blocks = lay_out(p), *changed = b ? changes_since(p, b, blocks) : NULL;
	unsigned turn;
	int rc;

	if (changed) {
		data.base = b->version;
		data.base_sum = b->sum;
		data.changed = changed;
	}
	rc = arena_put_regions(cp->arena, key, &data, &now.version, &now.sum);
	for (turn = 0; rc == -ENOSPC && memos_make_room(cp, blocks * PAGE, turn); turn++)
		rc = arena_put_regions(cp->arena, key, &data, &now.version, &now.sum);
	free(changed);
	if (rc == -EINVAL)
		return fail(CPA_ERR_ARG, "key %s: it is not UTF-8, or its regions are larger than an arena", key);
	if (!rc && p->tracked)
		base_set(r, key, &now);
	return fail_arena(rc, "key", key);
}

static int checkpoint_inside(cpa *cp, struct regions *r, const char *call, const char *key,
			     const char *const *names, size_t n)
{
	struct choice p = {0};
	int rc = choice_make(&p, r, call, names, n);

	if (!rc)
		rc = choice_check(&p, r, 0);
	if (!rc)
		rc = find_changes(cp, r, &p);
	if (!rc)
		rc = commit(cp, r, &p, key);
	choice_free(&p);
	return rc;
}

static int checkpoint(cpa *cp, const char *call, const char *key, int level, const char *const *names, size_t n)
{
	struct regions *r;
	int64_t began;
	int rc = bad_call(call, cp, key, level);

	if (rc)
		return rc;
	notice(cp);
	began = life_clock(cp);
	r = regions_of(cp);
	if (!r)
		return fail(CPA_ERR_MEMORY, "%s: out of memory", call);
	rc = regions_enter(r, call);
	if (rc)
		return rc;
	rc = checkpoint_inside(cp, r, call, key, names, n);
	regions_leave(cp, r);
	if (rc)
		return rc;
	if (began)
		life_cost(cp, life_clock(cp) - began);
	return carry(cp, key, level);
}

int cpa_checkpoint_protected(cpa *cp, const char *key, int level)
{
	return checkpoint(cp, "cpa_checkpoint_protected", key, level, NULL, 0);
}

int cpa_checkpoint_regions(cpa *cp, const char *key, int level, const char *const *names, size_t n)
{
	if (!names)
		return fail(CPA_ERR_ARG, "cpa_checkpoint_regions: no names");
	return checkpoint(cp, "cpa_checkpoint_regions", key, level, names, n);
}
