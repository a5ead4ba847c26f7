/* cpfence for real: a process in a cgroup, an agent that hangs or dies, a deadline that passes. Needs root. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/init/fence_shared.h"
#include "agent/ports/cgroup.h"
#include "agent/ports/fence.h"
#include "lib/base/clock.h"
#include "lib/base/fs.h"
#include "tests/unit/harness.h"

#define JOB "job-1"
#define WAIT_MS 10000
#define SHORT (200 * NS_PER_MS)
#define FAR (3600 * NS_PER_S)

static char cpfence[FS_PATH_MAX];

struct world {
	char run[64];
	struct cgroups cg;
	pid_t job;
	struct fence *f;
	struct err e;
};

static pid_t start_sleeper(void)
{
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that crashes leaves nothing behind */
		for (;;)
			pause();
	}
	return pid;
}

/* Never with 0 or -1, of a fork or a fence that failed: as root those are every process of the machine. */
static void end_process(pid_t pid)
{
	CU_ASSERT_FATAL(pid > 1);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void tear_down(struct world *w)
{
	int status;
	fence_quit(&w->f);
	cgroup_kill(&w->cg, JOB, NULL);
	waitpid(w->job, &status, 0);
	cgroup_thaw(&w->cg, NULL, 0, NULL);
	CU_ASSERT_EQUAL(cgroup_remove(&w->cg, JOB, WAIT_MS, &w->e), 0);
	cgroups_close(&w->cg);
	fs_remove_tree(w->run, NULL);
}

static void set_up(struct world *w)
{
	*w = (struct world){ .run = "/tmp/cpa-fence.XXXXXX" };
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(w->run));
	CU_ASSERT_EQUAL_FATAL(cgroups_open(&w->cg, "unit-fence", &w->e), 0);
	CU_ASSERT_EQUAL_FATAL(cgroup_make(&w->cg, JOB, &w->e), 0);
	w->job = start_sleeper();
	CU_ASSERT_EQUAL_FATAL(cgroup_join(&w->cg, JOB, w->job, &w->e), 0);
	if (fence_open(&w->f, w->run, w->cg.node, cpfence, &w->e) == 0)
		return;
	printf("    %s\n", w->e.text);
	tear_down(w);
	CU_FAIL_FATAL("fence_open");
}

static bool await_frozen(struct world *w, const char *job, int want)
{
	for (int64_t end = clock_boot_ns() + WAIT_MS * NS_PER_MS; clock_boot_ns() < end; poll(NULL, 0, 1))
		if (cgroup_frozen(&w->cg, job, NULL) == want)
			return true;
	return false;
}

static bool await_fenced(struct world *w, bool want)
{
	for (int64_t end = clock_boot_ns() + WAIT_MS * NS_PER_MS; clock_boot_ns() < end; poll(NULL, 0, 1))
		if (fence_fenced(w->f) == want)
			return true;
	return false;
}

static struct fence_shared *look_into(struct world *w)
{
	char path[128];
	snprintf(path, sizeof path, "%s/fence", w->run);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct fence_shared *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return s;
}

static pid_t fence_pid(struct world *w)
{
	struct fence_shared *s = look_into(w);
	pid_t pid = (pid_t)atomic_load(&s->ready);
	munmap(s, sizeof *s);
	return pid;
}

/* Ended, whether or not its parent has reaped it. */
static bool ends(pid_t pid, int within_ms)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (fd < 0)
		return errno == ESRCH;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int n = poll(&p, 1, within_ms);
	close(fd);
	return n == 1;
}

static void without_a_lease_nothing_is_frozen(void)
{
	struct world w;
	set_up(&w);
	CU_ASSERT_EQUAL(fence_deadline(w.f), 0);
	CU_ASSERT_FALSE(fence_fenced(w.f));
	CU_ASSERT_EQUAL(cgroup_frozen(&w.cg, JOB, NULL), 0);
	tear_down(&w);
}

