/* Owns one round of collecting from one child: straight-line code in a worker thread, one child at a time each,
 * its results told on the loop. What fails is tried again at the next update; what is held already stays held. */
#include <stdlib.h>
#include <string.h>

#include "agent/ahead.h"
#include "agent/call.h"
#include "agent/collect.h"
#include "agent/ended.h"
#include "agent/fetch.h"
#include "agent/ports/store.h"
#include "agent/save_job.h"
#include "agent/standing.h"
#include "agent/work.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/scoped.h"
#include "lib/wire/copy.h"

#define COLLECT_TIMEOUT_NS (30 * NS_PER_S)
#define KNOCK_TIMEOUT_NS (2 * NS_PER_S) /* of a child that was not there the last time */

struct got {
	char job[CORE_UUID];
	Cpa__What what;
	uint64_t number;
	uint32_t incarnation;
	int64_t time_ns;
	uint64_t bytes;
	bool by_keys;
};

struct round {
	struct child *child;
	struct agent *agent;
	char url[CORE_URL], only[CORE_UUID];
	uint32_t level; /* asked for by the offer; 0: the top */
	bool offered, asked;
	int64_t timeout;
	int code;
	struct err err;
	struct got *got;
	size_t n_got;
	char (*gone)[CORE_UUID]; /* dropped here */
	size_t n_gone;
	struct seen {
		char job[CORE_UUID];
		uint64_t ahead;
	} * seen;
	size_t n_seen;
	char after[CORE_UUID];   /* the next page of what there is */
	struct save_wait *waits; /* owned */
	uint64_t keyset;         /* the newest held of `only`, for them */
};

static int put_chunk(void *ctx, size_t i, const uint8_t *bytes, size_t len, bool compressed, size_t raw_len,
                     struct err *e)
{
	struct {
		struct store *store;
		uint32_t uid;
		const struct chunk_id *ids;
	} *to = ctx;
	return store_put_chunk(to->store, to->uid, to->ids[i].b, bytes, len, compressed, raw_len, e);
}

static int fetch_missing(struct fetch *f, const struct manifest *m, const uint8_t *sealed, size_t len,
                         struct err *e)
{
	struct store *s = f->agent->store;
	scoped_free struct chunk_id *ids = NULL;
	size_t n = 0;
	int rc = store_missing(s, m, &ids, &n, e);
	struct {
		struct store *store;
		uint32_t uid;
		const struct chunk_id *ids;
	} to = { s, f->uid, ids };
	if (rc == 0)
		rc = fetch_chunks(f, ids, n, put_chunk, &to, e);
	return rc < 0 ? rc : store_put_manifest(s, f->what, sealed, len, e);
}

static void note_got(struct round *r, const char *job, const struct got *what)
{
	struct got *g = &r->got[r->n_got++];
	*g = *what;
	core_copy(g->job, sizeof g->job, job);
}

/* What the child says it has. known: the level it knows of that holds it, which may not have heard of ours. */
struct offered {
	Cpa__What what;
	uint64_t number;
	uint32_t incarnation, known;
};

/* Negative: what is held is older. A later incarnation is newer whatever its numbers: a copy that was cut off and
 * given away meanwhile may have counted further. */
static int compare(const struct store_item *have, const struct offered *o)
{
	if (have->incarnation != o->incarnation)
		return have->incarnation < o->incarnation ? -1 : 1;
	return have->number < o->number ? -1 : have->number > o->number;
}

/* Make the store hold it, unless it does. */
static int hold(struct round *r, const char *job, const struct offered *o, struct err *e)
{
	struct fetch f = { r->agent, r->url, job, o->what, o->number, 0 };
	struct manifest m;
	struct store_item have;
	scoped_free uint8_t *sealed = NULL;
	size_t len;
	int order = store_newest(r->agent->store, job, o->what, &have) ? compare(&have, o) : -1;
	if (order == 0 && o->known < r->agent->cfg.level)
		note_got(r, job,
		         &(struct got){ .what = o->what,
		                        .number = have.number,
		                        .incarnation = have.incarnation,
		                        .time_ns = have.time_ns,
		                        .bytes = have.bytes,
		                        .by_keys = have.by_keys });
	if (order >= 0)
		return 0;
	int rc = fetch_manifest(&f, &sealed, &len, &m, e);
	if (rc < 0)
		return rc;
	struct store_pin *pin = store_pin(r->agent->store, &m);
	rc = pin ? fetch_missing(&f, &m, sealed, len, e) : err_set(e, ERR_FAILED, "out of memory");
	store_unpin(r->agent->store, pin);
	if (rc == 0)
		note_got(r, job,
		         &(struct got){ .what = o->what,
		                        .number = o->number,
		                        .incarnation = manifest_incarnation(&m),
		                        .time_ns = manifest_time_ns(&m),
		                        .bytes = manifest_bytes(&m),
		                        .by_keys = m.keys && m.keys->by_keys });
	manifest_free(&m);
	return rc;
}

