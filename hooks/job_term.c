/* What runs before the process ends: cpa_on_term(). Owns the process's list of such functions, which all handles share,
 * and the handlers of the signals that end a process. Handlers take no lock and allocate nothing: an entry is taken
 * out of the list by one exchange, so that each function runs once, whoever comes first. */
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "hooks/life.h"
#include "hooks/own_lock.h"

#define STACK_BYTES ((size_t)256 << 10)
#define GUARD_BYTES ((size_t)64 << 10)

static struct entry {
	cpa *cp;
	void *arg;
	cpa_term_fn *fn; /* NULL: free */
} entries[CALLBACKS_MAX];

static const int signals[] = {SIGTERM, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
#define SIGNALS (sizeof signals / sizeof *signals)
static struct sigaction before[SIGNALS];
static int installed[SIGNALS];

static pid_t registering; /* the process in which a thread is at it; 0: none is */
static pid_t owner;       /* the process whose list this is */
static pid_t running;     /* the thread that is running the functions; 0: none */
static _Thread_local int has_stack;

static pid_t thread_id(void)
{
	return (pid_t)syscall(SYS_gettid);
}

static int is_own(void)
{
	return __atomic_load_n(&owner, __ATOMIC_RELAXED) == getpid();
}

/* Last registered, first run. */
static void run_entries(int signal)
{
	cpa_term_fn *fn;
	int i;

	for (i = CALLBACKS_MAX - 1; i >= 0; i--) {
		fn = __atomic_exchange_n(&entries[i].fn, NULL, __ATOMIC_ACQ_REL);
		if (fn)
			fn(entries[i].cp, signal, entries[i].arg);
	}
}

/* One thread runs them; another that is about to end the process waits for that. A function that itself gets a fatal
 * signal is over, and the rest are run. */
static void run_once(int signal)
{
	const struct timespec nap = {0, 1000000};
	pid_t me = thread_id(), none = 0;

	if (!is_own())
		return;
	while (!__atomic_compare_exchange_n(&running, &none, me, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
		if (none == me) {
			run_entries(signal);
			return;
		}
		none = 0;
		nanosleep(&nap, NULL);
	}
	run_entries(signal);
	__atomic_store_n(&running, 0, __ATOMIC_RELEASE);
}

static void at_exit(void)
{
	run_once(0);
}

/* ---- signals ---- */

/* End as the signal would have ended the process without us. A fault comes again by itself, where it came from; else
 * the signal is blocked now and strikes when this handler returns. */
static void strike(int signal, const siginfo_t *info)
{
	struct sigaction plain = {.sa_handler = SIG_DFL};

	sigaction(signal, &plain, NULL);
	if (info->si_code <= 0 || signal == SIGTERM || signal == SIGABRT)
		syscall(SYS_tgkill, getpid(), thread_id(), signal);
}

/* What was interrupted may have been the taking of a lock, of which the kernel knows by one word of the thread. The
 * functions take locks too and leave that word empty; the process is about to end, and then the kernel hands on what
 * it knows of. */
static void run_amid_locking(int signal)
{
	struct robust_list_head *head = NULL;
	struct robust_list *pending = NULL;
	size_t bytes;

	if (syscall(SYS_get_robust_list, 0, &head, &bytes) != 0)
		head = NULL;
	if (head)
		pending = head->list_op_pending;
	run_once(signal);
	if (head)
		*(struct robust_list *volatile *)&head->list_op_pending = pending;
}

static void on_signal(int signal, siginfo_t *info, void *context)
{
	int keep = errno;
	size_t i = 0;

	run_amid_locking(signal);
	while (i < SIGNALS - 1 && signals[i] != signal)
		i++;
	errno = keep;
	if (before[i].sa_flags & SA_SIGINFO) {
		before[i].sa_sigaction(signal, info, context);
	} else if (before[i].sa_handler == SIG_DFL || before[i].sa_handler == SIG_IGN) {
		strike(signal, info);
	} else {
		before[i].sa_handler(signal);
	}
}

/* A signal that is ignored does not end the process: it stays ignored. (A fault cannot be.) What was there before is
 * noted before our handler is there, and never our handler: a child may begin between any two lines of this. */
static int install(size_t i)
{
	struct sigaction ours = {.sa_flags = SA_SIGINFO | SA_ONSTACK}, now;

	if (installed[i])
		return 0;
	if (sigaction(signals[i], NULL, &now) != 0)
		return -errno;
	if (signals[i] == SIGTERM && !(now.sa_flags & SA_SIGINFO) && now.sa_handler == SIG_IGN)
		return 0;
	if (!(now.sa_flags & SA_SIGINFO) || now.sa_sigaction != on_signal)
		before[i] = now;
	ours.sa_sigaction = on_signal;
	sigemptyset(&ours.sa_mask);
	sigaddset(&ours.sa_mask, SIGTERM); /* not in the middle of what a fatal signal began */
	if (sigaction(signals[i], &ours, NULL) != 0)
		return -errno;
	installed[i] = 1;
	return 0;
}

/* A stack for the handlers of this thread, so that a full stack can be reported too. It stays until the process ends:
 * it may be in use when the thread does. */
static int make_stack(void)
{
	stack_t now, stack = {.ss_size = STACK_BYTES};
	uint8_t *at;

	if (has_stack || (sigaltstack(NULL, &now) == 0 && !(now.ss_flags & SS_DISABLE)))
		return 0;
	at = mmap(NULL, GUARD_BYTES + STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK,
		  -1, 0);
	if (at == MAP_FAILED)
		return -ENOMEM;
	stack.ss_sp = at + GUARD_BYTES;
	if (mprotect(at, GUARD_BYTES, PROT_NONE) != 0 || sigaltstack(&stack, NULL) != 0) {
		munmap(at, GUARD_BYTES + STACK_BYTES);
		return -ENOMEM;
	}
	has_stack = 1;
	return 0;
}

/* ---- registering ---- */

/* Taken around every fork(), too: a thread that registers may be in atexit(), whose own lock (glibc 2.36) would stay
 * locked in the child for ever. A child that was made by hand, by clone(2), helps itself. */
static void list_lock(void)
{
	own_lock(&registering);
}

static void list_unlock(void)
{
	own_unlock(&registering);
}

/* Not at the first call: a fork() amid that would register them twice. */
__attribute__((constructor)) static void watch_forks(void)
{
	pthread_atfork(list_lock, list_unlock, list_unlock);
}

/* For this thread. No handler in between: one that forks would wait for what it interrupted. */
static void enter(sigset_t *mask)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, mask);
	list_lock();
}

