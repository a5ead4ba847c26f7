/* Owns our calls: each is sent again until it is answered or its time is up. And notes, which are not. */
#include <stdlib.h>
#include <string.h>

#include "agent/ports/bus_impl.h"

static struct call **bucket(struct bus *bus, uint64_t id)
{
	return &bus->calls[id % CALL_BUCKETS];
}

static struct call **call_at(struct bus *bus, uint64_t id)
{
	struct call **at = bucket(bus, id);

	while (*at && (*at)->id != id)
		at = &(*at)->next;
	return at;
}

struct call *bus_call_find(struct bus *bus, uint64_t id)
{
	return *call_at(bus, id);
}

static void call_send(struct call *c)
{
	c->resend_at = clock_boot_ns() + c->resend_wait;
	if (c->queued || !c->peer->link)
		return;
	c->queued = 1; /* before, as it may leave the outbox at once */
	if (bus_link_push(c->peer->link, KIND_CALL, c->peer->by_name ? c->peer->name : "", c->id, c->body) < 0)
		c->queued = 0;
}

int bus_call(struct bus *bus, struct bus_peer *peer, const void *head, size_t head_len, const void *data,
             size_t data_len, int64_t timeout_ns, bus_reply_fn *fn, void *ctx)
{
	if (bus->closing || bus->n_calls >= CALLS_MAX || bus->call_bytes >= CALLS_MAX_BYTES)
		return ERR_FAILED;
	struct body *body =
	        bus_body_make(bus_url_for(bus, peer), bus->last_id + 1, head, head_len, data, data_len);
	struct call *c = body ? calloc(1, sizeof *c) : NULL;

	if (!c) {
		bus_body_unref(body);
		return body ? ERR_FAILED : ERR_USAGE;
	}
	c->peer = peer;
	c->id = ++bus->last_id;
	c->body = body;
	c->fn = fn;
	c->ctx = ctx;
	c->started = clock_boot_ns();
	c->deadline = c->started + timeout_ns;
	c->resend_wait = RESEND_MIN_NS;
	c->next = *bucket(bus, c->id);
	*bucket(bus, c->id) = c;
	bus->n_calls++;
	bus->call_bytes += body->len;
	call_send(c);
	bus_wake_timer(bus);
	return 0;
}

int bus_note(struct bus *bus, struct bus_peer *peer, const void *head, size_t head_len, const void *data,
             size_t data_len)
{
	if (bus->closing || !peer->link)
		return ERR_FAILED;
	struct body *body = bus_body_make(bus_url_for(bus, peer), 0, head, head_len, data, data_len);

	if (!body)
		return ERR_USAGE;
	bus_link_push(peer->link, KIND_NOTE, peer->by_name ? peer->name : "", 0, body);
	bus_body_unref(body);
	return 0;
}

void bus_call_left_outbox(struct bus *bus, uint64_t id)
{
	struct call *c = bus_call_find(bus, id);

	if (!c)
		return;
	c->queued = 0;
	c->resend_at = clock_boot_ns() + c->resend_wait;
}

static void call_unlink(struct bus *bus, struct call **at)
{
	struct call *c = *at;

	*at = c->next;
	bus->n_calls--;
	bus->call_bytes -= c->body->len;
}

static void call_end(struct call *c, int status, const struct bus_msg *reply)
{
	bus_reply_fn *fn = c->fn;
	void *ctx = c->ctx;

	bus_body_unref(c->body);
	free(c);
	fn(ctx, status, reply);
}

/* Is somebody there who merely did not answer in time? */
static int unanswered_status(const struct call *c, int64_t now)
{
	const struct link *l = c->peer->link;
	int64_t heard = l ? bus_link_heard(l) : 0;

	return l && l->known && (heard >= c->started || now - heard < RECONNECT_MAX_NS) ? ERR_TIMEOUT
	                                                                                : ERR_NO_AGENT;
}

/* Those in bus->ending; a callback may close the bus, which ends the rest. */
static void end_timed_out(struct bus *bus, int64_t now)
{
	while (bus->ending) {
		struct call *c = bus->ending;

		bus->ending = c->next;
		call_end(c, bus->closing ? ERR_NO_AGENT : unanswered_status(c, now), NULL);
	}
}

static void again(struct bus *bus, struct call *c)
{
	if (!c->queued)
		bus->stats.resent++;
	call_send(c);
}

void bus_calls_tick(struct bus *bus, int64_t now)
{
	for (struct link *l = bus->links; l; l = l->next)
		l->calls = 0;
	for (size_t i = 0; i < CALL_BUCKETS; i++)
		for (struct call **at = &bus->calls[i]; *at;) {
			struct call *c = *at;

			if (now >= c->deadline) {
				call_unlink(bus, at);
				c->next = bus->ending;
				bus->ending = c;
				continue;
			}
			if (c->peer->link)
				c->peer->link->calls++;
			if (!c->queued && now >= c->resend_at) {
				c->resend_wait =
				        c->resend_wait * 2 < RESEND_MAX_NS ? c->resend_wait * 2 : RESEND_MAX_NS;
				again(bus, c);
			}
			at = &c->next;
		}
	end_timed_out(bus, now);
}

void bus_calls_resend(struct bus *bus, const struct link *l)
{
	for (size_t i = 0; i < CALL_BUCKETS; i++)
		for (struct call *c = bus->calls[i]; c; c = c->next)
			if (c->peer->link == l)
				again(bus, c);
}

void bus_calls_end(struct bus *bus)
{
	for (size_t i = 0; i < CALL_BUCKETS; i++)
		while (bus->calls[i]) {
			struct call *c = bus->calls[i];

			call_unlink(bus, &bus->calls[i]);
			c->next = bus->ending;
			bus->ending = c;
		}
	end_timed_out(bus, 0);
}

void bus_on_reply(struct bus *bus, struct bus_peer *peer, const struct parts *p, const struct bus_msg *msg)
{
	struct call **at = call_at(bus, p->id), *c = *at;

	/* only who was asked may answer */
	if (!c || strcmp(bus_peer_name(c->peer), peer->name))
		return;
	call_unlink(bus, at);
	call_end(c, 0, msg);
}
