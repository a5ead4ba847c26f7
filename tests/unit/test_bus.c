/* The bus: agents in one process that talk over loopback; their deaths and returns; strangers on their ports. */
#include <arpa/inet.h>
#include <nanomsg/nn.h>
#include <nanomsg/pipeline.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

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

static uint32_t sum(const void *data, size_t n)
{
	const uint8_t *p = data;
	uint32_t s = 1;

	for (size_t i = 0; i < n; i++)
		s = s * 31 + p[i];
	return s;
}

static void on_request(void *ctx, struct bus_request *req, const struct bus_msg *msg)
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

static void on_note(void *ctx, const struct bus_msg *msg)
{
	struct agent *a = ctx;
	char want[32];

	snprintf(want, sizeof want, "note %d", a->notes++);
	a->in_order += strlen(want) == msg->head_len && !memcmp(want, msg->head, msg->head_len);
}

static void on_reply(void *ctx, int status, const struct bus_msg *reply)
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

static int agent_open_key(struct agent *a, const char *name, const char *url, const struct seal_key *key)
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

static void agent_open(struct agent *a, const char *name, const char *url)
{
	CU_ASSERT_EQUAL_FATAL(agent_open_key(a, name, url, &cluster_key), 0);
}

static void on_guard(uv_timer_t *t)
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
static void all_closed(void)
{
	for (int i = 0; i < 3; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
	CU_ASSERT(!uv_loop_alive(&loop));
}

static void ask(struct agent *a, struct bus_peer *peer, const char *text, int64_t timeout, struct answer *r)
{
	memset(r, 0, sizeof *r);
	CU_ASSERT_FATAL(peer != NULL);
	CU_ASSERT_EQUAL(bus_call(a->bus, peer, text, strlen(text), NULL, 0, timeout, on_reply, r), 0);
}

static struct bus_peer *peer_of(struct agent *a, struct agent *b)
{
	return bus_peer_by_url(a->bus, bus_url(b->bus, 0), NULL);
}

/* ---- calls -------------------------------------------------------------------------------------- */

static void a_call_is_answered(void)
{
	struct agent a, b;
	struct answer r;

	agent_open(&a, "a", "tcp://127.0.0.1:0");
	agent_open(&b, "b", "tcp://127.0.0.1:*");
	struct bus_peer *peer = peer_of(&a, &b);

	CU_ASSERT_STRING_EQUAL(bus_peer_name(peer), "");
	ask(&a, peer, "hello?", LONG, &r);
	CU_ASSERT(!r.done);
	CU_ASSERT(UNTIL(r.done));
	CU_ASSERT_EQUAL(r.status, 0);
	CU_ASSERT_STRING_EQUAL(r.text, "hello?");
	CU_ASSERT_STRING_EQUAL(r.from, "b");
	CU_ASSERT_STRING_EQUAL(b.last, "hello?");
	CU_ASSERT_STRING_EQUAL(bus_peer_name(peer), "b");
	CU_ASSERT(bus_peer_heard_ns(peer) > 0);
	CU_ASSERT(bus_peer_by_name(a.bus, "b") != NULL);
	CU_ASSERT_STRING_EQUAL(bus_peer_url(bus_peer_by_name(b.bus, "a")), bus_url(a.bus, 0));
	CU_ASSERT(bus_peer_by_name(a.bus, "c") == NULL);
	bus_close(a.bus);
	bus_close(b.bus);
	all_closed();
}

static void big_data_arrives_whole(void)
{
	struct agent a, b;
	struct answer r = { 0 };
	size_t len = BUS_PAYLOAD_MAX - 5;
	uint8_t *data = malloc(len + 1);

	for (size_t i = 0; i < len; i++)
		data[i] = (uint8_t)(i * 7 + i / 255);
	agent_open(&a, "a", "tcp://127.0.0.1:0");
	agent_open(&b, "b", "tcp://127.0.0.1:0");
	struct bus_peer *peer = peer_of(&a, &b);

	CU_ASSERT_EQUAL(bus_call(a.bus, peer, "12345", 5, data, len, LONG, on_reply, &r), 0);
	CU_ASSERT(UNTIL(r.done));
	CU_ASSERT_EQUAL(r.status, 0);
	CU_ASSERT_EQUAL(r.data_len, len);
	CU_ASSERT_EQUAL(r.data_sum, sum(data, len));
	CU_ASSERT_EQUAL(bus_call(a.bus, peer, "12345", 5, data, len + 1, LONG, on_reply, &r), ERR_USAGE);
	CU_ASSERT_EQUAL(r.done, 1);
	free(data);
	bus_close(a.bus);
	bus_close(b.bus);
	all_closed();
}

static void many_calls_in_both_directions_are_each_answered_once(void)
{
	static uint8_t data[100000];
	struct agent a, b;
	struct answer ra[KEPT_MAX / 2] = { 0 }, rb[KEPT_MAX / 2] = { 0 };
	int n = KEPT_MAX / 2, done = 0;

	agent_open(&a, "a", "tcp://127.0.0.1:0");
	agent_open(&b, "b", "tcp://127.0.0.1:0");
	for (int i = 0; i < n; i++) {
		char text[16];
		size_t len = (size_t)snprintf(text, sizeof text, "%d", i);

		CU_ASSERT_EQUAL(
		        bus_call(a.bus, peer_of(&a, &b), text, len, data, sizeof data, LONG, on_reply, &ra[i]), 0);
		CU_ASSERT_EQUAL(
		        bus_call(b.bus, peer_of(&b, &a), text, len, data, (size_t)i, LONG, on_reply, &rb[i]), 0);
	}
	for (int i = 0; i < n; i++) {
		char text[16];

		snprintf(text, sizeof text, "%d", i);
		CU_ASSERT(UNTIL(ra[i].done && rb[i].done));
		CU_ASSERT_STRING_EQUAL(ra[i].text, text);
		CU_ASSERT_STRING_EQUAL(rb[i].text, text);
		CU_ASSERT_EQUAL(ra[i].data_len, sizeof data);
		CU_ASSERT_EQUAL(rb[i].data_len, (size_t)i);
		done += ra[i].done + rb[i].done;
	}
	CU_ASSERT_EQUAL(done, 2 * n);
	CU_ASSERT_EQUAL(a.calls, n);
	CU_ASSERT_EQUAL(b.calls, n);
	bus_close(a.bus);
	bus_close(b.bus);
	all_closed();
}

static void a_reply_may_come_later_and_the_handler_runs_once_however_often_the_call_is_resent(void)
{
	struct agent a, b;
	struct answer r;

	agent_open(&a, "a", "tcp://127.0.0.1:0");
	agent_open(&b, "b", "tcp://127.0.0.1:0");
	b.defer = 1;
	ask(&a, peer_of(&a, &b), "slow", LONG, &r);
	CU_ASSERT(UNTIL(bus_stats(b.bus)->duplicates >= 2));
	CU_ASSERT_EQUAL(b.calls, 1);
	CU_ASSERT(!r.done);
	CU_ASSERT_EQUAL(bus_reply(b.kept[0], "at last", 7, NULL, 0), 0);
	CU_ASSERT(UNTIL(r.done));
	CU_ASSERT_STRING_EQUAL(r.text, "at last");
	bus_close(a.bus);
	bus_close(b.bus);
	all_closed();
}

static void a_call_that_is_not_answered_times_out_and_a_late_reply_does_no_harm(void)
{
	struct agent a, b;
	struct answer r;

	agent_open(&a, "a", "tcp://127.0.0.1:0");
	agent_open(&b, "b", "tcp://127.0.0.1:0");
	b.defer = 1;
	ask(&a, peer_of(&a, &b), "never", 300 * NS_PER_MS, &r);
	CU_ASSERT(UNTIL(r.done && b.calls));
	CU_ASSERT_EQUAL(r.status, ERR_TIMEOUT);
	bus_reply(b.kept[0], "late", 4, NULL, 0);
	b.defer = 0;
	ask(&a, peer_of(&a, &b), "next", LONG, &r);
	CU_ASSERT(UNTIL(r.done));
	CU_ASSERT_STRING_EQUAL(r.text, "next");
	CU_ASSERT_EQUAL(r.done, 1);
	bus_close(a.bus);
	bus_close(b.bus);
	all_closed();
}

static void nobody_there_is_told_from_no_answer(void)
{
	struct agent a;
	struct answer r;

	agent_open(&a, "a", "tcp://127.0.0.1:0");
	ask(&a, bus_peer_by_url(a.bus, "tcp://127.0.0.1:1", NULL), "x", 200 * NS_PER_MS, &r);
	CU_ASSERT(UNTIL(r.done));
	CU_ASSERT_EQUAL(r.status, ERR_NO_AGENT);
	bus_close(a.bus);
	all_closed();
}

static void notes_arrive_in_order(void)
{
	struct agent a, b;

	agent_open(&a, "a", "tcp://127.0.0.1:0");
	agent_open(&b, "b", "tcp://127.0.0.1:0");
	for (int i = 0; i < 500; i++) {
		char text[32];
		size_t len = (size_t)snprintf(text, sizeof text, "note %d", i);

		CU_ASSERT_EQUAL(bus_note(a.bus, peer_of(&a, &b), text, len, NULL, 0), 0);
	}
	CU_ASSERT(UNTIL(b.notes == 500));
	CU_ASSERT_EQUAL(b.in_order, 500);
	bus_close(a.bus);
	bus_close(b.bus);
	all_closed();
}

static void an_outbox_for_an_absent_peer_is_bounded_and_loses_its_oldest_notes(void)
{
	struct agent a;
	struct bus_peer *peer;
	struct answer r;

	agent_open(&a, "a", "tcp://127.0.0.1:0");
	peer = bus_peer_by_url(a.bus, "tcp://127.0.0.1:1", NULL);
	ask(&a, peer, "stays", LONG, &r);
	for (int i = 0; i < OUTBOX_MAX_MSGS + 99; i++)
		CU_ASSERT_EQUAL(bus_note(a.bus, peer, "n", 1, NULL, 0), 0);
	CU_ASSERT_EQUAL(peer->link->data.msgs, OUTBOX_MAX_MSGS);
	CU_ASSERT_EQUAL(bus_stats(a.bus)->dropped_overflow, 100);
	CU_ASSERT_EQUAL(peer->link->data.first->kind, KIND_CALL);
	bus_close(a.bus);
	CU_ASSERT_EQUAL(r.status, ERR_NO_AGENT);
	all_closed();
}

/* ---- deaths and returns ------------------------------------------------------------------------- */

static void an_agent_that_comes_later_still_gets_the_call(void)
{
	struct agent a, b;
	struct answer r;
	char url[BUS_URL_MAX];

	agent_open(&a, "a", "tcp://127.0.0.1:0");
	agent_open(&b, "b", "tcp://127.0.0.1:0"); /* only to have its port */
	snprintf(url, sizeof url, "%s", bus_url(b.bus, 0));
	bus_close(b.bus);
	ask(&a, bus_peer_by_url(a.bus, url, NULL), "early", LONG, &r);
	CU_ASSERT(UNTIL(bus_stats(a.bus)->sent == 0 && a.bus->links->hello_wait > HELLO_WAIT_MIN_NS));
	agent_open(&b, "b", url);
	CU_ASSERT(UNTIL(r.done));
	CU_ASSERT_STRING_EQUAL(r.text, "early");
	bus_close(a.bus);
	bus_close(b.bus);
	all_closed();
}

static void a_call_survives_the_restart_of_who_is_asked(void)
{
	struct agent a, b;
	struct answer r;
	char url[BUS_URL_MAX];

	agent_open(&a, "a", "tcp://127.0.0.1:0");
	agent_open(&b, "b", "tcp://127.0.0.1:0");
	snprintf(url, sizeof url, "%s", bus_url(b.bus, 0));
	b.defer = 1;
	ask(&a, peer_of(&a, &b), "again", LONG, &r);
	CU_ASSERT(UNTIL(b.calls));
	struct bus_request *orphan = b.kept[0];

	bus_close(b.bus);
	CU_ASSERT_EQUAL(bus_reply(orphan, "too late", 8, NULL, 0), 0);
	uv_run(&loop, UV_RUN_NOWAIT);
	agent_open(&b, "b", url);
	CU_ASSERT(UNTIL(r.done));
	CU_ASSERT_EQUAL(r.status, 0);
	CU_ASSERT_STRING_EQUAL(r.text, "again");
	CU_ASSERT_EQUAL(b.calls, 1);
	bus_close(a.bus);
	bus_close(b.bus);
	all_closed();
}

static void who_asks_may_be_restarted_too(void)
{
	struct agent a, b;
	struct answer r, r2;
	char url[BUS_URL_MAX];

	agent_open(&a, "a", "tcp://127.0.0.1:0");
	agent_open(&b, "b", "tcp://127.0.0.1:0");
	snprintf(url, sizeof url, "%s", bus_url(a.bus, 0));
	b.defer = 1;
	ask(&a, peer_of(&a, &b), "first life", LONG, &r);
	CU_ASSERT(UNTIL(b.calls));
	bus_close(a.bus);
	CU_ASSERT_EQUAL(r.status, ERR_NO_AGENT);
	uv_run(&loop, UV_RUN_NOWAIT);
	agent_open(&a, "a", url);
	ask(&a, peer_of(&a, &b), "second life", LONG, &r2); /* the same id as the first life's */
	CU_ASSERT(UNTIL(b.calls == 2));
	bus_reply(b.kept[0], "to the dead", 11, NULL, 0);
	bus_reply(b.kept[1], "to the living", 13, NULL, 0);
	CU_ASSERT(UNTIL(r2.done));
	CU_ASSERT_STRING_EQUAL(r2.text, "to the living");
	CU_ASSERT_EQUAL(r.done, 1);
	bus_close(a.bus);
	bus_close(b.bus);
	all_closed();
}

static void a_name_follows_its_agent_to_another_port(void)
{
	struct agent a, b;
	struct answer r;
	struct bus_peer *named;
	char old[BUS_URL_MAX];

	agent_open(&a, "a", "tcp://127.0.0.1:0");
	agent_open(&b, "b", "tcp://127.0.0.1:0");
	snprintf(old, sizeof old, "%s", bus_url(b.bus, 0));
	ask(&b, peer_of(&b, &a), "I am b", LONG, &r);
	CU_ASSERT(UNTIL(r.done));
	named = bus_peer_by_name(a.bus, "b");
	CU_ASSERT_STRING_EQUAL(bus_peer_url(named), old);
	bus_close(b.bus);
	uv_run(&loop, UV_RUN_NOWAIT);
	struct answer across;

	ask(&a, named, "across", LONG, &across); /* on its way to a port where nobody is */
	struct agent squatter;

	agent_open(&squatter, "squatter", old); /* not the one that is meant */
	agent_open(&b, "b", "tcp://127.0.0.1:0");
	ask(&b, peer_of(&b, &a), "I am b again", LONG, &r);
	CU_ASSERT(UNTIL(r.done && across.done));
	CU_ASSERT_EQUAL(r.status, 0);
	CU_ASSERT_EQUAL(across.status, 0);
	CU_ASSERT_STRING_EQUAL(across.from, "b");
	CU_ASSERT_EQUAL(squatter.calls, 0);
	CU_ASSERT_STRING_EQUAL(bus_peer_url(named), bus_url(b.bus, 0));
	CU_ASSERT_PTR_EQUAL(named, bus_peer_by_name(a.bus, "b"));
	bus_close(squatter.bus);
	bus_close(a.bus);
	bus_close(b.bus);
	all_closed();
}

static void close_from_a_reply(void *ctx, int status, const struct bus_msg *reply)
{
	struct agent *a = ctx;

	(void)status;
	(void)reply;
	a->calls++;
	bus_close(a->bus);
}

static void a_bus_may_be_closed_from_its_own_callback_and_twice(void)
{
	struct agent a, b;

	agent_open(&a, "a", "tcp://127.0.0.1:0");
	agent_open(&b, "b", "tcp://127.0.0.1:0");
	for (int i = 0; i < 3; i++)
		CU_ASSERT_EQUAL(bus_call(a.bus, peer_of(&a, &b), "x", 1, NULL, 0, LONG, close_from_a_reply, &a),
		                0);
	CU_ASSERT(UNTIL(a.calls == 3));
	bus_close(b.bus);
	bus_close(b.bus);
	bus_close(NULL);
	all_closed();

	agent_open(&a, "a", "tcp://127.0.0.1:0"); /* the same, from timeouts */
	for (int i = 0; i < 3; i++)
		bus_call(a.bus, bus_peer_by_url(a.bus, "tcp://127.0.0.1:1", NULL), "x", 1, NULL, 0, 1,
		         close_from_a_reply, &a);
	CU_ASSERT(UNTIL(a.calls == 3));
	all_closed();
}

/* ---- strangers ---------------------------------------------------------------------------------- */

static unsigned port_of(const char *url)
{
	return (unsigned)strtoul(strrchr(url, ':') + 1, NULL, 10);
}

static int tcp_connect(const char *url)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port_of(url)) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	CU_ASSERT_EQUAL(connect(fd, (struct sockaddr *)&sin, sizeof sin), 0);
	return fd;
}

