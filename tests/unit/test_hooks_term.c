/* cpa_on_term(): what runs before a process ends. Each test ends a child in some way, by real signals, and looks at how
 * the child ended and at what its functions left in the arena. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cpagent.h>

#include "lib/base/fs.h"
#include "tests/unit/harness.h"

/* sanitizers take the fatal signals for themselves */
#define OPTIONS(name)                                                        \
	__attribute__((visibility("default"))) const char *name(void);       \
	const char *name(void)                                               \
	{                                                                    \
		return "handle_segv=0:handle_sigbus=0:handle_sigfpe=0:handle_sigill=0:handle_abort=0"; \
	}
OPTIONS(__asan_default_options)
OPTIONS(__tsan_default_options)
OPTIONS(__ubsan_default_options)

static char dir[64];
static int ready[2]; /* a child says that it is where the test wants it */

static void say_ready(void)
{
	if (write(ready[1], "r", 1) != 1)
		_exit(99);
}

static void wait_ready(void)
{
	char c;

	CU_ASSERT_EQUAL(read(ready[0], &c, 1), 1);
}

/* Run a child that opens the arena and does what the test says; its wait status. signal: sent when it is ready. */
static int child(void (*body)(cpa *cp), int signal)
{
	int status = -1;
	pid_t pid;
	cpa *cp;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		if (cpa_open(&cp, dir) != 0)
			_exit(98);
		body(cp);
		_exit(97);
	}
	if (signal) {
		wait_ready();
		kill(pid, signal);
	}
	waitpid(pid, &status, 0);
	return status;
}

static int died_of(int status, int signal)
{
	return WIFSIGNALED(status) && WTERMSIG(status) == signal;
}

/* What functions tell: one character each, in order, in one key. */
static void tell(cpa *cp, int signal, void *arg)
{
	char text[64] = "";
	size_t at;

	cpa_restore(cp, "told", 0, CPA_STRING(text));
	at = strlen(text);
	snprintf(text + at, sizeof text - at, "%s%d ", (const char *)arg, signal);
	cpa_checkpoint(cp, "told", 1, CPA_STRING(text));
}

/* What was told, and nothing any more. */
static const char *told(void)
{
	static char text[64];
	cpa *cp;

	memset(text, 0, sizeof text);
	if (cpa_open(&cp, dir) != 0)
		return "(no arena)";
	cpa_restore(cp, "told", 0, CPA_STRING(text));
	cpa_reset(cp, NULL);
	cpa_close(cp);
	return text;
}

static void two(cpa *cp)
{
	if (cpa_on_term(cp, tell, "a") != 0 || cpa_on_term(cp, tell, "b") != 0)
		_exit(96);
}

/* ---- ends ---- */

static void exits(cpa *cp)
{
	two(cp);
	exit(5);
}

static void exits_at_once(cpa *cp)
{
	two(cp);
	_exit(6);
}

static void closes_and_exits(cpa *cp)
{
	two(cp);
	cpa_close(cp);
	exit(7);
}

static void a_normal_end_runs_the_last_function_first(void)
{
	int status = child(exits, 0);

	CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 5);
	CU_ASSERT_STRING_EQUAL(told(), "b0 a0 ");
	status = child(exits_at_once, 0);
	CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 6);
	CU_ASSERT_STRING_EQUAL(told(), "");
	status = child(closes_and_exits, 0);
	CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 7);
	CU_ASSERT_STRING_EQUAL(told(), "");
}

static void sits(cpa *cp)
{
	two(cp);
	say_ready();
	for (;;)
		pause();
}

static void a_child_of_the_child(cpa *cp)
{
	int status;
	pid_t pid;

	two(cp);
	pid = fork();
	if (pid == 0)
		exit(0);
	waitpid(pid, &status, 0);
	pid = fork();
	if (pid == 0) {
		cpa_on_term(cp, tell, "child");
		raise(SIGTERM);
	}
	waitpid(pid, &status, 0);
	_exit(died_of(status, SIGTERM) ? 3 : 4);
}

