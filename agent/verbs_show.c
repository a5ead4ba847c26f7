/* Owns the verbs that show what there is: ps and status, from the registry where there is one, and save. */
#include <stdlib.h>
#include <string.h>

#include "agent/keyset.h"
#include "agent/levels.h"
#include "agent/registrar.h"
#include "agent/standing.h"
#include "agent/verbs.h"
#include "lib/base/clock.h"

static bool shown(const struct request *rq, uint32_t uid, bool over)
{
	return (rq->uid == 0 || rq->uid == uid) && (!over || request_flag(rq, "all"));
}

/* ---- ps ---- */

static void ps_own(struct request *rq, json_t *list)
{
	for (struct job *j = rq->agent->jobs ? rq->agent->jobs->first : NULL; j; j = j->next) {
		Cpa__Report r;
		Cpa__Exit x;
		if (!shown(rq, j->spec->uid, job_ended(j->state) || j->state == JOB_LOST))
			continue;
		keyset_refresh(j);
		job_report(j, &r, &x);
		json_array_append_new(list, doc_job(j->spec, &r, rq->agent->cfg.name, job_state_name(j->state)));
	}
}

static json_t *ps_one(struct agent *a, const struct reg_job *j, const Cpa__Spec *spec)
{
	const Cpa__Report *known = registrar_detail(a, j->spec.uuid);
	Cpa__Report r = CPA__REPORT__INIT;
	Cpa__Exit x = CPA__EXIT__INIT;
	if (known)
		r = *known;
	x.code = j->ending.code;
	x.signal = j->ending.signal;
	r.exit = &x;
	r.incarnation = j->incarnation;
	if (j->why[0])
		r.reason = (char *)(uintptr_t)j->why;
	if (!job_live(j->state))
		r.pid = 0;
	/* of a live job its node's own word is fresher: frozen, restoring */
	bool fresher = known && known->incarnation == j->incarnation && job_live(j->state) && known->state[0];
	return doc_job(spec, &r, j->owner, fresher ? known->state : job_state_name(j->state));
}

static void ps_registry(struct request *rq, json_t *list)
{
	struct agent *a = rq->agent;
	const struct reg_job *j;
	size_t at = 0;
	while ((j = registry_each_job(registrar_registry(a), &at))) {
		const Cpa__Spec *spec = registrar_spec(a, j->spec.uuid);
		if (spec && shown(rq, j->spec.uid, job_ended(j->state)))
			json_array_append_new(list, ps_one(a, j, spec));
	}
}

static void answer_ps(struct request *rq)
{
	json_t *list = json_array();
	if (rq->agent->registrar)
		ps_registry(rq, list);
	else
		ps_own(rq, list);
	request_reply(rq, json_pack("{s:o}", "jobs", list), NULL, 0);
}

void verb_ps(struct request *rq)
{
	if (!rq->agent->registrar && rq->hops == 0 && standing_has_registry(rq->agent))
		verbs_forward_or(rq, standing_registry_url(rq->agent), answer_ps);
	else
		answer_ps(rq);
}

/* ---- status ---- */

static json_t *doc_agent(const Cpa__Agent *a, const char *state, uint32_t jobs, double lag)
{
	json_t *doc = json_pack(
	        "{s:s,s:i,s:s,s:o,s:o,s:i,s:I,s:I,s:o,s:o,s:o}", "name", a->name, "level", (int)a->level, "state",
	        state, "parent", a->parent[0] ? json_string(a->parent) : json_null(), "children", json_array(),
	        "jobs", (int)jobs, "memory_bytes", (json_int_t)a->memory_bytes, "memory_budget_bytes",
	        (json_int_t)a->memory_budget_bytes, "last_update", doc_time(a->last_update_ns), "last_save",
	        doc_time(a->last_save_ns), "lag_seconds", lag >= 0 ? json_real(lag) : json_null());
	json_object_set_new(doc, "url", json_string(a->url));
	return doc;
}

