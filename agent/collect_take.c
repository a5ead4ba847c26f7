/* Owns what a round makes of one job that a child has: chunks and manifests that are lacking are fetched, what has
 * ended is given up. In a worker thread. What is held already stays held, whatever fails. */
#include <stdlib.h>
#include <string.h>

#include "agent/ahead.h"
#include "agent/collect_round.h"
#include "agent/ended.h"
#include "agent/fetch.h"
#include "agent/ports/store.h"
#include "lib/base/log.h"
#include "lib/base/scoped.h"
#include "lib/wire/copy.h"

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
	if (ended_let_go(store, job, s->incarnation, r->agent->standing != NULL, &e) < 0)
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

int collect_take(struct round *r, const Cpa__Stock *s)
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
		core_copy(r->heard[r->n_heard++], CORE_UUID, job);
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
