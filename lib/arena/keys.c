/* Versions of keys: commit, read back, forget. A commit writes into a slot that holds no newer version than the one
 * before the newest, and publishes it with one store; whoever dies in between changed nothing that is read. */
#include <errno.h>
#include <time.h>

#include "lib/arena/internal.h"

/* Room for a value that has begun to grow, so that not every version of it moves. */
#define GROWTH(bytes) ((bytes) / 4)

static int key_make(struct key *k, const char *name)
{
	size_t length = name ? strnlen(name, ARENA_KEY_MAX + 1) : 0;

	if (length == 0 || length > ARENA_KEY_MAX)
		return -EINVAL;
	k->name = name;
	k->bytes = (uint8_t)length;
	k->hash = arena_hash(name, length, 0);
	return 0;
}

static uint8_t *extent_at(struct arena *a, struct arena_record *r, uint32_t i)
{
	const struct arena_extent *e = &record_slots(r)[i];

	if (e->length < sizeof(struct arena_slot) || e->length > a->heap_bytes || e->at > a->heap_bytes - e->length ||
	    e->at % ARENA_LINE)
		return NULL;
	return a->heap + e->at;
}

static struct arena_slot *slot_of(struct arena *a, struct arena_record *r, uint32_t i)
{
	return (struct arena_slot *)(void *)extent_at(a, r, i);
}

/* The slot to write next: an empty one, else the one with the oldest version. */
static uint32_t idle_slot(struct arena *a, struct arena_record *r)
{
	uint64_t commit = r->commit, oldest = UINT64_MAX;
	uint32_t newest = commit ? (uint32_t)(commit & 0xff) : UINT32_MAX, i, found = newest == 0 ? 1 : 0;

	for (i = 0; i < r->slots; i++) {
		struct arena_slot *s = slot_of(a, r, i);
		uint64_t version = s ? s->version : 0;

		if (version > commit >> 8) /* written, and its writer died before it was published */
			version = 0;
		if (i != newest && version < oldest) {
			oldest = version;
			found = i;
		}
	}
	return found;
}

static void set_extent(struct arena_extent *e, uint64_t at, uint64_t length)
{
	store_release(&e->length, 0);
	store_release(&e->at, at);
	store_release(&e->length, length);
}

static int take_extent(struct arena *a, struct arena_extent *e, uint64_t bytes)
{
	uint64_t align = bytes >= 4096 ? 4096 : ARENA_LINE, at, length = round_up(bytes, ARENA_LINE);
	uint64_t roomy = e->length ? round_up(bytes + GROWTH(bytes), ARENA_LINE) : length;
	int rc;

	rc = heap_take(a, roomy, align, &at);
	if (!rc)
		length = roomy;
	else if (roomy != length)
		rc = heap_take(a, length, align, &at);
	if (rc && e->length) { /* what the idle slot itself takes may be what is missing */
		store_release(&e->length, 0);
		rc = heap_take(a, length, align, &at);
	}
	if (rc)
		return rc;
	/* what is found there is no version */
	store_release(&((struct arena_slot *)(void *)(a->heap + at))->version, 0);
	set_extent(e, at, length);
	return 0;
}

static int need_extent(struct arena *a, struct arena_record *r, uint32_t i, uint64_t bytes)
{
	int rc;

	if (extent_at(a, r, i) && record_slots(r)[i].length >= bytes)
		return 0;
	rc = lock_take(a, 0);
	if (rc)
		return rc;
	rc = take_extent(a, &record_slots(r)[i], bytes);
	lock_give(a, 0);
	return rc;
}

static void write_version(uint8_t *slot, const struct slot_plan *p, const struct content *c)
{
	struct stream stream;

	slot_write_head(slot, p, c);
	stream_open(&stream, c->vars, c->pads, c->n);
	blocks_write(slot, p, &stream);
	slot_seal(slot, p, c->seed);
}

