/* The kernel's process events for real. Needs root in the machine's first pid namespace. */
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/ports/procevents.h"
#include "lib/base/clock.h"
#include "tests/unit/harness.h"

#define WAIT_MS 10000
#define SEEN_MAX 65536

static struct procevent seen[SEEN_MAX];
static size_t n_seen;

static void note(void *ctx, const struct procevent *ev)
{
	(void)ctx;
	if (n_seen < SEEN_MAX)
		seen[n_seen++] = *ev;
}

static struct procevents *listen_for(unsigned mask)
{
	struct procevents *p;
	struct err e;
	n_seen = 0;
	if (procevents_open(&p, mask, note, NULL, &e) < 0) {
		printf("    %s\n", e.text);
		CU_FAIL_FATAL("procevents_open");
	}
	return p;
}

static const struct procevent *find(enum procevent_type type, pid_t pid)
{
	for (size_t i = 0; i < n_seen; i++)
		if (seen[i].type == type && seen[i].pid == pid)
			return &seen[i];
	return NULL;
}

/* Events arrive in order: when the last one asked for is there, all before it are. */
static const struct procevent *await(struct procevents *p, enum procevent_type type, pid_t pid)
{
	for (int64_t end = clock_boot_ns() + WAIT_MS * NS_PER_MS; clock_boot_ns() < end;) {
		const struct procevent *ev = find(type, pid);
		if (ev)
			return ev;
		struct pollfd fd = { .fd = procevents_fd(p), .events = POLLIN };
		poll(&fd, 1, 100);
		if (procevents_read(p, NULL) < 0)
			return NULL;
	}
	return NULL;
}

static pid_t run_child(void (*what)(void))
{
	pid_t pid = fork();
	if (pid == 0) {
		what();
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	return pid;
}

static void exit_3(void)
{
	_exit(3);
}

static void nothing(void)
{
}

static void killed(void)
{
	raise(SIGKILL);
}

static void exec_true(void)
{
	execl("/bin/true", "true", (char *)NULL);
}

static void *thread_main(void *arg)
{
	return arg;
}

static void with_threads(void)
{
	pthread_t t[4];
	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, thread_main, NULL);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
}

static void an_exit_is_told_with_its_code(void)
{
	struct procevents *p = listen_for(PROCEVENT_EXIT);
	pid_t pid = run_child(exit_3);
	const struct procevent *ev = await(p, PROCEVENT_EXIT, pid);
	CU_ASSERT_PTR_NOT_NULL_FATAL(ev);
	CU_ASSERT_EQUAL(ev->code, 3);
	CU_ASSERT_EQUAL(ev->signal, 0);
	CU_ASSERT_EQUAL(ev->parent, getpid());
	procevents_close(&p);
	CU_ASSERT_PTR_NULL(p);
}

static void a_death_by_signal_is_told_with_the_signal(void)
{
	struct procevents *p = listen_for(PROCEVENT_EXIT_FAILED);
	pid_t pid = run_child(killed);
	const struct procevent *ev = await(p, PROCEVENT_EXIT, pid);
	CU_ASSERT_PTR_NOT_NULL_FATAL(ev);
	CU_ASSERT_EQUAL(ev->signal, SIGKILL);
	CU_ASSERT_EQUAL(ev->code, -1);
	procevents_close(&p);
}

static void forks_and_execs_are_told(void)
{
	struct procevents *p = listen_for(PROCEVENT_FORK | PROCEVENT_EXEC | PROCEVENT_EXIT);
	pid_t pid = run_child(exec_true);
	CU_ASSERT_PTR_NOT_NULL(await(p, PROCEVENT_EXIT, pid));
	const struct procevent *ev = find(PROCEVENT_FORK, pid);
	CU_ASSERT(ev && ev->parent == getpid());
	CU_ASSERT_PTR_NOT_NULL(find(PROCEVENT_EXEC, pid));
	procevents_close(&p);
}

static void successful_exits_forks_and_execs_can_be_left_out(void)
{
	struct procevents *p = listen_for(PROCEVENT_EXIT_FAILED);
	pid_t fine = run_child(nothing), also_fine = run_child(exec_true), bad = run_child(exit_3);
	CU_ASSERT_PTR_NOT_NULL(await(p, PROCEVENT_EXIT, bad));
	CU_ASSERT_PTR_NULL(find(PROCEVENT_EXIT, fine));
	CU_ASSERT_PTR_NULL(find(PROCEVENT_EXIT, also_fine));
	for (size_t i = 0; i < n_seen; i++)
		CU_ASSERT_EQUAL(seen[i].type, PROCEVENT_EXIT);
	procevents_close(&p);
}

