/* harness: CUnit underneath, our own report on top, because CUnit's counts assertions and we count
 * tests. See harness.h. */
#include "tests/unit/harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned passed, failed;

static void on_start(const CU_pTest test, const CU_pSuite suite)
{
	(void)suite;
	/* before it runs: after a crash, the last sentence of the log is the guilty one */
	printf("  %s\n", test->pName);
	fflush(stdout);
}

static void on_complete(const CU_pTest test, const CU_pSuite suite, const CU_pFailureRecord failures)
{
	if (!failures) {
		passed++;
		return;
	}
	failed++;
	printf("FAILED %s: %s\n", suite->pName, test->pName);
	for (CU_pFailureRecord f = failures; f; f = f->pNext)
		printf("  %s:%u: %s\n", f->strFileName ? f->strFileName : "?", f->uiLineNumber,
		       f->strCondition ? f->strCondition : "?");
	fflush(stdout);
}

static int give_up(const char *what)
{
	fprintf(stderr, "harness: %s: %s\n", what, CU_get_error_msg());
	return 1;
}

int harness_run(const char *suite, const struct test *tests, size_t n)
{
	const char *only = getenv("CPA_TEST");

	if (CU_initialize_registry() != CUE_SUCCESS)
		return give_up("cannot make the test registry");
	CU_pSuite s = CU_add_suite(suite, NULL, NULL);

	if (!s)
		return give_up("cannot add the suite");
	for (size_t i = 0; i < n; i++) {
		if (only && !strstr(tests[i].sentence, only))
			continue;
		if (!CU_add_test(s, tests[i].sentence, tests[i].run))
			return give_up(tests[i].sentence);
	}
	CU_set_test_start_handler(on_start);
	CU_set_test_complete_handler(on_complete);
	printf("%s\n", suite);
	CU_run_all_tests();
	CU_cleanup_registry();
	printf("%u passed, %u failed\n", passed, failed);
	return failed || !passed;
}