static void sigterm_ends_the_process_after_its_functions(void)
{
	CU_ASSERT(died_of(child(sits, SIGTERM), SIGTERM));
	CU_ASSERT_STRING_EQUAL(told(), "b15 a15 ");
}

static void a_forked_child_has_its_own_functions_only(void)
{
	int status = child(a_child_of_the_child, 0);

	CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 3);
	CU_ASSERT_STRING_EQUAL(told(), "child15 ");
}

/* ---- fatal signals ---- */

static int *volatile nowhere = (int *)16; /* not NULL: a sanitizer would stop there */

static void faults(cpa *cp)
{
	two(cp);
	*nowhere = 1;
}

static void aborts(cpa *cp)
{
	two(cp);
	abort();
}

#define RAISES(name, signal)             \
	static void name(cpa *cp)        \
	{                                \
		two(cp);                 \
		raise(signal);           \
	}
RAISES(raises_segv, SIGSEGV)
RAISES(raises_bus, SIGBUS)
RAISES(raises_fpe, SIGFPE)
RAISES(raises_ill, SIGILL)

static void bus_error(cpa *cp)
{
	FILE *f = tmpfile();
	volatile char *p;

	two(cp);
	if (!f || ftruncate(fileno(f), 4096) != 0)
		_exit(95);
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fileno(f), 0);
	if (ftruncate(fileno(f), 0) != 0)
		_exit(94);
	p[0] = 1;
}

static void fatal_signals_strike_after_the_functions(void)
{
	static const struct {
		void (*body)(cpa *cp);
		int signal;
		const char *told;
	} ends[] = {
		{faults, SIGSEGV, "b11 a11 "}, {raises_segv, SIGSEGV, "b11 a11 "}, {bus_error, SIGBUS, "b7 a7 "},
		{raises_bus, SIGBUS, "b7 a7 "}, {raises_fpe, SIGFPE, "b8 a8 "}, {raises_ill, SIGILL, "b4 a4 "},
		{aborts, SIGABRT, "b6 a6 "},
	};

	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
		CU_ASSERT(died_of(child(ends[i].body, 0), ends[i].signal));
		CU_ASSERT_STRING_EQUAL(told(), ends[i].told);
	}
}

static int (*volatile next_deeper)(int n); /* so that no compiler makes a loop of it, or sees that it has no end */

static int __attribute__((noinline)) deeper(int n)
{
	volatile char room[4096];

	room[0] = (char)n;
	room[4095] = (char)(n + 1);
	return next_deeper(n + 1) + room[0] + room[4095];
}

static void overflows(cpa *cp)
{
	two(cp);
	next_deeper = deeper;
	_exit(deeper(0));
}

static void a_full_stack_is_no_obstacle(void)
{
	CU_ASSERT(died_of(child(overflows, 0), SIGSEGV));
	CU_ASSERT_STRING_EQUAL(told(), "b11 a11 ");
}

/* ---- threads ---- */

static void *faults_elsewhere(void *arg)
{
	(void)arg;
	*nowhere = 1;
	return NULL;
}

static void another_thread_faults(cpa *cp)
{
	pthread_t t;

	two(cp);
	if (pthread_create(&t, NULL, faults_elsewhere, NULL) != 0)
		_exit(93);
	for (;;)
		pause();
}

static void a_fault_in_another_thread_runs_them_too(void)
{
	CU_ASSERT(died_of(child(another_thread_faults, 0), SIGSEGV));
	CU_ASSERT_STRING_EQUAL(told(), "b11 a11 ");
}

static pid_t second; /* thread */

/* Is the thread in the handler of a signal? Then it blocks it. (Called in a handler: no stdio.) */
static int blocks(pid_t thread, int signal)
{
	char path[64], text[4096];
	const char *mask;
	ssize_t n;
	int fd;

	snprintf(path, sizeof path, "/proc/self/task/%d/status", (int)thread);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	mask = strstr(text, "SigBlk:");
	return mask && (strtoull(mask + 7, NULL, 16) >> (signal - 1) & 1);
}