/* It ended well there. Not what a later incarnation of it has given us, from wherever that runs. */
static void let_go(struct round *r, const Cpa__Stock *s)
{
	struct store *store = r->agent->store;
	const char *job = s->spec->job;
	struct store_item g = { 0 }, k = { 0 };
	struct err e = { 0 };
	bool any = store_newest(store, job, CPA__WHAT__GENERATION, &g);
	any |= store_newest(store, job, CPA__WHAT__KEYSET, &k);
	if (!any || g.incarnation > s->incarnation || k.incarnation > s->incarnation)
		return;
	if (store_drop_job(store, job, &e) < 0)
		log_warn("not_dropped", "job=%s why=\"%s\"", job, e.text);
	else
		core_copy(r->gone[r->n_gone++], CORE_UUID, job);
}

/* The spec lies beside what is held of its job. It never changes, so it is written once. */
static int keep_spec(struct round *r, const Cpa__Stock *s, struct err *e)
{
	struct store *store = r->agent->store;
	scoped_free uint8_t *old = NULL;
	size_t len, old_len;
	scoped_free void *spec = wire_pack(&s->spec->base, &len);
	if (!spec)
		return err_set(e, ERR_FAILED, "out of memory");
	if (store_get_note(store, s->spec->job, "spec", &old, &old_len, NULL) == 0 && old_len == len &&
	    memcmp(old, spec, len) == 0)
		return 0;
	return store_put_note(store, s->spec->job, "spec", spec, len, e);
}

static bool wanted_here(const struct round *r, const Cpa__Stock *s)
{
	uint32_t mine = r->agent->cfg.level;
	return s->level == 0 || s->level >= mine || (r->offered && (r->level == 0 || r->level >= mine));
}

/* It ended well there, and its program had asked for its keys to be carried up: these are all that stays. */
static int keep_keys_only(struct round *r, const Cpa__Stock *s, struct err *e)
{
	struct store *store = r->agent->store;
	struct store_item newest;
	bool any = store_newest(store, s->spec->job, CPA__WHAT__KEYSET, &newest);
	if (!any)
		let_go(r, s);
	if (!any || newest.incarnation > s->incarnation)
		return 0;
	int rc = ended_mark(store, s->spec->job, s->incarnation, e);
	return rc < 0 ? rc : store_keep(store, s->spec->job, CPA__WHAT__GENERATION, 0, e);
}

static int take_stock(struct round *r, const Cpa__Stock *s)
{
	struct store *store = r->agent->store;
	struct err e = { 0 };
	const char *job = s->spec->job;
	struct offered keys = { CPA__WHAT__KEYSET, s->keyset, s->keyset_incarnation, s->keyset_level };
	struct offered gen = { CPA__WHAT__GENERATION, s->generation, s->generation_incarnation,
		               s->generation_level };
	int rc = 0;
	if (s->gone && !s->keys_asked) {
		let_go(r, s);
		return 0;
	}
	core_copy(r->seen[r->n_seen].job, CORE_UUID, job);
	r->seen[r->n_seen++].ahead = s->ahead;
	if (s->generation || s->keyset)
		rc = keep_spec(r, s, &e);
	if (rc == 0 && s->keyset)
		rc = hold(r, job, &keys, &e);
	if (rc == 0 && s->gone)
		rc = keep_keys_only(r, s, &e);
	else if (rc == 0 && s->generation && wanted_here(r, s))
		rc = hold(r, job, &gen, &e);
	if (rc < 0) {
		log_warn("not_collected", "job=%s from=%s why=\"%s\"", job, r->url, e.text);
		r->code = rc;
		r->err = e;
		return rc;
	}
	store_keep(store, job, CPA__WHAT__GENERATION, s->spec->keep ? s->spec->keep : 1, NULL);
	ahead_keep(store, job, s->ahead);
	return 0;
}

static int make_room(struct round *r, size_t n)
{
	void *got = realloc(r->got, (r->n_got + 2 * n + 1) * sizeof *r->got);
	r->got = got ? got : r->got;
	void *gone = realloc(r->gone, (r->n_gone + n + 1) * sizeof *r->gone);
	r->gone = gone ? gone : r->gone;
	void *seen = realloc(r->seen, (r->n_seen + n + 1) * sizeof *r->seen);
	r->seen = seen ? seen : r->seen;
	return got && gone && seen ? 0 : err_set(&r->err, ERR_FAILED, "out of memory");
}

static bool unreachable(int code)
{
	return code == ERR_NO_AGENT || code == ERR_TIMEOUT;
}

