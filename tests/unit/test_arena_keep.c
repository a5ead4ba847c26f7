/* How many versions a key keeps: they are there, each whole, and no more of them; and what is listed of them. */
#include <fcntl.h>
#include <sys/syscall.h>

#include "lib/arena/mailbox.h"
#include "tests/unit/arena_death.h"

static int has(struct arena *a, const char *key, uint64_t version)
{
	uint64_t data[WORDS], got;
	struct arena_var v = {"v", data, WORDS, ARENA_U64};
	int rc = arena_get(a, key, &v, 1, version, &got, NULL);

	CU_ASSERT_FATAL(rc == 0 || rc == -ENOENT);
	CU_ASSERT(rc || (got == version && data[0] == version && data[WORDS - 1] == version));
	return rc == 0;
}

static void by_default_the_last_version_is_kept(void)
{
	struct arena *a = fresh(1 << 20);

	for (uint64_t v = 1; v <= 5; v++)
		put(a, "key", WORDS, v);
	CU_ASSERT_TRUE(has(a, "key", 5));
	CU_ASSERT_FALSE(has(a, "key", 3));
	arena_unmap(a);
}

static void as_many_versions_are_kept_as_were_asked_for(void)
{
	static const uint32_t some[] = {1, 2, 3, 7, 20, ARENA_SLOTS_MAX - 1};

	for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
		struct arena *a = fresh(1 << 20);

		CU_ASSERT_EQUAL_FATAL(arena_keep(a, "key", some[i]), 0);
		CU_ASSERT_EQUAL(arena_newest(a, "key", NULL), 0);
		for (uint64_t v = 1; v <= 150; v++) {
			CU_ASSERT_EQUAL_FATAL(put(a, "key", WORDS, v), 0);
			for (uint64_t k = 0; k < some[i] && k < v; k++)
				CU_ASSERT_TRUE_FATAL(has(a, "key", v - k));
			CU_ASSERT_FALSE(v > some[i] + 1 && has(a, "key", v - some[i] - 1));
		}
		arena_unmap(a);
	}
}

static void a_key_may_keep_more_and_fewer_while_it_has_versions(void)
{
	struct arena *a = fresh(1 << 20);
	uint64_t v = 0, least;

	for (; v < 4; v++)
		put(a, "key", WORDS, v + 1);
	CU_ASSERT_EQUAL(arena_keep(a, "key", 5), 0);
	CU_ASSERT_TRUE(has(a, "key", 4));
	for (; v < 12; v++)
		put(a, "key", WORDS, v + 1);
	for (least = 12; least > 7; least--)
		CU_ASSERT_TRUE(has(a, "key", least));
	CU_ASSERT_EQUAL(arena_keep(a, "key", 2), 0);
	CU_ASSERT_TRUE(has(a, "key", 12) && has(a, "key", 11));
	CU_ASSERT_FALSE(has(a, "key", 9));
	for (; v < 20; v++) {
		put(a, "key", WORDS, v + 1);
		CU_ASSERT_TRUE(has(a, "key", v + 1) && has(a, "key", v));
		CU_ASSERT_FALSE(has(a, "key", v - 2));
	}
	CU_ASSERT_EQUAL(arena_keep(a, "key", 6), 0);
	CU_ASSERT_TRUE(has(a, "key", 20) && has(a, "key", 19));
	for (; v < 30; v++)
		put(a, "key", WORDS, v + 1);
	for (least = 30; least > 24; least--)
		CU_ASSERT_TRUE(has(a, "key", least));
	arena_unmap(a);
}

/* In use: what the index reaches. */
static uint64_t takes(struct arena *a, const char *key)
{
	struct arena_record *r;
	uint64_t bytes = 0;

	arena_newest(a, key, &r);
	CU_ASSERT_PTR_NOT_NULL_FATAL(r);
	for (uint32_t i = 0; i < r->slots; i++)
		bytes += record_slots(r)[i].length;
	return bytes;
}

