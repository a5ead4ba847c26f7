/* Owns the bus's life and what comes in: the PULL socket, the opening of each message, and whom it is given to.
 * Takes a bounded number of messages per turn of the loop, so that a flood cannot starve the rest of the agent. */
#include "agent/ports/bus_impl.h"

#include <nanomsg/nn.h>
#include <nanomsg/pipeline.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/log.h"

/* ---- what comes in ------------------------------------------------------------------------------ */

void bus_log_drop(struct bus *bus, const char *why, const char *from)
{
	const struct bus_stats *s = &bus->stats;
	int64_t now = clock_boot_ns();

	if (bus->logged_at && now - bus->logged_at < NS_PER_S)
		return;
	bus->logged_at = now;
	log_warn("bus_dropped",
	         "why=%s from=%s malformed=%llu forged=%llu replayed=%llu misdirected=%llu stale=%llu", why, from,
	         (unsigned long long)s->dropped_malformed, (unsigned long long)s->dropped_forged,
	         (unsigned long long)s->dropped_replayed, (unsigned long long)s->dropped_misdirected,
	         (unsigned long long)s->dropped_stale);
}

static void drop(struct bus *bus, uint64_t *count, const char *why, const char *from)
{
	++*count;
	bus_log_drop(bus, why, from);
}

static void deliver(struct bus *bus, struct bus_peer *peer, const struct seal_head *h, const struct parts *p)
{
	struct bus_msg msg = {
		.peer = peer,
		.from = h->from,
		.session = h->from_session,
		.head = p->head,
		.head_len = p->head_len,
		.data = p->data,
		.data_len = p->data_len,
	};

	if (h->kind == KIND_CALL)
		bus_on_call(bus, peer, p, &msg);
	else if (h->kind == KIND_REPLY)
		bus_on_reply(bus, peer, p, &msg);
	else if (bus->on_note)
		bus->on_note(bus->ctx, &msg);
}

/* An opened message, from a holder of the key. */
static void dispatch(struct bus *bus, const struct seal_head *h, const struct parts *p)
{
	struct bus_stats *s = &bus->stats;
	struct bus_peer *peer;

	switch (h->kind) {
	case KIND_HELLO:
		bus_peer_on_hello(bus, h, p);
		return;
	case KIND_WELCOME:
		bus_peer_on_welcome(bus, h, p);
		return;
	case KIND_STALE:
		bus_peer_on_stale(bus, h, p);
		return;
	case KIND_CALL:
	case KIND_REPLY:
	case KIND_NOTE:
		peer = bus_peer_admit(bus, h, p);
		if (peer)
			deliver(bus, peer, h, p);
		return;
	default: /* of a later version */
		drop(bus, &s->dropped_malformed, "unknown_kind", h->from);
	}
}

static void on_message(struct bus *bus, const void *bytes, size_t len)
{
	struct bus_stats *s = &bus->stats;
	struct seal_head h;
	struct parts p;
	size_t plain_len;
	enum seal_status status = seal_open(&bus->key, bytes, len, &h, bus->plain, SEAL_PLAIN_MAX, &plain_len);

	if (status == SEAL_MALFORMED)
		drop(bus, &s->dropped_malformed, "malformed", "?");
	else if (status == SEAL_FORGED)
		drop(bus, &s->dropped_forged, "forged_or_of_another_key", "?");
	else if (!strcmp(h.from, bus->name)) /* our own come back, or of another agent with our name */
		drop(bus, &s->dropped_misdirected,
		     memcmp(h.from_session, bus->life, SEAL_SESSION_BYTES) ? "namesake" : "reflected", h.from);
	else if (strcmp(h.to, bus->name) && (h.to[0] || h.kind != KIND_HELLO))
		drop(bus, &s->dropped_misdirected, "for_another", h.from);
	else if (bus_body_parse(bus->plain, plain_len, &p) < 0)
		drop(bus, &s->dropped_malformed, "malformed_body", h.from);
	else {
		s->received++;
		s->received_bytes += len;
		dispatch(bus, &h, &p);
	}
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct bus *bus = poll->data;
	size_t bytes = 0;

	(void)status;
	(void)events;
	for (int i = 0; i < RECV_MSGS_PER_TURN && bytes < RECV_BYTES_PER_TURN && !bus->closing; i++) {
		void *msg;
		int n = nn_recv(bus->pull, &msg, NN_MSG, NN_DONTWAIT);

		if (n < 0 && nn_errno() == EINTR)
			continue;
		if (n < 0 && nn_errno() != EAGAIN) {
			log_error("bus_receive", "error=\"%s\"", nn_strerror(nn_errno()));
			uv_poll_stop(poll); /* ETERM, EBADF: it will never work again */
		}
		if (n < 0)
			return;
		on_message(bus, msg, (size_t)n);
		nn_freemsg(msg);
		bytes += (size_t)n;
	}
}

/* ---- time --------------------------------------------------------------------------------------- */

