/* Owns which verb is handled where: here, at the job's node, at the registry. */
#include "agent/verbs.h"

#include <stdlib.h>
#include <string.h>

#include "agent/call.h"
#include "agent/registrar.h"
#include "agent/standing.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"

#define FORWARD_TIMEOUT_NS (180 * NS_PER_S)
#define PATIENT_TIMEOUT_NS (5 * NS_PER_S) /* of verbs that are asked again: longer than an agent lets them wait */
#define LOST_PATIENCE_NS (60 * NS_PER_S) /* for a job that is on its way to another node */
#define LOST_RETRY_MS 300

static const struct verb {
	const char *name;
	void (*plain)(struct request *);
	void (*with_job)(struct request *, struct job *);
	bool patient; /* while its job moves, it waits for the job's new node */
} verbs[] = {
	{ "run", verb_run, NULL, false },
	{ "ps", verb_ps, NULL, false },
	{ "status", verb_status, NULL, false },
	{ "save", verb_save, NULL, false },
	{ "follow", NULL, verb_follow, true },
	{ "wait", NULL, verb_wait, true },
	{ "signal", NULL, verb_signal, false },
	{ "stop", NULL, verb_stop, false },
	{ "checkpoint", NULL, verb_checkpoint, false },
	{ "restore", NULL, verb_restore, false },
	{ "history", NULL, verb_history, false },
	{ "keys", NULL, verb_keys, false },
	{ "get", NULL, verb_get, false },
};

static const struct verb *find_verb(const char *name)
{
	for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
		if (strcmp(verbs[i].name, name) == 0)
			return &verbs[i];
	return NULL;
}

/* ---- passing on ---- */

struct forward {
	struct request *rq;
	void (*otherwise)(struct request *);
	char what[160];
};

/* Try again a little later: the job is on its way. */
struct retry {
	uv_timer_t timer;
	struct request *rq;
};

static void free_retry(uv_handle_t *h)
{
	free(h->data);
}

static void on_retry(uv_timer_t *t)
{
	struct retry *r = t->data;
	struct request *rq = r->rq;
	uv_close((uv_handle_t *)t, free_retry);
	if (rq->gone)
		request_fail(rq, ERR_FAILED, "gone");
	else
		verbs_handle(rq);
}

static bool retry_later(struct request *rq)
{
	const struct verb *v = find_verb(rq->verb);
	int64_t now = clock_boot_ns();
	if (!v || !v->patient || rq->gone || rq->hops > 0 || rq->agent->stopping)
		return false;
	if (!rq->deadline)
		rq->deadline = now + LOST_PATIENCE_NS;
	struct retry *r = now < rq->deadline ? calloc(1, sizeof *r) : NULL;
	if (!r)
		return false;
	r->rq = rq;
	uv_timer_init(&rq->agent->loop, &r->timer);
	r->timer.data = r;
	uv_timer_start(&r->timer, on_retry, LOST_RETRY_MS, 0);
	return true;
}

static void on_forwarded(void *ctx, const struct call_reply *r)
{
	struct forward *f = ctx;
	struct request *rq = f->rq;
	struct err e = { 0 };
	json_t *doc = r->code == 0 && r->answer->what_case == CPA__ANSWER__WHAT_CONTROL ?
			      json_loadb((char *)r->answer->control.data, r->answer->control.len, 0, NULL) : NULL;
	bool not_yet = doc && strcmp(rq->verb, "wait") == 0 && json_is_false(json_object_get(doc, "ended"));
	if (not_yet && !rq->gone && rq->hops == 0) {
		json_decref(doc);
		rq->deadline = 0;
		verbs_handle(rq);
	} else if (doc) {
		rq->deadline = 0;
		request_reply(rq, doc, r->data, r->len);
	} else if (!r->answer && f->otherwise) {
		f->otherwise(rq);
	} else if (r->answer && r->code != ERR_NO_AGENT) {
		err_set(&e, r->code < 0 ? r->code : ERR_FAILED, "%s", r->text && *r->text ? r->text : "no reason given");
		request_fail_launch(rq, r->answer->launch_status, &e);
	} else if (!retry_later(rq)) {
		err_set(&e, r->answer ? r->code : ERR_NO_AGENT, "%s: %s", f->what, r->text ? r->text : "no answer");
		request_fail_err(rq, &e);
	}
	free(f);
}

