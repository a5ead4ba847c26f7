/* Room for memos: what a limit and a full arena make go, in which order, and what stays whatever happens. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hooks/memo_impl.h"
#include "tests/unit/harness.h"
#include "tests/unit/scratch.h"

static char path[FS_PATH_MAX];
static uint8_t data[4 << 20];

static cpa *fresh(uint64_t budget)
{
	cpa *cp = NULL;

	unlink(path);
	CU_ASSERT_EQUAL_FATAL(arena_create(path, budget, 0600), 0);
	CU_ASSERT_EQUAL_FATAL(cpa_open(&cp, path), 0);
	return cp;
}

/* 1: known; else what keeping it returned (0 or an error), of so many bytes. */
static int memo(cpa *cp, const char *name, int input, size_t bytes)
{
	cpa_memo *m;
	int rc;

	memset(data, input & 0xff, bytes);
	rc = cpa_memo_begin(cp, &m, name, CPA_IN(CPA_VAR(input)), CPA_OUT(CPA_NAMED("data", data, bytes)));
	return rc ? rc : cpa_memo_end(m);
}

/* Is it known? Without keeping anything. */
static int known(cpa *cp, const char *name, int input, size_t bytes)
{
	cpa_memo *m;
	int rc = cpa_memo_begin(cp, &m, name, CPA_IN(CPA_VAR(input)), CPA_OUT(CPA_NAMED("data", data, bytes)));

	cpa_memo_drop(m);
	return rc;
}

static struct cpa_memo_stats stats(cpa *cp)
{
	struct cpa_memo_stats *list, all = {0};
	int n = cpa_memo_list(cp, &list), i;

	for (i = 0; i < n; i++) {
		all.results += list[i].results;
		all.bytes += list[i].bytes;
	}
	cpa_memo_list_free(list);
	return all;
}

/* What the arena says of all results must be what there is. */
static int counted(cpa *cp)
{
	uint64_t numbers[2];

	return memo_numbers(cp, MEMO_PREFIX, numbers) == 0 && numbers[0] == stats(cp).bytes &&
	       numbers[1] == stats(cp).results;
}

static void the_least_recently_used_goes_first(void)
{
	cpa *cp = fresh(1 << 20);
	int i;

	CU_ASSERT_EQUAL(cpa_memo_set(cp, CPA_MEMO_LIMIT, 4000), 0);
	for (i = 1; i <= 4; i++)
		CU_ASSERT_EQUAL(memo(cp, i % 2 ? "odd" : "even", i, 1000), 0);
	CU_ASSERT_EQUAL(known(cp, "odd", 1, 1000), 1);
	CU_ASSERT_EQUAL(known(cp, "odd", 3, 1000), 1);
	CU_ASSERT_EQUAL(memo(cp, "odd", 5, 1000), 0); /* in place of 2 */
	CU_ASSERT_EQUAL(known(cp, "even", 2, 1000), 0);
	CU_ASSERT_EQUAL(memo(cp, "odd", 7, 2000), 0); /* in place of 4 and 1 */
	CU_ASSERT_EQUAL(known(cp, "even", 4, 1000), 0);
	CU_ASSERT_EQUAL(known(cp, "odd", 1, 1000), 0);
	CU_ASSERT_EQUAL(known(cp, "odd", 3, 1000), 1);
	CU_ASSERT_EQUAL(known(cp, "odd", 5, 1000), 1);
	CU_ASSERT_EQUAL(known(cp, "odd", 7, 2000), 1);
	CU_ASSERT(counted(cp));
	cpa_close(cp);
}

static void the_clock_of_uses_may_turn_over(void)
{
	cpa *cp = fresh(1 << 20);
	int i;

	cp->arena->head->uses = UINT32_MAX - 3; /* as after four thousand million uses */
	CU_ASSERT_EQUAL(cpa_memo_set(cp, CPA_MEMO_LIMIT, 4000), 0);
	for (i = 1; i <= 6; i++)
		CU_ASSERT_EQUAL(memo(cp, "f", i, 1000), 0);
	for (i = 1; i <= 6; i++)
		CU_ASSERT_EQUAL(known(cp, "f", i, 1000), i > 2);
	cpa_close(cp);
}

