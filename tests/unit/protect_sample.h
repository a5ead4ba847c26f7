/* What the tests of protected regions share: an arena of their own, a look at how a version was gathered, and memory
 * with no memory mapped behind it. */
#ifndef TESTS_UNIT_PROTECT_SAMPLE_H
#define TESTS_UNIT_PROTECT_SAMPLE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cpagent.h>

#include "hooks/regions.h"
#include "lib/base/fs.h"
#include "tests/unit/harness.h"



#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define UNDER_ASAN 1
#else
#define UNDER_ASAN 0
#endif
#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#else
#define UNDER_TSAN 0
#endif

static char dir[64];

/* Small, so that valgrind, which looks through all of it, gets done. */
static inline int open_arena(cpa **cp)
{
	return cpa_open_named(cp, dir, "arena", UINT64_C(256) << 20);
}

/* A handle on an arena with nothing in it. */
static inline cpa *opened(void)
{
	cpa *cp = NULL;

	CU_ASSERT_EQUAL_FATAL(open_arena(&cp), 0);
	CU_ASSERT_EQUAL_FATAL(cpa_reset(cp, NULL), 0);
	return cp;
}

static inline uint8_t *pages(size_t n)
{
	uint8_t *p = mmap(NULL, n * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CU_ASSERT_PTR_NOT_EQUAL_FATAL(p, MAP_FAILED);
	return p;
}

/* The newest version's enum arena_how; -1: there is none. */
static inline int how_of(cpa *cp, const char *key)
{
	struct arena_record *r;
	const struct arena_extent *e;

	if (!arena_newest(cp->arena, key, &r))
		return -1;
	e = (const struct arena_extent *)(const void *)(r + 1) + (r->commit & 0xff);
	return ((const struct arena_slot *)(const void *)(cp->arena->heap + e->at))->how;
}

/* Can this machine track at all? Where it cannot, the tests run all the same, on whole copies. */
static inline int can_track(cpa *cp)
{
	return cpa_tracking(cp, NULL, NULL) == 1;
}

static inline int ended_well(pid_t pid)
{
	int status = -1;

	if (pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 1;
	printf("    process %d ended with status 0x%x\n", (int)pid, (unsigned)status);
	return 0;
}

static inline int run_tests(const char *suite, const struct test *tests, size_t n)
{
	struct err e;
	int rc;

	snprintf(dir, sizeof dir, "/dev/shm/test_%s.XXXXXX", suite);
	if (!mkdtemp(dir))
		return 1;
	rc = harness_run(suite, tests, n);
	fs_remove_tree(dir, &e);
	return rc;
}

#endif
