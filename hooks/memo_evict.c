/* Room for memos: the bytes of all results are counted under one key, so that a commit compares two numbers; only
 * when they are too many, or the arena is full, all keys are walked, and then a good part of the results goes at once.
 * What users checkpoint is never touched. */
#include <errno.h>

#include "hooks/memo_impl.h"
#include "lib/arena/scratch.h"

#define AT_ONCE 8 /* each walk forgets at least this part of the results */

struct results {
	struct arena_found *list; /* of these, the first n are results, the least recently used first */
	size_t n;
	uint64_t bytes;  /* of their data */
	uint64_t others; /* bytes of the heap that everything else takes */
	uint32_t now;
};

static uint32_t age(const struct arena_found *f, uint32_t now)
{
	return now - f->used;
}

static int older_first(const void *x, const void *y, void *now)
{
	uint32_t a = age(x, *(uint32_t *)now), b = age(y, *(uint32_t *)now);

	return (a < b) - (a > b);
}

static int find_results(cpa *cp, const char *prefix, struct results *rs)
{
	size_t n, i;
	int rc, result;

	*rs = (struct results){0};
	rc = arena_find(cp->arena, prefix, &rs->list, &n);
	if (rc)
		return rc;
	for (i = 0; i < n; i++) {
		if (memo_name_in(rs->list[i].key, &result) && result) {
			rs->bytes += rs->list[i].bytes;
			rs->list[rs->n++] = rs->list[i];
		} else {
			rs->others += rs->list[i].takes;
		}
	}
	rs->now = __atomic_load_n(&cp->arena->head->uses, __ATOMIC_RELAXED);
	if (rs->n)
		scratch_sort(rs->list, rs->n, sizeof *rs->list, older_first, &rs->now);
	return 0;
}

/* The count becomes what was found, give or take what others commit meanwhile. */
static void settle(cpa *cp, const uint64_t before[2], uint64_t bytes, uint64_t results)
{
	const int64_t add[2] = {(int64_t)(bytes - before[0]), (int64_t)(results - before[1])};

	(void)memo_add(cp, MEMO_PREFIX, results > 0, add, NULL);
}

int memo_fit(cpa *cp, uint64_t limit)
{
	uint64_t before[2], gone = 0, own = 0, own_n = 0; /* what others take out, they count */
	struct results rs;
	size_t i;
	int rc;

	(void)memo_numbers(cp, MEMO_PREFIX, before);
	rc = find_results(cp, MEMO_PREFIX, &rs);
	if (rc)
		return rc;
	for (i = 0; limit && rs.bytes > limit && i < rs.n && (rs.bytes - gone > limit || i < rs.n / AT_ONCE); i++) {
		rc = arena_reset(cp->arena, rs.list[i].key);
		if (rc && rc != -ENOENT)
			break;
		gone += rs.list[i].bytes;
		own += rc ? 0 : rs.list[i].bytes;
		own_n += !rc;
	}
	settle(cp, before, rs.bytes - own, rs.n - own_n);
	arena_found_free(rs.list);
	return rc == -ENOENT ? 0 : rc;
}

void memo_grown(cpa *cp, uint64_t limit, int64_t bytes, int64_t results)
{
	const int64_t add[2] = {bytes, results};
	uint64_t now[2];
	int rc = memo_add(cp, MEMO_PREFIX, 0, add, now);

	if (rc == -ENOENT || (!rc && limit && now[0] > limit))
		(void)memo_fit(cp, limit);
}

static uint64_t bytes_of(const struct arena_var *vars, size_t n)
{
	uint64_t bytes = 0;
	size_t i;

	for (i = 0; i < n; i++)
		bytes = ((bytes + 7) & ~UINT64_C(7)) + vars[i].count * arena_type_size(vars[i].type);
	return bytes;
}

int memos_put(cpa *cp, const char *key, const struct arena_var *vars, size_t n)
{
	int rc = arena_put(cp->arena, key, vars, n, NULL);
	unsigned turn;

	if (__builtin_expect(rc != -ENOSPC, 1))
		return rc;
	for (turn = 0; rc == -ENOSPC && memos_make_room(cp, bytes_of(vars, n), turn); turn++)
		rc = arena_put(cp->arena, key, vars, n, NULL);
	return rc;
}

int memos_make_room(cpa *cp, uint64_t bytes, unsigned turn)
{
	uint64_t freed = 0, before[2];
	struct results rs;
	size_t i, least;
	int gone = 0;

	(void)memo_numbers(cp, MEMO_PREFIX, before);
	if (cp->arena->read_only || find_results(cp, "", &rs) != 0)
		return 0;
	/* the heap is not one piece: what is freed may lie scattered, so each turn frees more */
	least = (rs.n / AT_ONCE + 1) << (turn < 10 ? turn : 10);
	if (bytes > cp->arena->heap_bytes || rs.others > cp->arena->heap_bytes - bytes)
		rs.n = 0; /* not even without any memo */
	for (i = 0; i < rs.n && (freed < bytes || i < least); i++) {
		if (arena_reset(cp->arena, rs.list[i].key) != 0)
			continue;
		freed += rs.list[i].takes;
		rs.bytes -= rs.list[i].bytes;
		gone |= rs.list[i].version > 0; /* not what was to be committed, for which there was no room */
	}
	if (i)
		settle(cp, before, rs.bytes, rs.n - i);
	arena_found_free(rs.list);
	return gone;
}