static void forward(struct request *rq, const char *url, const char *what, void (*otherwise)(struct request *))
{
	Cpa__Control c = CPA__CONTROL__INIT;
	Cpa__Ask ask = CPA__ASK__INIT;
	struct forward *f = calloc(1, sizeof *f);
	char *text = json_dumps(rq->json, JSON_COMPACT);
	if (!f || !text) {
		free(f);
		free(text);
		request_fail(rq, ERR_FAILED, "out of memory");
		return;
	}
	f->rq = rq;
	f->otherwise = otherwise;
	core_copy(f->what, sizeof f->what, what);
	c.uid = rq->uid;
	c.request.data = (uint8_t *)text;
	c.request.len = strlen(text);
	c.hops = rq->hops + 1;
	ask.what_case = CPA__ASK__WHAT_CONTROL;
	ask.control = &c;
	const struct verb *v = find_verb(rq->verb);
	int64_t timeout = otherwise ? 2 * NS_PER_S : v && v->patient ? PATIENT_TIMEOUT_NS : FORWARD_TIMEOUT_NS;
	call_send(rq->agent, url, &ask, rq->data, rq->len, timeout, on_forwarded, f);
	free(text);
}

void verbs_forward(struct request *rq, const char *url, const char *what)
{
	forward(rq, url, what, NULL);
}

void verbs_forward_or(struct request *rq, const char *url, void (*otherwise)(struct request *))
{
	forward(rq, url, "the registry", otherwise);
}

/* ---- where a job is ---- */

static void via_registrar(struct request *rq, const char *word)
{
	struct err e = { 0 };
	const struct reg_job *j;
	char what[160];
	if (registrar_resolve(rq->agent, word, rq->uid, &j, &e) < 0) {
		request_fail_err(rq, &e);
		return;
	}
	json_object_set_new(rq->json, "job", json_string(j->spec.uuid));
	const struct reg_node *n = registry_node(registrar_registry(rq->agent), j->owner);
	if (strcmp(rq->verb, "restore") == 0) {
		verb_registry_restore(rq, j);
	} else if (n && n->state != NODE_DOWN && (job_live(j->state) || job_ended(j->state))) {
		snprintf(what, sizeof what, "the node %s, which has job %s", j->owner, j->spec.name);
		verbs_forward(rq, n->info.url, what);
	} else if (j->state == JOB_LOST && retry_later(rq)) {
		return;
	} else {
		verb_elsewhere(rq, j);
	}
}

static void handle_job(struct request *rq, const struct verb *v)
{
	struct agent *a = rq->agent;
	const char *word = request_text(rq, "job"), *registry = standing_registry_url(a);
	struct job *j = NULL;
	struct err e = { 0 };
	if (!word || !*word) {
		request_fail(rq, ERR_USAGE, "which job? Name it, or give its UUID");
		return;
	}
	int rc = jobs_resolve(a, word, rq->uid, &j, &e);
	bool ordered = strcmp(rq->verb, "restore") == 0 && standing_has_registry(a); /* the registry's business */
	if (rc == 0 && j->state != JOB_LOST && !ordered)
		v->with_job(rq, j);
	else if (rc < 0 && rc != ERR_NOT_FOUND && rc != ERR_DENIED)
		request_fail_err(rq, &e);
	else if (a->registrar)
		via_registrar(rq, word);
	else if (registry && rq->hops == 0)
		verbs_forward(rq, registry, "the registry");
	else if (rc == 0)
		request_fail(rq, ERR_NO_AGENT, "%s: another node has this job now", word);
	else
		request_fail_err(rq, &e);
}

/* A user's timeout counts from when it was said, however often the request is passed on. False: it is over. */
static bool in_time(struct request *rq)
{
	const json_t *t = json_object_get(rq->json, "timeout");
	int64_t now = clock_boot_ns();
	if (!json_is_number(t))
		return true;
	if (!rq->wait_until)
		rq->wait_until = now + (int64_t)(json_number_value(t) * 1e9) + 1;
	json_object_set_new(rq->json, "timeout", json_real((double)(rq->wait_until - now) / 1e9));
	return rq->wait_until > now;
}

void verbs_handle(struct request *rq)
{
	const struct verb *v = find_verb(rq->verb);
	if (!in_time(rq)) {
		request_fail(rq, ERR_TIMEOUT, "it has not ended yet");
		return;
	}
	if (!v)
		request_fail(rq, ERR_USAGE, "this agent does not know how to '%s'; is the cpagent command of another version?",
			     rq->verb);
	else if (v->plain)
		v->plain(rq);
	else if (!request_text(rq, "job") && strcmp(rq->verb, "keys") == 0)
		verb_keys(rq, NULL);
	else
		handle_job(rq, v);
}