static void still_answers(struct agent *a, struct agent *b)
{
	struct answer r;

	ask(a, peer_of(a, b), "still there?", LONG, &r);
	CU_ASSERT(UNTIL(r.done));
	CU_ASSERT_EQUAL(r.status, 0);
}

static void garbage_on_the_port_does_no_harm(void)
{
	static const char sp_push[8] = { 0, 'S', 'P', 0, 0, 0x50, 0, 0 };
	static const uint8_t huge[8] = { 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	uint8_t noise[4096];
	struct agent a, b;
	int fds[8];

	agent_open(&a, "a", "tcp://127.0.0.1:0");
	agent_open(&b, "b", "tcp://127.0.0.1:0");
	for (int i = 0; i < 8; i++) {
		fds[i] = tcp_connect(bus_url(b.bus, 0));
		seal_random(noise, sizeof noise);
		if (i % 2) /* some know the handshake of nanomsg, and then announce an enormous message */
			(void)!write(fds[i], sp_push, sizeof sp_push);
		if (i % 4 == 3)
			(void)!write(fds[i], huge, sizeof huge);
		(void)!send(fds[i], noise, sizeof noise, MSG_NOSIGNAL);
	}
	(void)!send(fds[0], "GET / HTTP/1.0\r\n\r\n", 18, MSG_NOSIGNAL);
	still_answers(&a, &b);
	for (int i = 0; i < 8; i++)
		close(fds[i]);
	still_answers(&a, &b);
	bus_close(a.bus);
	bus_close(b.bus);
	all_closed();
}

static void an_agent_with_another_key_is_not_heard(void)
{
	static const struct seal_key other = { { 9 } };
	struct agent a, b;
	struct answer r;

	CU_ASSERT_EQUAL_FATAL(agent_open_key(&a, "a", "tcp://127.0.0.1:0", &other), 0);
	agent_open(&b, "b", "tcp://127.0.0.1:0");
	ask(&a, peer_of(&a, &b), "let me in", NS_PER_S, &r);
	CU_ASSERT(UNTIL(r.done));
	CU_ASSERT_EQUAL(r.status, ERR_NO_AGENT);
	CU_ASSERT_EQUAL(b.calls, 0);
	CU_ASSERT(bus_stats(b.bus)->dropped_forged > 0);
	CU_ASSERT_EQUAL(bus_stats(b.bus)->received, 0);
	CU_ASSERT(bus_peer_by_name(b.bus, "a") == NULL);
	bus_close(a.bus);
	bus_close(b.bus);
	all_closed();
}

#define FLOOD 20000

static void *flood(void *url)
{
	int sock = nn_socket(AF_SP, NN_PUSH);
	uint8_t msg[300];

	memset(msg, 0x5a, sizeof msg);
	memcpy(msg, "CPSL\1\4\1\1", 8); /* half of them look right until their tag is checked */
	memcpy(msg + 72, "xb", 2);
	nn_connect(sock, url);
	for (int i = 0; i < FLOOD; i++) {
		msg[0] = i % 2 ? 'C' : 'X';
		while (nn_send(sock, msg, sizeof msg, 0) < 0 && nn_errno() == EINTR)
			;
	}
	return (void *)(intptr_t)sock;
}

static void calls_get_through_a_flood(void)
{
	struct agent a, b;
	struct answer r;
	pthread_t thread;
	void *sock;
	char url[BUS_URL_MAX];
	uint64_t dropped_before, through = 0;

	agent_open(&a, "a", "tcp://127.0.0.1:0");
	agent_open(&b, "b", "tcp://127.0.0.1:0");
	const struct bus_stats *s = bus_stats(b.bus);

	snprintf(url, sizeof url, "%s", bus_url(b.bus, 0));
	CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, flood, url), 0);
	CU_ASSERT(UNTIL(s->dropped_forged > 0));
	do {
		dropped_before = s->dropped_forged + s->dropped_malformed;
		ask(&a, peer_of(&a, &b), "amid the flood", LONG, &r);
		CU_ASSERT(UNTIL(r.done));
		CU_ASSERT_EQUAL_FATAL(r.status, 0);
		through++;
	} while (dropped_before < FLOOD / 2);
	CU_ASSERT(UNTIL(s->dropped_forged + s->dropped_malformed == FLOOD));
	CU_ASSERT_EQUAL(s->dropped_forged, FLOOD / 2);
	CU_ASSERT(through >= 10);
	pthread_join(thread, &sock);
	nn_close((int)(intptr_t)sock);
	bus_close(a.bus);
	bus_close(b.bus);
	all_closed();
}

