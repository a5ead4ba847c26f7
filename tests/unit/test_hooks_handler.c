/* Checkpoints from a handler, which may have interrupted anything: malloc(), or the taking of a lock. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hooks/internal.h"
#include "lib/arena/internal.h"
#include "lib/base/fs.h"
#include "tests/unit/harness.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#endif

static char dir[64];

/* ---- memory ---- */

#define FILLED 200

#if !defined(SANITIZED)
static int counting, taken;

void *__libc_malloc(size_t bytes);
void *malloc(size_t bytes);

/* The C library's, counted. */
void *malloc(size_t bytes)
{
	taken += counting;
	return __libc_malloc(bytes);
}

/* Memos in the room that is left: what a checkpoint then drives out. */
static void fill(cpa *cp)
{
	double out[100] = {0};
	cpa_memo *m;

	for (int i = 0; i < FILLED; i++)
		if (cpa_memo_begin(cp, &m, "fill", CPA_IN(CPA_VAR(i)), CPA_OUT(CPA_ARRAY(out, 100))) == 0)
			CU_ASSERT_EQUAL(cpa_memo_end(m), 0);
}

static void a_checkpoint_in_a_full_arena_takes_no_memory_from_malloc(void)
{
	static uint8_t data[20000];
	char key[8];
	int refused = 0;
	cpa *cp;

	CU_ASSERT_EQUAL_FATAL(cpa_open_named(&cp, dir, "full", 128 << 10), 0);
	fill(cp);
	taken = 0;
	for (unsigned i = 0; i < 200; i++) {
		struct cpa_var v = {"v", data, i * 97 % sizeof data, CPA_U8};
		int rc;

		snprintf(key, sizeof key, "%u", i * 7 % 16);
		counting = 1;
		rc = cpa_checkpoint_vars(cp, key, 1, &v, 1);
		counting = 0;
		CU_ASSERT(rc == 0 || rc == CPA_ERR_FULL);
		refused += rc != 0;
	}
	CU_ASSERT(refused > 0);
	CU_ASSERT_EQUAL(taken, 0);
	cpa_close(cp);
}
#else
static void a_checkpoint_in_a_full_arena_takes_no_memory_from_malloc(void)
{
	CU_PASS("the sanitizer has a malloc() of its own");
}
#endif

/* ---- locks ---- */

#if !defined(SANITIZED)
#define LOCK 7

static void rescue(cpa *cp, int signal, void *arg)
{
	(void)arg;
	if (cpa_checkpoint(cp, "rescue", 1, CPA_VAR(signal)) != 0)
		_exit(3);
}

static void locks(cpa *cp)
{
	if (cpa_on_term(cp, rescue, NULL) != 0)
		_exit(2);
	for (int turn = 0; turn < 2; turn++) {
		if (turn == 1) { /* the linker has found every function by then */
			ptrace(PTRACE_TRACEME, 0, NULL, NULL);
			raise(SIGSTOP);
		}
		if (lock_take(cp->arena, LOCK) != 0)
			_exit(1);
		lock_give(cp->arena, LOCK);
	}
	raise(SIGKILL);
}

/* A child that SIGTERM ends after so many instructions; 0: it was through before. */
static int end_after(cpa *cp, unsigned steps)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0)
		locks(cp);
	while (waitpid(pid, &status, 0) == pid && WIFSTOPPED(status))
		if (steps-- > 0)
			ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL);
		else
			ptrace(PTRACE_DETACH, pid, NULL, SIGTERM);
	CU_ASSERT(WIFSIGNALED(status));
	return WTERMSIG(status) == SIGTERM;
}

static int is_free(struct arena *a)
{
	pthread_mutex_t *m = (pthread_mutex_t *)(void *)(a->base + ARENA_LOCKS + LOCK * ARENA_LINE);
	int rc = pthread_mutex_trylock(m);

	if (rc == EOWNERDEAD)
		rc = pthread_mutex_consistent(m);
	return rc == 0 && pthread_mutex_unlock(m) == 0;
}

static void a_lock_whose_taking_a_last_checkpoint_interrupted_is_handed_on(void)
{
	unsigned steps = 0, stuck = 0;
	cpa *cp;

	CU_ASSERT_EQUAL_FATAL(cpa_open_named(&cp, dir, "locks", 1 << 20), 0);
	for (; !stuck && end_after(cp, steps); steps++)
		stuck += !is_free(cp->arena);
	CU_ASSERT(steps > 50);
	CU_ASSERT_EQUAL(stuck, 0);
	cpa_close(cp);
}
#else
static void a_lock_whose_taking_a_last_checkpoint_interrupted_is_handed_on(void)
{
	CU_PASS("the sanitizer's code is stepped through too, for minutes");
}
#endif

static const struct test tests[] = {
	{"a checkpoint in a full arena takes no memory from malloc",
	 a_checkpoint_in_a_full_arena_takes_no_memory_from_malloc},
	{"a lock whose taking a last checkpoint interrupted is handed on",
	 a_lock_whose_taking_a_last_checkpoint_interrupted_is_handed_on},
};

int main(void)
{
	struct err e;
	int rc;

	snprintf(dir, sizeof dir, "/dev/shm/test_hooks_handler.XXXXXX");
	if (!mkdtemp(dir))
		return 1;
	rc = harness_run("hooks_handler", tests, sizeof tests / sizeof *tests);
	fs_remove_tree(dir, &e);
	return rc;
}
