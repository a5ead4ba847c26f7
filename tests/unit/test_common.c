/* Which version all have: lib/arena/common.h, what a reader says is whole, and a group of one. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cpagent.h>

#include "lib/arena/common.h"
#include "lib/arena/mailbox.h"
#include "lib/arena/reader.h"
#include "lib/base/fs.h"
#include "lib/base/scoped.h"
#include "tests/unit/harness.h"

#define COMMON(ranks, keys, ...)                                       \
	arena_common((struct arena_has[]){__VA_ARGS__},                \
		     sizeof((struct arena_has[]){__VA_ARGS__}) / sizeof(struct arena_has), ranks, keys)

/* version, rank, key */
static void the_newest_version_that_all_ranks_have_is_found(void)
{
	CU_ASSERT_EQUAL(COMMON(2, 1, {5, 0, 0}, {6, 0, 0}, {6, 1, 0}, {7, 1, 0}), 6);
	CU_ASSERT_EQUAL(COMMON(3, 1, {7, 2, 0}, {6, 0, 0}, {5, 0, 0}, {5, 1, 0}, {6, 1, 0}, {5, 2, 0}, {7, 1, 0}), 5);
	CU_ASSERT_EQUAL(COMMON(1, 1, {1, 0, 0}, {9, 0, 0}, {3, 0, 0}), 9);
}

static void there_may_be_none(void)
{
	CU_ASSERT_EQUAL(COMMON(2, 1, {5, 0, 0}, {6, 1, 0}), 0);
	CU_ASSERT_EQUAL(COMMON(3, 1, {5, 0, 0}, {5, 1, 0}), 0);
	CU_ASSERT_EQUAL(COMMON(2, 2, {5, 0, 0}, {5, 1, 0}, {5, 0, 1}), 0);
	CU_ASSERT_EQUAL(COMMON(1, 1, {0, 0, 0}), 0);
	CU_ASSERT_EQUAL(arena_common(NULL, 0, 2, 1), 0);
	CU_ASSERT_EQUAL(COMMON(0, 1, {5, 0, 0}), 0);
	CU_ASSERT_EQUAL(COMMON(1, 0, {5, 0, 0}), 0);
}

static void every_key_counts_in_every_rank(void)
{
	CU_ASSERT_EQUAL(COMMON(2, 2, {5, 0, 0}, {5, 1, 0}, {5, 0, 1}, {4, 0, 0}, {4, 1, 0}, {4, 0, 1}, {4, 1, 1}), 4);
}

static void what_is_said_twice_counts_once(void)
{
	CU_ASSERT_EQUAL(COMMON(2, 1, {5, 0, 0}, {5, 0, 0}, {4, 0, 0}, {4, 1, 0}), 4);
	CU_ASSERT_EQUAL(COMMON(2, 1, {5, 0, 0}, {5, 0, 0}), 0);
}

static void numbers_as_large_as_can_be_are_numbers(void)
{
	CU_ASSERT_EQUAL(COMMON(2, 1, {UINT64_MAX, 0, 0}, {UINT64_MAX, 1, 0}, {1, 0, 0}, {1, 1, 0}), UINT64_MAX);
	CU_ASSERT_EQUAL(COMMON(UINT32_MAX, UINT32_MAX, {1, 0, 0}), 0);
}

/* ---- arenas ---- */

static char dir[64];

static cpa *opened(const char *name)
{
	cpa *cp = NULL;

	CU_ASSERT_EQUAL_FATAL(cpa_open_named(&cp, dir, name, 16 << 20), 0);
	return cp;
}

static void put(cpa *cp, const char *key, int versions)
{
	for (int i = 1; i <= versions; i++)
		CU_ASSERT_EQUAL(cpa_checkpoint(cp, key, 1, CPA_VAR(i)), 0);
}

