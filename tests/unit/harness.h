/* harness: runs one program's tests under CUnit. Owns how results are counted and shown; every file
 * of tests/unit and tests/sim ends with one call of it. */
#ifndef TESTS_UNIT_HARNESS_H
#define TESTS_UNIT_HARNESS_H

#include <CUnit/CUnit.h>
#include <stddef.h>

/* clang says it in another way */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#elif __has_feature(thread_sanitizer)
#define __SANITIZE_THREAD__ 1
#endif
#endif

struct test {
	const char *sentence; /* what must be true; shown when it is not */
	void (*run)(void);
};

/* Run the tests in order and print each one's sentence, the failed assertions as file:line, and last
 * "N passed, N failed" (tests, not assertions). CPA_TEST=TEXT runs only those whose sentence contains
 * TEXT. Returns main's status: 0 when all passed, 1 otherwise, also when none was run. */
int harness_run(const char *suite, const struct test *tests, size_t n);

#endif
