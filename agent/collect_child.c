/* Owns one round of collecting from one child: straight-line code in a worker thread, one child at a time each, its
 * results told on the loop. What fails is tried again at the next update; what is held already stays held. */
#include <stdlib.h>
#include <string.h>

#include "agent/call.h"
#include "agent/collect.h"
#include "agent/fetch.h"
#include "agent/ports/store.h"
#include "agent/standing.h"
#include "agent/work.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/scoped.h"
#include "lib/wire/copy.h"

#define COLLECT_TIMEOUT_NS (30 * NS_PER_S)

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
	int code;
	struct err err;
	struct got *got;
	size_t n_got;
	char (*gone)[CORE_UUID];
	size_t n_gone;
	char (*seen)[CORE_UUID];
	size_t n_seen;
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

static int fetch_missing(struct fetch *f, const struct manifest *m, const uint8_t *sealed, size_t len, struct err *e)
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

/* Make the store hold it, unless it does. known: the level the child knows of: it may not have heard of ours. */
static int hold(struct round *r, const char *job, Cpa__What what, uint64_t number, uint32_t known, struct err *e)
{
	struct fetch f = { r->agent, r->url, job, what, number, 0 };
	struct manifest m;
	struct store_item have;
	scoped_free uint8_t *sealed = NULL;
	size_t len;
	if (store_newest(r->agent->store, job, what, &have) && have.number >= number) {
		if (have.number == number && known < r->agent->cfg.level)
			note_got(r, job, &(struct got){ .what = what, .number = number,
							.incarnation = have.incarnation, .time_ns = have.time_ns,
							.bytes = have.bytes, .by_keys = have.by_keys });
		return 0;
	}
	int rc = fetch_manifest(&f, &sealed, &len, &m, e);
	if (rc < 0)
		return rc;
	struct store_pin *pin = store_pin(r->agent->store, &m);
	rc = fetch_missing(&f, &m, sealed, len, e);
	store_unpin(r->agent->store, pin);
	if (rc == 0)
		note_got(r, job, &(struct got){ .what = what, .number = number,
						.incarnation = manifest_incarnation(&m), .time_ns = manifest_time_ns(&m),
						.bytes = manifest_bytes(&m), .by_keys = m.keys && m.keys->by_keys });
	manifest_free(&m);
	return rc;
}

static bool wanted_here(const struct round *r, const Cpa__Stock *s)
{
	uint32_t mine = r->agent->cfg.level;
	return s->level == 0 || s->level >= mine || (r->offered && (r->level == 0 || r->level >= mine));
}

static void take_stock(struct round *r, const Cpa__Stock *s)
{
	struct store *store = r->agent->store;
	struct err e = { 0 };
	const char *job = s->spec->job;
	size_t len;
	scoped_free void *spec = wire_pack(&s->spec->base, &len);
	int rc = 0;
	core_copy(r->seen[r->n_seen++], CORE_UUID, job);
	if (s->gone) {
		core_copy(r->gone[r->n_gone++], CORE_UUID, job);
		return;
	}
	if (spec && (s->generation || s->keyset))
		rc = store_put_note(store, job, "spec", spec, len, &e);
	if (rc == 0 && s->keyset)
		rc = hold(r, job, CPA__WHAT__KEYSET, s->keyset, s->keyset_level, &e);
	if (rc == 0 && s->generation && wanted_here(r, s))
		rc = hold(r, job, CPA__WHAT__GENERATION, s->generation, s->generation_level, &e);
	if (rc < 0) {
		log_warn("not_collected", "job=%s from=%s why=\"%s\"", job, r->url, e.text);
		r->code = rc;
		r->err = e;
		return;
	}
	store_keep(store, job, CPA__WHAT__GENERATION, s->spec->keep ? s->spec->keep : 1, NULL);
	store_keep(store, job, CPA__WHAT__KEYSET, 2, NULL);
}

static void run_round(void *ctx)
{
	struct round *r = ctx;
	Cpa__Collect q = CPA__COLLECT__INIT;
	Cpa__Ask ask = CPA__ASK__INIT;
	struct call_reply reply;
	q.job = r->only;
	ask.what_case = CPA__ASK__WHAT_COLLECT;
	ask.collect = &q;
	struct call *c = call_post(r->agent, r->url, &ask, COLLECT_TIMEOUT_NS);
	r->code = call_wait(c, &reply, &r->err);
	const Cpa__Collected *all = r->code == 0 && reply.answer->what_case == CPA__ANSWER__WHAT_COLLECTED ?
					    reply.answer->collected : NULL;
	size_t n = all ? all->n_stock : 0;
	r->got = calloc(2 * n + 1, sizeof *r->got);
	r->gone = calloc(n + 1, sizeof *r->gone);
	r->seen = calloc(n + 1, sizeof *r->seen);
	for (size_t i = 0; r->got && r->gone && r->seen && i < n; i++)
		if (all->stock[i]->spec && manifest_job_ok(all->stock[i]->spec->job))
			take_stock(r, all->stock[i]);
	if (r->n_got || r->n_gone)
		store_gc(r->agent->store, NULL, NULL);
	call_free(c);
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
	log_info("held", "job=%s %s level=%u bytes=%llu", g->job, manifest_text(g->what, g->number, buf, sizeof buf),
		 h.level, (unsigned long long)g->bytes);
	levels_tell_hold(a, g->job, &h);
	held.job = (char *)(uintptr_t)g->job;
	held.holding = &h;
	ask.what_case = CPA__ASK__WHAT_HELD;
	ask.held = &held;
	call_send(a, r->url, &ask, NULL, 0, 10 * NS_PER_S, ignore, NULL);
}

static void done_round(void *ctx)
{
	struct round *r = ctx;
	struct child *c = r->child;
	struct collector *k = r->agent->collector;
	if (r->code < 0 && r->code != ERR_NO_AGENT)
		log_warn("update_incomplete", "child=%s why=\"%s\"", c->name, r->err.text);
	for (size_t i = 0; i < r->n_seen; i++)
		collect_remember(k, r->seen[i], r->url);
	for (size_t i = 0; i < r->n_got; i++)
		tell(r, &r->got[i]);
	for (size_t i = 0; i < r->n_gone; i++)
		collect_drop(r->agent, r->gone[i]);
	if (r->code == 0)
		k->last_update = clock_real_ns();
	if (r->n_got)
		standing_offer(r->agent, r->only, r->level, r->asked); /* the level above may want it at once, too */
	free(r->got);
	free(r->gone);
	free(r->seen);
	free(r);
	c->busy = false;
	collect_next(c);
}

void collect_from(struct child *c, const char *job, uint32_t level, bool asked)
{
	struct round *r = calloc(1, sizeof *r);
	if (!r)
		return;
	*r = (struct round){ .child = c, .agent = c->agent, .level = level, .offered = job[0] != '\0', .asked = asked };
	core_copy(r->url, sizeof r->url, c->url);
	core_copy(r->only, sizeof r->only, job);
	c->busy = true;
	work_start(&c->agent->loop, run_round, done_round, r);
}