/* How long after the deadline the jobs stand still. */
static int64_t lateness(void)
{
	struct world w;
	set_up(&w);
	int64_t deadline = clock_boot_ns() + SHORT;
	fence_set_deadline(w.f, deadline);
	CU_ASSERT(await_frozen(&w, JOB, 1));
	int64_t late = clock_boot_ns() - deadline;
	struct fence_shared *s = look_into(&w);
	CU_ASSERT(await_fenced(&w, true));
	CU_ASSERT(atomic_load(&s->fenced_at) >= deadline);
	printf("    frozen %.1f ms after the deadline\n", (double)late / 1e6);
	munmap(s, sizeof *s);
	tear_down(&w);
	return late;
}

/* It was woken: its look every second would have come 800 ms or more later. A busy machine gets another chance. */
static bool at_once(int64_t (*lateness_of)(void))
{
	int64_t late = lateness_of();
	for (int i = 0; i < 4 && late >= 500 * NS_PER_MS; i++)
		late = lateness_of();
	return late >= 0 && late < 500 * NS_PER_MS;
}

static void the_jobs_are_frozen_at_the_deadline_and_not_before(void)
{
	CU_ASSERT(at_once(lateness));
}

/* An agent of its own that sets a deadline and then hangs or dies. */
static void agent_ends_by(int sig)
{
	struct world w;
	set_up(&w);
	pid_t agent = fork();
	if (agent == 0) {
		fence_set_deadline(w.f, clock_boot_ns() + SHORT);
		raise(sig);
		for (;;)
			pause();
	}
	CU_ASSERT(await_frozen(&w, JOB, 1));
	end_process(agent);
	tear_down(&w);
}

static void they_are_frozen_although_the_agent_is_stopped(void)
{
	agent_ends_by(SIGSTOP);
}

static void they_are_frozen_although_the_agent_was_killed(void)
{
	agent_ends_by(SIGKILL);
}

static void cpfence_outlives_the_agent_that_started_it_and_is_adopted(void)
{
	struct world w;
	set_up(&w);
	fence_quit(&w.f);
	pid_t agent = fork();
	if (agent == 0) {
		struct fence *f;
		if (fence_open(&f, w.run, w.cg.node, cpfence, NULL) == 0)
			fence_set_deadline(f, clock_boot_ns() + FAR);
		raise(SIGKILL);
	}
	waitpid(agent, NULL, 0);
	pid_t before = fence_pid(&w);
	CU_ASSERT(before > 0 && !ends(before, 0));
	CU_ASSERT_EQUAL_FATAL(fence_open(&w.f, w.run, w.cg.node, cpfence, &w.e), 0);
	CU_ASSERT_EQUAL(fence_pid(&w), before);
	CU_ASSERT(fence_deadline(w.f) > clock_boot_ns() + FAR / 2);
	tear_down(&w);
	CU_ASSERT(ends(before, WAIT_MS));
}

static void a_renewed_lease_does_not_freeze(void)
{
	struct world w;
	set_up(&w);
	int64_t first = clock_boot_ns() + SHORT;
	fence_set_deadline(w.f, first);
	fence_set_deadline(w.f, first + FAR);
	/* the watch's end comes after the first deadline, in the same process: when it acts, that has passed */
	int slot = fence_watch_dump(w.f, NULL, 0, first + SHORT, &w.e);
	struct fence_shared *s = look_into(&w);
	while (atomic_load(&s->watch[slot].deadline) > 0)
		poll(NULL, 0, 1);
	CU_ASSERT_EQUAL(cgroup_frozen(&w.cg, JOB, NULL), 0);
	CU_ASSERT_FALSE(fence_fenced(w.f));
	CU_ASSERT_EQUAL(atomic_load(&s->fenced_at), 0);
	munmap(s, sizeof *s);
	CU_ASSERT_TRUE(fence_unwatch_dump(w.f, slot));
	tear_down(&w);
}

/* How long it takes until a deadline that has passed already is heeded. */
static int64_t lateness_of_a_nearer_one(void)
{
	struct world w;
	set_up(&w);
	fence_set_deadline(w.f, clock_boot_ns() + FAR);
	fence_set_deadline(w.f, clock_boot_ns() - 1);
	int64_t t = clock_boot_ns();
	CU_ASSERT(await_frozen(&w, JOB, 1));
	t = clock_boot_ns() - t;
	tear_down(&w);
	return t;
}

static void a_lease_moved_nearer_freezes_at_once(void)
{
	CU_ASSERT(at_once(lateness_of_a_nearer_one));
}

