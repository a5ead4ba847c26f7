/* Room in the arena's heap. Free is what the index does not reach. Allocations are cut from one run of free space; when
 * it is used up, another gap becomes the next run: one of the largest that the last walk of the index found, or, when
 * none of these fits, a new walk finds others. What is written down is in one place at most, the run or one gap, at every
 * instruction. So a process may die anywhere in here: what it had taken and not yet put to use, or taken out of the
 * gaps, is simply free, and the next walk finds it. */
#include <errno.h>
#include <sys/mman.h>

#include "lib/arena/internal.h"
#include "lib/arena/scratch.h"

#define BACK_AHEAD (UINT64_C(256) << 10) /* memory is obtained in steps of this, so that small keys rarely ask */

/* Kernels before 5.14 do not know the advice; there the risk stays. */
int heap_back(void *from, uint64_t bytes)
{
	return madvise(from, bytes, MADV_POPULATE_WRITE) == 0 || errno == EINVAL ? 0 : -ENOSPC;
}

static int back_up_to(struct arena *a, uint64_t end)
{
	uint64_t from = load_relaxed(&a->head->backed), ahead = round_up(end, BACK_AHEAD);

	if (end <= from)
		return 0;
	if (from % 4096)
		return -EPROTO;
	if (ahead > a->heap_bytes)
		ahead = a->heap_bytes;
	if (heap_back(a->heap + from, ahead - from) != 0) {
		ahead = round_up(end, 4096);
		if (heap_back(a->heap + from, ahead - from) != 0)
			return -ENOSPC;
	}
	store_relaxed(&a->head->backed, ahead);
	return 0;
}

/* Where an allocation would begin in a gap. 0: it does not fit. */
static int fits(const struct arena *a, const struct arena_gap *g, uint64_t bytes, uint64_t align, uint64_t inner,
		uint64_t *from)
{
	if (g->end > a->heap_bytes || g->at > g->end)
		return 0;
	*from = round_up(g->at + inner, align) - inner;
	return *from <= g->end && g->end - *from >= bytes;
}

/* -ENOSPC: it does not fit into the run; -ENOMEM: it does, but no memory can be had there. */
static int cut(struct arena *a, uint64_t bytes, uint64_t align, uint64_t inner, uint64_t *at)
{
	struct arena_header *h = a->head;
	const struct arena_gap run = {load_relaxed(&h->free_at), load_relaxed(&h->free_end)};
	uint64_t from;

	if (!fits(a, &run, bytes, align, inner, &from))
		return -ENOSPC;
	if (back_up_to(a, from + bytes) != 0)
		return -ENOMEM;
	store_relaxed(&h->free_at, from + bytes);
	*at = from;
	return 0;
}

/* A death between these stores leaves an empty run or gap. */
static void set_gap(uint64_t *at, uint64_t *end, struct arena_gap is)
{
	store_release(end, 0);
	store_release(at, is.at);
	store_release(end, is.end);
}

/* The first of the gaps in which it fits changes places with the run. */
static int next_gap(struct arena *a, uint64_t bytes, uint64_t align, uint64_t inner)
{
	struct arena_header *h = a->head;
	const struct arena_gap run = {load_relaxed(&h->free_at), load_relaxed(&h->free_end)};
	uint64_t from;
	size_t i;

	for (i = 0; i < ARENA_GAPS; i++) {
		const struct arena_gap g = {load_relaxed(&h->gap[i].at), load_relaxed(&h->gap[i].end)};

		if (!fits(a, &g, bytes, align, inner, &from))
			continue;
		store_release(&h->gap[i].end, 0);
		set_gap(&h->free_at, &h->free_end, g);
		set_gap(&h->gap[i].at, &h->gap[i].end, run);
		return 0;
	}
	return -ENOSPC;
}

static int by_offset(const void *x, const void *y, void *with)
{
	const struct arena_gap *a = x, *b = y;

	(void)with;
	return (a->at > b->at) - (a->at < b->at);
}

