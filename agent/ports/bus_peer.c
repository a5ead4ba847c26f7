/* Owns who is where: peers by URL and by name, and the handshake that ties a name, a life and a token to a link.
 *
 * A sender's messages are believed when they carry the token that we made for this very life of it, so that no
 * message of an earlier life, its or ours, is ever taken for a new one. A token offered in a WELCOME counts only
 * from its first use: a HELLO that an eavesdropper sends again changes nothing here. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ports/bus_impl.h"

static int same(const uint8_t *a, const uint8_t *b)
{
	return !memcmp(a, b, SEAL_SESSION_BYTES);
}

/* ---- peers -------------------------------------------------------------------------------------- */

static struct bus_peer *peer_make(struct bus *bus)
{
	struct bus_peer *p = bus->n_peers < PEERS_MAX ? calloc(1, sizeof *p) : NULL;

	if (!p)
		return NULL;
	p->next = bus->peers;
	bus->n_peers++;
	return bus->peers = p;
}

struct bus_peer *bus_peer_named(struct bus *bus, const char *name, int make)
{
	for (struct bus_peer **at = &bus->peers; *at; at = &(*at)->next)
		if ((*at)->by_name && !strcmp((*at)->name, name)) {
			struct bus_peer *p = *at; /* to the front: it will be asked for again */

			*at = p->next;
			p->next = bus->peers;
			return bus->peers = p;
		}
	struct bus_peer *p = make ? peer_make(bus) : NULL;

	if (p) {
		p->by_name = 1;
		snprintf(p->name, sizeof p->name, "%s", name);
	}
	return p;
}

struct bus_peer *bus_peer_by_url(struct bus *bus, const char *url, struct err *e)
{
	for (struct bus_peer *p = bus->peers; p; p = p->next)
		if (!p->by_name && !strcmp(p->link->url, url))
			return p;
	if (!bus_url_peer_ok(url)) {
		err_set(e, ERR_USAGE, "%s: not of the form tcp://ADDRESS:PORT", url);
		return NULL;
	}
	struct link *l = bus->closing ? NULL : bus_link_get(bus, url);
	struct bus_peer *p = l ? peer_make(bus) : NULL;

	if (!p) {
		err_set(e, ERR_FAILED, "%s: too many peers, or the bus is closed", url);
		return NULL;
	}
	bus_link_hold(&p->link, l);
	return p;
}

struct bus_peer *bus_peer_by_name(struct bus *bus, const char *name)
{
	struct bus_peer *p = bus_peer_named(bus, name, 0);

	return p && p->link ? p : NULL;
}

const char *bus_peer_name(const struct bus_peer *p)
{
	return p->by_name ? p->name : p->link->name;
}

const char *bus_peer_url(const struct bus_peer *p)
{
	return p->link ? p->link->url : "";
}

int64_t bus_peer_heard_ns(const struct bus_peer *p)
{
	return p->by_name ? p->heard_at : bus_link_heard(p->link);
}

const char *bus_url_for(struct bus *bus, struct bus_peer *p)
{
	if (!p->link)
		return "";
	if (!p->link->mine[0])
		bus_url_mine(bus, p->link->url, p->link->mine);
	return p->link->mine;
}

void bus_peer_free_all(struct bus *bus)
{
	while (bus->peers) {
		struct bus_peer *p = bus->peers;

		bus->peers = p->next;
		bus_requests_forget(p, 1);
		bus_link_hold(&p->link, NULL);
		free(p);
	}
	bus->n_peers = 0;
}

/* ---- the handshake ------------------------------------------------------------------------------ */

void bus_peer_on_hello(struct bus *bus, const struct seal_head *h, const struct parts *p)
{
	struct bus_peer *peer = bus_peer_named(bus, h->from, 1);
	struct link *l = bus_link_get(bus, p->url);
	uint8_t answer[2 * SEAL_SESSION_BYTES];
	struct channel *c;

	if (!peer || !l || p->head_len != SEAL_SESSION_BYTES) {
		bus->stats.dropped_malformed++;
		return;
	}
	c = peer->now.set && same(peer->now.life, h->from_session) ? &peer->now : &peer->coming;
	if (!c->set || !same(c->life, h->from_session)) {
		*c = (struct channel){ .set = 1 };
		memcpy(c->life, h->from_session, SEAL_SESSION_BYTES);
		seal_random(c->token, SEAL_SESSION_BYTES);
	}
	memcpy(answer, p->head, SEAL_SESSION_BYTES);
	memcpy(answer + SEAL_SESSION_BYTES, c->token, SEAL_SESSION_BYTES);
	bus_link_control(l, KIND_WELCOME, h->from, h->from_session, answer, sizeof answer);
}