static void a_new_lease_thaws(void)
{
	struct world w;
	set_up(&w);
	fence_set_deadline(w.f, clock_boot_ns() - 1);
	CU_ASSERT(await_frozen(&w, JOB, 1));
	fence_set_deadline(w.f, clock_boot_ns() + FAR);
	CU_ASSERT(await_frozen(&w, JOB, 0));
	CU_ASSERT(await_fenced(&w, false));
	tear_down(&w);
}

static void a_thaw_by_someone_else_does_not_last(void)
{
	struct world w;
	set_up(&w);
	fence_set_deadline(w.f, clock_boot_ns() - 1);
	CU_ASSERT(await_frozen(&w, JOB, 1));
	CU_ASSERT_EQUAL(cgroup_thaw(&w.cg, NULL, WAIT_MS, &w.e), 0);
	CU_ASSERT(await_frozen(&w, JOB, 1));
	tear_down(&w);
}

static void a_dead_cpfence_is_started_again_and_keeps_the_deadline(void)
{
	struct world w;
	set_up(&w);
	pid_t before = fence_pid(&w);
	fence_set_deadline(w.f, clock_boot_ns() + FAR);
	CU_ASSERT_FATAL(before > 1);
	kill(before, SIGKILL);
	CU_ASSERT(ends(before, WAIT_MS));
	CU_ASSERT_EQUAL(fence_check(w.f, &w.e), 0);
	CU_ASSERT(fence_pid(&w) != before && !ends(fence_pid(&w), 0));
	CU_ASSERT(fence_deadline(w.f) > clock_boot_ns());
	fence_set_deadline(w.f, clock_boot_ns() - 1);
	CU_ASSERT(await_frozen(&w, JOB, 1));
	tear_down(&w);
}

static void it_ends_when_its_file_is_gone(void)
{
	struct world w;
	char path[128];
	set_up(&w);
	pid_t pid = fence_pid(&w);
	snprintf(path, sizeof path, "%s/fence", w.run);
	CU_ASSERT_EQUAL(unlink(path), 0);
	CU_ASSERT(ends(pid, WAIT_MS));
	tear_down(&w);
}

static void a_hung_dump_is_killed_and_its_job_thawed(void)
{
	struct world w;
	int status = 0;
	set_up(&w);
	pid_t criu = start_sleeper();
	CU_ASSERT_EQUAL(cgroup_freeze(&w.cg, JOB, WAIT_MS, &w.e), 0);
	int slot = fence_watch_dump(w.f, JOB, criu, clock_boot_ns() + SHORT, &w.e);
	CU_ASSERT(slot >= 0);
	CU_ASSERT(await_frozen(&w, JOB, 0));
	waitpid(criu, &status, 0);
	CU_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	CU_ASSERT_TRUE(fence_unwatch_dump(w.f, slot));
	tear_down(&w);
}

static void a_dump_that_ended_in_time_is_left_alone(void)
{
	struct world w;
	set_up(&w);
	pid_t criu = start_sleeper();
	int64_t soon = clock_boot_ns() + SHORT;
	int slot = fence_watch_dump(w.f, JOB, criu, soon, &w.e);
	int later = fence_watch_dump(w.f, NULL, 0, soon + SHORT, &w.e);
	CU_ASSERT_FALSE(fence_unwatch_dump(w.f, slot));
	struct fence_shared *s = look_into(&w);
	while (atomic_load(&s->watch[later].deadline) > 0)
		poll(NULL, 0, 1);
	munmap(s, sizeof *s);
	CU_ASSERT_EQUAL(waitpid(criu, NULL, WNOHANG), 0);
	end_process(criu);
	tear_down(&w);
}

static void a_pid_used_again_is_not_killed(void)
{
	struct world w;
	set_up(&w);
	pid_t other = start_sleeper();
	struct fence_shared *s = look_into(&w);
	int slot = fence_watch_dump(w.f, NULL, other, clock_boot_ns() + FAR, &w.e);
	atomic_store(&s->watch[slot].started, 1); /* the watched one was of another time */
	atomic_store(&s->watch[slot].deadline, 1);
	atomic_fetch_add(&s->wake, 1);
	while (atomic_load(&s->watch[slot].deadline) != WATCH_ACTED)
		poll(NULL, 0, 1);
	munmap(s, sizeof *s);
	CU_ASSERT_EQUAL(waitpid(other, NULL, WNOHANG), 0);
	end_process(other);
	tear_down(&w);
}