static void memory_of_versions_that_are_kept_no_more_is_free_again(void)
{
	struct arena *a = fresh(310 << 10);
	struct region g = {.version = 0};
	uint64_t six, v = 0;

	CU_ASSERT_EQUAL(arena_keep(a, "key", 5), 0);
	for (; v < 9; v++)
		CU_ASSERT_EQUAL_FATAL(region_put(a, "key", &g, v, 0), 0);
	six = takes(a, "key");
	CU_ASSERT_EQUAL(put(a, "other", BIG, 1), -ENOSPC);
	CU_ASSERT_EQUAL(arena_keep(a, "key", 1), 0);
	CU_ASSERT_EQUAL(takes(a, "key"), six / 6 * 2);
	CU_ASSERT_EQUAL(region_get(a, "key", 0), 9);
	CU_ASSERT_EQUAL(region_get(a, "key", 8), 8);
	CU_ASSERT_EQUAL(put(a, "other", BIG, 1), 0);
	for (; v < 40; v++) {
		CU_ASSERT_EQUAL_FATAL(region_put(a, "key", &g, v, 0), 0);
		CU_ASSERT_EQUAL_FATAL(region_get(a, "key", 0), v + 1);
	}
	CU_ASSERT_EQUAL(takes(a, "key"), six / 6 * 2);
	arena_unmap(a);
}

/* Regions, then others laid out differently, with four versions kept: each stays until its time. */
static void kept_versions_of_regions_outlive_a_change_of_layout(void)
{
	struct arena *a = fresh(2 << 20);
	struct region g = {.version = 0};
	uint64_t v = 0;

	CU_ASSERT_EQUAL(arena_keep(a, "key", 4), 0);
	for (; v < 60; v++) {
		int rc = v % 13 == 12 ? region_put_plain(a, "key", &g, v)
				      : region_put(a, "key", &g, v, v / 7 % 2 ? 64 : 0);

		CU_ASSERT_EQUAL_FATAL(rc, 0);
		for (uint64_t k = 0; k < 4 && k <= v; k++)
			CU_ASSERT_EQUAL_FATAL(region_get(a, "key", v + 1 - k), v + 1 - k);
	}
	arena_unmap(a);
}

static void impossible_wishes_are_refused_and_a_full_arena_changes_nothing(void)
{
	struct arena *a = fresh(ARENA_HEAP_MIN);
	char key[32];
	size_t n = 0;

	CU_ASSERT_EQUAL(arena_keep(a, "key", 0), -EINVAL);
	CU_ASSERT_EQUAL(arena_keep(a, "key", ARENA_SLOTS_MAX), -EINVAL);
	CU_ASSERT_EQUAL(arena_keep(a, "", 2), -EINVAL);
	CU_ASSERT_EQUAL(arena_keep(a, "bad \xff", 2), -EINVAL);
	put(a, "key", WORDS, 1);
	put(a, "key", WORDS, 2);
	while (snprintf(key, sizeof key, "k%zu", n++) > 0 && put(a, key, 8, 1) == 0)
		;
	CU_ASSERT_EQUAL(arena_keep(a, "key", 60), -ENOSPC);
	CU_ASSERT_TRUE(has(a, "key", 2));
	CU_ASSERT_EQUAL(put(a, "key", WORDS, 3), 0);
	CU_ASSERT_EQUAL(arena_keep(a, "key", 1), 0);
	CU_ASSERT_TRUE(has(a, "key", 3));
	arena_unmap(a);
}

static void a_list_names_the_newest_version_and_how_it_was_gathered(void)
{
	struct arena *a = fresh(2 << 20);
	struct arena_reader r = {.fd = -1, .image = a->base, .image_bytes = a->file_bytes};
	struct region g = {.version = 0};
	struct arena_keys list;
	struct arena_key one;

	CU_ASSERT_EQUAL(arena_keep(a, "empty", 3), 0);
	CU_ASSERT_EQUAL(arena_keep(a, "regions", 3), 0);
	put(a, "plain", WORDS, 1);
	CU_ASSERT_EQUAL(arena_read_open(&r), 0);
	for (uint64_t v = 0; v < 5; v++) {
		CU_ASSERT_EQUAL(region_put(a, "regions", &g, v, 0), 0);
		CU_ASSERT_EQUAL(arena_read_key(&r, "regions", &one), 0);
		CU_ASSERT_EQUAL(one.version, v + 1);
		CU_ASSERT_EQUAL(one.how, v ? ARENA_DIRTY : ARENA_WHOLE);
		CU_ASSERT_EQUAL(one.bytes, 8 * REGION_WORDS);
		CU_ASSERT(one.n == 1 && one.vars[0].count == REGION_WORDS && one.vars[0].type == ARENA_U64);
		CU_ASSERT_STRING_EQUAL(one.vars[0].name, "u");
		arena_key_free(&one);
	}
	CU_ASSERT_EQUAL(arena_read_keys(&r, 1, &list), 0);
	CU_ASSERT_EQUAL_FATAL(list.n, 2);
	CU_ASSERT_EQUAL(list.broken, 0);
	CU_ASSERT(list.key[0].how == ARENA_PLAIN && list.key[1].how == ARENA_DIRTY && list.key[1].version == 5);
	arena_keys_free(&list);
	CU_ASSERT_EQUAL(arena_read_key(&r, "empty", &one), -ENOENT);
	arena_key_free(&one);
	CU_ASSERT_EQUAL(arena_read_key(&r, "none", &one), -ENOENT);
	arena_key_free(&one);
	arena_unmap(a);
}

