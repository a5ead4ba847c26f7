/* Owns requests that were passed on to another agent, and those that are tried again a little later. */
#include "agent/verbs_forward.h"

#include <stdlib.h>
#include <string.h>

#include "agent/call.h"
#include "lib/base/clock.h"

#define DEAF_NS (10 * NS_PER_S) /* an agent that is silent for so long does not answer any more */
#define WATCH_MS 1000
#define PATIENCE_NS (60 * NS_PER_S)
#define LATER_MS 300

/* ---- later ---- */

struct later {
	uv_timer_t timer;
	struct request *rq;
};

static void free_handle(uv_handle_t *h)
{
	free(h->data);
}

static void on_later(uv_timer_t *t)
{
	struct later *l = t->data;
	struct request *rq = l->rq;
	uv_close((uv_handle_t *)t, free_handle);
	if (rq->gone || rq->agent->stopping)
		request_fail(rq, ERR_NO_AGENT, "this agent is stopping");
	else
		verbs_handle(rq);
}

bool forward_handle_later(struct request *rq)
{
	struct later *l = calloc(1, sizeof *l);
	if (!l)
		return false;
	l->rq = rq;
	uv_timer_init(&rq->agent->loop, &l->timer);
	l->timer.data = l;
	uv_timer_start(&l->timer, on_later, LATER_MS, 0);
	return true;
}

/* ---- passing on ---- */

struct forward {
	struct request *rq; /* NULL: answered already */
	struct forward_how how;
	char what[160], url[CORE_URL];
	int64_t sent;
	uv_timer_t watch;
};

/* It may be that an agent has just died, and another takes its place. Only where the user asked is it tried again.
 */
static bool retry_unanswered(struct request *rq, const struct forward_how *how)
{
	int64_t now = clock_boot_ns();
	if (!how->patient || rq->hops > 0 || rq->gone || rq->agent->stopping)
		return false;
	if (!rq->deadline)
		rq->deadline = now + PATIENCE_NS;
	return now < rq->deadline && forward_handle_later(rq);
}

static void unanswered(struct forward *f, struct request *rq, const char *why)
{
	if (f->how.unanswered)
		f->how.unanswered(rq);
	else if (!retry_unanswered(rq, &f->how))
		request_fail(rq, ERR_NO_AGENT, "%s: %s", f->what, why && *why ? why : "no answer");
}

static void refused(struct forward *f, struct request *rq, const struct call_reply *r)
{
	struct err e = { 0 };
	if (r->code == ERR_NO_AGENT) {
		unanswered(f, rq, r->text);
	} else if (r->code == ERR_NOT_FOUND && f->how.unknown) {
		f->how.unknown(rq);
	} else {
		err_set(&e, r->code < 0 ? r->code : ERR_FAILED, "%s",
		        r->text && *r->text ? r->text : "no reason given");
		request_fail_launch(rq, r->answer->launch_status, &e);
	}
}

static void pass_back(struct forward *f, struct request *rq, json_t *doc, const struct call_reply *r)
{
	rq->deadline = 0;
	if (!f->how.until_ended || !json_is_false(json_object_get(doc, "ended")) || rq->gone || rq->hops > 0) {
		request_reply(rq, doc, r->data, r->len);
		return;
	}
	json_decref(doc);
	json_object_set_new(rq->json, "again", json_true());
	verbs_handle(rq);
}

static void on_forwarded(void *ctx, const struct call_reply *r)
{
	struct forward *f = ctx;
	struct request *rq = f->rq;
	json_t *doc = rq && r->code == 0 && r->answer->what_case == CPA__ANSWER__WHAT_CONTROL
	                      ? json_loadb((char *)r->answer->control.data, r->answer->control.len, 0, NULL)
	                      : NULL;
	f->rq = NULL;
	if (doc)
		pass_back(f, rq, doc, r);
	else if (rq && r->answer)
		refused(f, rq, r);
	else if (rq)
		unanswered(f, rq, r->text);
	uv_close((uv_handle_t *)&f->watch, free_handle);
}

/* Some answers take minutes, but nobody shall wait minutes for an agent that is dead. One that lives is heard: the
 * bus greets whoever it waits for. */
static void on_watch(uv_timer_t *t)
{
	struct forward *f = t->data;
	struct request *rq = f->rq;
	struct bus_peer *peer = rq && rq->agent->bus ? bus_peer_by_url(rq->agent->bus, f->url, NULL) : NULL;
	int64_t heard = peer ? bus_peer_heard_ns(peer) : 0;
	if (!rq || clock_boot_ns() - (heard > f->sent ? heard : f->sent) < DEAF_NS)
		return;
	f->rq = NULL; /* its answer, should it come, is for nobody */
	unanswered(f, rq, "it does not answer any more; whether it did what was asked is not known");
}

static int send_on(struct forward *f, const char *url)
{
	struct request *rq = f->rq;
	Cpa__Control c = CPA__CONTROL__INIT;
	Cpa__Ask ask = CPA__ASK__INIT;
	char *text = json_dumps(rq->json, JSON_COMPACT);
	if (!text)
		return -1;
	c.uid = rq->uid;
	c.request.data = (uint8_t *)text;
	c.request.len = strlen(text);
	c.hops = rq->hops + 1;
	ask.what_case = CPA__ASK__WHAT_CONTROL;
	ask.control = &c;
	call_send(rq->agent, url, &ask, rq->data, rq->len, f->how.timeout, on_forwarded, f);
	free(text);
	return 0;
}

void forward_request(struct request *rq, const char *url, const struct forward_how *how)
{
	struct forward *f = calloc(1, sizeof *f);
	if (!f) {
		request_fail(rq, ERR_FAILED, "out of memory");
		return;
	}
	f->rq = rq;
	f->how = *how;
	f->sent = clock_boot_ns();
	core_copy(f->what, sizeof f->what, how->what);
	core_copy(f->url, sizeof f->url, url);
	uv_timer_init(&rq->agent->loop, &f->watch);
	f->watch.data = f;
	uv_timer_start(&f->watch, on_watch, WATCH_MS, WATCH_MS);
	if (send_on(f, f->url) == 0)
		return;
	f->rq = NULL;
	uv_close((uv_handle_t *)&f->watch, free_handle);
	request_fail(rq, ERR_FAILED, "out of memory");
}