static void on_tick(uv_timer_t *timer)
{
	struct bus *bus = timer->data;
	int64_t now = clock_boot_ns();

	bus_calls_tick(bus, now);
	if (bus->closing)
		return;
	int next = bus_links_tick(bus, now);

	if (bus->n_calls)
		next = TICK_MS;
	if (next == bus->ticking)
		return;
	bus->ticking = next;
	if (next)
		uv_timer_start(timer, on_tick, (uint64_t)next, (uint64_t)next);
	else
		uv_timer_stop(timer);
}

void bus_wake_timer(struct bus *bus)
{
	if (bus->ticking == TICK_MS || bus->closing)
		return;
	bus->ticking = TICK_MS;
	uv_timer_start(&bus->timer, on_tick, TICK_MS, TICK_MS);
}

/* ---- life --------------------------------------------------------------------------------------- */

static void handle_gone(struct bus *bus)
{
	if (--bus->handles || !bus->closing)
		return;
	seal_key_wipe(&bus->key);
	free(bus->plain);
	free(bus);
}

void bus_handle_closed(uv_handle_t *h)
{
	struct bus *bus = h->data;

	free(h);
	handle_gone(bus);
}

static void on_timer_closed(uv_handle_t *h)
{
	handle_gone(h->data);
}

void bus_close(struct bus *bus)
{
	if (!bus || bus->closing)
		return;
	bus->closing = 1;
	bus_calls_end(bus);
	bus_peer_free_all(bus);
	bus_link_free_all(bus);
	if (bus->pull_poll)
		uv_close((uv_handle_t *)bus->pull_poll, bus_handle_closed);
	while (bus->pull >= 0 && nn_close(bus->pull) < 0 && nn_errno() == EINTR)
		;
	bus->pull = -1;
	uv_close((uv_handle_t *)&bus->timer, on_timer_closed);
}

static int pull_open(struct bus *bus, const struct bus_config *cfg, struct err *e)
{
	int max = RECV_MAX_SIZE, fd;
	size_t size = sizeof fd;

	bus->pull = nn_socket(AF_SP, NN_PULL);
	if (bus->pull < 0)
		return err_set(e, ERR_FAILED, "cannot make a nanomsg socket: %s", nn_strerror(nn_errno()));
	nn_setsockopt(bus->pull, NN_SOL_SOCKET, NN_RCVMAXSIZE, &max, sizeof max);
	for (size_t i = 0; i < cfg->n_listen; i++) {
		int rc = bus_listen(bus, cfg->listen[i], e);

		if (rc)
			return rc;
	}
	uv_poll_t *poll = malloc(sizeof *poll);

	if (!poll || nn_getsockopt(bus->pull, NN_SOL_SOCKET, NN_RCVFD, &fd, &size) < 0 ||
	    uv_poll_init(bus->loop, poll, fd) < 0) {
		free(poll);
		return err_set(e, ERR_FAILED, "cannot wait for messages: out of memory or descriptors");
	}
	poll->data = bus;
	bus->pull_poll = poll;
	bus->handles++;
	uv_poll_start(poll, UV_READABLE, on_readable);
	return 0;
}

static int config_check(const struct bus_config *cfg, struct err *e)
{
	if (!seal_name_ok(cfg->name))
		return err_set(
		        e, ERR_USAGE,
		        "agent name \"%s\": use 1 to %d letters, digits, '.', '_' or '-', not starting with '.'",
		        cfg->name ? cfg->name : "", SEAL_NAME_MAX);
	if (cfg->n_listen < 1 || cfg->n_listen > BUS_LISTEN_MAX)
		return err_set(e, ERR_USAGE, "an agent listens on 1 to %d URLs, not %zu", BUS_LISTEN_MAX,
		               cfg->n_listen);
	return sodium_init() < 0 ? err_set(e, ERR_FAILED, "libsodium does not start") : 0;
}

int bus_open(struct bus **out, uv_loop_t *loop, const struct bus_config *cfg, struct err *e)
{
	int rc = config_check(cfg, e);
	struct bus *bus = rc ? NULL : calloc(1, sizeof *bus);

	*out = NULL;
	if (rc)
		return rc;
	if (!bus || !(bus->plain = malloc(SEAL_PLAIN_MAX))) {
		free(bus);
		return err_set(e, ERR_FAILED, "out of memory");
	}
	snprintf(bus->name, sizeof bus->name, "%s", cfg->name);
	bus->loop = loop;
	bus->key = *cfg->key;
	bus->on_request = cfg->on_request;
	bus->on_note = cfg->on_note;
	bus->ctx = cfg->ctx;
	bus->pull = -1;
	seal_random(bus->life, sizeof bus->life);
	uv_timer_init(loop, &bus->timer);
	bus->timer.data = bus;
	bus->handles++;
	rc = pull_open(bus, cfg, e);
	if (rc)
		bus_close(bus); /* goes with the loop's next turn */
	else
		*out = bus;
	return rc;
}

const char *bus_url(const struct bus *bus, size_t i)
{
	return i < bus->n_urls ? bus->urls[i] : NULL;
}

const struct bus_stats *bus_stats(const struct bus *bus)
{
	return &bus->stats;
}