/* The other thread faults while this function runs, and has to wait until it is over. */
static void slow(cpa *cp, int signal, void *arg)
{
	const struct timespec nap = {0, 20000000};

	__atomic_store_n(&second, -second, __ATOMIC_RELEASE);
	while (!blocks(-second, SIGSEGV))
		;
	nanosleep(&nap, NULL); /* time to end the process, if it did not wait */
	tell(cp, signal, arg);
}

static void *faults_second(void *arg)
{
	(void)arg;
	__atomic_store_n(&second, gettid(), __ATOMIC_RELEASE);
	while (__atomic_load_n(&second, __ATOMIC_ACQUIRE) > 0)
		;
	*nowhere = 1;
	return NULL;
}

static void two_threads_end_at_once(cpa *cp)
{
	sigset_t term;
	pthread_t t;

	cpa_on_term(cp, tell, "a");
	cpa_on_term(cp, slow, "slow");
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &term, NULL); /* in the other thread */
	if (pthread_create(&t, NULL, faults_second, NULL) != 0)
		_exit(93);
	while (!__atomic_load_n(&second, __ATOMIC_ACQUIRE))
		;
	pthread_sigmask(SIG_UNBLOCK, &term, NULL);
	say_ready();
	for (;;)
		pause();
}

static void a_second_end_waits_for_the_first_ones_functions(void)
{
	CU_ASSERT(WIFSIGNALED(child(two_threads_end_at_once, SIGTERM)));
	CU_ASSERT_STRING_EQUAL(told(), "slow15 a15 ");
}

/* ---- what was there before ---- */

static cpa *for_handlers;

static void earlier(int signal)
{
	tell(for_handlers, signal, "earlier");
	if (signal == SIGSEGV)
		_exit(11);
}

static void earlier_info(int signal, siginfo_t *info, void *context)
{
	tell(for_handlers, signal, info && info->si_signo == signal && context ? "info" : "nothing");
	_exit(12);
}

static void chains(cpa *cp)
{
	struct sigaction plain = {.sa_handler = earlier};
	struct sigaction info = {.sa_flags = SA_SIGINFO};

	info.sa_sigaction = earlier_info;
	for_handlers = cp;
	sigaction(SIGTERM, &plain, NULL);
	sigaction(SIGSEGV, &info, NULL);
	two(cp);
	raise(SIGTERM); /* the earlier handler returns, so the program goes on */
	faults(cp);
}

static void ignores(cpa *cp)
{
	signal(SIGTERM, SIG_IGN);
	two(cp);
	raise(SIGTERM);
	exit(13);
}

static void earlier_handlers_run_after_the_functions(void)
{
	int status = child(chains, 0);

	CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 12);
	CU_ASSERT_STRING_EQUAL(told(), "b15 a15 earlier15 b11 a11 info11 ");
}

static void an_ignored_sigterm_stays_ignored(void)
{
	int status = child(ignores, 0);

	CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 13);
	CU_ASSERT_STRING_EQUAL(told(), "b0 a0 ");
}

/* ---- checkpoints from handlers ---- */

static char in_handler[64];

static void checkpoints(cpa *cp, int signal, void *arg)
{
	int x = 7, same, other;

	(void)signal, (void)arg;
	same = cpa_checkpoint(cp, "big", 1, CPA_VAR(x));
	other = cpa_checkpoint(cp, "rescue", 1, CPA_VAR(x));
	snprintf(in_handler, sizeof in_handler, "%d %d", same, other);
	cpa_checkpoint(cp, "result", 1, CPA_STRING(in_handler));
}

/* The variable's second page cannot be read: the signal comes in the middle of the copy. */
static void faults_in_a_checkpoint(cpa *cp)
{
	char *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	cpa_checkpoint(cp, "big", 1, CPA_ARRAY(p, 8192));
	mprotect(p + 4096, 4096, PROT_NONE);
	cpa_on_term(cp, checkpoints, NULL);
	cpa_checkpoint(cp, "big", 1, CPA_ARRAY(p, 8192));
}

