/* The bus and those it must not trust: strangers on its port, floods, eavesdroppers who play things again, and
 * holders of the key who send nonsense. */
#include <arpa/inet.h>
#include <errno.h>
#include <nanomsg/nn.h>
#include <nanomsg/pipeline.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/bus_agents.h"

/* ---- strangers ---------------------------------------------------------------------------------- */

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
	int through = 0;

	agent_open(&a, "a", "tcp://127.0.0.1:0");
	agent_open(&b, "b", "tcp://127.0.0.1:0");
	const struct bus_stats *s = bus_stats(b.bus);

	snprintf(url, sizeof url, "%s", bus_url(b.bus, 0));
	CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, flood, url), 0);
	CU_ASSERT(UNTIL(s->dropped_forged > 0));
	while (s->dropped_forged + s->dropped_malformed < FLOOD / 2) {
		ask(&a, peer_of(&a, &b), "amid the flood", LONG, &r);
		CU_ASSERT(UNTIL(r.done));
		CU_ASSERT_EQUAL_FATAL(r.status, 0);
		through +=
		        s->dropped_forged + s->dropped_malformed < FLOOD; /* it did not have to wait for the end */
	}
	CU_ASSERT(UNTIL(s->dropped_forged + s->dropped_malformed == FLOOD));
	CU_ASSERT_EQUAL(s->dropped_forged, FLOOD / 2);
	CU_ASSERT(through >= 1);
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

/* The receiver is in this thread too: it must get its turns, or a full pipe would never empty. */
static void frame_send(struct hand *h, const struct frame *f)
{
	while (nn_send(h->push, f->bytes, f->len, NN_DONTWAIT) < 0) {
		CU_ASSERT_FATAL(nn_errno() == EAGAIN || nn_errno() == EINTR);
		uv_run(&loop, UV_RUN_NOWAIT);
	}
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

static void only_who_was_asked_may_answer(void)
{
	struct agent b, c;
	struct answer r;
	struct hand h;

	agent_open(&b, "b", "tcp://127.0.0.1:0");
	agent_open(&c, "c", "tcp://127.0.0.1:0");
	c.defer = 1;
	hand_open(&h, &b);
	hand_greet(&h);
	ask(&b, peer_of(&b, &c), "the truth?", LONG, &r);
	CU_ASSERT(UNTIL(c.calls == 1));
	struct frame f = frame_make(&h, KIND_REPLY, 1, "a lie", 5); /* the first id of b's life */

	frame_send(&h, &f);
	f = frame_make(&h, KIND_NOTE, 0, "note 0", 6);
	frame_send(&h, &f);
	CU_ASSERT(UNTIL(b.notes == 1));
	CU_ASSERT(!r.done);
	bus_reply(c.kept[0], "the truth", 9, NULL, 0);
	CU_ASSERT(UNTIL(r.done));
	CU_ASSERT_STRING_EQUAL(r.text, "the truth");
	hand_close(&h);
	bus_close(b.bus);
	bus_close(c.bus);
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
		if (i % 3 < 2)
			plain[12] = i % 3 ? 17 : 0;
		memcpy(plain + 16, "tcp://127.0.0.1:1", 17);
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

static const struct test tests[] = {
	{ "garbage on the port does no harm", garbage_on_the_port_does_no_harm },
	{ "an agent with another key is not heard", an_agent_with_another_key_is_not_heard },
	{ "calls get through a flood", calls_get_through_a_flood },
	{ "a replayed call is dropped, and a resent one answered from memory",
	  a_replayed_call_is_dropped_and_a_resent_one_answered_from_memory },
	{ "what an earlier life said is never believed again", what_an_earlier_life_said_is_never_believed_again },
	{ "a token of no meaning is answered stale, but not each time",
	  a_token_of_no_meaning_is_answered_stale_but_not_each_time },
	{ "messages for others, and our own come back, are dropped",
	  messages_for_others_and_our_own_come_back_are_dropped },
	{ "only who was asked may answer", only_who_was_asked_may_answer },
	{ "bodies of any shape do no harm, even with the right key",
	  bodies_of_any_shape_do_no_harm_even_with_the_right_key },
};

int main(void)
{
	return bus_tests_run("the bus and strangers", tests, sizeof tests / sizeof *tests);
}