static void alone_a_program_is_a_group_of_one(void)
{
	cpa *cp = opened("alone");

	CU_ASSERT_EQUAL(cpa_version(cp, NULL, "a"), CPA_ERR_KEY);
	CU_ASSERT_EQUAL(cpa_version(cp, NULL), CPA_ERR_KEY);
	CU_ASSERT_EQUAL(cpa_version(cp, "others", "a"), CPA_ERR_LEVEL);
	put(cp, "a", 3);
	CU_ASSERT_EQUAL(cpa_version(cp, NULL, "a"), 3);
	CU_ASSERT_EQUAL(cpa_version(cp, NULL), 3);
	CU_ASSERT_EQUAL(cpa_version(cp, NULL, "b"), CPA_ERR_KEY);
	cpa_close(cp);
}

static void of_all_keys_it_is_one_that_each_has_and_memos_are_none(void)
{
	cpa *cp = opened("several");
	cpa_memo *m;
	int x = 1, y = 2;

	CU_ASSERT_EQUAL(cpa_memo_begin(cp, &m, "twice", CPA_IN(CPA_VAR(x)), CPA_OUT(CPA_VAR(y))), 0);
	CU_ASSERT_EQUAL(cpa_memo_end(m), 0);
	CU_ASSERT_EQUAL(cpa_version(cp, NULL), CPA_ERR_KEY);
	CU_ASSERT_EQUAL(cpa_keep(cp, "a", 2), 0);
	CU_ASSERT_EQUAL(cpa_keep(cp, "empty", 2), 0);
	put(cp, "a", 4);
	put(cp, "b", 3);
	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "c", 1, CPA_VAR(x)), 0);
	CU_ASSERT_EQUAL(cpa_version(cp, NULL), CPA_ERR_KEY);
	CU_ASSERT_EQUAL(cpa_reset(cp, "c"), 0);
	CU_ASSERT_EQUAL(cpa_version(cp, NULL), 3);
	CU_ASSERT_EQUAL(cpa_version(cp, NULL, "empty"), CPA_ERR_KEY);
	cpa_close(cp);
}

/* What the agent's reader says of a file. */
static struct arena_whole whole(const char *name, const char *key)
{
	char path[256];
	struct arena_reader r = {.fd = -1};
	struct arena_whole w = {0};

	snprintf(path, sizeof path, "%s/%s.arena", dir, name);
	r.fd = open(path, O_RDONLY | O_CLOEXEC);
	CU_ASSERT_EQUAL_FATAL(arena_read_open(&r), 0);
	CU_ASSERT_EQUAL(arena_read_whole(&r, key, &w), 0);
	close(r.fd);
	return w;
}

static int has(const struct arena_whole *w, uint64_t version)
{
	for (size_t i = 0; i < w->n; i++)
		if (w->version[i] == version)
			return 1;
	return 0;
}

static double large[4096];

/* Turn a byte over in the data of the newest version, which holds this number nowhere else. */
static void damage(const char *name, double number)
{
	char path[256];
	size_t n;
	scoped_free char *file = NULL;
	struct err e = {0};

	snprintf(path, sizeof path, "%s/%s.arena", dir, name);
	CU_ASSERT_EQUAL_FATAL(fs_read(path, 64 << 20, &file, &n, &e), 0);
	char *at = memmem(file, n, &number, sizeof number);
	CU_ASSERT_PTR_NOT_NULL_FATAL(at);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	CU_ASSERT_EQUAL(pwrite(fd, "?", 1, at - file), 1);
	close(fd);
}

static void a_version_with_a_flipped_byte_is_not_whole(void)
{
	cpa *cp = opened("damaged");

	CU_ASSERT_EQUAL(cpa_keep(cp, "u", 3), 0);
	for (int i = 1; i <= 3; i++) {
		large[3000] = 1e100 * i + 0.123;
		CU_ASSERT_EQUAL(cpa_checkpoint(cp, "u", 1, CPA_ARRAY(large, 4096)), 0);
	}
	struct arena_whole w = whole("damaged", "u");
	CU_ASSERT(w.n == 3 && has(&w, 1) && has(&w, 2) && has(&w, 3));
	damage("damaged", large[3000]);
	w = whole("damaged", "u");
	CU_ASSERT(w.n == 2 && has(&w, 1) && has(&w, 2) && !has(&w, 3));
	CU_ASSERT_EQUAL(w.newest, 3);
	CU_ASSERT_EQUAL(cpa_version(cp, NULL, "u"), 2);
	cpa_close(cp);
}