static void a_handler_can_checkpoint_what_it_did_not_interrupt(void)
{
	struct cpa_entry *e;
	char expected[64];
	int x = 0;
	cpa *cp;

	CU_ASSERT(died_of(child(faults_in_a_checkpoint, 0), SIGSEGV));
	CU_ASSERT_EQUAL_FATAL(cpa_open(&cp, dir), 0);
	CU_ASSERT_EQUAL(cpa_restore(cp, "result", 0, CPA_STRING(in_handler)), 0);
	snprintf(expected, sizeof expected, "%d %d", CPA_ERR_BUSY, 0);
	CU_ASSERT_STRING_EQUAL(in_handler, expected);
	CU_ASSERT_EQUAL(cpa_restore(cp, "rescue", 0, CPA_VAR(x)), 0);
	CU_ASSERT_EQUAL(x, 7);
	CU_ASSERT_EQUAL_FATAL(cpa_query(cp, "big", &e), 0);
	CU_ASSERT_EQUAL(e->version, 1); /* the one before stands */
	cpa_list_free(e);
	CU_ASSERT_EQUAL(cpa_reset(cp, NULL), 0);
	cpa_close(cp);
}

static void crashes(cpa *cp, int signal, void *arg)
{
	(void)cp, (void)signal, (void)arg;
	*nowhere = 1;
}

static void a_function_crashes(cpa *cp)
{
	cpa_on_term(cp, tell, "a");
	cpa_on_term(cp, crashes, NULL);
	say_ready();
	for (;;)
		pause();
}

static void a_function_that_crashes_does_not_keep_the_others_from_running(void)
{
	CU_ASSERT(died_of(child(a_function_crashes, SIGTERM), SIGSEGV));
#if !defined(__SANITIZE_THREAD__) /* whose handlers run with every signal blocked, so that a fault is the end */
	CU_ASSERT_STRING_EQUAL(told(), "a11 ");
#else
	told();
#endif
}

static void too_many(cpa *cp)
{
	for (int i = 0; i < 16; i++)
		if (cpa_on_term(cp, tell, "x") != 0)
			_exit(1);
	if (cpa_on_term(cp, tell, "x") != CPA_ERR_ARG || cpa_on_term(cp, NULL, NULL) != CPA_ERR_ARG ||
	    cpa_on_term(NULL, tell, NULL) != CPA_ERR_ARG)
		_exit(2);
	_exit(0);
}

static void sixteen_functions_are_enough(void)
{
	CU_ASSERT_EQUAL(child(too_many, 0), 0);
}

static const struct test tests[] = {
	{"a normal end runs the last function first", a_normal_end_runs_the_last_function_first},
	{"SIGTERM ends the process, after its functions", sigterm_ends_the_process_after_its_functions},
	{"a forked child has its own functions only", a_forked_child_has_its_own_functions_only},
	{"fatal signals strike after the functions", fatal_signals_strike_after_the_functions},
	{"a full stack is no obstacle", a_full_stack_is_no_obstacle},
	{"a fault in another thread runs them too", a_fault_in_another_thread_runs_them_too},
	{"a second end waits for the first one's functions", a_second_end_waits_for_the_first_ones_functions},
	{"earlier handlers run after the functions", earlier_handlers_run_after_the_functions},
	{"an ignored SIGTERM stays ignored", an_ignored_sigterm_stays_ignored},
	{"a handler can checkpoint what it did not interrupt", a_handler_can_checkpoint_what_it_did_not_interrupt},
	{"a function that crashes does not keep the others from running",
	 a_function_that_crashes_does_not_keep_the_others_from_running},
	{"sixteen functions are enough", sixteen_functions_are_enough},
};

int main(void)
{
	struct err e;
	int rc;

	snprintf(dir, sizeof dir, "/dev/shm/test_hooks_term.XXXXXX");
	if (!mkdtemp(dir) || pipe(ready) != 0)
		return 1;
	rc = harness_run("hooks_term", tests, sizeof tests / sizeof *tests);
	fs_remove_tree(dir, &e);
	return rc;
}