/* A writer that died between its version's last word and the commit: the next version has that number too. */
static void a_version_that_was_never_published_is_not_taken_for_one(void)
{
	struct arena *a = fresh(1 << 20);
	struct arena_record *r;
	uint64_t before, v;

	CU_ASSERT_EQUAL(arena_keep(a, "key", 4), 0);
	for (v = 1; v <= 9; v++) {
		arena_newest(a, "key", &r);
		before = r->commit;
		CU_ASSERT_EQUAL(put(a, "key", WORDS, 1000), 0);
		r->commit = before;
		if (v > 1)
			CU_ASSERT_EQUAL(get(a, "key", WORDS), v - 1);
		CU_ASSERT_EQUAL(put(a, "key", WORDS, v), 0);
		for (uint64_t k = 0; k < 4 && k < v; k++)
			CU_ASSERT_TRUE_FATAL(has(a, "key", v - k));
	}
	arena_unmap(a);
}

/* Until a child sleeps on a futex. */
static void until_it_waits(pid_t pid)
{
	char at[64], text[64];

	snprintf(at, sizeof at, "/proc/%d/syscall", (int)pid);
	for (;;) {
		FILE *f = fopen(at, "re");
		int futex = f && fgets(text, sizeof text, f) && atol(text) == SYS_futex && text[0] != '-';

		if (f)
			fclose(f);
		if (futex)
			return;
	}
}

static pid_t wait_in_child(struct arena *a)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(-arena_wait(a, "key", 2, INT64_C(60000000000)));
	until_it_waits(pid);
	return pid;
}

static int ending(pid_t pid)
{
	int status;

	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void who_waits_for_a_level_is_told_of_it_though_the_record_moved(void)
{
	struct arena *a = fresh(1 << 20);
	int fd = open(death_path, O_RDWR | O_CLOEXEC);
	struct arena_reader r = {.fd = fd};
	struct arena_key k;
	pid_t pid;

	a->head->agent_flags = ARENA_SERVED;
	put(a, "key", WORDS, 1);
	pid = wait_in_child(a);
	CU_ASSERT_EQUAL(arena_keep(a, "key", 6), 0);
	CU_ASSERT_EQUAL(arena_read_open(&r), 0);
	CU_ASSERT_EQUAL(arena_read_key(&r, "key", &k), 0);
	CU_ASSERT_EQUAL(arena_set_held(&r, &k, 1, 2), 0);
	CU_ASSERT_EQUAL(ending(pid), 0);
	CU_ASSERT_EQUAL(put(a, "key", WORDS, 2), 0);
	pid = wait_in_child(a);
	CU_ASSERT_EQUAL(arena_reset(a, "key"), 0);
	CU_ASSERT_EQUAL(ending(pid), ENOENT);
	arena_key_free(&k);
	close(fd);
	arena_unmap(a);
}

static const struct test tests[] = {
	{"by default the last version is kept", by_default_the_last_version_is_kept},
	{"as many versions are kept as were asked for", as_many_versions_are_kept_as_were_asked_for},
	{"a key may keep more and fewer while it has versions", a_key_may_keep_more_and_fewer_while_it_has_versions},
	{"memory of versions that are kept no more is free again",
	 memory_of_versions_that_are_kept_no_more_is_free_again},
	{"kept versions of regions outlive a change of layout", kept_versions_of_regions_outlive_a_change_of_layout},
	{"impossible wishes are refused and a full arena changes nothing",
	 impossible_wishes_are_refused_and_a_full_arena_changes_nothing},
	{"a version that was never published is not taken for one",
	 a_version_that_was_never_published_is_not_taken_for_one},
	{"who waits for a level is told of it though the record moved",
	 who_waits_for_a_level_is_told_of_it_though_the_record_moved},
	{"a list names the newest version and how it was gathered",
	 a_list_names_the_newest_version_and_how_it_was_gathered},
};

int main(void)
{
	return death_main("arena keep", tests, sizeof tests / sizeof *tests);
}
