/* Owns what is sent along a link: its two queues, which message is next, and the sealing. */
#include <nanomsg/nn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ports/bus_impl.h"

/* Seal and send one. 0: gone, for good or ill; -1: not now. */
static int send_one(struct link *l, const struct out *o)
{
	struct bus *bus = l->bus;
	int control = o->kind <= KIND_STALE;
	struct seal_head h = { .kind = o->kind, .seq = bus->seq + 1 };

	snprintf(h.from, sizeof h.from, "%s", bus->name);
	snprintf(h.to, sizeof h.to, "%s", control ? o->to : l->name);
	memcpy(h.from_session, bus->life, SEAL_SESSION_BYTES);
	memcpy(h.to_session, control ? o->to_session : l->token, SEAL_SESSION_BYTES);
	size_t size = seal_size(&h, o->body->len);
	void *msg = size ? nn_allocmsg(size, 0) : NULL;

	if (!msg)
		return size ? -1 : 0;
	seal_message(&bus->key, &h, o->body->bytes, o->body->len, msg);
	if (nn_send(l->sock, &msg, NN_MSG, NN_DONTWAIT) < 0) {
		nn_freemsg(msg);
		return -1;
	}
	bus->seq++;
	bus->stats.sent++;
	bus->stats.sent_bytes += size;
	l->used_at = clock_boot_ns();
	return 0;
}

void bus_link_drop(struct link *l, struct outbox *box, struct out **at)
{
	struct out *o = outbox_take(box, at);

	if (o->kind == KIND_CALL)
		bus_call_left_outbox(l->bus, o->call);
	out_free(o);
}

/* For an agent that is not the one at this URL, or a call that has ended or goes another way meanwhile. */
static int pointless(const struct link *l, const struct out *o)
{
	if (o->kind == KIND_CALL) {
		const struct call *c = bus_call_find(l->bus, o->call);

		if (!c || c->peer->link != l)
			return 1;
	}
	return l->known && o->to[0] && strcmp(o->to, l->name);
}

static void purge_box(struct link *l, struct outbox *box, int64_t now)
{
	for (struct out **at = &box->first; *at;) {
		struct out *o = *at;

		if (box == &l->control || o->kind != KIND_CALL ? now - o->since < UNSENT_MAX_NS : !pointless(l, o))
			at = &o->next;
		else
			bus_link_drop(l, box, at);
	}
}

void bus_link_purge(struct link *l, int64_t now)
{
	purge_box(l, &l->control, now);
	purge_box(l, &l->data, now);
}

/* The next to be sent, NULL if there is none. */
static struct outbox *next_box(struct link *l)
{
	if (l->control.first)
		return &l->control;
	while (l->known && l->data.first) {
		if (!pointless(l, l->data.first))
			return &l->data;
		bus_link_drop(l, &l->data, &l->data.first);
	}
	return NULL;
}

void bus_link_flush(struct link *l)
{
	struct outbox *box;

	if (l->bus->closing)
		return;
	if (l->data.first && !l->known && !l->asking)
		bus_link_hello(l);
	while ((box = next_box(l))) {
		if (bus_link_open(l) < 0 || !bus_link_writable(l) || send_one(l, box->first) < 0) {
			bus_link_want(l, 1);
			bus_wake_timer(l->bus);
			return;
		}
		bus_link_drop(l, box, &box->first);
	}
	bus_link_want(l, 0);
	bus_wake_timer(l->bus);
}

/* Notes go first when there is no room. */
static int make_room(struct link *l, size_t bytes)
{
	struct out **at = &l->data.first;

	while (l->data.msgs >= OUTBOX_MAX_MSGS || l->data.bytes + bytes > OUTBOX_MAX_BYTES) {
		while (*at && (*at)->kind != KIND_NOTE)
			at = &(*at)->next;
		l->bus->stats.dropped_overflow++;
		if (!*at)
			return -1;
		out_free(outbox_take(&l->data, at));
	}
	return 0;
}

static struct out *out_make(uint8_t kind, const char *to, struct body *body)
{
	struct out *o = calloc(1, sizeof *o);

	if (!o)
		return NULL;
	o->kind = kind;
	o->since = clock_boot_ns();
	o->body = bus_body_ref(body);
	snprintf(o->to, sizeof o->to, "%s", to);
	return o;
}

int bus_link_push(struct link *l, uint8_t kind, const char *to, uint64_t call, struct body *body)
{
	if (make_room(l, body->len) < 0)
		return -1;
	struct out *o = out_make(kind, to, body);

	if (!o)
		return -1;
	o->call = call;
	outbox_add(&l->data, o);
	bus_link_flush(l);
	return 0;
}

/* The same again, because whoever should have it could not be reached meanwhile? */
static int repeats(const struct out *old, uint8_t kind, const char *to, const struct body *body)
{
	return old->kind == kind && !strcmp(old->to, to) &&
	       (kind != KIND_WELCOME ||
	        (old->body->len == body->len && !memcmp(old->body->bytes, body->bytes, body->len)));
}

void bus_link_control(struct link *l, uint8_t kind, const char *to, const uint8_t *to_session, const void *head,
                      size_t head_len)
{
	if (!l->mine[0])
		bus_url_mine(l->bus, l->url, l->mine);
	struct body *body = bus_body_make(l->mine, 0, head, head_len, NULL, 0);

	if (!body)
		return;
	for (struct out **at = &l->control.first; *at; at = &(*at)->next)
		if (repeats(*at, kind, to, body)) {
			out_free(outbox_take(&l->control, at));
			break;
		}
	struct out *o = l->control.msgs < CONTROL_MAX ? out_make(kind, to, body) : NULL;

	bus_body_unref(body);
	if (!o)
		return;
	if (to_session)
		memcpy(o->to_session, to_session, SEAL_SESSION_BYTES);
	outbox_add(&l->control, o);
	bus_link_flush(l);
}

void bus_link_hello(struct link *l)
{
	if (!l->asking) {
		seal_random(l->challenge, sizeof l->challenge);
		l->asking = 1;
		l->hello_wait = HELLO_WAIT_MIN_NS;
	} else if (l->hello_wait < HELLO_WAIT_MAX_NS) {
		l->hello_wait *= 2;
	}
	l->hello_at = clock_boot_ns();
	bus_link_control(l, KIND_HELLO, "", NULL, l->challenge, sizeof l->challenge);
}