static void add_children(json_t *list)
{
	size_t i, k;
	json_t *child, *parent;
	json_array_foreach(list, i, child)
	{
		const char *above = json_string_value(json_object_get(child, "parent"));
		json_array_foreach(list, k, parent)
		{
			if (above && strcmp(above, json_string_value(json_object_get(parent, "name"))) == 0)
				json_array_append(json_object_get(parent, "children"),
				                  json_object_get(child, "name"));
		}
	}
}

static void answer_status(struct request *rq)
{
	struct agent *a = rq->agent;
	struct standing_info info;
	json_t *list = json_array();
	const struct reg_node *n;
	size_t at = 0;
	uint32_t own = 0;
	for (struct job *j = a->jobs ? a->jobs->first : NULL; j; j = j->next)
		own += job_live(j->state);
	json_array_append_new(list, doc_agent(standing_describe(a, &info), "up", own, 0));
	while (a->registrar && (n = registry_each_node(registrar_registry(a), &at))) {
		const Cpa__Agent *said = registrar_agent(a, n->info.name);
		double lag = n->heard ? (double)(clock_boot_ns() - n->heard) / 1e9 : -1;
		if (said)
			json_array_append_new(list, doc_agent(said, node_state_name(n->state), n->jobs, lag));
	}
	add_children(list);
	request_reply(rq, json_pack("{s:o}", "agents", list), NULL, 0);
}

void verb_status(struct request *rq)
{
	if (!rq->agent->registrar && rq->hops == 0 && standing_has_registry(rq->agent))
		verbs_forward_or(rq, standing_registry_url(rq->agent), answer_status);
	else
		answer_status(rq);
}

/* ---- save ---- */

static void on_saved(void *ctx, const struct err *e)
{
	struct request *rq = ctx;
	if (e)
		request_fail_err(rq, e);
	else
		request_reply(rq, json_object(), NULL, 0);
}

void verb_save(struct request *rq)
{
	if (rq->uid != 0)
		request_fail(rq, ERR_DENIED, "only root may tell an agent to save what it holds");
	else if (!rq->agent->collector)
		request_fail(rq, ERR_FAILED,
		             "this agent is of level 1 and keeps nothing on disk; ask one above it: cpagent --run "
		             "DIR save");
	else
		collect_save(rq->agent, on_saved, rq);
}

/* ---- jobs that no node has now ---- */

static json_t *doc_end(const struct reg_job *j, const char *state, bool ended)
{
	Cpa__Exit x = CPA__EXIT__INIT;
	x.code = j->ending.code;
	x.signal = j->ending.signal;
	return json_pack("{s:s,s:o,s:b,s:i,s:i,s:o}", "state", state, "exit", doc_exit(&x, state), "ended", ended,
	                 "stdout", 0, "stderr", 0, "reason", doc_text(j->why));
}

void verb_elsewhere(struct request *rq, const struct reg_job *j)
{
	struct err e = { 0 };
	const char *state = job_state_name(j->state);
	bool ended = job_ended(j->state), waits = strcmp(rq->verb, "wait") == 0 || strcmp(rq->verb, "follow") == 0;
	if (ended && (waits || request_flag(rq, "again")))
		request_reply(rq, doc_end(j, state, true), NULL, 0);
	else if (waits && verbs_wait_for_node(rq))
		return;
	else if (waits)
		request_reply(rq, doc_end(j, state, false), NULL, 0);
	else if (ended)
		request_fail(rq, ERR_FAILED, "%s: it is %s, and its node has forgotten it", j->spec.name, state);
	else if (strcmp(rq->verb, "stop") != 0)
		request_fail(rq, ERR_FAILED, "%s: it is %s and no node has taken it yet: %s", j->spec.name, state,
		             j->why[0] ? j->why : "none is there");
	else if (registrar_stop(rq->agent, j->spec.uuid, &e) < 0)
		request_fail_err(rq, &e);
	else
		request_reply(rq, doc_end(j, job_state_name(j->state), true), NULL, 0);
}
