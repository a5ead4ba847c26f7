/* Owns calls to other agents on behalf of the loop and of worker threads, and the way from one to the other.
 * What an Ask means is the business of ask.c and its callers. */
#include "agent/call.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "agent/agent.h"
#include "agent/ports/bus.h"
#include "lib/wire/copy.h"

struct sent {
	struct sent *next; /* in calls.unsent */
	call_fn *fn;
	void *ctx;
};

struct call {
	struct call *next;
	struct agent *agent;
	char url[BUS_URL_MAX];
	uint8_t *head;
	size_t head_len;
	int64_t timeout_ns;
	uv_sem_t done;
	struct call_reply reply;
	struct err err;
	Cpa__Answer *answer;
	uint8_t *data;
};

/* Lives as long as the process: a worker may still ask when the loop has ended everything else. */
struct calls {
	uv_async_t wake;
	uv_mutex_t lock; /* over head, tail and closing */
	struct call *head, **tail;
	int closing;
	struct sent *unsent; /* the loop's own that could not be sent: they hear it when the loop comes round */
};

static void on_answer(void *ctx, int status, const struct bus_msg *msg)
{
	struct sent *s = ctx;
	struct call_reply r = { .code = status };
	Cpa__Answer *answer = NULL;
	if (status == 0) {
		answer = cpa__answer__unpack(NULL, msg->head_len, msg->head);
		r = (struct call_reply){ .code = answer ? answer->code : ERR_FAILED,
			                 .text = answer ? answer->text : "its answer cannot be read",
			                 .answer = answer,
			                 .data = msg->data,
			                 .len = msg->data_len };
	} else {
		r.text = status == ERR_TIMEOUT ? "it did not answer in time" : "it cannot be reached";
	}
	s->fn(s->ctx, &r);
	if (answer)
		cpa__answer__free_unpacked(answer, NULL);
	free(s);
}

static void send_packed(struct agent *a, const char *url, const uint8_t *head, size_t head_len, const void *data,
                        size_t len, int64_t timeout_ns, struct sent *s)
{
	struct bus_peer *peer = a->bus ? bus_peer_by_url(a->bus, url, NULL) : NULL;
	if (peer && bus_call(a->bus, peer, head, head_len, data, len, timeout_ns, on_answer, s) == 0)
		return;
	if (a->calls->closing) {
		on_answer(s, ERR_NO_AGENT, NULL);
		return;
	}
	/* not from in here: who calls again at once would go deeper and deeper */
	s->next = a->calls->unsent;
	a->calls->unsent = s;
	uv_async_send(&a->calls->wake);
}

static void answer_unsent(struct calls *q)
{
	struct sent *list = q->unsent;
	q->unsent = NULL;
	while (list) {
		struct sent *next = list->next;
		on_answer(list, ERR_NO_AGENT, NULL);
		list = next;
	}
}

void call_send(struct agent *a, const char *url, const Cpa__Ask *ask, const void *data, size_t len,
               int64_t timeout_ns, call_fn *fn, void *ctx)
{
	struct sent *s = malloc(sizeof *s);
	size_t head_len;
	uint8_t *head = wire_pack(&ask->base, &head_len);
	if (!s || !head) {
		struct call_reply r = { .code = ERR_FAILED, .text = "out of memory" };
		fn(ctx, &r);
		free(s);
	} else {
		*s = (struct sent){ .fn = fn, .ctx = ctx };
		send_packed(a, url, head, head_len, data, len, timeout_ns, s);
	}
	free(head);
}

/* ---- from worker threads ---- */

static void finish(void *ctx, const struct call_reply *r)
{
	struct call *c = ctx;
	c->reply = (struct call_reply){ .code = r->code };
	if (r->code < 0)
		err_set(&c->err, r->code, "%s", r->text && *r->text ? r->text : "it refused without a reason");
	if (r->answer) {
		c->answer = wire_copy(&r->answer->base);
		c->data = r->len ? malloc(r->len) : NULL;
		if (c->data)
			memcpy(c->data, r->data, r->len);
		if (!c->answer || (r->len && !c->data))
			c->reply.code = err_set(&c->err, ERR_FAILED, "out of memory for an answer");
		c->reply.answer = c->answer;
		c->reply.data = c->data;
		c->reply.len = r->len;
	}
	uv_sem_post(&c->done);
}

static const struct call_reply stopping = { .code = ERR_NO_AGENT, .text = "this agent is stopping" };

static void on_wake(uv_async_t *h)
{
	struct agent *a = h->data;
	struct calls *q = a->calls;
	uv_mutex_lock(&q->lock);
	struct call *c = q->head;
	q->head = NULL;
	q->tail = &q->head;
	int closing = q->closing;
	uv_mutex_unlock(&q->lock);
	while (c) {
		struct call *next = c->next;
		struct sent *s = closing ? NULL : malloc(sizeof *s);
		if (s) {
			*s = (struct sent){ .fn = finish, .ctx = c };
			send_packed(a, c->url, c->head, c->head_len, NULL, 0, c->timeout_ns, s);
		} else {
			finish(c, &stopping);
		}
		c = next;
	}
	answer_unsent(q);
}

struct call *call_post(struct agent *a, const char *url, const Cpa__Ask *ask, int64_t timeout_ns)
{
	struct call *c = calloc(1, sizeof *c);
	if (!c)
		return NULL;
	c->agent = a;
	c->timeout_ns = timeout_ns;
	c->head = wire_pack(&ask->base, &c->head_len);
	if (!c->head || strlen(url) >= sizeof c->url || uv_sem_init(&c->done, 0) != 0) {
		free(c->head);
		free(c);
		return NULL;
	}
	memcpy(c->url, url, strlen(url) + 1);
	struct calls *q = a->calls;
	uv_mutex_lock(&q->lock);
	if (q->closing) {
		finish(c, &stopping);
	} else {
		*q->tail = c;
		q->tail = &c->next;
		uv_async_send(&q->wake); /* while locked: it is not being closed */
	}
	uv_mutex_unlock(&q->lock);
	return c;
}

int call_wait(struct call *c, struct call_reply *out, struct err *e)
{
	if (!c)
		return err_set(e, ERR_FAILED, "out of memory for a call to another agent");
	uv_sem_wait(&c->done);
	*out = c->reply;
	out->text = c->err.text;
	return c->reply.code < 0 ? err_set(e, c->reply.code, "the agent at %s: %s", c->url, c->err.text) : 0;
}

void call_free(struct call *c)
{
	if (!c)
		return;
	if (c->answer)
		cpa__answer__free_unpacked(c->answer, NULL);
	uv_sem_destroy(&c->done);
	free(c->data);
	free(c->head);
	free(c);
}

int call_open(struct agent *a, struct err *e)
{
	struct calls *q = calloc(1, sizeof *q);
	if (!q || uv_mutex_init(&q->lock) != 0 || uv_async_init(&a->loop, &q->wake, on_wake) != 0) {
		free(q);
		return err_set(e, ERR_FAILED, "out of memory for calls");
	}
	q->tail = &q->head;
	q->wake.data = a;
	a->calls = q;
	return 0;
}

void call_close(struct agent *a)
{
	struct calls *q = a->calls;
	if (!q || q->closing)
		return;
	uv_mutex_lock(&q->lock);
	q->closing = 1;
	uv_mutex_unlock(&q->lock);
	on_wake(&q->wake);
	uv_close((uv_handle_t *)&q->wake, NULL);
}