/* Everything that the index reaches, in order. *runs: scratch_free(). */
static int in_use(struct arena *a, struct arena_gap **runs, size_t *n)
{
	uint32_t table = index_table(a), s;
	uint64_t b, max = 0;
	struct arena_record *r;
	size_t k = 0;

	for (b = 0; b < table_buckets(table); b++)
		if ((r = index_at(a, table, b)))
			max += 1 + r->slots;
	*runs = scratch_more(NULL, (max + 1) * sizeof **runs);
	if (!*runs)
		return -ENOMEM;
	for (b = 0; b < table_buckets(table) && k < max; b++) {
		if (!(r = index_at(a, table, b)))
			continue;
		(*runs)[k].at = (uint64_t)((uint8_t *)r - a->heap);
		(*runs)[k].end = (*runs)[k].at + arena_record_bytes(r->slots, r->name_bytes);
		k++;
		for (s = 0; s < r->slots && k < max; s++)
			if (record_slots(r)[s].length)
				(*runs)[k++] = (struct arena_gap){record_slots(r)[s].at, record_slots(r)[s].at + record_slots(r)[s].length};
	}
	scratch_sort(*runs, k, sizeof **runs, by_offset, NULL);
	*n = k;
	return 0;
}

static int by_length(const void *x, const void *y, void *with)
{
	const struct arena_gap *a = x, *b = y;
	uint64_t m = a->end - a->at, n = b->end - b->at;

	(void)with;
	return (m < n) - (m > n);
}

/* What is free below limit between those in use, which are in order: in their place, the largest first. The list has
 * room for one more. Returns their number. */
static size_t between(struct arena_gap *used, size_t n, uint64_t limit)
{
	uint64_t end = 0;
	size_t i, k = 0;

	for (i = 0; i <= n; i++) {
		const struct arena_gap u = i < n && used[i].at < limit ? used[i] : (struct arena_gap){limit, limit};

		if (u.at > end)
			used[k++] = (struct arena_gap){end, u.at};
		if (u.end > end)
			end = u.end;
	}
	scratch_sort(used, k, sizeof *used, by_length, NULL);
	return k;
}

/* Make the largest gap below `limit` the run that is cut from, and write down those that follow. */
static int walk_for_gaps(struct arena *a, uint64_t limit)
{
	struct arena_header *h = a->head;
	struct arena_gap *list, none = {0, 0};
	size_t n, i;
	int rc = in_use(a, &list, &n);

	if (rc)
		return rc;
	n = between(list, n, limit);
	store_release(&h->free_end, 0);
	for (i = 0; i < ARENA_GAPS; i++)
		store_release(&h->gap[i].end, 0);
	set_gap(&h->free_at, &h->free_end, n ? list[0] : none);
	for (i = 0; i < ARENA_GAPS; i++)
		set_gap(&h->gap[i].at, &h->gap[i].end, i + 1 < n ? list[i + 1] : none);
	scratch_free(list);
	return 0;
}

/* As cut(), also from the gaps. */
static int find(struct arena *a, uint64_t bytes, uint64_t align, uint64_t inner, uint64_t *at)
{
	int rc = cut(a, bytes, align, inner, at);

	if (rc == -ENOSPC && next_gap(a, bytes, align, inner) == 0)
		rc = cut(a, bytes, align, inner, at);
	return rc;
}

int heap_take(struct arena *a, uint64_t bytes, uint64_t align, uint64_t inner, uint64_t *at)
{
	int rc, found;

	if (bytes > a->heap_bytes)
		return -ENOSPC;
	found = find(a, bytes, align, inner, at);
	if (found == -ENOSPC) {
		rc = walk_for_gaps(a, a->heap_bytes);
		if (rc)
			return rc;
		found = find(a, bytes, align, inner, at);
	}
	if (found == -ENOMEM) { /* no more memory may be had, but some that was had may be free */
		rc = walk_for_gaps(a, load_relaxed(&a->head->backed));
		if (rc)
			return rc;
		found = find(a, bytes, align, inner, at);
	}
	return found ? -ENOSPC : 0;
}

int heap_take_less(struct arena *a, uint64_t bytes, uint64_t align, uint64_t inner, uint64_t *at)
{
	return find(a, bytes, align, inner, at) == 0 ? 0 : -ENOSPC;
}
