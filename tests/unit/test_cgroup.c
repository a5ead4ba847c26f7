/* cgroup2 for real: processes frozen, killed, listed, counted. Needs root and a cgroup2 mount. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/ports/cgroup.h"
#include "lib/base/clock.h"
#include "tests/unit/harness.h"

#define NODE "unit-cgroup"
#define JOB "job-1"
#define WAIT_MS 10000

struct world {
	struct cgroups cg;
	struct err e;
	pid_t pid;
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

static void set_up(struct world *w)
{
	*w = (struct world){ 0 };
	CU_ASSERT_EQUAL_FATAL(cgroups_open(&w->cg, NODE, &w->e), 0);
	CU_ASSERT_EQUAL_FATAL(cgroup_make(&w->cg, JOB, &w->e), 0);
	w->pid = start_sleeper();
	CU_ASSERT_EQUAL_FATAL(cgroup_join(&w->cg, JOB, w->pid, &w->e), 0);
}

static void tear_down(struct world *w)
{
	cgroup_kill(&w->cg, JOB, NULL);
	CU_ASSERT_EQUAL(cgroup_remove(&w->cg, JOB, WAIT_MS, &w->e), 0); /* while it dies */
	waitpid(w->pid, NULL, 0);
	cgroups_close(&w->cg);
}

static bool exists(const char *path)
{
	return access(path, F_OK) == 0;
}

static void a_cgroup_is_made_where_cgroup2_is_mounted_and_removed_with_its_parents(void)
{
	struct world w;
	char node[FS_PATH_MAX], job[FS_PATH_MAX];
	set_up(&w);
	fs_path(node, "%s", w.cg.node);
	fs_path(job, "%s/" JOB, node);
	CU_ASSERT_PTR_NOT_NULL(strstr(node, "/cpagent/" NODE));
	CU_ASSERT_TRUE(exists(job));
	CU_ASSERT_EQUAL(cgroup_make(&w.cg, JOB, &w.e), 0);
	tear_down(&w);
	CU_ASSERT_FALSE(exists(job));
	CU_ASSERT_FALSE(exists(node));
	cgroups_close(&w.cg);
	CU_ASSERT_EQUAL(cgroup_remove(&(struct cgroups){ .node = "/no/such" }, JOB, 0, &w.e), 0);
}

static void a_name_that_is_no_directory_name_is_refused(void)
{
	struct cgroups cg;
	struct err e;
	CU_ASSERT_EQUAL(cgroups_open(&cg, "a/b", &e), ERR_USAGE);
	CU_ASSERT_EQUAL(cgroups_open(&cg, "..", &e), ERR_USAGE);
	CU_ASSERT_EQUAL(cgroups_open(&cg, "", &e), ERR_USAGE);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, "name"));
}

static void a_directory_that_is_no_cgroup2_is_refused(void)
{
	struct cgroups cg;
	struct err e;
	char dir[64] = "/tmp/cpa-cgroup.XXXXXX";
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
	CU_ASSERT(cgroups_open_at(&cg, dir, NODE, &e) < 0);
	CU_ASSERT_EQUAL(cg.node[0], '\0');
	CU_ASSERT(cgroups_open_at(&cg, "/no/such/mount", NODE, &e) < 0);
	fs_remove_tree(dir, NULL);
}

static int to_echo[2], from_echo[2];

static pid_t start_echo(void)
{
	CU_ASSERT_FATAL(pipe(to_echo) == 0 && pipe(from_echo) == 0);
	pid_t pid = fork();
	if (pid == 0)
		for (char c; read(to_echo[0], &c, 1) == 1 && write(from_echo[1], &c, 1) == 1;)
			;
	return pid;
}

static bool echoes(int within_ms)
{
	struct pollfd p = { .fd = from_echo[0], .events = POLLIN };
	char c;
	return poll(&p, 1, within_ms) == 1 && read(from_echo[0], &c, 1) == 1;
}

