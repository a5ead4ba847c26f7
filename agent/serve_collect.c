/* Owns the answer to "what is there to collect": for a node its jobs' newest generations and keysets (made now, from
 * their arenas), for an agent above what its store holds; and what follows when a parent says that it holds them. */
#include <stdlib.h>
#include <string.h>

#include "agent/call.h"
#include "agent/keyset.h"
#include "agent/levels.h"
#include "agent/ports/store.h"
#include "agent/work.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/scoped.h"

struct one_job {
	struct job *job;
	struct keyset_made made;
	int code; /* 1: a new keyset was made */
	struct err err;
};

struct collecting {
	struct agent *agent;
	struct bus_request *rq;
	char only[64]; /* one job, or "" */
	struct one_job *jobs;
	size_t n;
	Cpa__Stock **stock; /* owned; of a store */
	size_t n_stock;
};

static void free_stock(Cpa__Stock **stock, size_t n)
{
	for (size_t i = 0; i < n; i++)
		cpa__stock__free_unpacked(stock[i], NULL);
	free(stock);
}

static void reply_stock(struct bus_request *rq, Cpa__Stock **stock, size_t n)
{
	Cpa__Answer answer = CPA__ANSWER__INIT;
	Cpa__Collected got = CPA__COLLECTED__INIT;
	got.stock = stock;
	got.n_stock = n;
	answer.what_case = CPA__ANSWER__WHAT_COLLECTED;
	answer.collected = &got;
	serve_answer(rq, &answer, NULL, 0);
}

/* ---- a node ---- */

static void run_keysets(void *ctx)
{
	struct collecting *c = ctx;
	for (size_t i = 0; i < c->n; i++)
		c->jobs[i].code = keyset_make(c->jobs[i].job, &c->jobs[i].made, &c->jobs[i].err);
}

static void take_keyset(struct one_job *o)
{
	struct job *j = o->job;
	j->keyset_busy = false;
	if (o->code < 0)
		log_warn("keys_not_copied", "job=%s why=\"%s\"", j->id, o->err.text);
	if (o->code != 1)
		return;
	if (j->keyset)
		cpa__keyset__free_unpacked(j->keyset, NULL);
	j->keyset = o->made.keys;
	j->keyset_slot = o->made.slot;
	j->keyset_changes = o->made.changes;
	j->last_keyset = o->made.keys->serial;
	j->by_keys |= o->made.keys->by_keys;
	j->n_keys = o->made.keys->n_keys;
	j->keys_bytes = 0;
	for (size_t i = 0; i < j->n_keys; i++)
		j->keys_bytes += o->made.keys->keys[i]->bytes;
	job_touched(j);
}

static Cpa__Stock *stock_of(struct job *j, Cpa__Stock *s)
{
	cpa__stock__init(s);
	s->spec = j->spec;
	s->gone = job_finished(j);
	struct gen *g = job_gen_find(j, 0);
	s->generation = g ? g->number : 0;
	s->generation_level = g ? g->level : 0;
	s->keyset = j->keyset ? j->keyset->serial : 0;
	s->keyset_level = s->keyset && j->keyset_held == s->keyset ? j->keyset_level : 1;
	s->level = j->spec->level == 0 ? 0 : j->want_level > j->spec->level ? j->want_level : j->spec->level;
	return s;
}

static void done_keysets(void *ctx)
{
	struct collecting *c = ctx;
	size_t n = 0;
	Cpa__Stock *all = calloc(c->agent->jobs->count + 1, sizeof *all);
	Cpa__Stock **ptr = calloc(c->agent->jobs->count + 1, sizeof(Cpa__Stock *));
	for (size_t i = 0; i < c->n; i++)
		take_keyset(&c->jobs[i]);
	for (struct job *j = c->agent->jobs->first; all && ptr && j; j = j->next)
		if (!c->only[0] || strcmp(c->only, j->id) == 0) {
			ptr[n] = stock_of(j, &all[n]);
			n++;
		}
	reply_stock(c->rq, ptr, n);
	free(ptr);
	free(all);
	free(c->jobs);
	free(c);
}

