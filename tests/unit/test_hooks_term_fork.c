/* cpa_on_term() and children that begin at the worst moment: while a thread of the parent registers a function, or runs
 * them. What the library calls to register, atexit() and sigaction(), is this program's own, so that the moment can be
 * chosen. */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cpagent.h>

#include "lib/base/fs.h"
#include "tests/unit/harness.h"

#define TOO_LONG 60 /* seconds: a child that hangs */

extern int __cxa_atexit(void (*fn)(void *), void *arg, void *dso);
extern int __sigaction(int signal, const struct sigaction *act, struct sigaction *old);

static char dir[64];
static void (*amid_atexit)(void), (*amid_sigaction)(int signal);
static int inside; /* a thread is in atexit() */

static void call(void *fn)
{
	((void (*)(void))fn)();
}

int atexit(void (*fn)(void))
{
	__atomic_store_n(&inside, 1, __ATOMIC_RELEASE);
	if (amid_atexit)
		amid_atexit();
	__atomic_store_n(&inside, 0, __ATOMIC_RELEASE);
	return __cxa_atexit(call, (void *)fn, NULL);
}

int sigaction(int signal, const struct sigaction *act, struct sigaction *old)
{
	int rc = __sigaction(signal, act, old);

	if (act && amid_sigaction)
		amid_sigaction(signal);
	return rc;
}

static pid_t fork_by_hand(void)
{
	return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

static int status_of(pid_t pid)
{
	int status = -1;

	return pid > 0 && waitpid(pid, &status, 0) == pid ? status : -1;
}

/* In a process in which nobody has registered anything yet. What body returns, or 128 + the signal that ended it. */
static int in_a_new_process(int (*body)(cpa *cp))
{
	int status;
	pid_t pid;
	cpa *cp;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		alarm(TOO_LONG);
		_exit(cpa_open(&cp, dir) == 0 ? body(cp) : 98);
	}
	status = status_of(pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int ran; /* functions */

static void count(cpa *cp, int signal, void *arg)
{
	(void)cp, (void)signal, (void)arg;
	ran++;
}

static int stop;

static void *registers(void *cp)
{
	if (cpa_on_term(cp, count, NULL) != 0)
		return cp;
	while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE))
		sched_yield();
	return NULL;
}

/* ---- registering ---- */

/* Long enough for a fork that does not wait. */
static void stay(void)
{
	const struct timespec nap = {0, 100000000};

	nanosleep(&nap, NULL);
}

static int forks_amid_atexit(cpa *cp)
{
	pthread_t t;
	pid_t pid;

	amid_atexit = stay;
	if (pthread_create(&t, NULL, registers, cp) != 0)
		return 97;
	while (!__atomic_load_n(&inside, __ATOMIC_ACQUIRE))
		;
	pid = fork();
	if (pid == 0)
		_exit(__atomic_load_n(&inside, __ATOMIC_ACQUIRE) ? 1 : 0);
	__atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
	pthread_join(t, NULL);
	return status_of(pid) == 0 ? 0 : 1;
}

static void a_fork_waits_until_no_thread_is_in_atexit(void)
{
	CU_ASSERT_EQUAL(in_a_new_process(forks_amid_atexit), 0);
}

static pid_t made_by_hand;
static cpa *of_hand;

static void is_well(cpa *cp, int signal, void *arg)
{
	(void)cp, (void)signal, (void)arg;
	_exit(0);
}

static void dies_of_its_own(void)
{
	alarm(TOO_LONG);
	if (cpa_on_term(of_hand, is_well, NULL) == 0)
		exit(1);
	_exit(2);
}

static void child_amid_atexit(void)
{
	amid_atexit = NULL;
	made_by_hand = fork_by_hand();
	if (made_by_hand == 0)
		dies_of_its_own();
}

static int clones_amid_atexit(cpa *cp)
{
	of_hand = cp;
	amid_atexit = child_amid_atexit;
	return cpa_on_term(cp, count, NULL) == 0 && status_of(made_by_hand) == 0 ? 0 : 1;
}

static void a_child_made_by_hand_takes_the_lock_that_a_thread_of_its_parent_had(void)
{
#if !defined(__SANITIZE_THREAD__) /* whose exit() does not know of children that were not fork()ed */
	CU_ASSERT_EQUAL(in_a_new_process(clones_amid_atexit), 0);
#else
	(void)clones_amid_atexit;
#endif
}

