/* Owns what happens on one connection: a frame is read, handed to the agent, its reply written. Knows no verb.
 *
 * A client READS a frame, is BUSY until the agent replies, then WRITES the reply and reads again. While busy it is
 * read from only to notice its end. */
#include "agent/control_client.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HELD_MAX ((size_t)512 << 20) /* bytes of all requests in flight */
#define STEP_MAX ((size_t)8 << 20)   /* memory follows what has arrived, not what was announced */

/* ---- its end ------------------------------------------------------------------------------------ */

static void drop_body(struct client *cl)
{
	if (cl->owner)
		cl->owner->held -= cl->body_room;
	free(cl->body);
	cl->body = NULL;
	cl->body_have = cl->body_room = cl->body_len = cl->json_len = cl->head_have = 0;
	json_decref(cl->rq.json);
	cl->rq = (struct control_request){ .uid = cl->rq.uid,
		                           .gid = cl->rq.gid,
		                           .pid = cl->rq.pid,
		                           .groups = cl->rq.groups,
		                           .n_groups = cl->rq.n_groups };
}

static void free_when_done(struct client *cl)
{
	if (!cl->handle_gone || cl->unanswered)
		return;
	drop_body(cl);
	free(cl->reply);
	free(cl->rq.groups);
	free(cl);
}

static void on_client_closed(uv_handle_t *h)
{
	struct client *cl = h->data;

	cl->handle_gone = true;
	free_when_done(cl);
}

void client_close(struct client *cl)
{
	struct control *c = cl->owner;

	if (cl->state == CLOSING)
		return;
	cl->state = CLOSING;
	if (cl->unanswered && cl->rq.on_cancel) {
		cl->rq.on_cancel(&cl->rq);
		cl->unanswered = false;
	}
	c->held -= cl->body_room;
	cl->owner = NULL;
	*cl->link = cl->next;
	if (cl->next)
		cl->next->link = cl->link;
	if (--c->n_clients == 0)
		uv_timer_stop(&c->sweep);
	uv_close((uv_handle_t *)&cl->pipe, on_client_closed);
}

/* ---- replies ------------------------------------------------------------------------------------ */

static void next_request(struct client *cl)
{
	free(cl->reply);
	cl->reply = NULL;
	cl->state = READS;
	cl->moved_ms = uv_now(cl->pipe.loop);
	if (cl->last || client_start(cl))
		client_close(cl);
}

static void on_written(uv_write_t *w, int status)
{
	struct client *cl = w->data;

	if (cl->state == CLOSING)
		return;
	if (status < 0)
		client_close(cl);
	else
		next_request(cl);
}

/* One buffer for the whole reply; a short one, as nearly all are, leaves at once. */
static void client_write(struct client *cl, const char *json, size_t json_len, const void *data, size_t len)
{
	uv_buf_t buf;

	cl->unanswered = false;
	cl->reply_len = CONTROL_HEAD + json_len + len;
	cl->reply = malloc(cl->reply_len);
	cl->state = WRITES;
	cl->moved_ms = uv_now(cl->pipe.loop);
	cl->reply_queue = cl->reply_len;
	if (!cl->reply) {
		client_close(cl);
		return;
	}
	control_head_put(cl->reply, (uint32_t)json_len, (uint32_t)len);
	memcpy(cl->reply + CONTROL_HEAD, json, json_len);
	if (len)
		memcpy(cl->reply + CONTROL_HEAD + json_len, data, len);
	drop_body(cl); /* only now: data may lie in the request */
	uv_read_stop((uv_stream_t *)&cl->pipe);
	buf = uv_buf_init((char *)cl->reply, (unsigned)cl->reply_len);
	cl->write.data = cl;
	if (uv_write(&cl->write, (uv_stream_t *)&cl->pipe, &buf, 1, on_written))
		client_close(cl);
}

/* A reason may quote bytes of any kind, and may be cut inside a character; JSON takes only UTF-8. */
static json_t *sentence(const char *text)
{
	char plain[ERR_TEXT_MAX];
	json_t *s = json_string(text);

	if (s)
		return s;
	snprintf(plain, sizeof plain, "%s", text);
	for (char *p = plain; *p; p++)
		if (*p & 0x80)
			*p = '?';
	return json_string(plain);
}

static void fail_text(struct control_request *rq, int code, int launch_status, const char *text)
{
	json_t *error = json_pack("{s:i,s:o}", "code", code, "text", sentence(text));

	if (launch_status)
		json_object_set_new(error, "launch_status", json_integer(launch_status));
	control_reply(rq, json_pack("{s:o}", "error", error), NULL, 0);
}