static void freezing_waits_until_all_stand_still_and_thawing_ends_it(void)
{
	struct world w;
	set_up(&w);
	pid_t echo = start_echo();
	CU_ASSERT_EQUAL(cgroup_join(&w.cg, JOB, echo, &w.e), 0);
	CU_ASSERT_EQUAL(cgroup_frozen(&w.cg, JOB, &w.e), 0);
	CU_ASSERT_EQUAL(cgroup_freeze(&w.cg, JOB, WAIT_MS, &w.e), 0);
	CU_ASSERT_EQUAL(cgroup_frozen(&w.cg, JOB, &w.e), 1);
	CU_ASSERT_EQUAL(write(to_echo[1], "x", 1), 1);
	CU_ASSERT_FALSE(echoes(50));
	CU_ASSERT_EQUAL(cgroup_thaw(&w.cg, JOB, WAIT_MS, &w.e), 0);
	CU_ASSERT_EQUAL(cgroup_frozen(&w.cg, JOB, &w.e), 0);
	CU_ASSERT_TRUE(echoes(WAIT_MS));
	tear_down(&w);
	waitpid(echo, NULL, 0);
}

static void freezing_the_node_freezes_its_jobs(void)
{
	struct world w;
	set_up(&w);
	CU_ASSERT_EQUAL(cgroup_freeze(&w.cg, NULL, WAIT_MS, &w.e), 0);
	CU_ASSERT_EQUAL(cgroup_frozen(&w.cg, JOB, &w.e), 1);
	/* the job's own thaw changes nothing while the node is frozen: it says so in time */
	CU_ASSERT_EQUAL(cgroup_thaw(&w.cg, JOB, 50, &w.e), ERR_TIMEOUT);
	CU_ASSERT_EQUAL(cgroup_thaw(&w.cg, NULL, WAIT_MS, &w.e), 0);
	CU_ASSERT_EQUAL(cgroup_frozen(&w.cg, JOB, &w.e), 0);
	tear_down(&w);
}

static void killing_reaches_frozen_processes_and_their_children(void)
{
	struct world w;
	int status = 0;
	set_up(&w);
	CU_ASSERT_EQUAL(cgroup_freeze(&w.cg, JOB, WAIT_MS, &w.e), 0);
	CU_ASSERT_EQUAL(cgroup_populated(&w.cg, JOB, &w.e), 1);
	CU_ASSERT_EQUAL(cgroup_kill(&w.cg, JOB, &w.e), 0);
	waitpid(w.pid, &status, 0);
	CU_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	CU_ASSERT_EQUAL(cgroup_wait_empty(&w.cg, JOB, WAIT_MS, &w.e), 0);
	CU_ASSERT_EQUAL(cgroup_populated(&w.cg, JOB, &w.e), 0);
	tear_down(&w);
}

static void removing_one_that_still_runs_times_out_and_says_so(void)
{
	struct world w;
	set_up(&w);
	CU_ASSERT_EQUAL(cgroup_remove(&w.cg, JOB, 20, &w.e), ERR_TIMEOUT);
	CU_ASSERT_PTR_NOT_NULL(strstr(w.e.text, JOB));
	CU_ASSERT_EQUAL(cgroup_populated(&w.cg, JOB, &w.e), 1);
	tear_down(&w);
}

static void cgroups_that_the_job_made_are_listed_and_removed_too(void)
{
	struct world w;
	char inner[FS_PATH_MAX];
	pid_t *pids = NULL;
	size_t n = 0;
	set_up(&w);
	mkdir(fs_path(inner, "%s/" JOB "/inner", w.cg.node), 0755);
	pid_t second = start_sleeper();
	CU_ASSERT_EQUAL(cgroup_join(&w.cg, JOB "/inner", second, &w.e), 0);
	CU_ASSERT_EQUAL_FATAL(cgroup_pids(&w.cg, JOB, &pids, &n, &w.e), 0);
	CU_ASSERT_EQUAL_FATAL(n, 2);
	CU_ASSERT((pids[0] == w.pid && pids[1] == second) || (pids[1] == w.pid && pids[0] == second));
	free(pids);
	CU_ASSERT_EQUAL(cgroup_kill(&w.cg, JOB, &w.e), 0);
	waitpid(second, NULL, 0);
	tear_down(&w);
}