static void versions_that_share_blocks_are_whole_too(void)
{
	cpa *cp = opened("shared");
	size_t n = 1 << 17; /* so large that what changed is known, where the kernel knows it */
	double *u = mmap(NULL, n * sizeof *u, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CU_ASSERT_NOT_EQUAL_FATAL(u, MAP_FAILED);
	for (size_t i = 0; i < n; i++)
		u[i] = (double)i;
	CU_ASSERT_EQUAL(cpa_keep(cp, "r", 2), 0);
	CU_ASSERT_EQUAL(CPA_PROTECT(cp, "u", u, n), 0);
	for (int i = 0; i < 4; i++) {
		u[i * 600] = 7e77 + i * 1e70;
		CU_ASSERT_EQUAL(cpa_checkpoint_protected(cp, "r", 1), 0);
	}
	struct arena_whole w = whole("shared", "r");
	CU_ASSERT(w.n >= 2 && has(&w, 3) && has(&w, 4));
	CU_ASSERT_EQUAL(cpa_version(cp, NULL, "r"), 4);
	damage("shared", u[3 * 600]);
	w = whole("shared", "r");
	CU_ASSERT(has(&w, 3) && !has(&w, 4));
	cpa_close(cp);
	munmap(u, n * sizeof *u);
}

static void regions_go_back_as_variables_of_their_names(void)
{
	cpa *cp = opened("regions");
	struct cpa_var u = CPA_NAMED("large", large, 4096);

	CU_ASSERT_EQUAL(cpa_keep(cp, "r", 2), 0);
	CU_ASSERT_EQUAL(CPA_PROTECT(cp, "large", large, 4096), 0);
	for (int i = 1; i <= 3; i++) {
		large[77] = i;
		CU_ASSERT_EQUAL(cpa_checkpoint_protected(cp, "r", 1), 0);
	}
	CU_ASSERT_EQUAL(cpa_restore_version(cp, "r", 2, &u, 1), 0);
	CU_ASSERT_EQUAL(large[77], 2);
	CU_ASSERT_EQUAL(cpa_checkpoint_protected(cp, "r", 1), 0);
	large[77] = 0;
	CU_ASSERT_EQUAL(cpa_restore_protected(cp, "r", 0), 0);
	CU_ASSERT_EQUAL(large[77], 2);
	cpa_close(cp);
}

static const struct test tests[] = {
	{"the newest version that all ranks have is found", the_newest_version_that_all_ranks_have_is_found},
	{"there may be none", there_may_be_none},
	{"every key counts in every rank", every_key_counts_in_every_rank},
	{"what is said twice counts once", what_is_said_twice_counts_once},
	{"numbers as large as can be are numbers", numbers_as_large_as_can_be_are_numbers},
	{"alone a program is a group of one", alone_a_program_is_a_group_of_one},
	{"of all keys it is one that each has and memos are none", of_all_keys_it_is_one_that_each_has_and_memos_are_none},
	{"a version with a flipped byte is not whole", a_version_with_a_flipped_byte_is_not_whole},
	{"versions that share blocks are whole too", versions_that_share_blocks_are_whole_too},
	{"regions go back as variables of their names", regions_go_back_as_variables_of_their_names},
};

int main(void)
{
	struct err e = {0};
	int rc;

	snprintf(dir, sizeof dir, "/tmp/test_common.XXXXXX");
	if (!mkdtemp(dir))
		return 1;
	rc = harness_run("common", tests, sizeof tests / sizeof *tests);

	fs_remove_tree(dir, &e);
	return rc;
}
