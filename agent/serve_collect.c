/* Owns the answer to "what is there to collect": for a node its jobs' newest generations and keysets (made now,
 * from their arenas), for an agent above what its store holds. Jobs are told of in the order of their ids, as many
 * as a message has room for; the asker goes on from there. */
#include <stdlib.h>
#include <string.h>

#include "agent/call.h"
#include "agent/ended.h"
#include "agent/job_intervals.h"
#include "agent/keyset.h"
#include "agent/levels.h"
#include "agent/ports/store.h"
#include "agent/wishes.h"
#include "agent/work.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/scoped.h"

#define PAGE_BYTES (BUS_PAYLOAD_MAX / 2) /* of specs; one that is larger goes alone */
#define STOCK_BYTES 256                  /* what a stock has besides, generously */

struct one_job {
	char id[CORE_UUID];
	struct job *job; /* only while its keys are copied: then it stays */
	uint32_t incarnation;
	struct keyset_made made;
	int code; /* 1: a new keyset was made */
	struct err err;
};

struct collecting {
	struct agent *agent;
	struct bus_request *rq;
	char only[64], after[64], more[64];
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

static void reply_stock(struct collecting *c, Cpa__Stock **stock, size_t n)
{
	Cpa__Answer answer = CPA__ANSWER__INIT;
	Cpa__Collected got = CPA__COLLECTED__INIT;
	got.stock = stock;
	got.n_stock = n;
	got.more = c->more;
	answer.what_case = CPA__ANSWER__WHAT_COLLECTED;
	answer.collected = &got;
	serve_answer(c->rq, &answer, NULL, 0);
}

static bool asked_for(const struct collecting *c, const char *job)
{
	return (!c->only[0] || strcmp(c->only, job) == 0) && strcmp(job, c->after) > 0;
}

/* Does one more go onto the page? If not, the asker is to go on after the last that did. */
static bool fits(struct collecting *c, size_t *used, const Cpa__Spec *spec, const char *last)
{
	size_t bytes = cpa__spec__get_packed_size(spec) + STOCK_BYTES;
	if (*used && *used + bytes > PAGE_BYTES) {
		core_copy(c->more, sizeof c->more, last);
		return false;
	}
	*used += bytes;
	return true;
}

/* ---- a node ---- */

static void run_keysets(void *ctx)
{
	struct collecting *c = ctx;
	for (size_t i = 0; i < c->n; i++)
		if (c->jobs[i].job)
			c->jobs[i].code = keyset_make(c->jobs[i].job, &c->jobs[i].made, &c->jobs[i].err);
}

/* Its arena is its own: nobody is writing an earlier life's keys into it. Of a program that has ended, only what
 * it asked to be carried up is of use. */
static bool has_its_arena(const struct job *j)
{
	return j->state == JOB_RUNNING || j->state == JOB_FROZEN || (job_ended(j->state) && wishes_open(j));
}

static void take_keyset(struct one_job *o)
{
	struct job *j = o->job;
	j->keyset_busy = false;
	if (o->code < 0)
		log_warn("keys_not_copied", "job=%s why=\"%s\"", j->id, o->err.text);
	/* what was copied may be half of the old life's and half of the new one's */
	if (o->code == 1 && j->incarnation == o->incarnation && has_its_arena(j)) {
		log_debug("keyset", "job=%s serial=%llu keys=%zu read=%llu", j->id,
		          (unsigned long long)o->made.keys->serial, o->made.keys->n_keys,
		          (unsigned long long)o->made.read);
		keyset_take(j, &o->made);
		job_touched(j);
	}
	keyset_made_free(&o->made);
}

static Cpa__Stock *stock_of(struct job *j, Cpa__Stock *s)
{
	cpa__stock__init(s);
	s->spec = j->spec;
	s->incarnation = j->incarnation;
	s->gone = j->state == JOB_EXITED;
	s->keys_asked = j->keys_asked;
	struct gen *g = job_gen_find(j, 0);
	s->generation = g ? g->number : 0;
	s->generation_level = g ? g->level : 0;
	s->generation_incarnation = g ? g->g->incarnation : 0;
	s->keyset = j->keyset ? j->keyset->serial : 0;
	s->keyset_level = s->keyset && j->keyset_held == s->keyset ? j->keyset_level : 1;
	s->keyset_incarnation = j->keyset ? j->keyset->incarnation : 0;
	s->ahead = j->ahead;
	s->level = j->spec->level == 0 ? 0 : j->want_level > j->spec->level ? j->want_level : j->spec->level;
	return s;
}

static void done_keysets(void *ctx)
{
	struct collecting *c = ctx;
	size_t n = 0;
	Cpa__Stock *all = calloc(c->n + 1, sizeof *all);
	Cpa__Stock **ptr = calloc(c->n + 1, sizeof(Cpa__Stock *));
	for (size_t i = 0; i < c->n; i++) {
		struct one_job *o = &c->jobs[i];
		if (o->job)
			take_keyset(o);
		struct job *j = o->job ? o->job : jobs_find(c->agent, o->id);
		/* what is somebody else's by now is not ours to offer */
		if (j && all && ptr && !j->disowned && j->state != JOB_LOST) {
			ptr[n] = stock_of(j, &all[n]);
			n++;
		}
	}
	reply_stock(c, ptr, n);
	for (size_t i = 0; i < c->n; i++)
		if (c->jobs[i].job)
			serve_let_go(c->jobs[i].job);
	free(ptr);
	free(all);
	free(c->jobs);
	free(c);
}

static int by_id(const void *x, const void *y)
{
	return strcmp(((const struct one_job *)x)->job->id, ((const struct one_job *)y)->job->id);
}

/* A job that wants to be carried up on demand only is left out of what comes by itself, but not its end. */
static bool by_itself(const struct job *j)
{
	return !job_on_demand(j) || !job_live(j->state) || wishes_open(j);
}

static void collect_from_jobs(struct collecting *c)
{
	struct agent *a = c->agent;
	size_t n = 0, used = 0;
	c->jobs = calloc(a->jobs->count + 1, sizeof *c->jobs);
	for (struct job *j = a->jobs->first; c->jobs && j; j = j->next)
		if (asked_for(c, j->id) && (c->only[0] || by_itself(j)))
			c->jobs[n++].job = j;
	if (n)
		qsort(c->jobs, n, sizeof *c->jobs, by_id);
	for (; c->n < n && fits(c, &used, c->jobs[c->n].job->spec, c->n ? c->jobs[c->n - 1].id : ""); c->n++) {
		struct one_job *o = &c->jobs[c->n];
		struct job *j = o->job;
		core_copy(o->id, sizeof o->id, j->id);
		o->incarnation = j->incarnation;
		if (j->keyset_busy || !has_its_arena(j))
			o->job = NULL;
		else
			j->keyset_busy = true;
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
	if (store_newest(s, job, CPA__WHAT__GENERATION, &item)) {
		out->generation = item.number;
		out->incarnation = out->generation_incarnation = item.incarnation;
	}
	if (store_newest(s, job, CPA__WHAT__KEYSET, &item)) {
		out->keyset = item.number;
		out->keyset_incarnation = item.incarnation;
		if (item.incarnation > out->incarnation)
			out->incarnation = item.incarnation;
	}
	if (store_get_note(s, job, "spec", &spec, &len, NULL) == 0) {
		out->spec = cpa__spec__unpack(NULL, len, spec);
		free(spec);
	}
	if (out->spec) {
		out->level = out->spec->level;
		out->gone = ended_marked(s, job, &out->incarnation);
		out->keys_asked = out->gone && out->keyset;
		return out;
	}
	cpa__stock__free_unpacked(out, NULL);
	return NULL;
}

static int by_name(const void *x, const void *y)
{
	return strcmp(x, y);
}

static void run_stored(void *ctx)
{
	struct collecting *c = ctx;
	char(*jobs)[STORE_JOB_MAX] = NULL;
	size_t n = 0, used = 0;
	const char *last = "";
	struct err e = { 0 };
	if (store_jobs(c->agent->store, &jobs, &n, &e) < 0)
		log_warn("store_not_listed", "why=\"%s\"", e.text);
	if (n)
		qsort(jobs, n, sizeof *jobs, by_name);
	c->stock = calloc(n + 1, sizeof(Cpa__Stock *));
	for (size_t i = 0; c->stock && i < n; i++) {
		Cpa__Stock *s = asked_for(c, jobs[i]) ? stored_stock(c->agent->store, jobs[i]) : NULL;
		if (s && !fits(c, &used, s->spec, last)) {
			cpa__stock__free_unpacked(s, NULL);
			break;
		}
		if (s)
			c->stock[c->n_stock++] = s;
		last = jobs[i];
	}
	free(jobs);
}

static void done_stored(void *ctx)
{
	struct collecting *c = ctx;
	for (size_t i = 0; i < c->n_stock; i++)
		collect_fill_stock(c->agent, c->stock[i]);
	reply_stock(c, c->stock, c->n_stock);
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
	core_copy(c->after, sizeof c->after, q->after);
	if (a->store)
		work_start(&a->loop, run_stored, done_stored, c);
	else if (a->jobs)
		collect_from_jobs(c);
	else
		done_stored(c);
}