/* version 0: the next. */
static int commit_locked(struct arena *a, const struct key *k, const struct slot_plan *p, struct content *c,
			 uint64_t *version)
{
	struct arena_record *r = index_find(a, k);
	struct arena_slot *s;
	uint64_t newest;
	uint32_t i;
	int rc = 0;

	if (!r)
		rc = arena_utf8(k->name, k->bytes) ? index_add(a, k, &r) : -EINVAL;
	if (rc)
		return rc;
	newest = r->commit >> 8;
	if (*version && *version <= newest)
		return -EEXIST;
	if (!*version)
		*version = newest + 1;
	i = idle_slot(a, r);
	rc = need_extent(a, r, i, p->total);
	if (rc)
		return rc;
	s = slot_of(a, r, i);
	if (!s)
		return -EPROTO;
	__atomic_exchange_n(&s->version, 0, __ATOMIC_SEQ_CST); /* before anything in it changes */
	c->seed = k->hash ^ *version;
	write_version((uint8_t *)s, p, c);
	if (p->map_at)
		memset((uint8_t *)s + p->map_at, (int)i, p->blocks), slot_seal((uint8_t *)s, p, c->seed);
	c->sum = s->sum;
	store_release(&s->version, *version);
	store_release(&r->commit, *version << 8 | i);
	return 0;
}

static int commit(struct arena *a, const char *name, struct content *c, uint64_t *version)
{
	struct slot_plan plan;
	struct key k;
	int rc = a->read_only ? -EACCES : key_make(&k, name);

	if (!rc)
		rc = slot_plan(c, &plan);
	if (!rc)
		rc = lock_take(a, lock_of(k.hash));
	if (rc)
		return rc;
	rc = commit_locked(a, &k, &plan, c, version);
	lock_give(a, lock_of(k.hash));
	return rc;
}

static int commit_next(struct arena *a, const char *key, struct content *c, uint64_t *version)
{
	struct timespec now;
	uint64_t made = 0;
	int rc;

	clock_gettime(CLOCK_REALTIME_COARSE, &now); /* for people: a tick is fine enough, and cheap */
	c->time_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
	c->incarnation = load_relaxed(&a->head->incarnation);
	rc = commit(a, key, c, &made);
	if (!rc && version)
		*version = made;
	return rc;
}

int arena_put(struct arena *a, const char *key, const struct arena_var *vars, size_t n, uint64_t *version)
{
	struct content c = {.vars = vars, .n = n};

	return commit_next(a, key, &c, version);
}

int arena_put_regions(struct arena *a, const char *key, const struct arena_regions *g, uint64_t *version, uint64_t *sum)
{
	struct content c = {.vars = g->vars, .pads = g->pads, .n = g->n, .how = g->how};
	int rc = commit_next(a, key, &c, version);

	if (!rc && sum)
		*sum = c.sum;
	return rc;
}

int arena_load(struct arena *a, const char *key, const struct arena_var *vars, size_t n, uint64_t version,
	       uint32_t incarnation, int64_t time_ns)
{
	struct content c = {.vars = vars, .n = n, .incarnation = incarnation, .time_ns = time_ns};

	return version == 0 || version >> 56 ? -EINVAL : commit(a, key, &c, &version);
}

/* ---- reading back ---- */

/* Which variable of the slot is wanted as vars[i]: the one of that name, else the one at that place, unless its name
 * is asked for elsewhere. -1: none. */
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
			*m = (struct arena_misfit){i, j < 0, j < 0 ? 0 : d[j].count, j < 0 ? 0 : d[j].type};
		return -EMEDIUMTYPE;
	}
	return 0;
}

static void find_areas(struct arena *a, struct arena_record *r, const struct slot_plan *p, struct areas *out)
{
	uint32_t i;

	memset(out, 0, sizeof *out);
	for (i = 0; i < r->slots; i++)
		if (extent_at(a, r, i) && record_slots(r)[i].length >= p->total)
			out->area[i] = extent_at(a, r, i) + p->data_at;
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
		find_areas(a, r, &p, &areas);
	for (i = 0; i < n; i++) {
		uint64_t bytes = vars[i].count * arena_type_size(vars[i].type);

		if (slot_copy(at, &p, &areas, offset_of(at, match(at, vars, n, i)), bytes, vars[i].data) != 0)
			return -EBADMSG;
	}
	return 0;
}

