/* Regions that change nearly everywhere: for a while they are copied whole, as fast as variables are, and looked at
 * again from time to time. Whatever is decided, each checkpoint is what the memory was. */
#include "tests/unit/protect_sample.h"

#define PAGES 1024 /* the least that is put to rest */
#define MANY 200   /* checkpoints: more than any rest is long */

static int tracked(cpa *cp, const char *name)
{
	return cpa_tracking(cp, name, NULL);
}

/* Write so many pages, checkpoint, and see that just this can be restored. */
static void go(cpa *cp, uint8_t *memory, size_t written, unsigned turn)
{
	static uint8_t was[PAGES * PAGE];
	size_t i;

	for (i = 0; i < written; i++)
		memory[(i * PAGES / written) * PAGE + turn % PAGE] = (uint8_t)(turn + i);
	CU_ASSERT_EQUAL_FATAL(cpa_checkpoint_protected(cp, "k", 1), 0);
	memcpy(was, memory, sizeof was);
	CU_ASSERT_EQUAL(cpa_restore(cp, "k", 1, CPA_NAMED("bulk", was, sizeof was)), 0);
	CU_ASSERT_EQUAL(memcmp(was, memory, sizeof was), 0);
}

/* Turns until it is tracked, or is not; MANY: never. */
static unsigned turns_until(cpa *cp, uint8_t *memory, size_t written, int wanted)
{
	unsigned turn;

	for (turn = 0; turn < MANY && tracked(cp, "bulk") != wanted; turn++)
		go(cp, memory, written, turn);
	return turn;
}

static cpa *protecting(uint8_t *memory)
{
	cpa *cp = opened();

	CU_ASSERT_EQUAL_FATAL(CPA_PROTECT(cp, "bulk", memory, PAGES * PAGE), 0);
	go(cp, memory, PAGES, 0);
	return cp;
}

static void a_region_that_changes_everywhere_is_copied_whole_after_a_while(void)
{
	uint8_t *memory = pages(PAGES);
	cpa *cp = protecting(memory);
	const char *why = "";

	if (can_track(cp)) {
		CU_ASSERT_EQUAL(turns_until(cp, memory, PAGES, 0), 3);
		CU_ASSERT_EQUAL(how_of(cp, "k"), ARENA_WHOLE);
		CU_ASSERT_EQUAL(cpa_tracking(cp, "bulk", &why), 0);
		CU_ASSERT_PTR_NOT_NULL(strstr(why, "most of it changes"));
	}
	cpa_close(cp);
	munmap(memory, PAGES * PAGE);
}

static void it_is_looked_at_again_the_more_rarely_the_longer_it_goes_on(void)
{
	static const unsigned rests[] = {8, 16, 32, 64, 64};
	uint8_t *memory = pages(PAGES);
	cpa *cp = protecting(memory);
	size_t i;

	turns_until(cp, memory, PAGES, 0);
	for (i = 0; can_track(cp) && i < sizeof rests / sizeof *rests; i++) {
		CU_ASSERT_EQUAL(turns_until(cp, memory, PAGES, 1), rests[i] + 1);
		CU_ASSERT_EQUAL(turns_until(cp, memory, PAGES, 0), 1); /* one look is enough now */
	}
	cpa_close(cp);
	munmap(memory, PAGES * PAGE);
}

static void a_region_that_became_quiet_is_tracked_again_and_stays_so(void)
{
	uint8_t *memory = pages(PAGES);
	cpa *cp = protecting(memory);

	if (can_track(cp)) {
		turns_until(cp, memory, PAGES, 0);
		CU_ASSERT_EQUAL(turns_until(cp, memory, 10, 1), 9);
		CU_ASSERT_EQUAL(turns_until(cp, memory, 10, 0), MANY);
		CU_ASSERT_EQUAL(how_of(cp, "k"), ARENA_DIRTY);
		CU_ASSERT_EQUAL(turns_until(cp, memory, PAGES, 0), 3); /* what was is forgotten */
		CU_ASSERT_EQUAL(turns_until(cp, memory, 10, 1), 9);
	}
	cpa_close(cp);
	munmap(memory, PAGES * PAGE);
}

static void a_quarter_is_worth_tracking(void)
{
	uint8_t *memory = pages(PAGES);
	cpa *cp = protecting(memory);

	if (can_track(cp))
		CU_ASSERT_EQUAL(turns_until(cp, memory, PAGES / 4, 0), MANY);
	cpa_close(cp);
	munmap(memory, PAGES * PAGE);
}

static void its_neighbour_goes_on_being_tracked(void)
{
	uint8_t *memory = pages(PAGES), *quiet = pages(64);
	cpa *cp = opened();

	CU_ASSERT_EQUAL_FATAL(CPA_PROTECT(cp, "quiet", quiet, 64 * PAGE), 0);
	CU_ASSERT_EQUAL_FATAL(CPA_PROTECT(cp, "bulk", memory, PAGES * PAGE), 0);
	go(cp, memory, PAGES, 0);
	if (can_track(cp)) {
		turns_until(cp, memory, PAGES, 0);
		CU_ASSERT_EQUAL(tracked(cp, "quiet"), 1);
		CU_ASSERT_EQUAL(how_of(cp, "k"), ARENA_DIRTY);
		turns_until(cp, memory, PAGES, 1);
		CU_ASSERT_EQUAL(tracked(cp, "quiet"), 1);
	}
	cpa_close(cp);
	munmap(memory, PAGES * PAGE);
	munmap(quiet, 64 * PAGE);
}

static void nothing_is_open_while_all_regions_rest(void)
{
	uint8_t *memory = pages(PAGES);
	cpa *cp = protecting(memory);

	if (can_track(cp)) {
		CU_ASSERT_EQUAL(cp->regions->tracker.open, 1);
		while (cp->regions->list->at[0]->tracked)
			go(cp, memory, PAGES, 1);
		CU_ASSERT_EQUAL(cp->regions->tracker.open, 0);
	}
	cpa_close(cp);
	munmap(memory, PAGES * PAGE);
}

static const struct test tests[] = {
	{"a region that changes everywhere is copied whole after a while",
	 a_region_that_changes_everywhere_is_copied_whole_after_a_while},
	{"it is looked at again, the more rarely the longer it goes on",
	 it_is_looked_at_again_the_more_rarely_the_longer_it_goes_on},
	{"a region that became quiet is tracked again, and stays so",
	 a_region_that_became_quiet_is_tracked_again_and_stays_so},
	{"a quarter is worth tracking", a_quarter_is_worth_tracking},
	{"its neighbour goes on being tracked", its_neighbour_goes_on_being_tracked},
	{"nothing is open while all regions rest", nothing_is_open_while_all_regions_rest},
};

int main(void)
{
	return run_tests("protect_rest", tests, sizeof tests / sizeof *tests);
}