static void earlier(int signal)
{
	_exit(signal == SIGTERM && ran == 1 ? 11 : 12);
}

static void child_amid_sigaction(int signal)
{
	if (signal != SIGTERM)
		return;
	amid_sigaction = NULL;
	made_by_hand = fork_by_hand();
	if (made_by_hand == 0) {
		sigset_t none;

		alarm(TOO_LONG);
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		if (cpa_on_term(of_hand, count, NULL) != 0)
			_exit(1);
		raise(SIGTERM);
		_exit(2);
	}
}

static int clones_amid_sigaction(cpa *cp)
{
	struct sigaction plain = {.sa_handler = earlier};
	int status;

	of_hand = cp;
	sigaction(SIGTERM, &plain, NULL);
	amid_sigaction = child_amid_sigaction;
	if (cpa_on_term(cp, count, NULL) != 0)
		return 3;
	status = status_of(made_by_hand);
	return WIFEXITED(status) && WEXITSTATUS(status) == 11 ? 0 : 1;
}

static void a_child_between_two_lines_of_it_keeps_the_handler_that_was_there_before(void)
{
	CU_ASSERT_EQUAL(in_a_new_process(clones_amid_sigaction), 0);
}

/* ---- any moment ---- */

static void *registers_again_and_again(void *arg)
{
	cpa *cp;

	while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
		if (cpa_open(&cp, arg) != 0)
			return arg;
		if (cpa_on_term(cp, count, NULL) != 0)
			return arg;
		cpa_close(cp);
	}
	return NULL;
}

static int forks_at_any_moment(cpa *cp)
{
	pthread_t t[3];
	void *failed;
	int bad = 0;

	for (int i = 0; i < 3; i++)
		if (pthread_create(&t[i], NULL, registers_again_and_again, dir) != 0)
			return 97;
	for (int i = 0; i < 300; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			of_hand = cp;
			dies_of_its_own();
		}
		bad += status_of(pid) != 0;
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
	for (int i = 0; i < 3; i++) {
		pthread_join(t[i], &failed);
		bad += failed != NULL;
	}
	return bad != 0;
}

static void a_fork_amid_other_threads_calls_leaves_a_child_whose_own_works(void)
{
#if !defined(__SANITIZE_ADDRESS__) /* gcc 12's allocator may be locked in the child for ever */
	CU_ASSERT_EQUAL(in_a_new_process(forks_at_any_moment), 0);
#else
	(void)forks_at_any_moment;
#endif
}

/* ---- running them ---- */

static void forks(cpa *cp, int signal, void *arg)
{
	pid_t pid = fork();

	(void)signal, (void)arg;
	if (pid == 0) {
		of_hand = cp;
		dies_of_its_own();
	}
	if (status_of(pid) != 0)
		_exit(1);
}

static int function_that_forks(cpa *cp)
{
	if (cpa_on_term(cp, forks, NULL) == 0)
		raise(SIGTERM);
	return 97;
}

static void a_child_that_a_function_makes_runs_its_own(void)
{
	CU_ASSERT_EQUAL(in_a_new_process(function_that_forks), 128 + SIGTERM);
}

static const struct test tests[] = {
	{"a fork waits until no thread is in atexit()", a_fork_waits_until_no_thread_is_in_atexit},
	{"a child made by hand takes the lock that a thread of its parent had",
	 a_child_made_by_hand_takes_the_lock_that_a_thread_of_its_parent_had},
	{"a child between two lines of it keeps the handler that was there before",
	 a_child_between_two_lines_of_it_keeps_the_handler_that_was_there_before},
	{"a fork amid other threads' calls leaves a child whose own works",
	 a_fork_amid_other_threads_calls_leaves_a_child_whose_own_works},
	{"a child that a function makes runs its own", a_child_that_a_function_makes_runs_its_own},
};

int main(void)
{
	struct err e;
	int rc;

	snprintf(dir, sizeof dir, "/dev/shm/test_term_fork.XXXXXX");
	if (!mkdtemp(dir))
		return 1;
	rc = harness_run("hooks_term_fork", tests, sizeof tests / sizeof *tests);
	fs_remove_tree(dir, &e);
	return rc;
}