static void cpu_time_is_counted(void)
{
	struct world w;
	uint64_t before = 0, after = 0;
	set_up(&w);
	CU_ASSERT_EQUAL(cgroup_cpu_ns(&w.cg, JOB, &before, &w.e), 0);
	int joined[2];
	CU_ASSERT_EQUAL_FATAL(pipe(joined), 0);
	pid_t busy = fork();
	if (busy == 0) {
		char c;
		ssize_t told = read(joined[0], &c, 1);
		while (told == 1 && clock() < CLOCKS_PER_SEC / 20)
			;
		_exit(0);
	}
	CU_ASSERT_EQUAL(cgroup_join(&w.cg, JOB, busy, &w.e), 0);
	CU_ASSERT_EQUAL(write(joined[1], "x", 1), 1);
	close(joined[0]);
	close(joined[1]);
	waitpid(busy, NULL, 0);
	CU_ASSERT_EQUAL(cgroup_cpu_ns(&w.cg, JOB, &after, &w.e), 0);
	CU_ASSERT(after - before > 10 * (uint64_t)NS_PER_MS && after - before < (uint64_t)NS_PER_S);
	tear_down(&w);
}

static void an_unknown_job_is_not_found(void)
{
	struct world w;
	int fd;
	pid_t *pids;
	size_t n;
	uint64_t ns;
	set_up(&w);
	CU_ASSERT_EQUAL(cgroup_frozen(&w.cg, "nobody", &w.e), ERR_NOT_FOUND);
	CU_ASSERT_EQUAL(cgroup_freeze(&w.cg, "nobody", 10, &w.e), ERR_NOT_FOUND);
	CU_ASSERT_EQUAL(cgroup_kill(&w.cg, "nobody", &w.e), ERR_NOT_FOUND);
	CU_ASSERT_EQUAL(cgroup_fd(&w.cg, "nobody", &fd, &w.e), ERR_NOT_FOUND);
	CU_ASSERT_EQUAL(cgroup_pids(&w.cg, "nobody", &pids, &n, &w.e), ERR_NOT_FOUND);
	CU_ASSERT_EQUAL(cgroup_cpu_ns(&w.cg, "nobody", &ns, &w.e), ERR_NOT_FOUND);
	CU_ASSERT_EQUAL(cgroup_remove(&w.cg, "nobody", 10, &w.e), 0);
	tear_down(&w);
}

static const struct test tests[] = {
	{ "a cgroup is made where cgroup2 is mounted, and removed with its parents",
	  a_cgroup_is_made_where_cgroup2_is_mounted_and_removed_with_its_parents },
	{ "a name that is no directory name is refused", a_name_that_is_no_directory_name_is_refused },
	{ "a directory that is no cgroup2 is refused", a_directory_that_is_no_cgroup2_is_refused },
	{ "freezing waits until all stand still, and thawing ends it",
	  freezing_waits_until_all_stand_still_and_thawing_ends_it },
	{ "freezing the node freezes its jobs", freezing_the_node_freezes_its_jobs },
	{ "killing reaches frozen processes and their children",
	  killing_reaches_frozen_processes_and_their_children },
	{ "removing one that still runs times out and says so",
	  removing_one_that_still_runs_times_out_and_says_so },
	{ "cgroups that the job made are listed and removed too",
	  cgroups_that_the_job_made_are_listed_and_removed_too },
	{ "cpu time is counted", cpu_time_is_counted },
	{ "an unknown job is not found", an_unknown_job_is_not_found },
};

int main(void)
{
	struct cgroups cg;
	struct err e;
	if (cgroups_open(&cg, NODE, &e) < 0) {
		printf("cgroup\n  skipped: %s\n0 passed, 0 failed\n", e.text);
		return 0;
	}
	cgroups_close(&cg);
	return harness_run("cgroup", tests, sizeof tests / sizeof *tests);
}