static struct link *asked(struct bus *bus, const struct parts *p)
{
	if (p->head_len != 2 * SEAL_SESSION_BYTES)
		return NULL;
	for (struct link *l = bus->links; l; l = l->next)
		if (l->asking && same(l->challenge, p->head))
			return l;
	return NULL;
}

void bus_peer_on_welcome(struct bus *bus, const struct seal_head *h, const struct parts *p)
{
	struct link *l = same(h->to_session, bus->life) ? asked(bus, p) : NULL;
	struct bus_peer *who = l ? bus_peer_named(bus, h->from, 1) : NULL;

	if (!who) {
		bus->stats.dropped_stale++;
		return;
	}
	const uint8_t *token = p->head + SEAL_SESSION_BYTES;
	int fresh = !l->known || !same(l->token, token);

	l->known = 1;
	l->asking = 0;
	l->who = who;
	l->heard_at = clock_boot_ns();
	memcpy(l->name, h->from, sizeof l->name);
	memcpy(l->life, h->from_session, SEAL_SESSION_BYTES);
	memcpy(l->token, token, SEAL_SESSION_BYTES);
	/* an agent may be known under two URLs; a link that works in this life is not given up for another */
	if (!who->link || !who->link->known || !same(who->link->life, h->from_session))
		bus_link_hold(&who->link, l);
	if (fresh)
		bus_calls_resend(bus, l);
	bus_link_flush(l);
}

void bus_peer_on_stale(struct bus *bus, const struct seal_head *h, const struct parts *p)
{
	if (!same(h->to_session, bus->life) || p->head_len != SEAL_SESSION_BYTES) {
		bus->stats.dropped_stale++;
		return;
	}
	for (struct link *l = bus->links; l; l = l->next)
		if (l->known && same(l->token, p->head) && !strcmp(l->name, h->from)) {
			l->known = 0;
			l->asking = 0;
			bus_link_hello(l);
			return;
		}
}

/* ---- what came in ------------------------------------------------------------------------------- */

static void answer_stale(struct bus *bus, const struct seal_head *h, const struct parts *p)
{
	int64_t now = clock_boot_ns();
	struct link *l = p->url[0] ? bus_link_get(bus, p->url) : NULL;

	bus->stats.dropped_stale++;
	if (!l || now - l->stale_at < STALE_EVERY_NS)
		return;
	l->stale_at = now;
	bus_link_control(l, KIND_STALE, h->from, h->from_session, h->to_session, SEAL_SESSION_BYTES);
}

static int fits(const struct channel *c, const struct seal_head *h)
{
	return c->set && same(c->life, h->from_session) && same(c->token, h->to_session);
}

/* The sender has proven a new life: what its earlier one asked is nobody's any more. */
static void promote(struct bus_peer *peer)
{
	peer->now = peer->coming;
	peer->coming.set = 0;
	bus_requests_forget(peer, 0);
}

/* Where to answer: along a link that works in the sender's present life, else to the URL it gives. */
static void locate(struct bus *bus, struct bus_peer *peer, const struct parts *p)
{
	struct link *l = peer->link;
	int works = l && l->known && !strcmp(l->name, peer->name); /* else another agent has taken its port */

	if (works && !same(l->life, peer->now.life))
		l->known = l->asking = works = 0; /* started again: its old token is void */
	if (!p->url[0] || works || (l && !strcmp(l->url, p->url)))
		return;
	struct link *there = bus_link_get(bus, p->url);

	if (!there)
		return;
	bus_link_hold(&peer->link, there);
	if (l)
		bus_link_purge(l, peer->heard_at);
	bus_calls_resend(bus, there);
}

struct bus_peer *bus_peer_admit(struct bus *bus, const struct seal_head *h, const struct parts *p)
{
	struct bus_peer *peer = bus_peer_named(bus, h->from, 0);
	int first = peer && fits(&peer->coming, h);
	struct channel *c = first ? &peer->coming : peer && fits(&peer->now, h) ? &peer->now : NULL;

	if (!c) {
		answer_stale(bus, h, p);
		return NULL;
	}
	if (!seal_window_accept(&c->window, h->seq)) {
		bus->stats.dropped_replayed++;
		return NULL;
	}
	if (first)
		promote(peer);
	peer->heard_at = clock_boot_ns();
	locate(bus, peer, p);
	return peer->link ? peer : NULL;
}
