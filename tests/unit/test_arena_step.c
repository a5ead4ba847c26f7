/* Death at every instruction: a child is stepped through a call, and whenever it has changed the arena, what a
 * death there would leave is looked at: whole versions, free locks, room for more. */
#include "tests/unit/arena_death.h"

#if defined(__SANITIZE_THREAD__)
#define STEPPED 0 /* instrumented copies take more instructions than anyone would step through */
#else
#define STEPPED 1
#endif
#if defined(__SANITIZE_ADDRESS__)
#define LOOK_EVERY 13u
#else
#define LOOK_EVERY 1u
#endif

struct scene {
	struct arena *a;    /* acted on by a child, one instruction at a time */
	struct arena *left; /* after each: a copy of it, with locks that the kernel has handed on */
	uint8_t *seen;      /* as it was looked at last */
	uint64_t keys;
	uint64_t looks;
};

static void copy_scene(struct scene *s)
{
	memcpy(s->left->base, s->a->base, ARENA_LOCKS);
	memcpy(s->left->base + ARENA_INDEX, s->a->base + ARENA_INDEX, s->a->file_bytes - ARENA_INDEX);
}

/* Has the arena changed? The locks do not count: they are the kernel's to hand on. Of the heap, what describes
 * (records, which lie in its first pages, and the beginnings of slots) is compared at every step, the rest at
 * some. */
static int has_changed(struct scene *s, uint64_t step)
{
	const uint8_t *now = s->a->base, *seen = s->seen;
	const size_t heap = (size_t)(s->a->heap - s->a->base), end = step % 128 ? heap + 8192 : s->a->file_bytes;
	int same = memcmp(seen, now, ARENA_LOCKS) == 0 &&
		   memcmp(seen + ARENA_INDEX, now + ARENA_INDEX, end - ARENA_INDEX) == 0;

	for (size_t at = end; same && at < s->a->file_bytes; at += 4096)
		same = memcmp(seen + at, now + at, 64) == 0;
	if (!same)
		memcpy(s->seen, now, s->a->file_bytes);
	return !same;
}

static struct scene scene_open(uint64_t budget)
{
	struct scene s = {.a = fresh(budget)};
	char other[128];

	snprintf(other, sizeof other, "%s.left", death_path);
	CU_ASSERT_EQUAL_FATAL(arena_create(other, budget, 0600), 0);
	CU_ASSERT_EQUAL_FATAL(arena_map(&s.left, other), 0);
	unlink(other);
	s.seen = malloc(s.a->file_bytes);
	CU_ASSERT_PTR_NOT_NULL_FATAL(s.seen);
	return s;
}

static void scene_close(struct scene *s)
{
	arena_unmap(s->a);
	arena_unmap(s->left);
	free(s->seen);
}

/* Step a child through act, and look whenever it has changed the arena (every so manieth time). Returns the
 * looks. */
static uint64_t step_through(struct scene *s, void (*act)(struct arena *), void (*look)(struct scene *), uint32_t every)
{
	uint64_t changes = 0, looks = 0, steps = 0;
	int status, stopped;
	pid_t pid;

	if (!STEPPED) {
		act(s->a);
		copy_scene(s);
		look(s);
		return UINT64_MAX;
	}
	memset(s->seen, 0xff, s->a->file_bytes);
	pid = fork();
	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		act(s->a);
		_exit(0);
	}
	stopped = waitpid(pid, &status, 0) == pid && WIFSTOPPED(status);
	while (stopped) {
		if (has_changed(s, steps++) && changes++ % (every * LOOK_EVERY) == 0) {
			copy_scene(s);
			look(s);
			looks++;
		}
		ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL);
		stopped = waitpid(pid, &status, 0) == pid && WIFSTOPPED(status);
	}
	CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	return looks * LOOK_EVERY;
}

/* ---- plain values ---- */

static void act_commit(struct arena *a)
{
	put(a, "key", WORDS, 2);
}

static void look_at_commit(struct scene *s)
{
	uint64_t number = get(s->left, "key", WORDS);

	CU_ASSERT_FATAL(number == 1 || number == 2);
	CU_ASSERT_EQUAL_FATAL(put(s->left, "key", WORDS, 3), 0);
	CU_ASSERT_EQUAL_FATAL(get(s->left, "key", WORDS), 3);
	CU_ASSERT_EQUAL_FATAL(put(s->left, "key", WORDS, 4), 0);
	CU_ASSERT_EQUAL_FATAL(get(s->left, "key", WORDS), 4);
}

