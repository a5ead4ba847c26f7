/* Where free space is found in a heap that is used up: one walk of the index finds room for many allocations, and no
 * byte is given away twice. */
#include "tests/unit/arena_death.h"

#define KEY_WORDS 100
#define KEYS_MAX 400

static char names[KEYS_MAX][16];

/* Fill the heap with keys of one version each; how many. */
static size_t fill(struct arena *a)
{
	size_t n;

	for (n = 0; n < KEYS_MAX; n++) {
		snprintf(names[n], sizeof names[n], "k%zu", n);
		if (put(a, names[n], KEY_WORDS, n + 1) != 0)
			break;
	}
	CU_ASSERT_FATAL(n > 40 && n < KEYS_MAX);
	return n;
}

static size_t listed(const struct arena_header *h)
{
	size_t i, n = 0;

	for (i = 0; i < ARENA_GAPS; i++)
		n += h->gap[i].at < h->gap[i].end;
	return n;
}

static int is_listed(const struct arena_gap *list, uint64_t end)
{
	size_t i;

	for (i = 0; i < ARENA_GAPS; i++)
		if (list[i].at < list[i].end && list[i].end == end)
			return 1;
	return 0;
}

static void one_walk_finds_room_for_many(void)
{
	struct arena *a = fresh(128 << 10);
	size_t n = fill(a), i, taken = 0;
	struct arena_gap found[ARENA_GAPS];

	for (i = 1; i < n; i += 2)
		arena_reset(a, names[i]);
	CU_ASSERT_EQUAL(put(a, "first", KEY_WORDS, 1), 0); /* walks */
	CU_ASSERT_EQUAL(listed(a->head), ARENA_GAPS);
	memcpy(found, a->head->gap, sizeof found);
	for (i = 0; i < 6; i += 2) /* the largest gap by far now: a walk would choose it */
		arena_reset(a, names[i]);
	for (i = 0; taken < ARENA_GAPS / 2; i++) {
		struct arena_gap left;
		char key[16];

		left = (struct arena_gap){a->head->free_at, a->head->free_end};
		snprintf(key, sizeof key, "n%zu", i);
		CU_ASSERT_EQUAL_FATAL(put(a, key, KEY_WORDS - 8, 1000 + i), 0); /* a little of the run is left */
		if (a->head->free_end == left.end)
			continue;
		CU_ASSERT(is_listed(found, a->head->free_end));
		CU_ASSERT(left.at >= left.end || is_listed(a->head->gap, left.end)); /* for smaller ones */
		taken++;
		check_apart(a);
	}
	for (i = 6; i < n; i += 2)
		CU_ASSERT_EQUAL(get(a, names[i], KEY_WORDS), i + 1);
	arena_unmap(a);
}

static void what_was_freed_since_is_found_when_no_gap_fits(void)
{
	struct arena *a = fresh(128 << 10);
	size_t n = fill(a), i;

	for (i = 1; i < n; i += 2)
		arena_reset(a, names[i]);
	CU_ASSERT_EQUAL(put(a, "first", KEY_WORDS, 1), 0);
	for (i = 0; i < 16; i++)
		arena_reset(a, names[i]);
	CU_ASSERT_EQUAL(put(a, "large", 7 * KEY_WORDS, 2), 0);
	CU_ASSERT_EQUAL(get(a, "large", 7 * KEY_WORDS), 2);
	for (i = 16; i < n; i += 2)
		CU_ASSERT_EQUAL(get(a, names[i], KEY_WORDS), i + 1);
	check_apart(a);
	arena_unmap(a);
}

/* Near the budget, by a model: nothing that one key is given lies in another. */
static void keys_of_changing_size_near_the_budget_keep_their_values(void)
{
	enum { N = 64 };
	struct arena *a = fresh(256 << 10);
	uint64_t number[N] = {0}, turn;
	size_t words[N] = {0};
	unsigned seed = 4711, i;
	char key[16];

	for (turn = 1; turn < 20000; turn++) {
		size_t k = (size_t)rand_r(&seed) % N, w = 1 + (size_t)rand_r(&seed) % 300;

		snprintf(key, sizeof key, "k%zu", k);
		if (rand_r(&seed) % 8 == 0) {
			arena_reset(a, key);
			number[k] = 0;
		} else if (put(a, key, w, turn) == 0) {
			number[k] = turn;
			words[k] = w;
		}
		if (turn % 50)
			continue;
		check_apart(a);
		for (i = 0; i < N; i++) {
			snprintf(key, sizeof key, "k%u", i);
			if (number[i])
				CU_ASSERT_EQUAL_FATAL(get(a, key, words[i]), number[i]);
		}
	}
	check_all(a, 1);
	arena_unmap(a);
}

static void gaps_beyond_the_arena_or_upside_down_are_not_used(void)
{
	struct arena *a = fresh(128 << 10);
	size_t n = fill(a), i;

	arena_reset(a, names[5]);
	a->head->free_at = a->head->free_end = a->heap_bytes;
	for (i = 0; i < ARENA_GAPS; i++)
		a->head->gap[i] = i % 2 ? (struct arena_gap){a->heap_bytes, UINT64_MAX}
					: (struct arena_gap){UINT64_MAX - 64, 4096};
	CU_ASSERT_EQUAL(put(a, "new", KEY_WORDS, 1), 0);
	CU_ASSERT_EQUAL(get(a, "new", KEY_WORDS), 1);
	for (i = 6; i < n; i++)
		CU_ASSERT_EQUAL(get(a, names[i], KEY_WORDS), i + 1);
	check_apart(a);
	arena_unmap(a);
}

static const struct test tests[] = {
	{"one walk finds room for many", one_walk_finds_room_for_many},
	{"what was freed since is found when no gap fits", what_was_freed_since_is_found_when_no_gap_fits},
	{"keys of changing size near the budget keep their values",
	 keys_of_changing_size_near_the_budget_keep_their_values},
	{"gaps beyond the arena or upside down are not used", gaps_beyond_the_arena_or_upside_down_are_not_used},
};

int main(void)
{
	return death_main("arena_gaps", tests, sizeof tests / sizeof *tests);
}