static void results_never_take_more_than_the_limit(void)
{
	cpa *cp = fresh(4 << 20);
	int i;

	CU_ASSERT_EQUAL(cpa_memo_set(cp, CPA_MEMO_LIMIT, 100000), 0);
	for (i = 0; i < 3000; i++) {
		CU_ASSERT_EQUAL_FATAL(memo(cp, "f", i, (size_t)(i * 37) % 5000), 0);
		if (i % 100 == 0)
			CU_ASSERT(stats(cp).bytes <= 100000);
	}
	CU_ASSERT(stats(cp).bytes <= 100000 && stats(cp).bytes > 50000);
	CU_ASSERT(counted(cp));
	cpa_close(cp);
}

static void a_smaller_limit_holds_at_once_and_zero_is_none(void)
{
	cpa *cp = fresh(1 << 20);
	int i;

	for (i = 0; i < 20; i++)
		CU_ASSERT_EQUAL(memo(cp, "f", i, 1000), 0);
	CU_ASSERT_EQUAL(stats(cp).results, 20);
	CU_ASSERT_EQUAL(cpa_memo_set(cp, CPA_MEMO_LIMIT, 5000), 0);
	CU_ASSERT_EQUAL(stats(cp).results, 5);
	CU_ASSERT_EQUAL(known(cp, "f", 19, 1000), 1);
	CU_ASSERT_EQUAL(cpa_memo_set(cp, CPA_MEMO_LIMIT, 0), 0);
	for (i = 0; i < 20; i++)
		memo(cp, "f", i, 1000);
	CU_ASSERT_EQUAL(stats(cp).results, 20);
	CU_ASSERT(counted(cp));
	cpa_close(cp);
}

static void a_result_larger_than_the_limit_drives_nothing_out(void)
{
	cpa *cp = fresh(1 << 20);

	CU_ASSERT_EQUAL(cpa_memo_set(cp, CPA_MEMO_LIMIT, 5000), 0);
	CU_ASSERT_EQUAL(memo(cp, "f", 1, 1000), 0);
	CU_ASSERT_EQUAL(memo(cp, "f", 2, 5001), CPA_ERR_FULL);
	CU_ASSERT_EQUAL(known(cp, "f", 1, 1000), 1);
	CU_ASSERT_EQUAL(memo(cp, "f", 2, 5000), 0);
	CU_ASSERT_EQUAL(known(cp, "f", 1, 1000), 0);
	cpa_close(cp);
}

static void many_small_results_keep_to_the_limit_too(void)
{
	cpa *cp = fresh(8 << 20);
	int i, left = 0;

	CU_ASSERT_EQUAL(cpa_memo_set(cp, CPA_MEMO_LIMIT, 16 * 1000), 0);
	for (i = 0; i < 5000; i++)
		CU_ASSERT_EQUAL_FATAL(memo(cp, "f", i, 16), 0);
	for (i = 0; i < 5000; i++)
		left += known(cp, "f", i, 16);
	CU_ASSERT(left <= 1000 && left >= 500);
	CU_ASSERT_EQUAL((int)stats(cp).results, left);
	for (i = 5000 - left; i < 5000; i++)
		CU_ASSERT_EQUAL(known(cp, "f", i, 16), 1);
	cpa_close(cp);
}

/* ---- a full arena ---- */

#define USERS 30

static void checkpoint_users(cpa *cp, size_t bytes)
{
	char key[32];
	int i;

	for (i = 0; i < USERS; i++) {
		snprintf(key, sizeof key, "user %d", i);
		memset(data, i, bytes);
		CU_ASSERT_EQUAL_FATAL(cpa_checkpoint(cp, key, 1, CPA_NAMED("data", data, bytes)), 0);
	}
}

static int users_are_whole(cpa *cp, size_t bytes)
{
	char key[32];
	int i, whole = 0;

	for (i = 0; i < USERS; i++) {
		snprintf(key, sizeof key, "user %d", i);
		memset(data, 0xff, bytes);
		whole += cpa_restore(cp, key, 0, CPA_NAMED("data", data, bytes)) == 0 && data[0] == i &&
			 data[bytes - 1] == i;
	}
	return whole == USERS;
}

