/* What the files of the bus share; nobody else includes it.
 *
 * link: outward, one per URL: a PUSH socket, its outbox, and what the agent there answered to our HELLO.
 * peer: what callers hold: either "whoever is at this URL" or "the agent of this name". The latter also has the
 *       inward side: the channels on which that agent speaks to us, and its calls.
 * call: ours, in flight. body: the plain bytes of a message, shared by the outbox and the call that may need them
 * again. */
#ifndef CPA_PORTS_BUS_IMPL_H
#define CPA_PORTS_BUS_IMPL_H

#include "agent/ports/bus.h"
#include "lib/base/clock.h"

#define TICK_MS 20        /* while something waits for an answer */
#define IDLE_TICK_MS 1000 /* while sockets are open for nothing */
#define HELLO_WAIT_MIN_NS (200 * NS_PER_MS)
#define HELLO_WAIT_MAX_NS (2 * NS_PER_S)
#define RESEND_MIN_NS NS_PER_S
#define RESEND_MAX_NS (8 * NS_PER_S)
#define PROBE_AFTER_NS NS_PER_S         /* silence after which a known peer is greeted again */
#define RECONNECT_MIN_NS (2 * NS_PER_S) /* silence after which the connection is given up */
#define RECONNECT_MAX_NS (5 * NS_PER_S)
#define IDLE_CLOSE_NS (30 * NS_PER_S)
#define SOCKETS_MAX 480               /* of the 512 that nanomsg has in a process */
#define UNSENT_MAX_NS (10 * NS_PER_S) /* what nobody waits for is kept for a peer out of reach */
#define STALE_EVERY_NS (100 * NS_PER_MS)
#define OUTBOX_MAX_MSGS 4096
#define OUTBOX_MAX_BYTES ((size_t)64 << 20)
#define CONTROL_MAX 64
#define CALLS_MAX 16384
#define CALLS_MAX_BYTES ((size_t)256 << 20)
#define REQUESTS_MAX 1024 /* of one peer, not yet replied to */
#define PEERS_MAX 8192
#define LINKS_MAX 8192
#define CACHE_SLOTS 32 /* replies of one peer's calls kept for a repetition */
#define CACHE_REPLY_MAX 1024
#define CALL_BUCKETS 256
#define RECV_MSGS_PER_TURN 64
#define RECV_BYTES_PER_TURN ((size_t)8 << 20)
#define RECV_MAX_SIZE (4 << 20)

enum bus_kind {
	KIND_HELLO = 1,   /* who are you, and how shall I address you? */
	KIND_WELCOME = 2, /* I am NAME in this life; address me with this token */
	KIND_STALE = 3,   /* that token means nothing in this life */
	KIND_CALL = 4,
	KIND_REPLY = 5,
	KIND_NOTE = 6,
};

/* Plain bytes of a message; see bus_body_make() for the order. */
struct body {
	unsigned refs;
	size_t len;
	_Alignas(16) uint8_t bytes[];
};

/* A received body taken apart; borrowed from the receive buffer. */
struct parts {
	uint64_t id;
	char url[BUS_URL_MAX]; /* where the sender listens, "" if it does not know */
	const uint8_t *head, *data;
	size_t head_len, data_len;
};

/* One message waiting to be sent. */
struct out {
	struct out *next;
	uint8_t kind;
	uint64_t call;                          /* KIND_CALL: its id */
	char to[SEAL_NAME_MAX + 1];             /* "": whoever is there */
	uint8_t to_session[SEAL_SESSION_BYTES]; /* of WELCOME and STALE; others take the link's token */
	int64_t since;
	struct body *body;
};

struct outbox {
	struct out *first, **last;
	size_t msgs, bytes;
};

struct link {
	struct link *next;
	struct bus *bus;
	unsigned refs; /* peers that point here; a link without them goes when it is idle */
	char url[BUS_URL_MAX];
	char mine[BUS_URL_MAX]; /* our own URL as seen from there */

	int sock; /* nanomsg's, or -1 */
	uv_poll_t *poll;
	int polling;
	uint64_t connections; /* that nanomsg has made, one after the other */
	struct outbox control, data;

	int known; /* name, life and token hold */
	char name[SEAL_NAME_MAX + 1];
	uint8_t life[SEAL_SESSION_BYTES];
	uint8_t token[SEAL_SESSION_BYTES];
	struct bus_peer *who; /* the peer of that name */

	int asking; /* a HELLO with this challenge is out */
	uint8_t challenge[SEAL_SESSION_BYTES];
	int64_t hello_at, hello_wait;
	int64_t opened_at, heard_at, used_at, stale_at, wanting_since, reconnect_wait;
	unsigned calls; /* counted afresh by each tick */
};

/* One way in: what a sender's life puts on its messages to us. */
struct channel {
	int set;
	uint8_t life[SEAL_SESSION_BYTES];  /* the sender's */
	uint8_t token[SEAL_SESSION_BYTES]; /* ours, made for this life of it */
	struct seal_window window;
};

struct cached {
	uint64_t id;
	struct body *reply;
};

struct bus_peer {
	struct bus_peer *next;
	struct link *link; /* NULL: of this name, but not heard from yet */
	int by_name;
	char name[SEAL_NAME_MAX + 1]; /* by_name only, as everything below */
	/* now: proven by a message; coming: offered in a WELCOME, and to be proven by its first use. So the
	 * replay of an old HELLO changes nothing. */
	struct channel now, coming;
	int64_t heard_at;
	struct bus_request *requests;
	size_t n_requests;
	struct cached cache[CACHE_SLOTS];
	unsigned cache_next;
};

