/* The order in which a restart tries what is held. Owns nothing; sorts pointers to the caller's holdings. */
#include "agent/core/source.h"

#include <string.h>

const char *source_kind_name(enum source_kind k)
{
	static const char *const names[] = {
		[SOURCE_SNAPSHOT] = "snapshot",
		[SOURCE_KEYS] = "keys",
		[SOURCE_ANEW] = "anew",
	};
	return (unsigned)k < sizeof names / sizeof *names ? names[k] : "?";
}

static bool mode_uses(const struct source_wish *w, enum source_kind kind)
{
	switch (w->mode) {
	case MODE_PROCESS:
		return kind == SOURCE_SNAPSHOT;
	case MODE_KEYED:
		return kind == SOURCE_KEYS;
	case MODE_AUTO:
		break;
	}
	return kind == SOURCE_SNAPSHOT || (kind == SOURCE_KEYS && w->by_keys);
}

static bool usable(const struct source_wish *w, const struct holding *h)
{
	if (!h->reachable || h->bad || (w->level && h->level != w->level))
		return false;
	if (w->generation)
		return h->kind == SOURCE_SNAPSHOT && h->number == w->generation;
	return mode_uses(w, h->kind);
}

static int order(uint64_t a, uint64_t b)
{
	return a < b ? 1 : a > b ? -1 : 0; /* the greater first */
}

/* Negative when a is tried before b. */
static int compare(const struct holding *a, const struct holding *b)
{
	int c = (a->crashes >= SOURCE_CRASHES) - (b->crashes >= SOURCE_CRASHES);
	if (!c)
		c = order(a->incarnation, b->incarnation);
	/* numbers of snapshots and of keys count different things */
	if (!c && a->kind == b->kind)
		c = order(a->number, b->number);
	if (!c)
		c = a->time < b->time ? 1 : a->time > b->time ? -1 : 0;
	if (!c)
		c = a->level - b->level;
	if (!c)
		c = strcmp(a->holder, b->holder);
	return c;
}

/* Insertion: the lists are short, and their order must not depend on a library's sort. */
static size_t insert(struct source *out, size_t n, const struct holding *h)
{
	size_t i = n;
	for (; i > 0 && compare(h, out[i - 1].from) < 0; i--)
		out[i] = out[i - 1];
	out[i] = (struct source){h->kind, h};
	return n + 1;
}

size_t source_order(const struct source_wish *wish, const struct holding *h, size_t n, struct source *out)
{
	size_t count = 0;
	for (size_t i = 0; i < n; i++)
		if (usable(wish, &h[i]))
			count = insert(out, count, &h[i]);
	if (!wish->level && !wish->generation)
		out[count++] = (struct source){SOURCE_ANEW, NULL};
	return count;
}