static void collect_from_jobs(struct collecting *c)
{
	struct agent *a = c->agent;
	c->jobs = calloc(a->jobs->count + 1, sizeof *c->jobs);
	for (struct job *j = a->jobs->first; c->jobs && j; j = j->next) {
		if ((c->only[0] && strcmp(c->only, j->id) != 0) || j->keyset_busy || !job_live(j->state))
			continue;
		j->keyset_busy = true;
		c->jobs[c->n++].job = j;
	}
	work_start(&a->loop, run_keysets, done_keysets, c);
}

/* ---- an agent above ---- */

static Cpa__Stock *stored_stock(struct store *s, const char *job)
{
	struct store_item item;
	uint8_t *spec;
	size_t len;
	Cpa__Stock *out = malloc(sizeof *out);
	if (!out)
		return NULL;
	cpa__stock__init(out);
	if (store_newest(s, job, CPA__WHAT__GENERATION, &item))
		out->generation = item.number;
	if (store_newest(s, job, CPA__WHAT__KEYSET, &item))
		out->keyset = item.number;
	if (store_get_note(s, job, "spec", &spec, &len, NULL) == 0) {
		out->spec = cpa__spec__unpack(NULL, len, spec);
		free(spec);
	}
	if (out->spec)
		out->level = out->spec->level;
	if (out->spec)
		return out;
	cpa__stock__free_unpacked(out, NULL);
	return NULL;
}

static void run_stored(void *ctx)
{
	struct collecting *c = ctx;
	char(*jobs)[STORE_JOB_MAX] = NULL;
	size_t n = 0;
	struct err e = { 0 };
	if (store_jobs(c->agent->store, &jobs, &n, &e) < 0)
		log_warn("store_not_listed", "why=\"%s\"", e.text);
	c->stock = calloc(n + 1, sizeof(Cpa__Stock *));
	for (size_t i = 0; c->stock && i < n; i++) {
		if (c->only[0] && strcmp(c->only, jobs[i]) != 0)
			continue;
		Cpa__Stock *s = stored_stock(c->agent->store, jobs[i]);
		if (s)
			c->stock[c->n_stock++] = s;
	}
	free(jobs);
}

static void done_stored(void *ctx)
{
	struct collecting *c = ctx;
	for (size_t i = 0; i < c->n_stock; i++)
		collect_fill_stock(c->agent, c->stock[i]);
	reply_stock(c->rq, c->stock, c->n_stock);
	free_stock(c->stock, c->n_stock);
	free(c);
}

void serve_collect(struct agent *a, struct bus_request *rq, const Cpa__Collect *q)
{
	struct collecting *c = calloc(1, sizeof *c);
	if (!c) {
		serve_fail(rq, ERR_FAILED, "out of memory");
		return;
	}
	*c = (struct collecting){ .agent = a, .rq = rq };
	core_copy(c->only, sizeof c->only, q->job);
	if (a->store)
		work_start(&a->loop, run_stored, done_stored, c);
	else if (a->jobs)
		collect_from_jobs(c);
	else
		done_stored(c);
}

static void no_answer(void *ctx, const struct call_reply *r)
{
	(void)ctx, (void)r;
}

/* A parent holds it. Whoever gave it to us hears it too, down to the job's node. */
void serve_held(struct agent *a, const Cpa__Held *q)
{
	struct job *j = jobs_find(a, q->job);
	if (!q->holding)
		return;
	if (j) {
		job_held(j, q->holding);
		if (q->holding->what == CPA__WHAT__KEYSET)
			keyset_held(j, q->holding->number, q->holding->level);
		return;
	}
	if (a->collector)
		collect_held_above(a, q->job, q->holding);
	const char *from = a->collector ? collect_source(a, q->job) : NULL;
	if (!from)
		return;
	Cpa__Ask ask = CPA__ASK__INIT;
	ask.what_case = CPA__ASK__WHAT_HELD;
	ask.held = (Cpa__Held *)(uintptr_t)q;
	call_send(a, from, &ask, NULL, 0, 5 * NS_PER_S, no_answer, NULL);
}