static void leave(const sigset_t *mask)
{
	list_unlock();
	pthread_sigmask(SIG_SETMASK, mask, NULL);
}

/* A fork()ed child inherited the list, the handlers and the exit function, but none of the functions are its own, and
 * perhaps a thread of its parent was running them. */
static int own_list(void)
{
	static int exits;
	size_t i;
	int rc = 0;

	if (!is_own()) {
		for (i = 0; i < CALLBACKS_MAX; i++)
			__atomic_store_n(&entries[i].fn, NULL, __ATOMIC_RELAXED);
		__atomic_store_n(&running, 0, __ATOMIC_RELAXED);
	}
	__atomic_store_n(&owner, getpid(), __ATOMIC_RELAXED);
	if (!exits && atexit(at_exit) != 0)
		return -ENOMEM;
	exits = 1;
	for (i = 0; i < SIGNALS && !rc; i++)
		rc = install(i);
	return rc ? rc : make_stack();
}

/* After the last one, so that later ones run first; -1: full. */
static int next_entry(void)
{
	int i = CALLBACKS_MAX;

	while (i > 0 && !__atomic_load_n(&entries[i - 1].fn, __ATOMIC_ACQUIRE))
		i--;
	return i < CALLBACKS_MAX ? i : -1;
}

int cpa_on_term(cpa *cp, cpa_term_fn *fn, void *arg)
{
	sigset_t mask;
	int rc, i;

	if (!cp || !fn)
		return fail(CPA_ERR_ARG, "cpa_on_term: no handle, or no function");
	notice(cp);
	enter(&mask);
	rc = own_list();
	i = rc ? -1 : next_entry();
	if (i >= 0) {
		entries[i].cp = cp;
		entries[i].arg = arg;
		__atomic_store_n(&entries[i].fn, fn, __ATOMIC_RELEASE);
	}
	leave(&mask);
	if (rc)
		return fail_arena(rc, "cpa_on_term", "install handlers");
	return i < 0 ? fail(CPA_ERR_ARG, "cpa_on_term: at most %d functions", CALLBACKS_MAX) : 0;
}

void term_forget(const cpa *cp)
{
	sigset_t mask;
	size_t i;

	if (!is_own())
		return;
	enter(&mask);
	for (i = 0; i < CALLBACKS_MAX; i++)
		if (entries[i].cp == cp)
			__atomic_store_n(&entries[i].fn, NULL, __ATOMIC_RELEASE);
	leave(&mask);
}
