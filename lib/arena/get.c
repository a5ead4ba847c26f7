/* Reading versions back: the newest that is whole, or the one wanted, found by name and checked before anything is
 * written into the caller's variables. */
#include <errno.h>

#include "lib/arena/internal.h"

/* Which variable of the slot is wanted as vars[i]: the one of that name, else the one at that place, unless its
 * name is asked for elsewhere. -1: none. */
static int64_t match(const uint8_t *slot, const struct arena_var *vars, size_t n, size_t i)
{
	const struct arena_slot *s = (const struct arena_slot *)(const void *)slot;
	const struct arena_desc *d = slot_descs(slot);
	const char *name = slot_names(slot, s->vars), *place = NULL;
	const char *want = vars[i].name ? vars[i].name : "";
	size_t length = strlen(want), j;

	for (j = 0; j < s->vars; name += d[j].name_bytes, j++) {
		if (d[j].name_bytes == length && memcmp(name, want, length) == 0 && length)
			return (int64_t)j;
		if (j == i)
			place = name;
	}
	if (!place)
		return -1;
	for (j = 0; j < n; j++)
		if (vars[j].name && strlen(vars[j].name) == d[i].name_bytes && d[i].name_bytes &&
		    memcmp(vars[j].name, place, d[i].name_bytes) == 0)
			return -1;
	return (int64_t)i;
}

/* How variable j of the slot does not fit; -1: there is none. */
static struct arena_misfit misfit_of(const uint8_t *slot, const struct arena_var *vars, size_t i, int64_t j)
{
	const struct arena_slot *s = (const struct arena_slot *)(const void *)slot;
	const struct arena_desc *d = slot_descs(slot);
	const char *name = slot_names(slot, s->vars), *want = vars[i].name ? vars[i].name : "";
	int64_t k;

	if (j < 0)
		return (struct arena_misfit){.var = i, .absent = 1};
	for (k = 0; k < j; k++)
		name += d[k].name_bytes;
	return (struct arena_misfit){
		.var = i,
		.placed = *want && (d[j].name_bytes != strlen(want) || memcmp(name, want, d[j].name_bytes) != 0),
		.count = d[j].count,
		.type = d[j].type,
	};
}

static uint64_t offset_of(const uint8_t *slot, int64_t var)
{
	const struct arena_desc *d = slot_descs(slot);
	uint64_t at = 0;
	int64_t j;

	for (j = 0; j <= var; j++) {
		at = round_up(at, 8) + d[j].pad;
		if (j < var)
			at += d[j].count * arena_type_size(d[j].type);
	}
	return at;
}

static int all_fit(const uint8_t *slot, const struct arena_var *vars, size_t n, struct arena_misfit *m)
{
	const struct arena_desc *d = slot_descs(slot);
	size_t i;

	for (i = 0; i < n; i++) {
		int64_t j = match(slot, vars, n, i);

		if (j >= 0 && d[j].type == vars[i].type && d[j].count == vars[i].count)
			continue;
		if (m)
			*m = misfit_of(slot, vars, i, j);
		return -EMEDIUMTYPE;
	}
	return 0;
}

static int copy_out(struct arena *a, struct arena_record *r, uint32_t slot, struct arena_var *vars, size_t n,
		    struct arena_misfit *m)
{
	const uint8_t *at = extent_at(a, r, slot);
	const struct arena_slot *s = (const struct arena_slot *)(const void *)at;
	uint64_t most = record_slots(r)[slot].length;
	struct areas areas;
	struct slot_plan p;
	size_t i;

	if (!at || slot_check(at, most, most, &p) != 0 || slot_verify_head(at, &p, r->hash ^ s->version) != 0)
		return -EBADMSG;
	if (all_fit(at, vars, n, m) != 0)
		return -EMEDIUMTYPE;
	if (p.map_at)
		areas_find(a, r, &p, &areas);
	for (i = 0; i < n; i++) {
		uint64_t bytes = vars[i].count * arena_type_size(vars[i].type);

		if (slot_copy(at, &p, &areas, offset_of(at, match(at, vars, n, i)), bytes, vars[i].data) != 0)
			return -EBADMSG;
	}
	return 0;
}

/* Of the slots left, that with the newest version below `below`; -1 for none. */
static int newest_below(struct arena *a, struct arena_record *r, uint64_t below, uint64_t left, uint64_t *version)
{
	int found = -1;
	uint32_t i;

	*version = 0;
	for (i = 0; i < r->slots; i++) {
		uint64_t v = left >> i & 1 ? slot_version(a, r, i) : 0;

		if (v && v < below && v > *version) {
			*version = v;
			found = (int)i;
		}
	}
	return found;
}

/* A slot whose number was damaged may say that of another one: slot by slot, not number by number. */
static int get_locked(struct arena *a, struct arena_record *r, struct arena_var *vars, size_t n, uint64_t version,
		      uint64_t *got, struct arena_misfit *m)
{
	/* a version above the commit was not published: its writer died at the last moment */
	uint64_t v, newest = load_acquire(&r->commit) >> 8, last = version ? version : newest, left = UINT64_MAX;
	int skipped = 0, slot, rc;

	if (newest == 0 || version > newest)
		return -ENOENT;
	for (;; left &= ~(UINT64_C(1) << slot), last = v) {
		slot = newest_below(a, r, last + 1, left, &v);
		if (version && v != version)
			return version == newest || left != UINT64_MAX ? -EBADMSG : -ENOENT;
		if (slot < 0)
			return -EBADMSG;
		skipped += v != last; /* or not even its number is left */
		rc = copy_out(a, r, (uint32_t)slot, vars, n, m);
		if (got)
			*got = v;
		if (rc != -EBADMSG)
			return rc ? rc : skipped;
	}
}

/* Without the right to write there is no lock to take: a writer may get in between, and then it is read again.
 * What looks damaged is looked at a second time: a slot may have been cleared for the next version since the
 * first. */
static int get_unlocked(struct arena *a, const struct key *k, struct arena_var *vars, size_t n, uint64_t version,
			uint64_t *got, struct arena_misfit *m)
{
	struct arena_record *r, *again;
	uint64_t before;
	int rc, tries, steady = 0;

	for (tries = 0; tries < 100; tries++) {
		r = index_find(a, k);
		if (!r)
			return -ENOENT;
		before = load_acquire(&r->commit);
		rc = get_locked(a, r, vars, n, version, got, m);
		again = index_find(a, k);
		if (again != r || before != load_acquire(&r->commit))
			steady = 0;
		else if (rc == 0 || rc == -EMEDIUMTYPE || rc == -ENOENT || steady++)
			return rc;
	}
	return -EAGAIN;
}

int arena_get(struct arena *a, const char *key, struct arena_var *vars, size_t n, uint64_t version,
	      uint64_t *got, struct arena_misfit *misfit)
{
	struct arena_record *r;
	const struct content c = {.vars = vars, .n = n};
	struct slot_plan plan;
	struct key k;
	int rc = key_make(&k, key);

	if (!rc)
		rc = slot_plan(&c, &plan);
	if (rc)
		return rc;
	if (a->read_only)
		return get_unlocked(a, &k, vars, n, version, got, misfit);
	rc = lock_take(a, lock_of(k.hash));
	if (rc)
		return rc;
	r = index_find(a, &k);
	rc = r ? get_locked(a, r, vars, n, version, got, misfit) : -ENOENT;
	lock_give(a, lock_of(k.hash));
	return rc;
}
