/* A scan: what the kernel saw written is written down for every region that shares the pages, because asking takes
 * the marks back for all of them. */
#include <errno.h>
#include <stdlib.h>

#include "hooks/regions.h"

static int by_address(const void *a, const void *b)
{
	uintptr_t x = (*(struct region *const *)a)->from, y = (*(struct region *const *)b)->from;

	return x < y ? -1 : x > y;
}

static int sort_regions(struct regions *r)
{
	size_t i;

	if (r->by_address)
		return 0;
	r->by_address = malloc((r->list->n + 1) * sizeof *r->by_address);
	if (!r->by_address)
		return -ENOMEM;
	r->tracked = 0;
	for (i = 0; i < r->list->n; i++)
		if (r->list->at[i]->tracked && !r->list->at[i]->moved)
			r->by_address[r->tracked++] = r->list->at[i];
	qsort(r->by_address, r->tracked, sizeof *r->by_address, by_address);
	return 0;
}

/* Regions that share pages, which are scanned together: a scan takes the marks back for all of them. */
struct span {
	struct region **at;
	size_t n;
	uintptr_t from, to;
	int chosen;
};

static void write_down(const struct span *s, const struct page_run *runs, long n, uint32_t number)
{
	uintptr_t from, to;
	size_t k, first = 0;
	long i;

	for (i = 0; i < n; i++) {
		while (first < s->n && s->at[first]->to <= runs[i].from)
			first++;
		for (k = first; k < s->n && s->at[k]->from < runs[i].to; k++) {
			struct region *g = s->at[k];

			from = runs[i].from > g->from ? (uintptr_t)runs[i].from : g->from;
			to = runs[i].to < g->to ? (uintptr_t)runs[i].to : g->to;
			if (from >= to)
				continue;
			g->seen_last = number;
			g->rest.written += (to - from) / PAGE;
			for (; from < to; from += PAGE)
				g->seen[(from - g->from) / PAGE] = number;
		}
	}
}

/* What was written is lost, so all may have been. If it is for a region whose memory is another now, the others go
 * on; what they write from here on has to be seen. -1: nothing can be tracked any more (a sandbox was entered). */
static int scan_failed(struct regions *r, const struct span *s)
{
	size_t i;

	if (!track_works(r)) {
		regions_forget(r);
		return -1;
	}
	for (i = 0; i < s->n; i++) {
		track_all_changed(s->at[i], r->scan);
		if (!track_is(&r->tracker, r->runs, s->at[i]->from, s->at[i]->to))
			s->at[i]->moved = 1;
	}
	for (i = 0; i < s->n; i++) {
		uintptr_t at = s->at[i]->from;
		long n = s->at[i]->moved ? -1 : 0;

		while (n >= 0 && at < s->at[i]->to)
			n = track_read(&r->tracker, r->runs, &at, s->at[i]->to);
	}
	return 0;
}

static int scan_span(struct regions *r, const struct span *s)
{
	uintptr_t at = s->from;
	long n;

	while (at < s->to) {
		n = track_read(&r->tracker, r->runs, &at, s->to);
		if (n < 0)
			return scan_failed(r, s);
		write_down(s, r->runs, n, r->scan);
	}
	return 0;
}

/* Memory that was mapped anew and then registered by somebody else looks tracked, but tells them, not us. */
static void check_ours(struct regions *r, const struct span *s)
{
	size_t i;

	for (i = 0; i < s->n; i++) {
		struct region *g = s->at[i];

		if (g->chosen && !g->moved && track_watch(&r->tracker, g->from, g->to) != 0)
			g->moved = 1;
	}
}

void track_scan(struct regions *r)
{
	struct span s;
	size_t i;

	if (sort_regions(r) != 0) {
		regions_forget(r); /* without memory for a list: whole copies */
		return;
	}
	for (i = 0; i < r->tracked; i += s.n) {
		s = (struct span){&r->by_address[i], 0, r->by_address[i]->from, r->by_address[i]->to, 0};
		for (; i + s.n < r->tracked && r->by_address[i + s.n]->from < s.to; s.n++) {
			struct region *g = s.at[s.n];

			s.to = g->to > s.to ? g->to : s.to;
			s.chosen |= g->chosen;
		}
		if (!s.chosen)
			continue;
		if (scan_span(r, &s) != 0)
			return;
		check_ours(r, &s);
	}
	for (i = 0; i < r->tracked && r->by_address; i++) {
		if (r->by_address[i]->moved) {
			free(r->by_address);
			r->by_address = NULL;
		}
	}
}
