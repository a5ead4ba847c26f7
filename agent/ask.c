/* Owns the list of what an agent may be asked by others, and that each is answered exactly once. */
#include "agent/ask.h"

#include <stdlib.h>
#include <string.h>

#include "agent/levels.h"
#include "agent/registrar.h"
#include "agent/request.h"
#include "agent/save_job.h"
#include "agent/standing.h"
#include "lib/base/log.h"

static void join(struct agent *a, const Cpa__Join *q, struct answer *out)
{
	Cpa__Answer *answer = &out->msg;
	Cpa__Joined *joined = &out->joined;
	if (!q->agent || !seal_name_ok(q->agent->name)) {
		answer->code = ERR_FAILED;
		answer->text = (char *)(uintptr_t) "an agent without a name";
		return;
	}
	if (!a->registrar && !standing_registry_url(a)) {
		answer->code = ERR_NO_AGENT;
		answer->text = (char *)(uintptr_t) "it has not found its registry yet";
		return;
	}
	if (q->agent->level < a->cfg.level)
		collect_join(a, q->agent);
	joined->name = a->cfg.name;
	joined->level = a->cfg.level;
	joined->top = a->registrar ? a->cfg.level : standing_top(a);
	joined->registry = a->registrar ? a->cfg.name : (char *)(uintptr_t)standing_registry_name(a);
	if (!a->registrar)
		joined->registry_url = (char *)(uintptr_t)standing_registry_url(a);
	answer->what_case = CPA__ANSWER__WHAT_JOINED;
	answer->joined = joined;
}

struct job_new {
	struct bus_request *rq;
};

static void on_job_new(void *ctx, int code, const char *text, int launch_status)
{
	struct job_new *n = ctx;
	Cpa__Answer answer = CPA__ANSWER__INIT;
	answer.code = code;
	answer.text = (char *)(uintptr_t)(text ? text : "");
	answer.launch_status = launch_status;
	serve_answer(n->rq, &answer, NULL, 0);
	free(n);
}

static void job_new(struct agent *a, struct bus_request *rq, const Cpa__JobNew *q)
{
	struct job_new *n = q->spec && registrar_uuid_ok(q->spec->job) ? malloc(sizeof *n) : NULL;
	if (!n) {
		serve_fail(rq, ERR_FAILED, "that is no job");
		return;
	}
	n->rq = rq;
	registrar_job_new(a, q->spec, on_job_new, n);
}

/* What is answered at once. False: somebody answers later. */
static bool answer_now(struct agent *a, const Cpa__Ask *ask, const struct bus_msg *msg, struct answer *out)
{
	switch (ask->what_case) {
	case CPA__ASK__WHAT_JOIN:
		join(a, ask->join, out);
		return true;
	case CPA__ASK__WHAT_OFFER:
		collect_offer(a, msg->from, ask->offer);
		return true;
	case CPA__ASK__WHAT_START:
		standing_start(a, ask->start, &out->msg);
		return true;
	case CPA__ASK__WHAT_STOP:
		standing_stop(a, ask->stop, &out->msg);
		return true;
	case CPA__ASK__WHAT_HELD:
		serve_held(a, ask->held);
		return true;
	default:
		return false;
	}
}

/* What only the agent that holds the registry can answer. False: it is something else. */
static bool answer_registry(struct agent *a, const Cpa__Ask *ask, const struct bus_msg *msg, struct answer *out)
{
	switch (ask->what_case) {
	case CPA__ASK__WHAT_HELLO:
		registrar_hello(a, ask->hello, out);
		return true;
	case CPA__ASK__WHAT_REGISTER:
		registrar_register(a, ask->register_, msg->data, msg->data_len, out);
		return true;
	case CPA__ASK__WHAT_RENEW:
		registrar_renew(a, ask->renew, out);
		return true;
	case CPA__ASK__WHAT_TELL:
		registrar_tell(a, ask->tell, out);
		return true;
	case CPA__ASK__WHAT_HOLD:
		registrar_hold(a, ask->hold);
		return true;
	case CPA__ASK__WHAT_RELEASE:
		registrar_release(a, ask->release, out);
		return true;
	default:
		return false;
	}
}

static void answer_later(struct agent *a, struct bus_request *rq, const Cpa__Ask *ask, const struct bus_msg *msg)
{
	switch (ask->what_case) {
	case CPA__ASK__WHAT_COLLECT:
		serve_collect(a, rq, ask->collect);
		break;
	case CPA__ASK__WHAT_MANIFEST:
		serve_manifest(a, rq, ask->manifest);
		break;
	case CPA__ASK__WHAT_FETCH:
		serve_fetch(a, rq, ask->fetch);
		break;
	case CPA__ASK__WHAT_SAVE_JOB:
		serve_save_job(a, rq, msg->from, ask->save_job);
		break;
	case CPA__ASK__WHAT_CONTROL:
		request_from_bus(a, rq, (const char *)ask->control->request.data, ask->control->request.len,
		                 ask->control->uid, ask->control->hops, msg->data, msg->data_len);
		break;
	case CPA__ASK__WHAT_JOB_NEW:
		if (a->registrar)
			job_new(a, rq, ask->job_new);
		else
			serve_fail(rq, ERR_FAILED, "the registry is not here");
		break;
	default:
		serve_fail(rq, ERR_FAILED,
		           a->registrar ? "this agent does not understand that; is it of another version?"
		                        : "the registry is not here");
		break;
	}
}

void ask_handle(void *ctx, struct bus_request *rq, const struct bus_msg *msg)
{
	struct agent *a = ctx;
	struct answer out;
	Cpa__Ask *ask = a->stopping ? NULL : cpa__ask__unpack(NULL, msg->head_len, msg->head);
	if (!ask) {
		serve_fail(rq, a->stopping ? ERR_NO_AGENT : ERR_FAILED,
		           a->stopping ? "it is stopping" : "unreadable");
		return;
	}
	answer_init(&out);
	if (answer_now(a, ask, msg, &out) || (a->registrar && answer_registry(a, ask, msg, &out)))
		serve_answer(rq, &out.msg, NULL, 0);
	else
		answer_later(a, rq, ask, msg);
	answer_free(&out);
	cpa__ask__free_unpacked(ask, NULL);
}