/* The slot with the newest version below `below`; -1 for none. */
static int newest_below(struct arena *a, struct arena_record *r, uint64_t below, uint64_t *version)
{
	int found = -1;
	uint32_t i;

	*version = 0;
	for (i = 0; i < r->slots; i++) {
		struct arena_slot *s = slot_of(a, r, i);
		uint64_t v = s ? load_acquire(&s->version) : 0;

		if (v && v < below && v > *version) {
			*version = v;
			found = (int)i;
		}
	}
	return found;
}

static int get_locked(struct arena *a, struct arena_record *r, struct arena_var *vars, size_t n, uint64_t version,
		      uint64_t *got, struct arena_misfit *m)
{
	/* a version above the commit was not published: its writer died at the last moment */
	uint64_t v, newest = load_acquire(&r->commit) >> 8, below = newest + 1;
	int skipped = 0, slot, rc;

	if (newest == 0 || version > newest)
		return -ENOENT;
	if (version)
		below = version + 1;
	for (;; below = v, skipped++) {
		slot = newest_below(a, r, below, &v);
		if (version && v != version)
			return version == newest || skipped ? -EBADMSG : -ENOENT;
		if (slot < 0)
			return -EBADMSG;
		if (!version && !skipped && v != newest)
			skipped = 1; /* not even its number is left */
		rc = copy_out(a, r, (uint32_t)slot, vars, n, m);
		if (got)
			*got = v;
		if (rc != -EBADMSG)
			return rc ? rc : skipped;
	}
}

/* Without the right to write there is no lock to take: a writer may get in between, and then it is read again. */
static int get_unlocked(struct arena *a, const struct key *k, struct arena_var *vars, size_t n, uint64_t version,
			uint64_t *got, struct arena_misfit *m)
{
	struct arena_record *r = index_find(a, k);
	uint64_t before;
	int rc, tries;

	if (!r)
		return -ENOENT;
	for (tries = 0; tries < 100; tries++) {
		before = load_acquire(&r->commit);
		rc = get_locked(a, r, vars, n, version, got, m);
		if (before == load_acquire(&r->commit))
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

uint64_t arena_newest(struct arena *a, const char *key, struct arena_record **record)
{
	struct arena_record *r = NULL;
	struct key k;

	if (key_make(&k, key) == 0)
		r = index_find(a, &k);
	if (record)
		*record = r;
	return r ? load_acquire(&r->commit) >> 8 : 0;
}

/* ---- forgetting ---- */

static int reset(struct arena *a, const struct key *k)
{
	int rc = lock_take(a, lock_of(k->hash));

	if (rc)
		return rc;
	rc = index_remove(a, k);
	lock_give(a, lock_of(k->hash));
	return rc;
}

int arena_reset(struct arena *a, const char *key)
{
	struct key k;
	int rc = a->read_only ? -EACCES : key_make(&k, key);

	return rc ? rc : reset(a, &k);
}

/* Key by key, so that other processes go on with theirs; table by table, if one takes over meanwhile. */
int arena_reset_all(struct arena *a)
{
	char name[ARENA_KEY_MAX];
	struct arena_record *r;
	uint32_t table, moves;
	uint64_t b;
	int rc;

	if (a->read_only)
		return -EACCES;
	do {
		moves = load_acquire(&a->head->moves);
		table = index_table(a);
		for (b = 0; b < table_buckets(table); b++) {
			r = index_at(a, table, b);
			if (!r)
				continue;
			struct key k = {name, r->name_bytes, r->hash};

			memcpy(name, record_name(r), r->name_bytes);
			rc = reset(a, &k);
			if (rc && rc != -ENOENT)
				return rc;
		}
	} while (moves != load_acquire(&a->head->moves));
	return 0;
}