/* ---- one who has the key, or has listened on the wire ------------------------------------------ */

/* Speaks the protocol by hand. */
struct hand {
	int push, pull;
	char url[BUS_URL_MAX];
	uint8_t life[SEAL_SESSION_BYTES], token[SEAL_SESSION_BYTES];
	uint64_t seq;
	struct seal_head got; /* the newest message received */
	uint8_t plain[4096];
	struct parts parts;
	size_t n_got;
};

static void hand_open(struct hand *h, struct agent *to)
{
	struct agent port; /* a bus finds us a free port */

	memset(h, 0, sizeof *h);
	agent_open(&port, "port", "tcp://127.0.0.1:0");
	snprintf(h->url, sizeof h->url, "%s", bus_url(port.bus, 0));
	bus_close(port.bus);
	h->pull = nn_socket(AF_SP, NN_PULL);
	h->push = nn_socket(AF_SP, NN_PUSH);
	CU_ASSERT_FATAL(nn_bind(h->pull, h->url) >= 0 && nn_connect(h->push, bus_url(to->bus, 0)) >= 0);
	seal_random(h->life, sizeof h->life);
}

static void hand_close(struct hand *h)
{
	nn_close(h->push);
	nn_close(h->pull);
}

struct frame {
	uint8_t bytes[1024];
	size_t len;
};

