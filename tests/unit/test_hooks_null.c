/* NULL, zero and huge arguments: every call of the library refuses them, and goes on. */
#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cpagent.h>

#include "lib/base/fs.h"
#include "tests/unit/harness.h"

#define REFUSED(call) CU_ASSERT_EQUAL((call), CPA_ERR_ARG)

static char dir[64];
static char text[1 << 16]; /* longer than any name */
static int x = 1;
static struct cpa_var v = {"x", &x, 1, CPA_I32};
static const struct cpa_var huge = {"x", &x, UINT64_MAX, CPA_C128}, long_name = {text, &x, 1, CPA_I32};

static cpa *opened(void)
{
	cpa *cp = NULL;

	CU_ASSERT_EQUAL_FATAL(cpa_open_named(&cp, dir, "null", 1 << 20), 0);
	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "k", 1, CPA_VAR(x)), 0);
	return cp;
}

/* What was there before is there still, and nothing else. */
static void closed(cpa *cp)
{
	struct cpa_entry *list = NULL;

	CU_ASSERT_EQUAL(cpa_list(cp, &list), 1);
	cpa_list_free(list);
	CU_ASSERT_EQUAL(cpa_restore(cp, "k", 0, CPA_VAR(x)), 0);
	cpa_close(cp);
}

static void opening_refuses_them(void)
{
	cpa *cp = NULL;

	REFUSED(cpa_open(NULL, NULL));
	REFUSED(cpa_open(&cp, ""));
	REFUSED(cpa_open(&cp, text));
	REFUSED(cpa_open_named(NULL, dir, "n", 0));
	REFUSED(cpa_open_named(&cp, dir, "", 0));
	REFUSED(cpa_open_named(&cp, dir, text, 0));
	REFUSED(cpa_open_named(&cp, dir, "n", 1));
	REFUSED(cpa_open_named(&cp, dir, "n", UINT64_MAX));
	CU_ASSERT_PTR_NULL(cp);
	cpa_close(NULL);
	CU_ASSERT_EQUAL(cpa_type_size(INT_MIN) + cpa_type_size(INT_MAX) + cpa_type_size(0), 0);
	CU_ASSERT_STRING_EQUAL(cpa_type_name(INT_MIN), "?");
	CU_ASSERT_STRING_EQUAL(cpa_type_name(INT_MAX), "?");
}

static void checkpoints_refuse_them(void)
{
	cpa *cp = opened();

	REFUSED(cpa_checkpoint_vars(NULL, "k", 1, &v, 1));
	REFUSED(cpa_checkpoint_vars(cp, NULL, 1, &v, 1));
	REFUSED(cpa_checkpoint_vars(cp, text, 1, &v, 1));
	REFUSED(cpa_checkpoint_vars(cp, "k", INT_MAX, &v, 1));
	REFUSED(cpa_checkpoint_vars(cp, "k", INT_MIN, &v, 1));
	REFUSED(cpa_checkpoint_vars(cp, "k", 1, NULL, SIZE_MAX));
	REFUSED(cpa_checkpoint_vars(cp, "k", 1, &v, 0));
	REFUSED(cpa_checkpoint_vars(cp, "k", 1, &v, SIZE_MAX));
	REFUSED(cpa_checkpoint_vars(cp, "k", 1, &huge, 1));
	REFUSED(cpa_checkpoint_vars(cp, "k", 1, &long_name, 1));
	REFUSED(cpa_keep(NULL, "k", 1));
	REFUSED(cpa_keep(cp, NULL, 1));
	REFUSED(cpa_keep(cp, "k", 0));
	REFUSED(cpa_keep(cp, "k", INT_MAX));
	REFUSED(cpa_keep(cp, "k", INT_MIN));
	REFUSED(cpa_version(NULL, NULL));
	REFUSED(cpa_version(cp, ""));
	REFUSED(cpa_version(cp, text));
	REFUSED(cpa_version(cp, NULL, ""));
	REFUSED(cpa_version(cp, NULL, text));
	REFUSED(cpa_version(cp, NULL, "memo:x"));
	REFUSED(cpa_version_within(cp, NULL, "k", (double)NAN));
	REFUSED(cpa_reset(NULL, NULL));
	REFUSED(cpa_reset(cp, ""));
	REFUSED(cpa_wait(NULL, "k", 1, 1));
	REFUSED(cpa_wait(cp, NULL, 1, 1));
	REFUSED(cpa_wait(cp, "k", INT_MAX, 1));
	REFUSED(cpa_wait(cp, "k", 1, (double)NAN));
	closed(cp);
}

