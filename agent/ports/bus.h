/* The bus between agents: sealed requests, replies and notes over nanomsg, on the agent's libuv loop.
 *
 * One PULL socket receives on the listen URLs; each peer is reached by a PUSH socket of its own, opened when it
 * is needed. A message goes to a peer directly: nothing is routed here. Every message is sealed with the cluster
 * key and bound to sender, receiver and both their lives (docs/protocol.md). Either side may be killed and
 * started again: calls in flight are sent again until they are answered or time out.
 *
 * Everything here runs on the loop's thread. Callbacks are never made from inside bus_call() or bus_note(), and
 * may call anything here, bus_close() included. */
#ifndef CPA_PORTS_BUS_H
#define CPA_PORTS_BUS_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "lib/base/err.h"
#include "lib/wire/seal.h"

#define BUS_URL_MAX 256
#define BUS_LISTEN_MAX 8
/* the most that head and data of one message may have together */
#define BUS_PAYLOAD_MAX (SEAL_PLAIN_MAX - 512)

struct bus;
struct bus_peer;    /* an agent, by its URL or by its name; borrowed from the bus, valid until bus_close() */
struct bus_request; /* a call that waits for our reply; owned by the handler until bus_reply() */

/* One received message. Everything is borrowed for the time of the callback. head and data are aligned to 16. */
struct bus_msg {
	struct bus_peer *peer;  /* the sender, to answer or to call; the same pointer for the same name */
	const char *from;       /* its name, authenticated */
	const uint8_t *session; /* its life, SEAL_SESSION_BYTES: another value means it was started again */
	const void *head;
	size_t head_len;
	const void *data;
	size_t data_len;
};

/* A call came in. Answer it with bus_reply(), now or later, exactly once. A call may come again after its reply
 * was lost or one side was started again: what it does must be idempotent. */
typedef void bus_request_fn(void *ctx, struct bus_request *req, const struct bus_msg *msg);
typedef void bus_note_fn(void *ctx, const struct bus_msg *msg);

/* How a call ended: 0 and the reply; ERR_TIMEOUT: the peer is there but did not answer in time; ERR_NO_AGENT: the
 * peer was not to be reached, or the bus was closed. reply is NULL unless status is 0. */
typedef void bus_reply_fn(void *ctx, int status, const struct bus_msg *reply);

struct bus_config {
	const char *name;           /* this agent's, as seal_name_ok(); copied */
	const struct seal_key *key; /* copied */
	const char *const *listen;  /* "tcp://ADDR:PORT"; ADDR "*" or 0.0.0.0: all; PORT 0 or "*": a free one */
	size_t n_listen;            /* 1 to BUS_LISTEN_MAX */
	bus_request_fn *on_request;
	bus_note_fn *on_note; /* may be NULL */
	void *ctx;
};

/* Bind and be ready to receive. ERR_USAGE: a name, URL or port that is no such thing; ERR_FAILED: it is in use or
 * cannot be bound, and e says what to do. */
int bus_open(struct bus **out, uv_loop_t *loop, const struct bus_config *cfg, struct err *e);

/* End everything: calls in flight end with ERR_NO_AGENT before this returns, requests not yet replied to may
 * still be given to bus_reply() (to no effect). Its memory and handles go when the loop runs once more. NULL, or
 * a second call before that, does nothing. */
void bus_close(struct bus *bus);

/* The i-th URL listened on, with the real port; NULL behind the last. */
const char *bus_url(const struct bus *bus, size_t i);

/* The URL under which peer is told to reach us: of a wildcard, the address that faces it. "" if there is none. */
const char *bus_url_for(struct bus *bus, struct bus_peer *peer);

/* The local address that faces url's host, such as "10.0.0.2", to listen on. ERR_USAGE: no URL; ERR_FAILED: no
 * route or an unknown host. */
int bus_facing(const char *url, char *addr, size_t size, struct err *e);

/* The peer at a URL; nothing is sent yet. It stays at this URL whoever answers there. NULL and e: no URL. */
struct bus_peer *bus_peer_by_url(struct bus *bus, const char *url, struct err *e);

/* The agent of this name, wherever it last proved to be. NULL: nothing was heard of it in this life. */
struct bus_peer *bus_peer_by_name(struct bus *bus, const char *name);

/* "" while nobody answered there. */
const char *bus_peer_name(const struct bus_peer *peer);
const char *bus_peer_url(const struct bus_peer *peer);
/* CLOCK_BOOTTIME of the newest authenticated message from it; 0: none yet. */
int64_t bus_peer_heard_ns(const struct bus_peer *peer);

/* Ask peer. head and data are copied (either may be empty). fn is called exactly once, at the latest after
 * timeout_ns (plus some 20 ms). Not 0: too long, or too much under way; then fn is not called. */
int bus_call(struct bus *bus, struct bus_peer *peer, const void *head, size_t head_len, const void *data,
             size_t data_len, int64_t timeout_ns, bus_reply_fn *fn, void *ctx);

/* Tell peer, once, and never hear whether it arrived. Not 0: too long. */
int bus_note(struct bus *bus, struct bus_peer *peer, const void *head, size_t head_len, const void *data,
             size_t data_len);

/* Answer a call, and give the request back. Not 0: too long; the request is given back all the same and the
 * caller will time out. */
int bus_reply(struct bus_request *req, const void *head, size_t head_len, const void *data, size_t data_len);

struct bus_stats {
	uint64_t sent, sent_bytes;         /* messages handed to nanomsg, of all kinds */
	uint64_t received, received_bytes; /* messages that opened */
	uint64_t dropped_malformed;        /* not of this format */
	uint64_t dropped_forged;           /* another key, or altered */
	uint64_t dropped_replayed;         /* a number seen before */
	uint64_t dropped_misdirected;      /* for another agent, or our own come back */
	uint64_t dropped_stale;            /* of an earlier life; the sender was told */
	uint64_t dropped_overflow;         /* outgoing, for lack of room */
	uint64_t resent;                   /* calls sent again */
	uint64_t duplicates;               /* calls recognised as known */
	uint64_t reconnects;
};
const struct bus_stats *bus_stats(const struct bus *bus);

#endif