static void frame_send(struct hand *h, const struct frame *f)
{
	CU_ASSERT(nn_send(h->push, f->bytes, f->len, 0) >= 0);
}

static struct frame frame_from(struct hand *h, const char *from, const char *to, int kind, uint64_t id,
                               const void *head, size_t head_len)
{
	struct seal_head s = { .kind = (uint8_t)kind, .seq = ++h->seq };
	struct body *b = bus_body_make(h->url, id, head, head_len, NULL, 0);
	struct frame f;

	snprintf(s.from, sizeof s.from, "%s", from);
	snprintf(s.to, sizeof s.to, "%s", to);
	memcpy(s.from_session, h->life, sizeof h->life);
	memcpy(s.to_session, h->token, sizeof h->token);
	f.len = seal_size(&s, b->len);
	CU_ASSERT_FATAL(f.len && f.len <= sizeof f.bytes);
	seal_message(&cluster_key, &s, b->bytes, b->len, f.bytes);
	bus_body_unref(b);
	return f;
}

static struct frame frame_make(struct hand *h, int kind, uint64_t id, const void *head, size_t head_len)
{
	return frame_from(h, "hand", kind == KIND_HELLO ? "" : "b", kind, id, head, head_len);
}

/* Has something arrived? It is then in h->got. */
static int hand_got(struct hand *h)
{
	void *msg;
	size_t len;
	int n = nn_recv(h->pull, &msg, NN_MSG, NN_DONTWAIT);

	if (n < 0)
		return 0;
	CU_ASSERT_EQUAL(seal_open(&cluster_key, msg, (size_t)n, &h->got, h->plain, sizeof h->plain, &len),
	                SEAL_OK);
	CU_ASSERT_EQUAL(bus_body_parse(h->plain, len, &h->parts), 0);
	nn_freemsg(msg);
	h->n_got++;
	return 1;
}