static void restores_and_lists_refuse_them(void)
{
	struct cpa_entry *e;
	cpa *cp = opened();

	REFUSED(cpa_restore_vars(NULL, "k", 0, &v, 1));
	REFUSED(cpa_restore_vars(cp, NULL, 0, &v, 1));
	REFUSED(cpa_restore_vars(cp, "k", INT_MAX, &v, 1));
	REFUSED(cpa_restore_vars(cp, "k", INT_MIN, &v, 1));
	REFUSED(cpa_restore_vars(cp, "k", 0, NULL, 1));
	REFUSED(cpa_restore_vars(cp, "k", 0, &v, SIZE_MAX));
	REFUSED(cpa_restore_vars(cp, "k", 0, &huge, 1));
	REFUSED(cpa_restore_version(NULL, "k", 1, &v, 1));
	REFUSED(cpa_restore_version(cp, NULL, 1, &v, 1));
	REFUSED(cpa_restore_version(cp, "k", 0, &v, 1));
	REFUSED(cpa_restore_version(cp, "k", 1, NULL, 1));
	CU_ASSERT_EQUAL(cpa_restore_version(cp, "k", UINT64_MAX, &v, 1), CPA_ERR_KEY);
	REFUSED(cpa_list(NULL, &e));
	REFUSED(cpa_list(cp, NULL));
	REFUSED(cpa_query(NULL, "k", &e));
	REFUSED(cpa_query(cp, NULL, &e));
	REFUSED(cpa_query(cp, "k", NULL));
	cpa_list_free(NULL);
	closed(cp);
}

static void files_and_archives_refuse_them(void)
{
	char path[300];
	cpa *cp = opened();

	REFUSED(cpa_route_file(NULL, "f", path, sizeof path));
	REFUSED(cpa_route_file(cp, NULL, path, sizeof path));
	REFUSED(cpa_route_file(cp, "f", NULL, sizeof path));
	REFUSED(cpa_route_file(cp, "f", path, 0));
	REFUSED(cpa_route_file(cp, "f", path, 3));
	REFUSED(cpa_file_done(NULL, "f", 1));
	REFUSED(cpa_file_done(cp, NULL, 1));
	REFUSED(cpa_file_done(cp, "f", INT_MAX));
	REFUSED(cpa_restore_file(NULL, "f", 0, path, sizeof path));
	REFUSED(cpa_restore_file(cp, NULL, 0, path, sizeof path));
	REFUSED(cpa_restore_file(cp, "f", 0, NULL, sizeof path));
	REFUSED(cpa_restore_file(cp, "f", INT_MIN, path, sizeof path));
	REFUSED(cpa_save(NULL, "x"));
	REFUSED(cpa_save(cp, NULL));
	REFUSED(cpa_save(cp, ""));
	REFUSED(cpa_load(NULL, "x"));
	REFUSED(cpa_load(cp, NULL));
	REFUSED(cpa_load(cp, ""));
	closed(cp);
}