static void a_commit_cut_off_at_any_instruction_leaves_a_whole_version(void)
{
	struct scene s = scene_open(64 << 10);

	put(s.a, "key", WORDS, 1); /* its second slot is made in the first step through, and reused in the second */
	CU_ASSERT(step_through(&s, act_commit, look_at_commit, 1) >= 5);
	CU_ASSERT_EQUAL(put(s.a, "key", WORDS, 1), 0);
	CU_ASSERT(step_through(&s, act_commit, look_at_commit, 1) >= 5);
	CU_ASSERT_EQUAL(get(s.a, "key", WORDS), 2);
	scene_close(&s);
}

static void act_insert(struct arena *a)
{
	put(a, "new", WORDS, 2);
}

static void look_at_insert(struct scene *s)
{
	uint64_t number = get(s->left, "new", WORDS);

	check_apart(s->left);
	CU_ASSERT_FATAL(number == 2 || number == UINT64_MAX);
	CU_ASSERT_EQUAL_FATAL(get(s->left, "key", WORDS), 1);
	CU_ASSERT_EQUAL_FATAL(put(s->left, "third", WORDS, 3), 0);
	CU_ASSERT_EQUAL_FATAL(put(s->left, "new", WORDS, 4), 0);
	CU_ASSERT_EQUAL_FATAL(get(s->left, "key", WORDS), 1);
	CU_ASSERT_EQUAL_FATAL(get(s->left, "third", WORDS), 3);
	CU_ASSERT_EQUAL_FATAL(get(s->left, "new", WORDS), 4);
	check_all(s->left, 3);
}

static void look_at_insert_in_the_middle(struct scene *s)
{
	look_at_insert(s);
	(void)put(s->left, "more than the gap", 2600, 1);
	CU_ASSERT_EQUAL_FATAL(get(s->left, "behind", 2000), 9);
}

static void an_insert_cut_off_at_any_instruction_leaves_all_keys_and_room(void)
{
	struct scene s = scene_open(64 << 10);
	struct arena_record *r = NULL;
	char key[32];
	size_t n = 0;

	put(s.a, "key", WORDS, 1);
	CU_ASSERT(step_through(&s, act_insert, look_at_insert, 1) > 10);
	/* once more in a heap that is full but for a gap in its middle: the search for it is part of the insert */
	arena_reset(s.a, "new");
	CU_ASSERT_EQUAL(put(s.a, "new", 100, 1), 0);
	CU_ASSERT_EQUAL(put(s.a, "new", 100, 1), 0);
	CU_ASSERT_EQUAL(put(s.a, "behind", 2000, 8), 0);
	CU_ASSERT_EQUAL(put(s.a, "behind", 2000, 9), 0);
	for (size_t words = 400; words; words /= 4) /* few keys: each costs thousands of steps */
		do
			snprintf(key, sizeof key, "k%zu", n++);
		while (put(s.a, key, words, 1) == 0);
	arena_newest(s.a, "new", &r);
	CU_ASSERT_PTR_NOT_NULL_FATAL(r);
	s.a->head->gap[1] = (struct arena_gap){record_slots(r)[0].at, record_slots(r)[0].at + 64}; /* a part of what it finds */
	arena_reset(s.a, "new");
	s.a->head->free_at = s.a->head->free_end = s.a->heap_bytes;
	CU_ASSERT(step_through(&s, act_insert, look_at_insert_in_the_middle, 1) > 10);
	/* and into a gap that an earlier search found */
	arena_reset(s.a, "new");
	arena_reset(s.a, "k0");
	CU_ASSERT_EQUAL(put(s.a, "k0", 200, 1), 0);
	CU_ASSERT_FATAL(s.a->head->gap[0].at < s.a->head->gap[0].end);
	s.a->head->free_at = s.a->head->free_end - 64; /* some of the run is left, to change places with */
	CU_ASSERT(step_through(&s, act_insert, look_at_insert_in_the_middle, 1) > 10);
	scene_close(&s);
}

static uint64_t twos[BIG];

static void act_grow_value(struct arena *a)
{
	struct arena_var v = {"v", twos, BIG, ARENA_U64};

	arena_put(a, "key", &v, 1, NULL);
}

static void look_at_grown_value(struct scene *s)
{
	uint64_t number = get(s->left, "key", BIG);

	if (number != 2)
		CU_ASSERT_EQUAL_FATAL(get(s->left, "key", WORDS), 1);
	CU_ASSERT_EQUAL_FATAL(put(s->left, "other", WORDS, 3), 0);
	CU_ASSERT_EQUAL_FATAL(put(s->left, "key", WORDS, 4), 0);
	CU_ASSERT_EQUAL_FATAL(get(s->left, "key", WORDS), 4);
	CU_ASSERT_EQUAL_FATAL(get(s->left, "other", WORDS), 3);
}