static void on_poke(uv_timer_t *t)
{
	(void)t;
}

/* hand_got() is no event of the loop, so look at it each millisecond. */
#define UNTIL_HAND(condition)                                                                                     \
	({                                                                                                        \
		uv_timer_t poke_;                                                                                 \
		uv_timer_init(&loop, &poke_);                                                                     \
		uv_timer_start(&poke_, on_poke, 1, 1);                                                            \
		int ok_ = UNTIL(condition);                                                                       \
		uv_close((uv_handle_t *)&poke_, NULL);                                                            \
		uv_run(&loop, UV_RUN_NOWAIT);                                                                     \
		ok_;                                                                                              \
	})

static struct frame hand_greet(struct hand *h)
{
	static const uint8_t challenge[SEAL_SESSION_BYTES] = { 7 };
	struct frame f = frame_make(h, KIND_HELLO, 0, challenge, sizeof challenge);

	frame_send(h, &f);
	CU_ASSERT(UNTIL_HAND(hand_got(h) && h->got.kind == KIND_WELCOME));
	CU_ASSERT_EQUAL_FATAL(h->parts.head_len, 2 * SEAL_SESSION_BYTES);
	CU_ASSERT(!memcmp(h->parts.head, challenge, sizeof challenge));
	memcpy(h->token, h->parts.head + SEAL_SESSION_BYTES, SEAL_SESSION_BYTES);
	return f;
}