struct bus_request {
	struct bus_request *next;
	struct bus *bus;       /* NULL: the bus was closed */
	struct bus_peer *peer; /* NULL: its caller was started again */
	uint64_t id;
};

struct call {
	struct call *next; /* in its bucket, or among those that end */
	struct bus_peer *peer;
	uint64_t id;
	struct body *body;
	int queued; /* lies in the outbox */
	int64_t started, deadline, resend_at, resend_wait;
	bus_reply_fn *fn;
	void *ctx;
};

struct bus {
	uv_loop_t *loop;
	uv_timer_t timer;
	uv_poll_t *pull_poll;
	unsigned handles; /* of libuv, not yet closed */
	int closing;
	int pull;
	int ticking; /* ms, 0: the timer is off */

	char name[SEAL_NAME_MAX + 1];
	struct seal_key key;
	uint8_t life[SEAL_SESSION_BYTES];
	uint64_t seq, last_id;
	char urls[BUS_LISTEN_MAX][BUS_URL_MAX];
	size_t n_urls;
	bus_request_fn *on_request;
	bus_note_fn *on_note;
	void *ctx;

	uint8_t *plain; /* SEAL_PLAIN_MAX, for the message being received */
	struct link *links;
	size_t n_links, n_sockets;
	struct bus_peer *peers;
	size_t n_peers;
	struct call *calls[CALL_BUCKETS], *ending;
	size_t n_calls, call_bytes;
	struct bus_stats stats;
	int64_t logged_at;
};

/* ---- bus.c */
void bus_wake_timer(struct bus *bus); /* something now waits */
void bus_log_drop(struct bus *bus, const char *why, const char *from);
void bus_handle_closed(uv_handle_t *h); /* for a uv_poll_t whose data is the bus; frees it */

/* ---- bus_url.c */
struct bus_addr {
	char host[BUS_URL_MAX];
	unsigned port; /* 0: any */
};
int bus_url_parse(const char *url, struct bus_addr *a); /* 0 or ERR_USAGE */
int bus_url_peer_ok(const char *url);                   /* something can be connected to there */
int bus_listen(struct bus *bus, const char *url, struct err *e);
void bus_url_mine(const struct bus *bus, const char *peer_url, char *mine);

/* ---- bus_body.c */
struct body *bus_body_make(const char *url, uint64_t id, const void *head, size_t head_len, const void *data,
                           size_t data_len); /* NULL: too long */
struct body *bus_body_ref(struct body *b);
void bus_body_unref(struct body *b);
int bus_body_parse(const uint8_t *bytes, size_t len, struct parts *p); /* 0, or -1: malformed */
void outbox_init(struct outbox *box);
void outbox_add(struct outbox *box, struct out *o);
struct out *outbox_take(struct outbox *box, struct out **at); /* at: &box->first or some &o->next */
void out_free(struct out *o);

/* ---- bus_sock.c: a link's socket */
int bus_link_open(struct link *l);            /* if it is not open yet; -1: not now */
void bus_link_close(struct link *l);          /* it opens again when there is something to send */
int bus_link_writable(const struct link *l);  /* can one message be sent at this moment? */
void bus_link_want(struct link *l, int want); /* call bus_link_flush() when one can */

/* ---- bus_link.c: what is sent along one */
void bus_link_drop(struct link *l, struct outbox *box, struct out **at); /* a message of one of its two */
void bus_link_control(struct link *l, uint8_t kind, const char *to, const uint8_t *to_session, const void *head,
                      size_t head_len);
/* body stays the caller's. 0, or -1: no room. */
int bus_link_push(struct link *l, uint8_t kind, const char *to, uint64_t call, struct body *body);
void bus_link_hello(struct link *l);
void bus_link_flush(struct link *l);
void bus_link_purge(struct link *l, int64_t now); /* forget what is no longer worth sending */

/* ---- bus_links.c: all of them, and time */
struct link *bus_link_get(struct bus *bus, const char *url); /* found or made; NULL: no URL, or too many */
void bus_link_hold(struct link **place, struct link *l);     /* let *place point to l; either may be NULL */
void bus_link_free_all(struct bus *bus);
int64_t bus_link_heard(const struct link *l);
int bus_links_tick(struct bus *bus, int64_t now); /* ms until it wants to be called again, 0: not at all */

/* ---- bus_peer.c: what a message says about who is where */
struct bus_peer *bus_peer_named(struct bus *bus, const char *name, int make);
void bus_peer_on_hello(struct bus *bus, const struct seal_head *h, const struct parts *p);
void bus_peer_on_welcome(struct bus *bus, const struct seal_head *h, const struct parts *p);
void bus_peer_on_stale(struct bus *bus, const struct seal_head *h, const struct parts *p);
/* The peer that sent a call, reply or note, when it is fresh; else NULL, counted. */
struct bus_peer *bus_peer_admit(struct bus *bus, const struct seal_head *h, const struct parts *p);
void bus_peer_free_all(struct bus *bus);

/* ---- bus_call.c */
struct call *bus_call_find(struct bus *bus, uint64_t id);
void bus_call_left_outbox(struct bus *bus, uint64_t id);
void bus_calls_resend(struct bus *bus, const struct link *l); /* a new life there has not seen them */
void bus_calls_tick(struct bus *bus, int64_t now);
void bus_calls_end(struct bus *bus);
void bus_on_reply(struct bus *bus, struct bus_peer *peer, const struct parts *p, const struct bus_msg *msg);

/* ---- bus_serve.c */
void bus_on_call(struct bus *bus, struct bus_peer *peer, const struct parts *p, const struct bus_msg *msg);
void bus_requests_forget(struct bus_peer *peer, int closing); /* its caller, or the bus, is no more */

#endif