static void a_value_that_outgrows_its_slot_may_be_cut_off_anywhere(void)
{
	struct scene s = scene_open(128 << 10);

	for (size_t i = 0; i < BIG; i++)
		twos[i] = 2;
	put(s.a, "key", WORDS, 1);
	put(s.a, "key", WORDS, 1);
	for (uint64_t at = s.a->head->free_at; at < s.a->heap_bytes; at += 64) /* as versions of that number begin */
		*(uint64_t *)(void *)(s.a->heap + at) = 2;
	CU_ASSERT(step_through(&s, act_grow_value, look_at_grown_value, 3) > 30);
	CU_ASSERT_EQUAL(get(s.a, "key", BIG), 2);
	scene_close(&s);
}

static void act_reset(struct arena *a)
{
	arena_reset(a, "key");
}

static void look_at_reset(struct scene *s)
{
	uint64_t number = get(s->left, "key", WORDS);

	CU_ASSERT_FATAL(number == 1 || number == UINT64_MAX);
	CU_ASSERT_EQUAL_FATAL(get(s->left, "other", WORDS), 3);
	CU_ASSERT_EQUAL_FATAL(put(s->left, "key", WORDS, 5), 0);
	CU_ASSERT_EQUAL_FATAL(get(s->left, "key", WORDS), 5);
	check_all(s->left, 2);
}

static void a_reset_cut_off_at_any_instruction_leaves_the_key_or_none(void)
{
	struct scene s = scene_open(64 << 10);

	put(s.a, "other", WORDS, 3);
	put(s.a, "key", WORDS, 1);
	CU_ASSERT(step_through(&s, act_reset, look_at_reset, 1) >= 4);
	CU_ASSERT_EQUAL(get(s.a, "key", WORDS), UINT64_MAX);
	scene_close(&s);
}

static void act_reset_all(struct arena *a)
{
	arena_reset_all(a);
}

static void look_at_reset_all(struct scene *s)
{
	char key[16];

	for (uint64_t i = 0; i < 6; i++) {
		snprintf(key, sizeof key, "k%lu", i);
		uint64_t number = get(s->left, key, WORDS);

		CU_ASSERT_FATAL(number == i + 1 || number == UINT64_MAX);
		CU_ASSERT_EQUAL_FATAL(put(s->left, key, WORDS, i + 9), 0);
	}
	check_all(s->left, 6);
}

static void a_reset_of_all_keys_cut_off_anywhere_leaves_each_or_none(void)
{
	struct scene s = scene_open(64 << 10);
	char key[16];

	for (uint64_t i = 0; i < 6; i++) {
		snprintf(key, sizeof key, "k%lu", i);
		put(s.a, key, WORDS, i + 1);
	}
	CU_ASSERT(step_through(&s, act_reset_all, look_at_reset_all, 1) >= 20);
	CU_ASSERT_EQUAL(s.a->head->keys, 0);
	scene_close(&s);
}

static void act_move(struct arena *a)
{
	put(a, "the key that moves the table", 1, 5);
}

static void look_at_move(struct scene *s)
{
	uint64_t number = get(s->left, "the key that moves the table", 1), i;
	char key[32];

	CU_ASSERT_FATAL(number == 5 || number == UINT64_MAX);
	CU_ASSERT_EQUAL_FATAL(put(s->left, "another", 1, 6), 0);
	CU_ASSERT_EQUAL_FATAL(get(s->left, "another", 1), 6);
	for (i = 0; i < s->keys; i++) {
		snprintf(key, sizeof key, "k%lu", i);
		CU_ASSERT_EQUAL_FATAL(get(s->left, key, 1), i + 1);
	}
}

static void growth_of_the_index_cut_off_anywhere_loses_no_key(void)
{
	struct scene s = scene_open(512 << 10);
	char key[32];

	while ((s.a->head->keys + 1) * 5 <= table_buckets(0) * 4) {
		snprintf(key, sizeof key, "k%lu", s.keys++);
		CU_ASSERT_EQUAL_FATAL(put(s.a, key, 1, s.keys), 0);
	}
	CU_ASSERT(step_through(&s, act_move, look_at_move, 11) > 50);
	CU_ASSERT_EQUAL(s.a->head->table, 1);
	copy_scene(&s);
	look_at_move(&s);
	check_all(s.a, s.keys + 1);
	scene_close(&s);
}

/* ---- protected regions ---- */

static struct region mine; /* the program's memory, as the child finds it */