static void a_replayed_call_is_dropped_and_a_resent_one_answered_from_memory(void)
{
	struct agent b;
	struct hand h;

	agent_open(&b, "b", "tcp://127.0.0.1:0");
	hand_open(&h, &b);
	hand_greet(&h);
	struct frame call = frame_make(&h, KIND_CALL, 77, "once", 4);

	frame_send(&h, &call);
	CU_ASSERT(UNTIL_HAND(b.calls == 1));
	/* it must know us before it can answer */
	CU_ASSERT(UNTIL_HAND(hand_got(&h) && h.got.kind == KIND_HELLO));
	uint8_t answer[2 * SEAL_SESSION_BYTES] = { 0 };
	struct seal_head s = h.got;

	memcpy(answer, h.parts.head, SEAL_SESSION_BYTES);
	uint8_t token[SEAL_SESSION_BYTES];

	memcpy(token, h.token, sizeof token);
	memcpy(h.token, s.from_session, sizeof h.token);
	struct frame welcome = frame_make(&h, KIND_WELCOME, 0, answer, sizeof answer);

	memcpy(h.token, token, sizeof token);
	frame_send(&h, &welcome);
	CU_ASSERT(UNTIL_HAND(hand_got(&h) && h.got.kind == KIND_REPLY));
	CU_ASSERT_EQUAL(h.parts.id, 77);
	frame_send(&h, &call); /* the very same bytes */
	CU_ASSERT(UNTIL(bus_stats(b.bus)->dropped_replayed == 1));
	call = frame_make(&h, KIND_CALL, 77, "once", 4); /* the same call, sent again */
	frame_send(&h, &call);
	CU_ASSERT(UNTIL_HAND(hand_got(&h) && h.got.kind == KIND_REPLY));
	CU_ASSERT_EQUAL(h.parts.id, 77);
	CU_ASSERT_EQUAL(b.calls, 1);
	hand_close(&h);
	bus_close(b.bus);
	all_closed();
}

static void what_an_earlier_life_said_is_never_believed_again(void)
{
	struct agent b;
	struct hand h;

	agent_open(&b, "b", "tcp://127.0.0.1:0");
	hand_open(&h, &b);
	struct frame hello = hand_greet(&h);
	struct frame unused = frame_make(&h, KIND_NOTE, 0, "held back", 9);
	struct frame note = frame_make(&h, KIND_NOTE, 0, "note 0", 6);

	frame_send(&h, &note);
	CU_ASSERT(UNTIL(b.notes == 1));
	seal_random(h.life, sizeof h.life); /* started again */
	hand_greet(&h);
	note = frame_make(&h, KIND_NOTE, 0, "note 1", 6);
	frame_send(&h, &note);
	CU_ASSERT(UNTIL(b.notes == 2));
	/* an eavesdropper plays the first life again, its HELLO included, and a note that never arrived */
	frame_send(&h, &hello);
	frame_send(&h, &unused);
	CU_ASSERT(UNTIL(bus_stats(b.bus)->dropped_stale == 1));
	note = frame_make(&h, KIND_NOTE, 0, "note 2", 6);
	frame_send(&h, &note);
	CU_ASSERT(UNTIL(b.notes == 3));
	CU_ASSERT_EQUAL(b.in_order, 3);
	hand_close(&h);
	bus_close(b.bus);
	all_closed();
}

