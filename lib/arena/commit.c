/* Committing versions. A commit writes into a slot that holds no newer version than the one before the newest, and
 * publishes it with one store; whoever dies in between changed nothing that is read. */
#include <errno.h>
#include <time.h>

#include "lib/arena/internal.h"

/* Room for a value that has begun to grow, so that not every version of it moves. */
#define GROWTH(bytes) ((bytes) / 4)

#define SLOTS 2 /* the last version, and the one being written */

static void set_extent(struct arena_extent *e, uint64_t at, uint64_t length)
{
	store_release(&e->length, 0);
	store_release(&e->at, at);
	store_release(&e->length, length);
}

/* Large data begin with a page, as large arrays do: where a block is stored a little behind the place in its page that
 * it is read from, the processor takes its stores for what is read next, and waits. */
static int take_extent(struct arena *a, struct arena_extent *e, const struct slot_plan *p)
{
	uint64_t bytes = p->total, at, length = round_up(bytes, ARENA_LINE);
	int large = p->blocks && bytes >= BLOCK;
	uint64_t align = large ? BLOCK : ARENA_LINE, inner = large ? p->data_at : 0;
	uint64_t roomy = e->length ? round_up(bytes + GROWTH(bytes), ARENA_LINE) : length;
	int rc;

	rc = heap_take(a, roomy, align, inner, &at);
	if (!rc)
		length = roomy;
	else if (roomy != length)
		rc = heap_take_less(a, length, align, inner, &at);
	if (rc && e->length) { /* what the idle slot itself takes may be what is missing */
		store_release(&e->length, 0);
		rc = heap_take(a, length, align, inner, &at);
	}
	if (rc)
		return rc;
	/* what is found there is no version */
	store_release(&((struct arena_slot *)(void *)(a->heap + at))->version, 0);
	set_extent(e, at, length);
	return 0;
}

/* Make slot i one that c can be written into. */
static int need_extent(struct arena *a, struct arena_record *r, uint32_t i, const struct content *c,
		       const struct slot_plan *p)
{
	int rc;

	if (share_blocked(a, r, i, c, p))
		share_leave(a, r, i);
	if (extent_at(a, r, i) && record_slots(r)[i].length >= p->total)
		return 0;
	rc = lock_take(a, 0);
	if (rc)
		return rc;
	rc = take_extent(a, &record_slots(r)[i], p);
	lock_give(a, 0);
	return rc;
}

/* The newest version's slot, if it is the one that the caller knows the changes since, and laid out alike. */
static const uint8_t *base_of(struct arena *a, struct arena_record *r, const struct content *c,
			      const struct slot_plan *p)
{
	uint32_t newest = (uint32_t)(r->commit & 0xff);
	const struct arena_slot *s;
	struct slot_plan ps;

	if (!c->changed || !c->base || !p->map_at)
		return NULL;
	s = r->commit && newest < r->slots ? slot_of(a, r, newest) : NULL;
	if (!s)
		return NULL;
	if (s->version != c->base || r->commit >> 8 != c->base || s->sum != c->base_sum)
		return NULL;
	if (slot_check((const uint8_t *)s, record_slots(r)[newest].length, record_slots(r)[newest].length, &ps) != 0 ||
	    !slot_like((const uint8_t *)s, &ps, c, p))
		return NULL;
	return (const uint8_t *)s;
}

/* One that shares blocks with others. What is taken over from base gets a good checksum, so base must have one.
 * -EPROTO: the slot lies upon its own record, which somebody wrote over. */
static int write_shared(struct arena *a, struct arena_record *r, uint32_t i, struct slot_plan *p,
			const struct content *c)
{
	const uint8_t *base = base_of(a, r, c, p);
	uint8_t *slot = extent_at(a, r, i);
	struct stream stream;
	struct share share;

	slot_write_head(slot, p, c);
	share_open(a, r, i, c, p, &share);
	if (!share.to.area[i])
		return -EPROTO;
	stream_open(&stream, c->vars, c->pads, c->n);
	if (base && blocks_update(slot, p, &stream, &share, base, c->changed, r->hash ^ c->base, c->seed) == 0)
		return 0;
	if (p->how == ARENA_DIRTY)
		p->how = ARENA_WHOLE;
	stream_open(&stream, c->vars, c->pads, c->n);
	slot_write_head(slot, p, c);
	blocks_share(slot, p, &stream, &share);
	slot_seal(slot, p, c->seed);
	return 0;
}

static int write_version(struct arena *a, struct arena_record *r, uint32_t i, struct slot_plan *p,
			 const struct content *c)
{
	uint8_t *slot = extent_at(a, r, i);

	if (p->map_at)
		return write_shared(a, r, i, p, c);
	if (p->how == ARENA_DIRTY)
		p->how = ARENA_WHOLE;
	slot_write_head(slot, p, c);
	blocks_write(slot, p, c);
	slot_seal(slot, p, c->seed);
	return 0;
}

/* From here on the slot has no version. Nothing that is written into it afterwards may be seen before this: stores
 * keep their order behind a fence, but those past the caches only behind an exchange. */
static void clear_version(struct arena_slot *s, const struct slot_plan *p)
{
	if (FENCES && !blocks_streamed(p)) {
		store_relaxed(&s->version, 0);
		__atomic_thread_fence(__ATOMIC_RELEASE);
	} else {
		__atomic_exchange_n(&s->version, 0, __ATOMIC_SEQ_CST);
	}
}

static uint64_t next_version(const struct arena *a, uint64_t newest)
{
	uint64_t from = load_relaxed(&a->head->number_from);

	return from > newest && !(from >> 56) ? from : newest + 1;
}

/* *version 0: the next. */
static int commit_locked(struct arena *a, const struct key *k, struct slot_plan *p, struct content *c,
			 uint64_t *version)
{
	struct arena_record *r = index_find(a, k);
	struct arena_slot *s;
	uint64_t newest;
	uint32_t i;
	int rc = 0;

	if (!r)
		rc = arena_utf8(k->name, k->bytes) ? index_add(a, k, SLOTS, &r) : -EINVAL;
	if (rc)
		return rc;
	newest = r->commit >> 8;
	if (*version && *version <= newest)
		return -EEXIST;
	if (!*version)
		*version = next_version(a, newest);
	i = slot_idle(a, r);
	rc = need_extent(a, r, i, c, p);
	if (rc)
		return rc;
	s = slot_of(a, r, i);
	if (!s)
		return -EPROTO;
	clear_version(s, p);
	c->seed = k->hash ^ *version;
	rc = write_version(a, r, i, p, c);
	if (rc)
		return rc;
	c->sum = s->sum;
	store_release(&s->version, *version);
	store_release(&r->commit, *version << 8 | i);
	return 0;
}

static int commit(struct arena *a, const char *name, struct content *c, uint64_t *version)
{
	struct slot_plan plan;
	struct key k;
	uint32_t lock;
	int rc = a->read_only ? -EACCES : key_make(&k, name);

	if (!rc)
		rc = slot_plan(c, &plan);
	if (rc)
		return rc;
	lock = lock_of(k.hash);
	rc = lock_take(a, lock);
	if (rc)
		return rc;
	rc = commit_locked(a, &k, &plan, c, version);
	lock_give(a, lock);
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

int arena_put_regions(struct arena *a, const char *key, const struct arena_regions *g, uint64_t *version,
		      uint64_t *sum)
{
	struct content c = {.vars = g->vars, .pads = g->pads, .n = g->n, .how = g->how, .base = g->base,
			    .base_sum = g->base_sum, .changed = g->changed};
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