/* A version for which there is no room costs none. */
static void fail_to_put(struct arena *a, uint64_t version)
{
	static uint64_t words[REGION_WORDS];
	struct arena_var huge[64];

	for (size_t i = 0; i < 64; i++)
		huge[i] = (struct arena_var){"v", words, REGION_WORDS, ARENA_U64};
	CU_ASSERT_EQUAL_FATAL(arena_put(a, "key", huge, 64, NULL), -ENOSPC);
	CU_ASSERT_EQUAL_FATAL(region_get(a, "key", 0), version);
}

/* Nor would a second death, in the commit that comes next. */
static void check_next_place(struct arena *a, uint64_t newest, uint64_t kept)
{
	struct arena_record *r;
	uint32_t next, i;

	arena_newest(a, "key", &r);
	next = slot_idle(a, r);
	for (uint64_t v = newest; v > newest - kept; v--) {
		for (i = 0; i < r->slots && (i == next || slot_version(a, r, i) != v);)
			i++;
		CU_ASSERT_FATAL(i < r->slots);
	}
}

/* The version before or the one made, whole; and all goes on from there, whoever does it next. */
static void go_on_from(struct scene *s, uint64_t version, uint64_t kept)
{
	struct region other = {.version = 0};
	uint64_t v = region_get(s->left, "key", 0);

	CU_ASSERT_FATAL(v == version || v == version + 1);
	for (uint64_t k = 1; k < kept; k++)
		CU_ASSERT_EQUAL_FATAL(region_get(s->left, "key", v - k), v - k);
	check_next_place(s->left, v, kept);
	fail_to_put(s->left, v);
	for (int i = 0; i < 3; i++, v++) {
		CU_ASSERT_EQUAL_FATAL(region_put(s->left, "key", &other, v, 0), 0);
		CU_ASSERT_EQUAL_FATAL(region_get(s->left, "key", 0), v + 1);
		for (uint64_t k = 1; k < kept; k++)
			CU_ASSERT_EQUAL_FATAL(region_get(s->left, "key", v + 1 - k), v + 1 - k);
	}
	CU_ASSERT_EQUAL_FATAL(put(s->left, "key", WORDS, 77), 0);
	CU_ASSERT_EQUAL_FATAL(get(s->left, "key", WORDS), 77);
}

static void act_regions(struct arena *a)
{
	region_put(a, "key", &mine, 5, 0);
}

static void look_at_regions(struct scene *s)
{
	go_on_from(s, 5, 1);
}

/* Versions 1 to n; the last ones share blocks. */
static struct scene regions_open(uint64_t n, uint32_t keep)
{
	struct scene s = scene_open((64 + (keep + 3) * 80) << 10);

	mine = (struct region){.version = 0};
	if (keep > 1)
		CU_ASSERT_EQUAL_FATAL(arena_keep(s.a, "key", keep), 0);
	for (uint64_t v = 0; v < n; v++)
		CU_ASSERT_EQUAL_FATAL(region_put(s.a, "key", &mine, v, 0), 0);
	return s;
}

static void a_commit_of_changed_blocks_cut_off_anywhere_leaves_a_whole_version(void)
{
	struct scene s = regions_open(5, 1);

	CU_ASSERT(step_through(&s, act_regions, look_at_regions, 1) > 20);
	CU_ASSERT_EQUAL(region_get(s.a, "key", 0), 6);
	scene_close(&s);
}

static void look_at_kept_regions(struct scene *s)
{
	go_on_from(s, 5, 3);
}

static void so_it_does_when_more_versions_are_kept(void)
{
	struct scene s = regions_open(5, 3);

	CU_ASSERT(step_through(&s, act_regions, look_at_kept_regions, 1) > 20);
	CU_ASSERT_EQUAL(region_get(s.a, "key", 0), 6);
	CU_ASSERT_EQUAL(region_get(s.a, "key", 4), 4);
	scene_close(&s);
}

/* A plain version, larger than its slot: the slot is cleared of shared blocks, then given up for another. */
static void act_plain_over_regions(struct arena *a)
{
	struct arena_var v[] = {{"u", mine.words, REGION_WORDS, ARENA_U64}, {"more", mine.words, 3000, ARENA_U64}};
	uint64_t changed;

	region_compute(&mine, 5, &changed);
	arena_put(a, "key", v, 2, NULL);
}