static void a_token_of_no_meaning_is_answered_stale_but_not_each_time(void)
{
	struct agent b;
	struct hand h;
	size_t stale = 0;

	agent_open(&b, "b", "tcp://127.0.0.1:0");
	hand_open(&h, &b);
	for (int i = 0; i < 50; i++) {
		struct frame f = frame_make(&h, KIND_CALL, 1, "who am I", 8);

		frame_send(&h, &f);
	}
	CU_ASSERT(UNTIL_HAND(hand_got(&h) && h.got.kind == KIND_STALE));
	CU_ASSERT(!memcmp(h.parts.head, h.token, SEAL_SESSION_BYTES));
	CU_ASSERT(UNTIL(bus_stats(b.bus)->dropped_stale == 50));
	stale = h.n_got;
	while (hand_got(&h))
		stale = h.n_got;
	CU_ASSERT(stale < 25);
	CU_ASSERT_EQUAL(b.calls, 0);
	hand_close(&h);
	bus_close(b.bus);
	all_closed();
}

static void messages_for_others_and_our_own_come_back_are_dropped(void)
{
	struct agent b;
	struct hand h;
	uint64_t sent = 0;

	agent_open(&b, "b", "tcp://127.0.0.1:0");
	hand_open(&h, &b);
	hand_greet(&h);
	for (int kind = 0; kind < 10; kind++) {
		struct frame f = frame_from(&h, "b", "b", kind, 1, "reflected", 9);

		frame_send(&h, &f);
		f = frame_from(&h, "hand", "c", kind, 1, "for c", 5);
		frame_send(&h, &f);
		sent += 2;
	}
	CU_ASSERT(UNTIL(bus_stats(b.bus)->dropped_misdirected == sent));
	CU_ASSERT_EQUAL(b.calls + b.notes, 0);
	hand_close(&h);
	bus_close(b.bus);
	all_closed();
}

static void bodies_of_any_shape_do_no_harm_even_with_the_right_key(void)
{
	struct agent b;
	struct hand h;
	uint64_t n = 0;

	agent_open(&b, "b", "tcp://127.0.0.1:0");
	hand_open(&h, &b);
	hand_greet(&h);
	for (int i = 0; i < 3000; i++) {
		uint8_t plain[200];
		struct seal_head s = { .kind = (uint8_t)(i % 8), .seq = ++h.seq, .from = "hand", .to = "b" };
		struct frame f;
		size_t len = (size_t)(i / 8 % 200);

		seal_random(plain, sizeof plain);
		for (int j = 8; j < 16; j++) /* lengths that are now and then right */
			plain[j] = (uint8_t)(plain[j] & (j % 4 ? 0 : 63));
		memset(plain + 16, 0, 16);
		if (i % 3)
			memcpy(plain + 16, "tcp://h:1", 9);
		memcpy(s.from_session, h.life, sizeof h.life);
		memcpy(s.to_session, h.token, sizeof h.token);
		f.len = seal_size(&s, len);
		seal_message(&cluster_key, &s, plain, len, f.bytes);
		frame_send(&h, &f);
		n++;
	}
	const struct bus_stats *st = bus_stats(b.bus);

	/* a malformed body is not counted as received; of the received some are also dropped */
	CU_ASSERT(UNTIL(st->received + st->dropped_malformed >= n + 1));
	CU_ASSERT(st->received > 100 && st->dropped_malformed > 100);
	hand_greet(&h);
	hand_close(&h);
	bus_close(b.bus);
	all_closed();
}

/* ---- configuration ------------------------------------------------------------------------------ */

static void a_port_in_use_is_named_with_what_to_do(void)
{
	struct agent a, b;
	char port[16];

	agent_open(&a, "a", "tcp://127.0.0.1:0");
	CU_ASSERT_EQUAL(agent_open_key(&b, "b", bus_url(a.bus, 0), &cluster_key), ERR_FAILED);
	snprintf(port, sizeof port, "port %u", port_of(bus_url(a.bus, 0)));
	CU_ASSERT(strstr(b.last, port) && strstr(b.last, "in use") && strstr(b.last, "another port"));
	CU_ASSERT(b.bus == NULL);
	bus_close(a.bus);
	all_closed();
}

static void what_cannot_be_listened_on_is_refused(void)
{
	static const char *const bad[] = { "",
		                           "tcp://",
		                           "127.0.0.1:1",
		                           "ipc:///tmp/x",
		                           "tcp://127.0.0.1",
		                           "tcp://127.0.0.1:",
		                           "tcp://127.0.0.1:65536",
		                           "tcp://127.0.0.1:-1",
		                           "tcp://127.0.0.1:80x",
		                           "tcp://:80",
		                           "tcp://a b:80",
		                           "tcp://[::1:80",
		                           "tcp://192.0.2.1:7000" };
	struct agent a;

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		CU_ASSERT(agent_open_key(&a, "a", bad[i], &cluster_key) < 0);
		CU_ASSERT(strstr(a.last, bad[i]) != NULL);
	}
	CU_ASSERT_EQUAL(agent_open_key(&a, "no name", "tcp://127.0.0.1:0", &cluster_key), ERR_USAGE);
	all_closed();
}