static void threads_are_not_processes(void)
{
	struct procevents *p = listen_for(PROCEVENT_FORK | PROCEVENT_EXIT);
	pid_t pid = run_child(with_threads);
	CU_ASSERT_PTR_NOT_NULL(await(p, PROCEVENT_EXIT, pid));
	int forks = 0, exits = 0;
	for (size_t i = 0; i < n_seen; i++) {
		forks += seen[i].type == PROCEVENT_FORK && (seen[i].pid == pid || seen[i].parent == pid);
		exits += seen[i].type == PROCEVENT_EXIT && seen[i].pid == pid;
	}
	CU_ASSERT_EQUAL(forks, 1);
	CU_ASSERT_EQUAL(exits, 1);
	procevents_close(&p);
}

static void a_storm_is_survived_and_lost_events_are_told(void)
{
	struct procevents *p = listen_for(PROCEVENT_FORK | PROCEVENT_EXIT);
	size_t told = 0;
	for (int i = 0; i < 3000; i++) /* nobody reads meanwhile */
		run_child(nothing);
	CU_ASSERT_EQUAL(procevents_read(p, NULL), 0);
	CU_ASSERT(n_seen > 0 && n_seen <= 300); /* one batch, then the loop is free again */
	for (size_t before = 0; n_seen > before && n_seen < SEEN_MAX;) {
		before = n_seen;
		CU_ASSERT_EQUAL(procevents_read(p, NULL), 0);
	}
	for (size_t i = 0; i < n_seen; i++)
		told += seen[i].type == PROCEVENT_LOST;
	CU_ASSERT(told > 0 || n_seen >= 6000);
	CU_ASSERT_PTR_NOT_NULL(await(p, PROCEVENT_EXIT, run_child(exit_3)));
	procevents_close(&p);
}

/* In a child, so that this process stays where it is. */
static int in_child(void (*prepare)(void), int want)
{
	int status;
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		struct procevents *p;
		struct err e = { 0 };
		prepare();
		int rc = procevents_open(&p, PROCEVENT_EXIT, note, NULL, &e);
		if (rc == 0)
			rc = await(p, PROCEVENT_EXIT, run_child(exit_3)) ? 0 : -99;
		if (rc != want || (rc < 0 && !*e.text))
			dprintf(1, "    %d: %s\n", rc, e.text);
		_exit(rc == want ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void leave_network(void)
{
	if (unshare(CLONE_NEWNET) < 0)
		_exit(9);
}

static void drop_root(void)
{
	if (setresuid(12345, 12345, 12345) < 0)
		_exit(9);
}

static void a_node_in_a_network_namespace_gets_them_too(void)
{
	CU_ASSERT_EQUAL(in_child(leave_network, 0), 0);
}

static void without_root_it_says_so_or_works(void)
{
	/* Linux 6.6 opened the connector to every user */
	CU_ASSERT(in_child(drop_root, 0) == 0 || in_child(drop_root, ERR_DENIED) == 0);
}

static const struct test tests[] = {
	{ "an exit is told with its code", an_exit_is_told_with_its_code },
	{ "a death by signal is told with the signal", a_death_by_signal_is_told_with_the_signal },
	{ "forks and execs are told", forks_and_execs_are_told },
	{ "successful exits, forks and execs can be left out", successful_exits_forks_and_execs_can_be_left_out },
	{ "threads are not processes", threads_are_not_processes },
	{ "a storm is survived and lost events are told", a_storm_is_survived_and_lost_events_are_told },
	{ "a node in a network namespace gets them too", a_node_in_a_network_namespace_gets_them_too },
	{ "without root it says so, or works", without_root_it_says_so_or_works },
};

int main(void)
{
	struct procevents *p;
	struct err e;
	if (procevents_open(&p, PROCEVENT_EXIT, note, NULL, &e) == ERR_DENIED) {
		printf("procevents\n  skipped: %s\n0 passed, 0 failed\n", e.text);
		return 0;
	}
	procevents_close(&p);
	return harness_run("procevents", tests, sizeof tests / sizeof *tests);
}
