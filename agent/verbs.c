/* Owns which verb is handled where: here, at the job's node, at the registry. */
#include "agent/verbs.h"

#include <stdlib.h>
#include <string.h>

#include "agent/registrar.h"
#include "agent/standing.h"
#include "agent/verbs_forward.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"

#define SHOW_NS (2 * NS_PER_S)   /* of verbs that show less when nobody answers */
#define QUICK_NS (15 * NS_PER_S) /* of verbs that are answered at once */
#define LONG_NS (180 * NS_PER_S) /* of verbs that take their time: a snapshot and its way up, a restore */
#define AGAIN_NS (5 * NS_PER_S)  /* of verbs that are asked again: longer than an agent lets them wait */
#define HOLD_NS (2 * NS_PER_S)   /* how long the registry keeps such a one for a job that no node has */

static const struct verb {
	const char *name;
	void (*plain)(struct request *);
	void (*with_job)(struct request *, struct job *);
	int64_t timeout;  /* for another agent to answer it */
	bool until_ended; /* see forward_how */
	bool patient;     /* while its job moves, it waits for the job's new node */
} verbs[] = {
	{ .name = "run", .plain = verb_run },
	{ .name = "ps", .plain = verb_ps },
	{ .name = "status", .plain = verb_status },
	{ .name = "save", .plain = verb_save },
	{ .name = "follow", .with_job = verb_follow, .timeout = AGAIN_NS, .patient = true },
	{ .name = "wait", .with_job = verb_wait, .timeout = AGAIN_NS, .patient = true, .until_ended = true },
	{ .name = "signal", .with_job = verb_signal, .timeout = QUICK_NS },
	{ .name = "stop", .with_job = verb_stop, .timeout = AGAIN_NS, .until_ended = true },
	{ .name = "checkpoint", .with_job = verb_checkpoint, .timeout = LONG_NS },
	{ .name = "restore", .with_job = verb_restore, .timeout = LONG_NS },
	{ .name = "history", .with_job = verb_history, .timeout = QUICK_NS },
	{ .name = "keys", .with_job = verb_keys, .timeout = QUICK_NS },
	{ .name = "get", .with_job = verb_get, .timeout = QUICK_NS },
	{ .name = "group", .plain = verb_group },
	{ .name = "versions", .with_job = verb_versions, .timeout = LONG_NS },
	{ .name = "interval", .with_job = verb_interval, .timeout = QUICK_NS },
	{ .name = "register", .plain = verb_register },
};

static const struct verb *find_verb(const char *name)
{
	for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
		if (strcmp(verbs[i].name, name) == 0)
			return &verbs[i];
	return NULL;
}

static struct forward_how how_of(const struct request *rq, const char *what)
{
	const struct verb *v = find_verb(rq->verb);
	return (struct forward_how){ .what = what,
		                     .timeout = v && v->timeout ? v->timeout : SHOW_NS,
		                     .until_ended = v && v->until_ended,
		                     .patient = v && v->patient };
}

void verbs_forward(struct request *rq, const char *url, const char *what)
{
	struct forward_how how = how_of(rq, what);
	forward_request(rq, url, &how);
}

void verbs_forward_or(struct request *rq, const char *url, void (*otherwise)(struct request *))
{
	struct forward_how how = how_of(rq, "the registry");
	how.unanswered = how.unknown = otherwise;
	forward_request(rq, url, &how);
}

/* ---- at the registry ---- */

bool verbs_wait_for_node(struct request *rq)
{
	const struct verb *v = find_verb(rq->verb);
	int64_t now = clock_boot_ns();
	if (!v || !v->patient || rq->gone || rq->agent->stopping)
		return false;
	if (rq->hops > 0 && !rq->deadline)
		rq->deadline = now + HOLD_NS;
	return (rq->hops == 0 || now < rq->deadline) && forward_handle_later(rq);
}

/* The node that should have the job has not got it yet, or has forgotten how it ended. */
static void owner_knows_nothing(struct request *rq)
{
	const char *uuid = request_text(rq, "job");
	const struct reg_job *j = uuid ? registry_job(registrar_registry(rq->agent), uuid) : NULL;
	if (j)
		verb_elsewhere(rq, j);
	else
		request_fail(rq, ERR_NOT_FOUND, "the job was forgotten meanwhile");
}

static void to_owner(struct request *rq, const struct reg_job *j, const struct reg_node *n)
{
	char what[160];
	snprintf(what, sizeof what, "the node %s, which has job %s", j->owner, j->spec.name);
	struct forward_how how = how_of(rq, what);
	if (how.until_ended || how.patient)
		how.unknown = owner_knows_nothing;
	forward_request(rq, n->info.url, &how);
}

static void via_registrar(struct request *rq, const char *word)
{
	struct err e = { 0 };
	const struct reg_job *j;
	if (registrar_resolve(rq->agent, word, rq->uid, &j, &e) < 0) {
		request_fail_err(rq, &e);
		return;
	}
	json_object_set_new(rq->json, "job", json_string(j->spec.uuid));
	const struct reg_node *n = registry_node(registrar_registry(rq->agent), j->owner);
	if (strcmp(rq->verb, "restore") == 0)
		verb_registry_restore(rq, j);
	else if (n && n->state != NODE_DOWN && (job_live(j->state) || job_ended(j->state)))
		to_owner(rq, j, n);
	else
		verb_elsewhere(rq, j);
}

/* ---- at the node ---- */

static void handle_here(struct request *rq)
{
	const char *word = request_text(rq, "job");
	struct job *j;
	struct err e = { 0 };
	if (jobs_resolve(rq->agent, word ? word : "", rq->uid, &j, &e) < 0)
		request_fail_err(rq, &e);
	else
		find_verb(rq->verb)->with_job(rq, j);
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
	if (rc == 0 && job_ended(j->state) && strcmp(word, j->id) != 0 && rq->hops == 0 && !ordered &&
	    standing_has_registry(a))
		verbs_forward_or(rq, registry, handle_here); /* another node may have a live one of that name */
	else if (rc == 0 && j->state != JOB_LOST && !ordered)
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
	int64_t now = clock_boot_ns(), timeout = request_duration(rq, "timeout", -1);
	if (timeout < 0)
		return true;
	if (!rq->wait_until)
		rq->wait_until = now + timeout + 1;
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
		request_fail(rq, ERR_USAGE,
		             "this agent does not know how to '%s'; is the cpagent command of another version?",
		             rq->verb);
	else if (v->plain)
		v->plain(rq);
	else if (!request_text(rq, "job") && strcmp(rq->verb, "keys") == 0)
		verb_keys(rq, NULL);
	else if (!request_text(rq, "job") && strcmp(rq->verb, "interval") == 0)
		verb_interval(rq, NULL);
	else
		handle_job(rq, v);
}
