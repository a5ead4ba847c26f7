/* Agents for the tests of the bus: several in one process and one loop, what they were asked, how calls ended.
 * A program includes this once, and calls bus_tests_run() instead of harness_run(). */
#ifndef TESTS_UNIT_BUS_AGENTS_H
#define TESTS_UNIT_BUS_AGENTS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ports/bus_impl.h"
#include "lib/base/log.h"
#include "tests/unit/harness.h"

#define LONG (20 * NS_PER_S)
#define KEPT_MAX 512

static uv_loop_t loop;
static const struct seal_key cluster_key = { { 1, 2, 3 } };

/* An agent as the tests see it. */
struct agent {
	struct bus *bus;
	int defer; /* keep requests instead of answering them */
	int calls, notes, in_order;
	char last[256]; /* the newest head, as text */
	size_t data_len;
	uint32_t data_sum;
	struct bus_request *kept[KEPT_MAX];
	int n_kept;
};

/* The end of a call. */
struct answer {
	int done, status;
	char text[256];
	char from[SEAL_NAME_MAX + 1];
	size_t data_len;
	uint32_t data_sum;
};

static inline uint32_t sum(const void *data, size_t n)
{
	const uint8_t *p = data;
	uint32_t s = 1;

	for (size_t i = 0; i < n; i++)
		s = s * 31 + p[i];
	return s;
}

static inline void on_request(void *ctx, struct bus_request *req, const struct bus_msg *msg)
{
	struct agent *a = ctx;

	a->calls++;
	a->data_len = msg->data_len;
	a->data_sum = sum(msg->data, msg->data_len);
	snprintf(a->last, sizeof a->last, "%.*s", (int)msg->head_len, (const char *)msg->head);
	CU_ASSERT((uintptr_t)msg->head % 16 == 0 && (uintptr_t)msg->data % 16 == 0);
	if (a->defer)
		a->kept[a->n_kept++ % KEPT_MAX] = req;
	else
		bus_reply(req, msg->head, msg->head_len, msg->data, msg->data_len);
}

static inline void on_note(void *ctx, const struct bus_msg *msg)
{
	struct agent *a = ctx;
	char want[32];

	snprintf(want, sizeof want, "note %d", a->notes++);
	a->in_order += strlen(want) == msg->head_len && !memcmp(want, msg->head, msg->head_len);
}

static inline void on_reply(void *ctx, int status, const struct bus_msg *reply)
{
	struct answer *r = ctx;

	r->done++;
	r->status = status;
	if (status)
		return;
	snprintf(r->text, sizeof r->text, "%.*s", (int)reply->head_len, (const char *)reply->head);
	snprintf(r->from, sizeof r->from, "%s", reply->from);
	r->data_len = reply->data_len;
	r->data_sum = sum(reply->data, reply->data_len);
}

static inline int agent_open_key(struct agent *a, const char *name, const char *url, const struct seal_key *key)
{
	struct err e = { 0 };
	struct bus_config cfg = { .name = name,
		                  .key = key,
		                  .listen = &url,
		                  .n_listen = 1,
		                  .on_request = on_request,
		                  .on_note = on_note,
		                  .ctx = a };

	memset(a, 0, sizeof *a);
	int rc = bus_open(&a->bus, &loop, &cfg, &e);

	if (rc)
		snprintf(a->last, sizeof a->last, "%.255s", e.text);
	return rc;
}

static inline void agent_open(struct agent *a, const char *name, const char *url)
{
	CU_ASSERT_EQUAL_FATAL(agent_open_key(a, name, url, &cluster_key), 0);
}

static inline void on_guard(uv_timer_t *t)
{
	*(int *)t->data = 1;
}

/* Run the loop until it is so; 0 if that took too long. */
#define UNTIL(condition)                                                                                          \
	({                                                                                                        \
		int late_ = 0;                                                                                    \
		uv_timer_t guard_;                                                                                \
		uv_timer_init(&loop, &guard_);                                                                    \
		guard_.data = &late_;                                                                             \
		uv_timer_start(&guard_, on_guard, 20000, 0);                                                      \
		while (!(condition) && !late_)                                                                    \
			uv_run(&loop, UV_RUN_ONCE);                                                               \
		uv_close((uv_handle_t *)&guard_, NULL);                                                           \
		uv_run(&loop, UV_RUN_NOWAIT);                                                                     \
		!late_;                                                                                           \
	})

/* Every handle must be gone by now, or the next test would inherit it. */
static inline void all_closed(void)
{
	for (int i = 0; i < 3; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
	CU_ASSERT(!uv_loop_alive(&loop));
}

static inline void ask(struct agent *a, struct bus_peer *peer, const char *text, int64_t timeout, struct answer *r)
{
	memset(r, 0, sizeof *r);
	CU_ASSERT_FATAL(peer != NULL);
	CU_ASSERT_EQUAL(bus_call(a->bus, peer, text, strlen(text), NULL, 0, timeout, on_reply, r), 0);
}

static inline struct bus_peer *peer_of(struct agent *a, struct agent *b)
{
	return bus_peer_by_url(a->bus, bus_url(b->bus, 0), NULL);
}

static inline unsigned port_of(const char *url)
{
	return (unsigned)strtoul(strrchr(url, ':') + 1, NULL, 10);
}

static inline int bus_tests_run(const char *suite, const struct test *tests, size_t n)
{
	uv_loop_init(&loop);
	log_open("test", LOG_EVENT_ERROR);
	int rc = harness_run(suite, tests, n);

	if (uv_loop_close(&loop) == 0)
		return rc;
	printf("handles left in the loop\n");
	return 1;
}

#endif