void control_reply(struct control_request *rq, json_t *reply, const void *data, size_t len)
{
	struct client *cl = (struct client *)rq;
	char *text = NULL;
	size_t n = 0;

	if (cl->state == CLOSING) { /* nobody waits for it any more */
		json_decref(reply);
		cl->unanswered = false;
		free_when_done(cl);
		return;
	}
	if (!reply)
		reply = json_object();
	if (!json_object_get(reply, "error"))
		json_object_set_new(reply, "ok", json_true());
	text = json_dumps(reply, JSON_COMPACT);
	n = text ? strlen(text) : 0;
	json_decref(reply);
	if (n && n <= CONTROL_REPLY_JSON_MAX && len <= CONTROL_DATA_MAX)
		client_write(cl, text, n, data, len);
	else if (n)
		fail_text(rq, ERR_FAILED, 0, "the answer is too large to be sent; ask for less");
	else
		client_close(cl);
	free(text);
}

void control_fail(struct control_request *rq, int code, const char *fmt, ...)
{
	char text[ERR_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	fail_text(rq, code, 0, text);
}

void control_fail_err(struct control_request *rq, const struct err *e)
{
	fail_text(rq, e->code ? e->code : ERR_FAILED, 0, e->text);
}

void control_fail_launch(struct control_request *rq, int launch_status, const struct err *e)
{
	fail_text(rq, e->code ? e->code : ERR_FAILED, launch_status, e->text);
}

/* ---- requests ----------------------------------------------------------------------------------- */

void client_refuse(struct client *cl, const char *why)
{
	cl->last = true;
	cl->state = BUSY;
	fail_text(&cl->rq, ERR_FAILED, 0, why);
}

static void dispatch(struct client *cl)
{
	struct control_request *rq = &cl->rq;
	json_error_t why;

	cl->state = BUSY;
	cl->unanswered = true;
	rq->json = json_loadb((const char *)cl->body, cl->json_len, 0, &why);
	if (!json_is_object(rq->json)) {
		fail_text(rq, ERR_USAGE, 0, "the request is not a JSON object");
		return;
	}
	rq->verb = json_string_value(json_object_get(rq->json, "verb"));
	if (!rq->verb)
		rq->verb = "";
	rq->len = cl->body_len - cl->json_len;
	rq->data = rq->len ? cl->body + cl->json_len : NULL;
	cl->owner->fn(cl->owner->ctx, rq);
}

static void take_head(struct client *cl)
{
	uint32_t json_len, data_len;

	control_head_get(cl->head, &json_len, &data_len);
	if (json_len == 0 || json_len > CONTROL_JSON_MAX || data_len > CONTROL_DATA_MAX) {
		client_refuse(cl, "what was sent is not a request of cpagent, or is too large");
		return;
	}
	cl->json_len = json_len;
	cl->body_len = (size_t)json_len + data_len;
}

/* Room for the next bytes of the body; false: the client was refused or closed. */
static bool grow_body(struct client *cl)
{
	size_t want = cl->body_room ? cl->body_room * 2 : 4096, step;
	uint8_t *more;

	if (cl->body_have < cl->body_room)
		return true;
	if (want > cl->body_room + STEP_MAX)
		want = cl->body_room + STEP_MAX;
	if (want > cl->body_len)
		want = cl->body_len;
	step = want - cl->body_room;
	more = cl->owner->held + step <= HELD_MAX ? realloc(cl->body, want) : NULL;
	if (!more) {
		client_refuse(cl, "the agent has too many requests in hand; try again");
		return false;
	}
	cl->owner->held += step;
	cl->body = more;
	cl->body_room = want;
	return true;
}

/* Exactly what is still missing of this frame, never more: the next one stays in the kernel. */
static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	struct client *cl = h->data;

	(void)suggested;
	if (cl->state != READS)
		*buf = uv_buf_init(&cl->scratch, 1);
	else if (cl->head_have < CONTROL_HEAD)
		*buf = uv_buf_init((char *)cl->head + cl->head_have, (unsigned)(CONTROL_HEAD - cl->head_have));
	else
		*buf = uv_buf_init((char *)cl->body + cl->body_have, (unsigned)(cl->body_room - cl->body_have));
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
	struct client *cl = s->data;

	(void)buf;
	if (n == 0)
		return;
	if (n < 0 || cl->state != READS) { /* gone, or sending on before it has its reply */
		client_close(cl);
		return;
	}
	cl->moved_ms = uv_now(s->loop);
	if (cl->head_have < CONTROL_HEAD) {
		cl->head_have += (size_t)n;
		if (cl->head_have == CONTROL_HEAD)
			take_head(cl);
	} else {
		cl->body_have += (size_t)n;
	}
	if (cl->state != READS || cl->head_have < CONTROL_HEAD)
		return;
	if (cl->body_have == cl->body_len)
		dispatch(cl);
	else
		grow_body(cl);
}

int client_start(struct client *cl)
{
	return uv_read_start((uv_stream_t *)&cl->pipe, on_alloc, on_read);
}