static void a_full_arena_forgets_memos_and_never_checkpoints(void)
{
	cpa *cp = fresh(1 << 20);
	int i, last;

	checkpoint_users(cp, 10000);
	for (i = 0; i < 1000; i++)
		CU_ASSERT_EQUAL_FATAL(memo(cp, "f", i, 3000), 0);
	last = i - 1;
	CU_ASSERT(users_are_whole(cp, 10000));
	CU_ASSERT(stats(cp).bytes > 200000 && stats(cp).bytes < 1 << 20);
	CU_ASSERT_EQUAL(known(cp, "f", last, 3000), 1);
	CU_ASSERT_EQUAL(known(cp, "f", 0, 3000), 0);
	CU_ASSERT(counted(cp));
	cpa_close(cp);
}

static void a_checkpoint_takes_the_room_of_memos(void)
{
	cpa *cp = fresh(1 << 20);
	int i;

	for (i = 0; i < 400; i++)
		CU_ASSERT_EQUAL_FATAL(memo(cp, "f", i, 3000), 0);
	CU_ASSERT(stats(cp).bytes > 700000);
	checkpoint_users(cp, 20000);
	CU_ASSERT(users_are_whole(cp, 20000));
	CU_ASSERT_EQUAL(known(cp, "f", 399, 3000), 1); /* the oldest went */
	memset(data, 1, sizeof data);
	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "too large", 1, CPA_NAMED("data", data, 800000)), CPA_ERR_FULL);
	CU_ASSERT_EQUAL(known(cp, "f", 399, 3000), 1); /* for nothing, none goes */
	CU_ASSERT(counted(cp));
	cpa_close(cp);
}

static void a_large_result_takes_the_room_of_many_small_ones(void)
{
	cpa *cp = fresh(1 << 20);
	int i;

	checkpoint_users(cp, 1000);
	for (i = 0; i < 3000; i++)
		CU_ASSERT_EQUAL_FATAL(memo(cp, "small", i, 64), 0);
	CU_ASSERT_EQUAL(memo(cp, "large", 1, 500000), 0);
	CU_ASSERT_EQUAL(known(cp, "large", 1, 500000), 1);
	CU_ASSERT(users_are_whole(cp, 1000));
	CU_ASSERT(counted(cp));
	cpa_close(cp);
}

static void what_could_never_fit_drives_nothing_out(void)
{
	cpa *cp = fresh(1 << 20);

	checkpoint_users(cp, 20000);
	CU_ASSERT_EQUAL(memo(cp, "f", 1, 1000), 0);
	CU_ASSERT_EQUAL(memo(cp, "f", 2, 700000), CPA_ERR_FULL);
	CU_ASSERT_EQUAL(memo(cp, "f", 3, 2 << 20), CPA_ERR_FULL);
	CU_ASSERT_EQUAL(known(cp, "f", 1, 1000), 1);
	CU_ASSERT(users_are_whole(cp, 20000));
	cpa_close(cp);
}

static void room_in_pieces_is_no_room_and_comes_to_an_end(void)
{
	cpa *cp = fresh(1 << 20);
	char key[32];
	int i;

	for (i = 0; i < USERS; i++) { /* a result between every two checkpoints */
		snprintf(key, sizeof key, "user %d", i);
		memset(data, i, 15000);
		CU_ASSERT_EQUAL_FATAL(cpa_checkpoint(cp, key, 1, CPA_NAMED("data", data, 15000)), 0);
		CU_ASSERT_EQUAL_FATAL(memo(cp, "f", i, 15000), 0);
	}
	CU_ASSERT_EQUAL(memo(cp, "large", 1, 400000), CPA_ERR_FULL);
	CU_ASSERT(users_are_whole(cp, 15000));
	CU_ASSERT_EQUAL(memo(cp, "f", 1000, 14000), 0);
	CU_ASSERT(counted(cp));
	cpa_close(cp);
}