static void regions_refuse_them(void)
{
	const char *names[2] = {"r", NULL};
	cpa *cp = opened();

	REFUSED(cpa_protect(NULL, "r", &x, 1, CPA_I32));
	REFUSED(cpa_protect(cp, NULL, &x, 1, CPA_I32));
	REFUSED(cpa_protect(cp, "", &x, 1, CPA_I32));
	REFUSED(cpa_protect(cp, text, &x, 1, CPA_I32));
	REFUSED(cpa_protect(cp, "r", NULL, 1, CPA_I32));
	REFUSED(cpa_protect(cp, "r", &x, UINT64_MAX, CPA_I32));
	REFUSED(cpa_protect(cp, "r", &x, UINT64_MAX / 4 + 1, CPA_I32));
	REFUSED(cpa_protect(cp, "r", &x, 1, INT_MIN));
	REFUSED(cpa_unprotect(NULL, NULL));
	CU_ASSERT_EQUAL(cpa_unprotect(cp, text), CPA_ERR_REGION);
	REFUSED(cpa_checkpoint_protected(NULL, "p", 1));
	REFUSED(cpa_checkpoint_protected(cp, NULL, 1));
	REFUSED(cpa_checkpoint_protected(cp, "p", INT_MAX));
	REFUSED(cpa_checkpoint_regions(cp, "p", 1, NULL, 1));
	REFUSED(cpa_checkpoint_regions(cp, "p", 1, names, 0));
	REFUSED(cpa_checkpoint_regions(cp, "p", 1, names, SIZE_MAX));
	CU_ASSERT_EQUAL(cpa_checkpoint_regions(cp, "p", 1, names, 2), CPA_ERR_REGION);
	REFUSED(cpa_restore_protected(NULL, "p", 0));
	REFUSED(cpa_restore_protected(cp, NULL, 0));
	REFUSED(cpa_restore_regions(cp, "p", 0, NULL, 1));
	REFUSED(cpa_restore_regions(cp, "p", 0, names, SIZE_MAX));
	REFUSED(cpa_tracking(NULL, NULL, NULL));
	CU_ASSERT(cpa_tracking(cp, NULL, NULL) >= 0);
	closed(cp);
}

static int nothing(cpa *cp, enum cpa_began how, void *arg)
{
	(void)cp, (void)how, (void)arg;
	return 0;
}

static void what_concerns_the_job_refuses_them(void)
{
	cpa *cp = opened();
	double s;

	REFUSED(cpa_incarnation(NULL, NULL));
	CU_ASSERT_EQUAL(cpa_incarnation(cp, NULL), 0);
	REFUSED(cpa_on_init(NULL, nothing, NULL));
	REFUSED(cpa_on_init(cp, NULL, NULL));
	REFUSED(cpa_on_term(cp, NULL, NULL));
	REFUSED(cpa_on_restart(NULL, NULL, NULL));
	REFUSED(cpa_on_restart(cp, NULL, NULL));
	REFUSED(cpa_should_checkpoint(NULL));
	REFUSED(cpa_set_due(NULL, 1, 1));
	REFUSED(cpa_set_due(cp, (double)NAN, 1));
	REFUSED(cpa_set_due(cp, 1, (double)INFINITY));
	REFUSED(cpa_set_due(cp, 1e300, 1));
	REFUSED((int)cpa_get_due(NULL));
	REFUSED(cpa_snapshot(NULL, NULL, 1));
	REFUSED(cpa_snapshot(cp, NULL, (double)NAN));
	REFUSED(cpa_set_interval(NULL, 1, 1));
	REFUSED(cpa_set_interval(cp, (double)NAN, 1));
	REFUSED(cpa_set_interval(cp, 1, (double)INFINITY));
	REFUSED(cpa_set_interval(cp, 1e300, -1));
	REFUSED(cpa_get_interval(NULL, &s, &s));
	CU_ASSERT_EQUAL(cpa_get_interval(cp, NULL, NULL), 0);
	REFUSED(cpa_start(NULL));
	REFUSED(cpa_stop(NULL));
	REFUSED(cpa_register(NULL, "tcp://h:1", 1));
	REFUSED(cpa_register(cp, NULL, 1));
	REFUSED(cpa_register(cp, "", 1));
	REFUSED(cpa_register(cp, text, 1));
	closed(cp);
}

static const struct test tests[] = {
	{"opening refuses them", opening_refuses_them},
	{"checkpoints refuse them", checkpoints_refuse_them},
	{"restores and lists refuse them", restores_and_lists_refuse_them},
	{"files and archives refuse them", files_and_archives_refuse_them},
	{"regions refuse them", regions_refuse_them},
	{"what concerns the job refuses them", what_concerns_the_job_refuses_them},
};

int main(void)
{
	struct err e;
	int rc;

	memset(text, 'a', sizeof text - 1);
	snprintf(dir, sizeof dir, "/dev/shm/test_hooks_null.XXXXXX");
	if (!mkdtemp(dir))
		return 1;
	rc = harness_run("hooks_null", tests, sizeof tests / sizeof *tests);
	fs_remove_tree(dir, &e);
	return rc;
}
