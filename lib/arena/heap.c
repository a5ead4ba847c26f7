/* Room in the arena's heap. There is no free list: free is what the index does not reach. Allocations are cut
 * from one run of free space; when it is used up, the index is walked for the largest gap, which becomes the next
 * run. So a process may die anywhere in here: what it had taken and not yet put to use is simply free. */
#include <errno.h>
#include <sys/mman.h>

#include "lib/arena/internal.h"
#include "lib/arena/scratch.h"

#define BACK_AHEAD (UINT64_C(256) << 10) /* memory is obtained in steps of this, so that small keys rarely ask */

struct run {
	uint64_t at, end;
};

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

static int cut(struct arena *a, uint64_t bytes, uint64_t align, uint64_t inner, uint64_t *at)
{
	struct arena_header *h = a->head;
	uint64_t from = round_up(load_relaxed(&h->free_at) + inner, align) - inner, end = load_relaxed(&h->free_end);

	if (end > a->heap_bytes || from > end || end - from < bytes)
		return -ENOSPC;
	if (back_up_to(a, from + bytes) != 0)
		return -ENOSPC;
	store_relaxed(&h->free_at, from + bytes);
	*at = from;
	return 0;
}

static int by_offset(const void *x, const void *y, void *with)
{
	const struct run *a = x, *b = y;

	(void)with;
	return (a->at > b->at) - (a->at < b->at);
}

/* Everything that the index reaches, in order. *runs: scratch_free(). */
static int in_use(struct arena *a, struct run **runs, size_t *n)
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
				(*runs)[k++] = (struct run){record_slots(r)[s].at, record_slots(r)[s].at + record_slots(r)[s].length};
	}
	scratch_sort(*runs, k, sizeof **runs, by_offset, NULL);
	*n = k;
	return 0;
}

/* Make the largest gap below `limit` the run that is cut from. */
static int next_run(struct arena *a, uint64_t limit)
{
	struct arena_header *h = a->head;
	struct run best = {0, 0}, *used;
	uint64_t end = 0;
	size_t n, i;
	int rc = in_use(a, &used, &n);

	if (rc)
		return rc;
	for (i = 0; i <= n; i++) {
		uint64_t next = i < n && used[i].at < limit ? used[i].at : limit;

		if (next > end && next - end > best.end - best.at)
			best = (struct run){end, next};
		if (i < n && used[i].end > end)
			end = used[i].end;
	}
	scratch_free(used);
	store_release(&h->free_end, 0); /* a death between these stores leaves an empty run */
	store_release(&h->free_at, best.at);
	store_release(&h->free_end, best.end);
	return 0;
}

int heap_take(struct arena *a, uint64_t bytes, uint64_t align, uint64_t inner, uint64_t *at)
{
	int rc;

	if (bytes > a->heap_bytes)
		return -ENOSPC;
	if (cut(a, bytes, align, inner, at) == 0)
		return 0;
	rc = next_run(a, a->heap_bytes);
	if (rc || cut(a, bytes, align, inner, at) == 0)
		return rc;
	/* no more memory may be had, but some that was had may be free */
	rc = next_run(a, load_relaxed(&a->head->backed));
	return rc ? rc : cut(a, bytes, align, inner, at);
}
