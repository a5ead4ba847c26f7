/* Turns: longest waiting first, few at once, and a pause that grows with what the last one took. */
#include "agent/core/turns.h"
#include "tests/unit/harness.h"

#define N 5
#define COST (2 * CORE_S)

static int next_of(const struct turn *t, size_t n, size_t at_once, int64_t now)
{
	const struct turn *turns[N] = {NULL};
	for (size_t i = 0; i < n; i++)
		turns[i] = &t[i];
	return turns_next(turns, n, at_once, now);
}

static void who_has_waited_longest_is_next(void)
{
	struct turn t[N] = {{.since = 30}, {0}, {.since = 10}, {.since = 20}, {.since = 10, .from = 25}};
	CU_ASSERT_EQUAL(next_of(t, 0, 1, 100), -1);
	CU_ASSERT_EQUAL(next_of(t, N, 1, 9), -1);
	CU_ASSERT_EQUAL(next_of(t, N, 1, 100), 2);
	turn_begin(&t[2], 100);
	CU_ASSERT_EQUAL(next_of(t, N, 1, 100), -1);
	CU_ASSERT_EQUAL(next_of(t, N, 2, 100), 3);
	turn_begin(&t[3], 100);
	CU_ASSERT_EQUAL(next_of(t, N, 3, 100), 4); /* counted from the end of its pause */
	turn_begin(&t[4], 100);
	CU_ASSERT_EQUAL(next_of(t, N, 4, 100), 0);
}

static void a_pause_grows_with_what_the_last_turn_took(void)
{
	struct turn t = {.since = 1};
	turn_begin(&t, 1);
	turn_end(&t, 1 + COST);
	t.since = 1 + COST;
	CU_ASSERT_EQUAL(next_of(&t, 1, 1, 4 * COST), -1);
	CU_ASSERT_EQUAL(next_of(&t, 1, 1, 1 + 4 * COST), 0);
	turn_begin(&t, 0);
	turn_end(&t, 100 * CORE_S);
	CU_ASSERT_EQUAL(t.from, 160 * CORE_S);
	turn_begin(&t, 200 * CORE_S);
	turn_end(&t, 200 * CORE_S); /* refused at once */
	CU_ASSERT_EQUAL(t.from, 200 * CORE_S + 50 * CORE_MS);
}

/* However many ask again at once: none has two turns more than another. */
static void nobody_starves(void)
{
	struct turn t[N] = {{0}};
	unsigned had[N] = {0};
	int64_t now = 1, busy = 0;
	for (int round = 0; round < 200; round++, now += COST) {
		int next;
		for (int i = 0; i < N; i++) {
			if (t[i].began)
				turn_end(&t[i], now);
			if (!t[i].since)
				t[i].since = now;
		}
		if ((next = next_of(t, N, 1, now)) < 0)
			continue;
		turn_begin(&t[next], now);
		had[next]++;
		busy += COST;
		for (int i = 0; i < N; i++)
			CU_ASSERT(had[next] <= had[i] + 1);
	}
	CU_ASSERT_EQUAL(busy, 200 * COST); /* five that may each have a quarter */
}

static const struct test tests[] = {
	{"who has waited longest is next", who_has_waited_longest_is_next},
	{"a pause grows with what the last turn took", a_pause_grows_with_what_the_last_turn_took},
	{"nobody starves", nobody_starves},
};

int main(void)
{
	return harness_run("core-turns", tests, sizeof tests / sizeof *tests);
}
