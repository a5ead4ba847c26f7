/* Owns the one shape of a user's request and the two ways its answer goes back. */
#include "agent/request.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/levels.h"
#include "lib/base/clock.h"

#define ANSWER_FRAME 256 /* of an Answer, around the document */
#define DURATION_MAX_S (100 * 365 * 86400.0)

static void free_request(struct request *rq)
{
	json_decref(rq->json);
	free(rq->data);
	free(rq);
}

static void on_cancel(struct control_request *c)
{
	struct request *rq = c->user;
	rq->local = NULL;
	rq->gone = true;
}

static struct request *new_request(struct agent *a, uid_t uid, json_t *json, const uint8_t *data, size_t len)
{
	struct request *rq = calloc(1, sizeof *rq);
	if (!rq)
		return NULL;
	*rq = (struct request){ .agent = a, .uid = uid, .json = json, .len = len };
	const char *verb = json_string_value(json_object_get(json, "verb"));
	rq->verb = verb ? verb : "";
	rq->data = len ? malloc(len) : NULL;
	if (rq->data)
		memcpy(rq->data, data, len);
	if (!len || rq->data)
		return rq;
	free(rq);
	return NULL;
}

void request_from_control(void *agent, struct control_request *c)
{
	struct request *rq = new_request(agent, c->uid, json_incref(c->json), c->data, c->len);
	if (!rq) {
		json_decref(c->json);
		control_fail(c, ERR_FAILED, "out of memory");
		return;
	}
	rq->local = c;
	c->user = rq;
	c->on_cancel = on_cancel;
	verbs_handle(rq);
}

void request_from_bus(struct agent *a, struct bus_request *brq, const char *text, size_t text_len, uid_t uid,
                      unsigned hops, const uint8_t *data, size_t len)
{
	json_t *json = json_loadb(text, text_len, 0, NULL);
	struct request *rq =
	        json_is_object(json) && hops <= REQUEST_HOPS_MAX ? new_request(a, uid, json, data, len) : NULL;
	if (!rq) {
		json_decref(json);
		serve_fail(brq, ERR_FAILED,
		           hops > REQUEST_HOPS_MAX ? "the request went round in circles" : "no request");
		return;
	}
	rq->remote = brq;
	rq->hops = hops;
	verbs_handle(rq);
}

void request_inside(struct agent *a, uid_t uid, json_t *json, request_inside_fn *fn, void *ctx)
{
	struct request *rq = json ? new_request(a, uid, json, NULL, 0) : NULL;
	if (!rq) {
		json_decref(json);
		fn(ctx, ERR_FAILED, "out of memory", NULL);
		return;
	}
	rq->inside = fn;
	rq->ctx = ctx;
	verbs_handle(rq);
}

static void reply_remote(struct bus_request *to, const json_t *reply, const void *data, size_t len)
{
	Cpa__Answer answer = CPA__ANSWER__INIT;
	char *text = json_dumps(reply, JSON_COMPACT);
	answer.what_case = CPA__ANSWER__WHAT_CONTROL;
	answer.control.data = (uint8_t *)text;
	answer.control.len = text ? strlen(text) : 0;
	if (!text)
		serve_fail(to, ERR_FAILED, "out of memory");
	else if (len + answer.control.len + ANSWER_FRAME >
	         BUS_PAYLOAD_MAX) /* else whoever asked would wait in vain */
		serve_fail(to, ERR_FAILED,
		           "the answer is too large to be sent from one agent to another; ask the agent of the "
		           "job's own node");
	else
		serve_answer(to, &answer, data, len);
	free(text);
}

void request_reply(struct request *rq, json_t *reply, const void *data, size_t len)
{
	if (!reply)
		reply = json_object();
	if (rq->local) {
		control_reply(rq->local, reply, data, len);
	} else if (rq->remote) {
		reply_remote(rq->remote, reply, data, len);
		json_decref(reply);
	} else if (rq->inside) {
		rq->inside(rq->ctx, 0, NULL, reply);
		json_decref(reply);
	} else {
		json_decref(reply);
	}
	free_request(rq);
}

void request_fail_err(struct request *rq, const struct err *e)
{
	if (rq->local)
		control_fail_err(rq->local, e);
	else if (rq->remote)
		serve_fail(rq->remote, e->code, e->text);
	else if (rq->inside)
		rq->inside(rq->ctx, e->code, e->text, NULL);
	free_request(rq);
}

void request_fail_launch(struct request *rq, int launch_status, const struct err *e)
{
	if (rq->local && launch_status) {
		control_fail_launch(rq->local, launch_status, e);
		free_request(rq);
		return;
	}
	if (!rq->remote || !launch_status) {
		request_fail_err(rq, e);
		return;
	}
	Cpa__Answer answer = CPA__ANSWER__INIT;
	answer.code = e->code;
	answer.text = (char *)(uintptr_t)e->text;
	answer.launch_status = launch_status;
	serve_answer(rq->remote, &answer, NULL, 0);
	free_request(rq);
}

void request_fail(struct request *rq, int code, const char *fmt, ...)
{
	struct err e = { .code = code };
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(e.text, sizeof e.text, fmt, ap);
	va_end(ap);
	request_fail_err(rq, &e);
}

const char *request_text(const struct request *rq, const char *name)
{
	return json_string_value(json_object_get(rq->json, name));
}

int64_t request_number(const struct request *rq, const char *name, int64_t otherwise)
{
	const json_t *v = json_object_get(rq->json, name);
	double x = json_number_value(v);
	if (json_is_integer(v) || !json_is_number(v))
		return json_is_integer(v) ? json_integer_value(v) : otherwise;
	return x >= 9e18 ? INT64_MAX : x <= -9e18 ? INT64_MIN : (int64_t)x;
}

int64_t request_duration(const struct request *rq, const char *name, int64_t otherwise)
{
	const json_t *v = json_object_get(rq->json, name);
	double s = json_number_value(v);
	if (!json_is_number(v))
		return otherwise;
	return s > 0 ? (int64_t)((s < DURATION_MAX_S ? s : DURATION_MAX_S) * (double)NS_PER_S) : 0;
}

bool request_flag(const struct request *rq, const char *name)
{
	return json_is_true(json_object_get(rq->json, name));
}