static void look_at_plain_over_regions(struct scene *s)
{
	struct region other = {.version = 0};
	static uint64_t words[REGION_WORDS];
	struct arena_var var = {"u", words, REGION_WORDS, ARENA_U64};
	uint64_t v;

	CU_ASSERT_EQUAL_FATAL(arena_get(s->left, "key", &var, 1, 0, &v, NULL), 0);
	CU_ASSERT_FATAL(v == 5 || v == 6);
	CU_ASSERT_FATAL(region_whole(words, v));
	check_all(s->left, 1);
	if (v == 5)
		fail_to_put(s->left, 5);
	for (int i = 0; i < 3; i++, v++) {
		CU_ASSERT_EQUAL_FATAL(region_put(s->left, "key", &other, v, 0), 0);
		CU_ASSERT_EQUAL_FATAL(region_get(s->left, "key", 0), v + 1);
	}
}

static void a_slot_that_is_cleared_of_shared_blocks_may_be_cut_off_anywhere(void)
{
	struct scene s = regions_open(5, 1);

	CU_ASSERT(step_through(&s, act_plain_over_regions, look_at_plain_over_regions, 4) > 40);
	CU_ASSERT_EQUAL(arena_newest(s.a, "key", NULL), 6);
	scene_close(&s);
}

/* The same for other protected regions, with more versions kept: their other pads make another layout. */
static void act_other_pads(struct arena *a)
{
	region_put(a, "key", &mine, 5, 64);
}

static void so_may_one_of_several_kept_versions(void)
{
	struct scene s = regions_open(5, 3);

	CU_ASSERT(step_through(&s, act_other_pads, look_at_kept_regions, 4) > 20);
	CU_ASSERT_EQUAL(region_get(s.a, "key", 0), 6);
	scene_close(&s);
}

static void act_keep_more(struct arena *a)
{
	arena_keep(a, "key", 4);
}

static void look_at_keep(struct scene *s)
{
	go_on_from(s, 5, 1);
	CU_ASSERT_EQUAL_FATAL(put(s->left, "other", WORDS, 3), 0);
	check_all(s->left, 2);
}

static void keeping_more_versions_cut_off_anywhere_loses_none(void)
{
	struct scene s = regions_open(5, 1);

	CU_ASSERT(step_through(&s, act_keep_more, look_at_keep, 1) >= 4);
	CU_ASSERT_EQUAL(region_get(s.a, "key", 0), 5);
	CU_ASSERT_EQUAL(region_put(s.a, "key", &mine, 5, 0), 0);
	CU_ASSERT_EQUAL(region_get(s.a, "key", 5), 5);
	scene_close(&s);
}

static void act_keep_fewer(struct arena *a)
{
	arena_keep(a, "key", 1);
}

static void keeping_fewer_versions_cut_off_anywhere_leaves_the_newest(void)
{
	struct scene s = regions_open(5, 3);

	CU_ASSERT(step_through(&s, act_keep_fewer, look_at_keep, 3) > 20);
	CU_ASSERT_EQUAL(region_get(s.a, "key", 0), 5);
	CU_ASSERT_EQUAL(region_get(s.a, "key", 3), 0);
	scene_close(&s);
}

static const struct test tests[] = {
	{"a commit cut off at any instruction leaves a whole version",
	 a_commit_cut_off_at_any_instruction_leaves_a_whole_version},
	{"an insert cut off at any instruction leaves all keys and room",
	 an_insert_cut_off_at_any_instruction_leaves_all_keys_and_room},
	{"a value that outgrows its slot may be cut off anywhere",
	 a_value_that_outgrows_its_slot_may_be_cut_off_anywhere},
	{"a reset cut off at any instruction leaves the key or none",
	 a_reset_cut_off_at_any_instruction_leaves_the_key_or_none},
	{"a reset of all keys cut off anywhere leaves each or none",
	 a_reset_of_all_keys_cut_off_anywhere_leaves_each_or_none},
	{"growth of the index cut off anywhere loses no key", growth_of_the_index_cut_off_anywhere_loses_no_key},
	{"a commit of changed blocks cut off anywhere leaves a whole version",
	 a_commit_of_changed_blocks_cut_off_anywhere_leaves_a_whole_version},
	{"so it does when more versions are kept", so_it_does_when_more_versions_are_kept},
	{"a slot that is cleared of shared blocks may be cut off anywhere",
	 a_slot_that_is_cleared_of_shared_blocks_may_be_cut_off_anywhere},
	{"so may one of several kept versions", so_may_one_of_several_kept_versions},
	{"keeping more versions cut off anywhere loses none", keeping_more_versions_cut_off_anywhere_loses_none},
	{"keeping fewer versions cut off anywhere leaves the newest",
	 keeping_fewer_versions_cut_off_anywhere_leaves_the_newest},
};

int main(void)
{
	return death_main("arena step", tests, sizeof tests / sizeof *tests);
}
