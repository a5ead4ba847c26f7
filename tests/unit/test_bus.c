/* The bus: calls, notes, restarts of either side, and what it may be told to listen on. */
#include "tests/unit/bus_agents.h"

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
	CU_ASSERT(a.calls >= n && b.calls >= n); /* on a slow machine calls are sent again, and run again */
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

static void more_peers_than_nanomsg_has_sockets_are_served_in_turn(void)
{
	enum { PEERS = 600 };
	static struct answer r[PEERS];
	struct agent a, b;

	agent_open(&a, "a", "tcp://127.0.0.1:0");
	agent_open(&b, "b", "tcp://*:0");
	for (int i = 0; i < PEERS; i++) { /* one agent with many addresses does for many agents */
		char url[BUS_URL_MAX];

		snprintf(url, sizeof url, "tcp://127.0.%d.%d:%u", 1 + i / 200, 1 + i % 200,
		         port_of(bus_url(b.bus, 0)));
		ask(&a, bus_peer_by_url(a.bus, url, NULL), "x", LONG, &r[i]);
	}
	for (int i = 0; i < PEERS; i++)
		CU_ASSERT_FATAL(UNTIL(r[i].done) && r[i].status == 0);
	bus_close(a.bus);
	bus_close(b.bus);
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
	CU_ASSERT(UNTIL(bus_peer_by_name(a.bus, "squatter") != NULL));
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

static const struct test tests[] = {
	{ "a call is answered", a_call_is_answered },
	{ "big data arrives whole", big_data_arrives_whole },
	{ "many calls in both directions are each answered once",
	  many_calls_in_both_directions_are_each_answered_once },
	{ "a reply may come later, and the handler runs once however often the call is resent",
	  a_reply_may_come_later_and_the_handler_runs_once_however_often_the_call_is_resent },
	{ "a call that is not answered times out, and a late reply does no harm",
	  a_call_that_is_not_answered_times_out_and_a_late_reply_does_no_harm },
	{ "nobody there is told from no answer", nobody_there_is_told_from_no_answer },
	{ "notes arrive in order", notes_arrive_in_order },
	{ "an outbox for an absent peer is bounded and loses its oldest notes",
	  an_outbox_for_an_absent_peer_is_bounded_and_loses_its_oldest_notes },
	{ "more peers than nanomsg has sockets are served in turn",
	  more_peers_than_nanomsg_has_sockets_are_served_in_turn },
	{ "an agent that comes later still gets the call", an_agent_that_comes_later_still_gets_the_call },
	{ "a call survives the restart of who is asked", a_call_survives_the_restart_of_who_is_asked },
	{ "who asks may be restarted too", who_asks_may_be_restarted_too },
	{ "a name follows its agent to another port", a_name_follows_its_agent_to_another_port },
	{ "a bus may be closed from its own callback, and twice",
	  a_bus_may_be_closed_from_its_own_callback_and_twice },
	{ "a port in use is named, with what to do", a_port_in_use_is_named_with_what_to_do },
	{ "what cannot be listened on is refused", what_cannot_be_listened_on_is_refused },
	{ "what cannot be connected to is refused", what_cannot_be_connected_to_is_refused },
	{ "of a wildcard, the facing address is announced", of_a_wildcard_the_facing_address_is_announced },
};

int main(void)
{
	return bus_tests_run("the bus between agents", tests, sizeof tests / sizeof *tests);
}