static void all_slots_taken_is_an_error(void)
{
	struct world w;
	set_up(&w);
	for (int i = 0; i < FENCE_SLOTS; i++)
		CU_ASSERT(fence_watch_dump(w.f, NULL, 0, clock_boot_ns() + FAR, &w.e) == i);
	CU_ASSERT_EQUAL(fence_watch_dump(w.f, NULL, 0, clock_boot_ns() + FAR, &w.e), ERR_FAILED);
	tear_down(&w);
}

static void a_file_of_garbage_or_of_another_boot_is_replaced(void)
{
	struct world w;
	char path[128], junk[5000];
	set_up(&w);
	fence_quit(&w.f);
	snprintf(path, sizeof path, "%s/fence", w.run);
	memset(junk, 0x5a, sizeof junk);
	CU_ASSERT_EQUAL(fs_write_aside(path, junk, sizeof junk, 0600, 0, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(fence_open(&w.f, w.run, w.cg.node, cpfence, &w.e), 0);
	CU_ASSERT_EQUAL(fence_deadline(w.f), 0);
	tear_down(&w);
}

static void a_missing_cgroup_is_said(void)
{
	struct world w;
	struct fence *f = NULL;
	char other[64] = "/tmp/cpa-fence2.XXXXXX";
	set_up(&w);
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(other));
	CU_ASSERT_EQUAL(fence_open(&f, other, "/no/such/cgroup", cpfence, &w.e), ERR_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(w.e.text, "/no/such/cgroup"));
	CU_ASSERT_PTR_NULL(f);
	CU_ASSERT_EQUAL(rmdir(other), 0); /* no fence is left in it */
	tear_down(&w);
}

static const struct test tests[] = {
	{ "without a lease nothing is frozen", without_a_lease_nothing_is_frozen },
	{ "the jobs are frozen at the deadline and not before",
	  the_jobs_are_frozen_at_the_deadline_and_not_before },
	{ "they are frozen although the agent is stopped", they_are_frozen_although_the_agent_is_stopped },
	{ "they are frozen although the agent was killed", they_are_frozen_although_the_agent_was_killed },
	{ "cpfence outlives the agent that started it and is adopted",
	  cpfence_outlives_the_agent_that_started_it_and_is_adopted },
	{ "a renewed lease does not freeze", a_renewed_lease_does_not_freeze },
	{ "a lease moved nearer freezes at once", a_lease_moved_nearer_freezes_at_once },
	{ "a new lease thaws", a_new_lease_thaws },
	{ "a thaw by someone else does not last", a_thaw_by_someone_else_does_not_last },
	{ "a dead cpfence is started again and keeps the deadline",
	  a_dead_cpfence_is_started_again_and_keeps_the_deadline },
	{ "it ends when its file is gone", it_ends_when_its_file_is_gone },
	{ "a hung dump is killed and its job thawed", a_hung_dump_is_killed_and_its_job_thawed },
	{ "a dump that ended in time is left alone", a_dump_that_ended_in_time_is_left_alone },
	{ "a pid used again is not killed", a_pid_used_again_is_not_killed },
	{ "all slots taken is an error", all_slots_taken_is_an_error },
	{ "a file of garbage or of another boot is replaced", a_file_of_garbage_or_of_another_boot_is_replaced },
	{ "a missing cgroup is said", a_missing_cgroup_is_said },
};

int main(void)
{
	char self[FS_PATH_MAX];
	struct cgroups cg;
	struct err e;
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	self[n > 0 ? n : 0] = '\0';
	fs_path(cpfence, "%s/../../cpfence", dirname(self));
	if (cgroups_open(&cg, "unit-fence", &e) < 0) {
		printf("fence\n  skipped: %s\n0 passed, 0 failed\n", e.text);
		return 0;
	}
	cgroups_close(&cg);
	return harness_run("fence", tests, sizeof tests / sizeof *tests);
}