static void a_result_that_is_replaced_is_counted_once(void)
{
	cpa *cp = fresh(1 << 20);
	int i;

	CU_ASSERT_EQUAL(memo(cp, "f", 1, 1000), 0);
	for (i = 0; i < 4; i++) { /* kept with its inputs, which the one before did not have */
		CU_ASSERT_EQUAL(cpa_memo_set(cp, CPA_MEMO_COMPARE, 1), 0);
		CU_ASSERT_EQUAL(memo(cp, "f", 1, 1000), i > 0);
	}
	CU_ASSERT(stats(cp).results == 1 && stats(cp).bytes == 1004);
	CU_ASSERT(counted(cp));
	cpa_close(cp);
}

static void a_lost_count_is_found_again(void)
{
	cpa *cp = fresh(1 << 20);
	const int64_t drift[2] = {-3000, -3};
	int i;

	for (i = 0; i < 6; i++)
		CU_ASSERT_EQUAL(memo(cp, "f", i, 1000), 0);
	CU_ASSERT_EQUAL(memo_add(cp, MEMO_PREFIX, 0, drift, NULL), 0); /* as when writers die before they count */
	CU_ASSERT(!counted(cp));
	CU_ASSERT_EQUAL(cpa_memo_set(cp, CPA_MEMO_LIMIT, 8000), 0);
	CU_ASSERT(counted(cp));
	CU_ASSERT_EQUAL(arena_reset(cp->arena, MEMO_PREFIX), 0);
	CU_ASSERT_EQUAL(memo(cp, "f", 100, 1000), 0);
	CU_ASSERT(counted(cp));
	CU_ASSERT_EQUAL(stats(cp).results, 7);
	cpa_close(cp);
}

/* Four processes, each forgetting what another has just kept. */
static void processes_that_evict_at_once_keep_to_the_limit(void)
{
	pid_t child[4];
	cpa *cp = fresh(4 << 20);
	int i, j, status, rc;

	CU_ASSERT_EQUAL(cpa_memo_set(cp, CPA_MEMO_LIMIT, 20000), 0);
	for (i = 0; i < 4; i++) {
		child[i] = fork();
		for (j = 0; child[i] == 0 && j < 1000; j++) {
			rc = memo(cp, "f", (i * 331 + j) % 700, 500);
			if (rc != 0 && (rc != 1 || data[0] != (((i * 331 + j) % 700) & 0xff)))
				_exit(1);
		}
		if (child[i] == 0)
			_exit(0);
	}
	for (i = 0; i < 4; i++) {
		CU_ASSERT_EQUAL(waitpid(child[i], &status, 0), child[i]);
		CU_ASSERT_EQUAL(status, 0);
	}
	CU_ASSERT(stats(cp).bytes <= 20000 + 4 * 500);
	memo(cp, "f", 1000, 500);
	CU_ASSERT(stats(cp).bytes <= 20000 + 4 * 500);
	cpa_close(cp);
}

static const struct test tests[] = {
	{"the least recently used goes first", the_least_recently_used_goes_first},
	{"the clock of uses may turn over", the_clock_of_uses_may_turn_over},
	{"results never take more than the limit", results_never_take_more_than_the_limit},
	{"a smaller limit holds at once, and zero is none", a_smaller_limit_holds_at_once_and_zero_is_none},
	{"a result larger than the limit drives nothing out", a_result_larger_than_the_limit_drives_nothing_out},
	{"many small results keep to the limit too", many_small_results_keep_to_the_limit_too},
	{"a full arena forgets memos and never checkpoints", a_full_arena_forgets_memos_and_never_checkpoints},
	{"a checkpoint takes the room of memos", a_checkpoint_takes_the_room_of_memos},
	{"a large result takes the room of many small ones", a_large_result_takes_the_room_of_many_small_ones},
	{"what could never fit drives nothing out", what_could_never_fit_drives_nothing_out},
	{"room in pieces is no room, and comes to an end", room_in_pieces_is_no_room_and_comes_to_an_end},
	{"a result that is replaced is counted once", a_result_that_is_replaced_is_counted_once},
	{"a lost count is found again", a_lost_count_is_found_again},
	{"processes that evict at once keep to the limit", processes_that_evict_at_once_keep_to_the_limit},
};

int main(void)
{
	scratch_path(path);
	return harness_run("memo_room", tests, sizeof tests / sizeof *tests);
}