/* One message of what there is. True: there is more, and the child is still there. */
static bool run_page(struct round *r)
{
	Cpa__Collect q = CPA__COLLECT__INIT;
	Cpa__Ask ask = CPA__ASK__INIT;
	struct call_reply reply;
	int last = 0;
	q.job = r->only;
	q.after = r->after;
	ask.what_case = CPA__ASK__WHAT_COLLECT;
	ask.collect = &q;
	struct call *c = call_post(r->agent, r->url, &ask, r->timeout);
	int rc = call_wait(c, &reply, &r->err);
	const Cpa__Collected *all =
	        rc == 0 && reply.answer->what_case == CPA__ANSWER__WHAT_COLLECTED ? reply.answer->collected : NULL;
	size_t n = all ? all->n_stock : 0;
	if (rc == 0)
		rc = make_room(r, n);
	for (size_t i = 0; rc == 0 && i < n && !unreachable(last); i++)
		if (all->stock[i]->spec && manifest_job_ok(all->stock[i]->spec->job))
			last = take_stock(r, all->stock[i]);
	if (rc < 0)
		r->code = rc;
	bool more = rc == 0 && all && !unreachable(last) && strcmp(all->more, r->after) > 0;
	if (more)
		core_copy(r->after, sizeof r->after, all->more);
	call_free(c);
	return more;
}

static void run_round(void *ctx)
{
	struct round *r = ctx;
	struct store_item newest;
	while (run_page(r)) {
		/* every page is told from after the one before */
	}
	if (r->waits && store_newest(r->agent->store, r->only, CPA__WHAT__KEYSET, &newest))
		r->keyset = newest.number;
}

static void ignore(void *ctx, const struct call_reply *r)
{
	(void)ctx, (void)r;
}

static void tell(struct round *r, const struct got *g)
{
	struct agent *a = r->agent;
	Cpa__Holding h = CPA__HOLDING__INIT;
	Cpa__Held held = CPA__HELD__INIT;
	Cpa__Ask ask = CPA__ASK__INIT;
	h.what = g->what;
	h.number = g->number;
	h.level = a->cfg.level;
	h.holder = a->cfg.name;
	h.url = a->url;
	h.time_ns = g->time_ns;
	h.incarnation = g->incarnation;
	h.bytes = g->bytes;
	h.by_keys = g->by_keys;
	char buf[64];
	log_info("held", "job=%s %s level=%u bytes=%llu", g->job,
	         manifest_text(g->what, g->number, buf, sizeof buf), h.level, (unsigned long long)g->bytes);
	levels_tell_hold(a, g->job, &h);
	held.job = (char *)(uintptr_t)g->job;
	held.holding = &h;
	ask.what_case = CPA__ASK__WHAT_HELD;
	ask.held = &held;
	call_send(a, r->url, &ask, NULL, 0, 10 * NS_PER_S, ignore, NULL);
}

/* A child that is not there is asked again later and later, unless it shows up by itself. */
static void note_absence(struct round *r)
{
	struct child *c = r->child;
	if (!unreachable(r->code)) {
		c->absent = 0;
		c->not_before = 0;
		return;
	}
	c->absent += c->absent < 5;
	c->not_before = clock_boot_ns() + (NS_PER_S << c->absent) / 2;
}

static void done_round(void *ctx)
{
	struct round *r = ctx;
	struct child *c = r->child;
	struct collector *k = r->agent->collector;
	if (r->code < 0 && r->code != ERR_NO_AGENT)
		log_warn("update_incomplete", "child=%s why=\"%s\"", c->name, r->err.text);
	for (size_t i = 0; i < r->n_seen; i++)
		collect_remember(k, r->seen[i].job, r->url, r->seen[i].ahead);
	for (size_t i = 0; i < r->n_got; i++)
		tell(r, &r->got[i]);
	for (size_t i = 0; i < r->n_gone; i++)
		collect_forget(k, r->gone[i]);
	if (r->code == 0)
		k->last_update = clock_real_ns();
	/* the level above may want it at once, too; nobody waits for that there if it was asked for up to here */
	if (r->n_got)
		standing_offer(r->agent, r->only, r->level,
		               r->asked && (r->level == 0 || r->level > r->agent->cfg.level));
	save_job_collected(r->waits, r->code < 0 ? &r->err : NULL, r->keyset);
	/* what came of a generation that does not fit is in the way of the next one */
	k->gc_due |= r->n_got || r->n_gone || r->code == ERR_FAILED;
	note_absence(r);
	free(r->got);
	free(r->gone);
	free(r->seen);
	free(r);
	c->busy = false;
	collect_next(c);
}

void collect_from(struct child *c, struct offer *o)
{
	struct round *r = calloc(1, sizeof *r);
	if (!r)
		return;
	*r = (struct round){ .child = c,
		             .agent = c->agent,
		             .level = o->level,
		             .offered = o->job[0] != '\0',
		             .asked = o->asked,
		             .waits = o->waits,
		             .timeout = c->absent ? KNOCK_TIMEOUT_NS : COLLECT_TIMEOUT_NS };
	core_copy(r->url, sizeof r->url, c->url);
	core_copy(r->only, sizeof r->only, o->job);
	o->waits = NULL;
	c->busy = true;
	work_start_in(&c->agent->collector->rounds, &c->agent->loop, run_round, done_round, r);
}
