/* Owns the table of links, and the patience with silence: when to greet again, when to give a connection up (a
 * peer that vanished without a word leaves TCP waiting for minutes), when to close a socket that nobody uses. */
#include <nanomsg/nn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ports/bus_impl.h"

/* ---- links -------------------------------------------------------------------------------------- */

struct link *bus_link_get(struct bus *bus, const char *url)
{
	for (struct link **at = &bus->links; *at; at = &(*at)->next)
		if (!strcmp((*at)->url, url)) {
			struct link *l = *at; /* to the front: it will be asked for again */

			*at = l->next;
			l->next = bus->links;
			return bus->links = l;
		}
	struct link *l = bus->n_links < LINKS_MAX && bus_url_peer_ok(url) ? calloc(1, sizeof *l) : NULL;

	if (!l)
		return NULL;
	snprintf(l->url, sizeof l->url, "%s", url);
	l->bus = bus;
	l->sock = -1;
	l->reconnect_wait = RECONNECT_MIN_NS;
	l->used_at = clock_boot_ns();
	outbox_init(&l->control);
	outbox_init(&l->data);
	bus_url_mine(bus, url, l->mine);
	l->next = bus->links;
	bus->n_links++;
	return bus->links = l;
}

void bus_link_hold(struct link **place, struct link *l)
{
	if (*place)
		(*place)->refs--;
	if (l)
		l->refs++;
	*place = l;
}

static void link_free(struct link *l)
{
	bus_link_close(l);
	while (l->control.first)
		bus_link_drop(l, &l->control, &l->control.first);
	while (l->data.first)
		bus_link_drop(l, &l->data, &l->data.first);
	l->bus->n_links--;
	free(l);
}

void bus_link_free_all(struct bus *bus)
{
	while (bus->links) {
		struct link *l = bus->links;

		bus->links = l->next;
		link_free(l);
	}
}

static int64_t later(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* ---- patience ----------------------------------------------------------------------------------- */

int64_t bus_link_heard(const struct link *l)
{
	int same_life = l->who && l->who->now.set && !memcmp(l->who->now.life, l->life, SEAL_SESSION_BYTES);

	return same_life ? later(l->heard_at, l->who->heard_at) : l->heard_at;
}

static void reconnect(struct link *l)
{
	bus_link_close(l);
	l->bus->stats.reconnects++;
	l->mine[0] = 0; /* the address that faces it may have changed */
	l->reconnect_wait *= 2;
	if (l->reconnect_wait > RECONNECT_MAX_NS)
		l->reconnect_wait = RECONNECT_MAX_NS;
	bus_link_hello(l);
}

static int hello_due(const struct link *l, int64_t now, int64_t silent)
{
	if (!l->known || l->asking)
		return now - l->hello_at > l->hello_wait;
	return silent > PROBE_AFTER_NS && now - l->hello_at > PROBE_AFTER_NS;
}

/* nanomsg makes a broken connection again without a word, but what was under way in the old one is lost. */
static void see_reconnection(struct link *l)
{
	uint64_t n = l->sock >= 0 ? nn_get_statistic(l->sock, NN_STAT_ESTABLISHED_CONNECTIONS) : 0;
	int again = l->connections && n > l->connections;

	l->connections = n;
	if (again && l->known)
		bus_calls_resend(l->bus, l);
}

static void wanting_tick(struct link *l, int64_t now)
{
	int64_t heard = bus_link_heard(l);

	if (!l->wanting_since)
		l->wanting_since = now;
	if (!l->calls && !l->data.first) {
		bus_link_flush(l); /* only an answer to something: whoever asked will ask again */
		return;
	}
	see_reconnection(l);
	if (heard > l->opened_at)
		l->reconnect_wait = RECONNECT_MIN_NS;
	int64_t silent = now - later(heard, l->wanting_since);

	if (l->sock >= 0 && silent > l->reconnect_wait && now - l->opened_at > l->reconnect_wait)
		reconnect(l);
	else if (hello_due(l, now, silent))
		bus_link_hello(l);
	else if (!l->polling)
		bus_link_flush(l); /* the socket could not be opened before */
}

static int wanting(const struct link *l)
{
	return l->control.first || l->data.first || l->calls;
}

static void idle_tick(struct link *l, int64_t now)
{
	l->wanting_since = 0;
	if (now - l->hello_at > HELLO_WAIT_MAX_NS)
		l->asking = 0;
	if (now - l->used_at > IDLE_CLOSE_NS)
		bus_link_close(l);
}

int bus_links_tick(struct bus *bus, int64_t now)
{
	int next = 0;

	for (struct link **at = &bus->links; *at;) {
		struct link *l = *at;

		bus_link_purge(l, now);
		if (wanting(l)) {
			wanting_tick(l, now);
			next = TICK_MS;
		} else {
			idle_tick(l, now);
			if (!l->refs && l->sock < 0) {
				*at = l->next;
				link_free(l);
				continue;
			}
			if (!next && l->sock >= 0)
				next = IDLE_TICK_MS;
		}
		at = &l->next;
	}
	return next;
}