static void what_cannot_be_connected_to_is_refused(void)
{
	struct agent a;
	struct err e = { 0 };

	agent_open(&a, "a", "tcp://127.0.0.1:0");
	CU_ASSERT(bus_peer_by_url(a.bus, "tcp://127.0.0.1:0", &e) == NULL);
	CU_ASSERT_EQUAL(e.code, ERR_USAGE);
	CU_ASSERT(bus_peer_by_url(a.bus, "tcp://*:80", NULL) == NULL);
	CU_ASSERT(bus_peer_by_url(a.bus, "nonsense", NULL) == NULL);
	bus_close(a.bus);
	all_closed();
}

static void of_a_wildcard_the_facing_address_is_announced(void)
{
	struct agent a, b;
	struct answer r;
	char addr[64];

	agent_open(&a, "a", "tcp://*:0");
	agent_open(&b, "b", "tcp://127.0.0.1:0");
	CU_ASSERT_EQUAL(bus_facing(bus_url(b.bus, 0), addr, sizeof addr, NULL), 0);
	CU_ASSERT_STRING_EQUAL(addr, "127.0.0.1");
	ask(&a, peer_of(&a, &b), "x", LONG, &r);
	CU_ASSERT(UNTIL(r.done));
	CU_ASSERT_EQUAL(r.status, 0);
	char want[64];

	snprintf(want, sizeof want, "tcp://127.0.0.1:%u", port_of(bus_url(a.bus, 0)));
	CU_ASSERT_STRING_EQUAL(bus_peer_url(bus_peer_by_name(b.bus, "a")), want);
	bus_close(a.bus);
	bus_close(b.bus);
	all_closed();
}

#define T(fn, sentence)                                                                                           \
	{                                                                                                         \
		sentence, fn                                                                                      \
	}
static const struct test tests[] = {
	T(a_call_is_answered, "a call is answered"),
	T(big_data_arrives_whole, "big data arrives whole"),
	T(many_calls_in_both_directions_are_each_answered_once,
	  "many calls in both directions are each answered once"),
	T(a_reply_may_come_later_and_the_handler_runs_once_however_often_the_call_is_resent,
	  "a reply may come later, and the handler runs once however often the call is resent"),
	T(a_call_that_is_not_answered_times_out_and_a_late_reply_does_no_harm,
	  "a call that is not answered times out, and a late reply does no harm"),
	T(nobody_there_is_told_from_no_answer, "nobody there is told from no answer"),
	T(notes_arrive_in_order, "notes arrive in order"),
	T(an_outbox_for_an_absent_peer_is_bounded_and_loses_its_oldest_notes,
	  "an outbox for an absent peer is bounded and loses its oldest notes"),
	T(an_agent_that_comes_later_still_gets_the_call, "an agent that comes later still gets the call"),
	T(a_call_survives_the_restart_of_who_is_asked, "a call survives the restart of who is asked"),
	T(who_asks_may_be_restarted_too, "who asks may be restarted too"),
	T(a_name_follows_its_agent_to_another_port, "a name follows its agent to another port"),
	T(a_bus_may_be_closed_from_its_own_callback_and_twice,
	  "a bus may be closed from its own callback, and twice"),
	T(garbage_on_the_port_does_no_harm, "garbage on the port does no harm"),
	T(an_agent_with_another_key_is_not_heard, "an agent with another key is not heard"),
	T(calls_get_through_a_flood, "calls get through a flood"),
	T(a_replayed_call_is_dropped_and_a_resent_one_answered_from_memory,
	  "a replayed call is dropped, and a resent one answered from memory"),
	T(what_an_earlier_life_said_is_never_believed_again, "what an earlier life said is never believed again"),
	T(a_token_of_no_meaning_is_answered_stale_but_not_each_time,
	  "a token of no meaning is answered stale, but not each time"),
	T(messages_for_others_and_our_own_come_back_are_dropped,
	  "messages for others, and our own come back, are dropped"),
	T(bodies_of_any_shape_do_no_harm_even_with_the_right_key,
	  "bodies of any shape do no harm, even with the right key"),
	T(a_port_in_use_is_named_with_what_to_do, "a port in use is named, with what to do"),
	T(what_cannot_be_listened_on_is_refused, "what cannot be listened on is refused"),
	T(what_cannot_be_connected_to_is_refused, "what cannot be connected to is refused"),
	T(of_a_wildcard_the_facing_address_is_announced, "of a wildcard, the facing address is announced"),
};

int main(void)
{
	uv_loop_init(&loop);
	log_open("test_bus", LOG_EVENT_ERROR);
	int rc = harness_run("the bus between agents", tests, sizeof tests / sizeof *tests);

	if (uv_loop_close(&loop) != 0) {
		printf("handles left in the loop\n");
		rc = 1;
	}
	return rc;
}
