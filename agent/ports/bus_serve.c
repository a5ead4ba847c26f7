/* Owns the calls that came in: each is run once however often it arrives, as long as it is under way or its reply
 * is still kept. */
#include <stdlib.h>

#include "agent/ports/bus_impl.h"

static struct cached *cached_find(struct bus_peer *peer, uint64_t id)
{
	for (size_t i = 0; i < CACHE_SLOTS; i++)
		if (peer->cache[i].reply && peer->cache[i].id == id)
			return &peer->cache[i];
	return NULL;
}

/* Known: under way, or answered not long ago. */
static int seen(struct bus *bus, struct bus_peer *peer, uint64_t id)
{
	struct cached *c = cached_find(peer, id);

	for (struct bus_request *r = peer->requests; r; r = r->next)
		if (r->id == id) {
			bus->stats.duplicates++;
			return 1;
		}
	if (!c)
		return 0;
	bus->stats.duplicates++;
	bus_link_push(peer->link, KIND_REPLY, peer->name, 0, c->reply);
	return 1;
}

void bus_on_call(struct bus *bus, struct bus_peer *peer, const struct parts *p, const struct bus_msg *msg)
{
	if (seen(bus, peer, p->id) || peer->n_requests >= REQUESTS_MAX)
		return;
	struct bus_request *r = calloc(1, sizeof *r);

	if (!r)
		return;
	*r = (struct bus_request){ .next = peer->requests, .bus = bus, .peer = peer, .id = p->id };
	peer->requests = r;
	peer->n_requests++;
	bus->on_request(bus->ctx, r, msg);
}

static void keep(struct bus_peer *peer, uint64_t id, struct body *reply)
{
	struct cached *c = &peer->cache[peer->cache_next++ % CACHE_SLOTS];

	bus_body_unref(c->reply);
	*c = (struct cached){ .id = id, .reply = bus_body_ref(reply) };
}

static void request_unlink(struct bus_request *req)
{
	struct bus_request **at = &req->peer->requests;

	while (*at != req)
		at = &(*at)->next;
	*at = req->next;
	req->peer->n_requests--;
}

int bus_reply(struct bus_request *req, const void *head, size_t head_len, const void *data, size_t data_len)
{
	struct bus_peer *peer = req->peer;

	if (!req->bus || !peer) {
		free(req);
		return 0;
	}
	request_unlink(req);
	struct body *body = bus_body_make(bus_url_for(req->bus, peer), req->id, head, head_len, data, data_len);
	uint64_t id = req->id;

	free(req);
	if (!body)
		return ERR_USAGE;
	if (body->len <= CACHE_REPLY_MAX)
		keep(peer, id, body);
	bus_link_push(peer->link, KIND_REPLY, peer->name, 0, body);
	bus_body_unref(body);
	return 0;
}

void bus_requests_forget(struct bus_peer *peer, int closing)
{
	for (struct bus_request *r = peer->requests, *next; r; r = next) {
		next = r->next;
		r->peer = NULL;
		if (closing)
			r->bus = NULL;
	}
	peer->requests = NULL;
	peer->n_requests = 0;
	for (size_t i = 0; i < CACHE_SLOTS; i++) {
		bus_body_unref(peer->cache[i].reply);
		peer->cache[i] = (struct cached){ .reply = NULL };
	}
}
