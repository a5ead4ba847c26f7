/* See save_job.h. Owns those that wait for a save, at a parent: first for the round in which their job is
 * collected, then for the store to be on disk (one save is for all that were collected before it), then for the
 * level above. */
#include "agent/save_job.h"

#include <stdlib.h>
#include <string.h>

#include "agent/call.h"
#include "agent/collect.h"
#include "agent/levels.h"
#include "agent/standing.h"
#include "lib/base/clock.h"
#include "lib/chunk/manifest.h"

#define TIMEOUT_NS (120 * NS_PER_S)

/* ---- asking the parent ---- */

struct asking {
	save_job_fn *done;
	void *ctx;
};

static void on_answer(void *ctx, const struct call_reply *r)
{
	struct asking *q = ctx;
	struct err e = { 0 };
	const Cpa__SavedJob *saved =
	        r->code == 0 && r->answer->what_case == CPA__ANSWER__WHAT_SAVED_JOB ? r->answer->saved_job : NULL;
	if (r->code < 0)
		err_set(&e, r->code, "the level above: %s", r->text ? r->text : "no answer");
	else if (!saved)
		err_set(&e, ERR_FAILED, "the level above does not understand; is it of another version?");
	q->done(q->ctx, e.code < 0 ? &e : NULL, saved ? saved->keyset : 0);
	free(q);
}

void save_job_ask(struct agent *a, const char *job, save_job_fn *done, void *ctx)
{
	const char *url = standing_parent_url(a);
	Cpa__SaveJob q = CPA__SAVE_JOB__INIT;
	Cpa__Ask ask = CPA__ASK__INIT;
	struct asking *s = url ? malloc(sizeof *s) : NULL;
	struct err e = { 0 };
	if (!s) {
		if (!a->standing)
			err_set(&e, ERR_FAILED, "this agent has no parent whose disk could keep it");
		else
			err_set(&e, ERR_NO_AGENT, "no parent is there to save it: %s", standing_why(a));
		done(ctx, &e, 0);
		return;
	}
	*s = (struct asking){ done, ctx };
	q.job = (char *)(uintptr_t)job;
	ask.what_case = CPA__ASK__WHAT_SAVE_JOB;
	ask.save_job = &q;
	call_send(a, url, &ask, NULL, 0, TIMEOUT_NS, on_answer, s);
}

/* ---- at the parent ---- */

struct save_wait {
	struct save_wait *next;
	struct agent *agent;
	struct bus_request *rq;
	char job[CORE_UUID];
	uint64_t keyset;
};

static void answer(struct save_wait *w, const struct err *e)
{
	Cpa__Answer msg = CPA__ANSWER__INIT;
	Cpa__SavedJob saved = CPA__SAVED_JOB__INIT;
	saved.keyset = w->keyset;
	msg.what_case = CPA__ANSWER__WHAT_SAVED_JOB;
	msg.saved_job = &saved;
	if (e)
		serve_fail(w->rq, e->code, e->text);
	else
		serve_answer(w->rq, &msg, NULL, 0);
	free(w);
}

static void on_above(void *ctx, const struct err *e, uint64_t keyset)
{
	(void)keyset; /* what is newest there may be newer than what is newest here */
	answer(ctx, e);
}

static void on_saved(void *ctx, const struct err *e)
{
	struct save_wait *list = ctx;
	while (list) {
		struct save_wait *w = list;
		list = w->next;
		if (e || !w->agent->standing)
			answer(w, e);
		else
			save_job_ask(w->agent, w->job, on_above, w);
	}
}

void save_job_tick(struct agent *a)
{
	struct collector *k = a->collector;
	struct save_wait *list = k->to_save;
	if (!list || k->saving)
		return;
	k->to_save = NULL;
	collect_save(a, on_saved, list);
}

void save_job_collected(struct save_wait *list, const struct err *e, uint64_t keyset)
{
	while (list) {
		struct save_wait *w = list;
		struct collector *k = w->agent->collector;
		list = w->next;
		if (e) {
			answer(w, e);
			continue;
		}
		w->keyset = keyset;
		w->next = k->to_save;
		k->to_save = w;
		if (!list)
			save_job_tick(w->agent);
	}
}

void serve_save_job(struct agent *a, struct bus_request *rq, const char *child, const Cpa__SaveJob *q)
{
	struct save_wait *w = a->collector ? calloc(1, sizeof *w) : NULL;
	if (!w || !manifest_job_ok(q->job)) {
		serve_fail(rq, ERR_FAILED, a->collector ? "that is no job" : "this agent keeps nothing on disk");
		free(w);
		return;
	}
	w->agent = a;
	w->rq = rq;
	core_copy(w->job, sizeof w->job, q->job);
	struct offer *o = collect_offer_to_save(a, child, w->job);
	if (!o) {
		struct err e = { .code = ERR_NO_AGENT };
		err_set(&e, ERR_NO_AGENT, "it does not know %s yet; try again in a moment", child);
		answer(w, &e);
		return;
	}
	w->next = o->waits;
	o->waits = w;
	collect_go_on(a, child);
}
