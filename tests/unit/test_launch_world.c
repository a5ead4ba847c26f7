/* What a job that is launched sees of its node and leaves there: namespaces, mounts, descriptors, its cgroup; and jobs of
 * an agent without root. Needs root itself. */
#include <sys/syscall.h>

#include "agent/ports/cgroup.h"
#include "tests/unit/launch_run.h"

static void output_lands_in_the_log_directory_and_can_be_opened_again(void)
{
	struct run r;
	char *argv[] = { (char *)"sh", (char *)"-c", (char *)"echo one; echo two > /dev/stderr; echo three >&2",
		         NULL };
	char path[128];
	struct stat st;
	scoped_free char *err = NULL;
	size_t len;
	prepare(&r, argv);
	r.l.uid = r.l.gid = 12345;
	start(&r);
	finish(&r);
	CU_ASSERT(said(&r, "one\n"));
	snprintf(path, sizeof path, "%s/stderr", r.log);
	CU_ASSERT_EQUAL(fs_read(path, 4096, &err, &len, NULL), 0);
	CU_ASSERT(err && strcmp(err, "two\nthree\n") == 0);
	CU_ASSERT(stat(path, &st) == 0 && st.st_uid == 12345 && (st.st_mode & 0777) == 0600);
	clean(&r);
}

static void a_job_cannot_write_its_own_exit_status(void)
{
	struct run r;
	char *argv[] = { (char *)"sh", (char *)"-c",
		         (char *)"cd /run/cpagent/job && (echo code 0 > exit; echo x > exit.aside; mv cpinit c;"
		                 "rm -f cpinit; echo tried); exit 9",
		         NULL };
	prepare(&r, argv);
	r.l.uid = r.l.gid = 12345;
	start(&r);
	finish(&r);
	CU_ASSERT(said(&r, "tried"));
	CU_ASSERT_EQUAL(exit_of(&r).code, 9);
	clean(&r);
}

static void no_descriptor_of_the_agent_reaches_the_job_or_stays_with_pid_1(void)
{
	struct run r;
	int leak = fcntl(0, F_DUPFD, 50); /* without O_CLOEXEC, as a library might */
	run_shell(
	        &r,
	        "ls /proc/self/fd | wc -l; echo $(ls /proc/1/fd); readlink /proc/1/fd/0 /proc/1/fd/1 /proc/1/exe");
	close(leak);
	/* ls itself opens the directory: 0 1 2 and that one */
	CU_ASSERT(said(&r, "4\n0 1 2\n/dev/null\n/run/cpagent/log/stdout\n/run/cpagent/job/cpinit\n"));
	clean(&r);
}

static void it_has_namespaces_of_its_own_and_a_proc_of_its_own(void)
{
	struct run r;
	static const char *const own[] = { "pid", "mnt", "ipc", "uts" };
	run_shell(&r, "for n in pid mnt ipc uts net; do readlink /proc/self/ns/$n; done; readlink /proc/self; "
	              "grep -c ' /proc ' /proc/mounts; cut -d' ' -f6 /proc/self/stat");
	for (size_t i = 0; i < 4; i++) {
		char path[64], mine[64] = "";
		snprintf(path, sizeof path, "/proc/self/ns/%s", own[i]);
		CU_ASSERT(readlink(path, mine, sizeof mine - 1) > 0);
		CU_ASSERT(said(&r, own[i]) && !said(&r, mine));
	}
	CU_ASSERT(said(&r, "\n1\n2\n")); /* one /proc, and a session of its own */
	clean(&r);
}

static void no_mount_in_the_job_hides_another(void)
{
	struct run r;
	run_shell(&r, "cut -d' ' -f5 /proc/self/mountinfo | sort | uniq -d; echo end; touch /dev/shm/x.$$ && rm "
	              "/dev/shm/x.$$ && echo usable; grep -c 'shared:\\|master:' /proc/self/mountinfo");
	CU_ASSERT(r.out && strncmp(r.out, "end\nusable\n0\n", 13) == 0);
	clean(&r);
}

/* The test's own namespace gets what hosts have: mounts on mounts, mounts under mounts, other people's mounts. */
static void make_a_mess(const char *dir)
{
	char path[128];
	static const char *const mounts[] = { "stack", "stack", "cover/inner", "cover" };
	for (size_t i = 0; i < sizeof mounts / sizeof *mounts; i++) {
		snprintf(path, sizeof path, "%s/%s", dir, mounts[i]);
		CU_ASSERT_EQUAL(fs_mkdirs(path, 0755, NULL), 0);
		CU_ASSERT_EQUAL(mount("mess", path, "tmpfs", 0, NULL), 0);
		snprintf(path, sizeof path, "%s/%s/layer-%zu", dir, mounts[i], i);
		CU_ASSERT_EQUAL(mkdir(path, 0755), 0);
	}
	CU_ASSERT_EQUAL(fs_mkdirs("/run/user/12345", 0755, NULL), 0);
	CU_ASSERT_EQUAL(mount("mess", "/run/user/12345", "tmpfs", 0, NULL), 0);
	snprintf(path, sizeof path, "%s/netns", dir);
	CU_ASSERT_EQUAL(fs_write_aside(path, "", 0, 0644, 0, NULL), 0);
	CU_ASSERT_EQUAL(mount("/proc/self/ns/net", path, NULL, MS_BIND, NULL), 0);
}

static void clean_the_mess(const char *dir)
{
	static const char *const mounts[] = { "netns", "cover", "cover/inner", "stack", "stack" };
	char path[128];
	for (size_t i = 0; i < sizeof mounts / sizeof *mounts; i++) {
		snprintf(path, sizeof path, "%s/%s", dir, mounts[i]);
		CU_ASSERT_EQUAL(umount2(path, MNT_DETACH), 0);
	}
	CU_ASSERT_EQUAL(umount2("/run/user/12345", MNT_DETACH), 0);
}

static void hidden_mounts_and_those_of_others_are_gone_and_the_visible_ones_stay(void)
{
	struct run r;
	char *argv[] = { (char *)"sh", (char *)"-c",
		         (char *)"ls stack cover; grep -c ^mess /proc/mounts; grep -c nsfs /proc/mounts; "
		                 "grep -c run/user /proc/mounts",
		         NULL };
	prepare(&r, argv);
	r.l.cwd = r.dir;
	make_a_mess(r.dir);
	start(&r);
	finish(&r);
	CU_ASSERT(said(&r, "cover:\nlayer-3\n\nstack:\nlayer-1\n2\n0\n0\n"));
	clean_the_mess(r.dir);
	clean(&r);
}

static void what_a_job_leaves_behind_dies_with_it(void)
{
	struct run r;
	run_shell(&r, "setsid sleep 1000 & (sleep 1000 &) ; exit 3");
	CU_ASSERT_EQUAL(exit_of(&r).code, 3);
	CU_ASSERT(WIFEXITED(r.wait_status)); /* the kernel kills a pid namespace before its pid 1 can be reaped */
	clean(&r);
}

static void orphans_are_reaped(void)
{
	struct run r;
	/* three orphans end under pid 1; the last line counts processes, zombies included */
	run_shell(&r,
	          "for i in 1 2 3; do (true &) ; done; while [ $(ls -d /proc/[0-9]* | wc -l) -gt 4 ]; do :; done; "
	          "echo reaped");
	CU_ASSERT(said(&r, "reaped"));
	clean(&r);
}

static void it_starts_inside_its_cgroup(void)
{
	struct run r;
	struct cgroups cg;
	char *argv[] = { (char *)"grep", (char *)"^0::", (char *)"/proc/self/cgroup", NULL };
	prepare(&r, argv);
	char name[32], inside[64];
	snprintf(name, sizeof name, "unit-launch-%d", (int)getpid());
	snprintf(inside, sizeof inside, "/cpagent/%s/job-1\n", name);
	CU_ASSERT_EQUAL_FATAL(cgroups_open(&cg, name, &r.e), 0);
	CU_ASSERT_EQUAL(cgroup_make(&cg, "job-1", &r.e), 0);
	CU_ASSERT_EQUAL(cgroup_fd(&cg, "job-1", &r.l.cgroup_fd, &r.e), 0);
	start(&r);
	finish(&r);
	close(r.l.cgroup_fd);
	CU_ASSERT(said(&r, inside));
	CU_ASSERT_EQUAL(cgroup_remove(&cg, "job-1", WAIT_MS, &r.e), 0);
	cgroups_close(&cg);
	clean(&r);
}

static void a_plain_job_has_no_namespaces_and_still_reports(void)
{
	struct run r;
	char *argv[] = { (char *)"sh", (char *)"-c", (char *)"sleep 1000 & echo plain $!; exit 5", NULL };
	prepare(&r, argv);
	r.l.plain = true;
	start(&r);
	finish(&r);
	CU_ASSERT_FATAL(said(&r, "plain "));
	CU_ASSERT_EQUAL(exit_of(&r).code, 5);
	int left = (int)syscall(SYS_pidfd_open, strtol(r.out + strlen("plain "), NULL, 10), 0);
	CU_ASSERT(left < 0 || ended_in_time(left));
	if (left >= 0)
		close(left);
	clean(&r);
}

static int launch_as_nobody(void)
{
	struct run r;
	char *argv[] = { (char *)"sh", (char *)"-c", (char *)"id -u; exit 5", NULL };
	if (setresgid(12345, 12345, 12345) < 0 || setresuid(12345, 12345, 12345) < 0)
		return 1;
	prepare(&r, argv);
	r.l.plain = true;
	start(&r);
	finish(&r);
	int rc = r.rc == 0 && said(&r, "12345\n") && exit_of(&r).code == 5 ? 0 : 2;
	/* with namespaces it is refused, and said so */
	r.l.plain = false;
	start(&r);
	rc = rc == 0 && r.rc != ERR_DENIED ? 3 : rc;
	clean(&r);
	return rc;
}

static void an_agent_that_is_not_root_runs_jobs_plainly_only(void)
{
	int status = 0;
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0)
		_exit(launch_as_nobody());
	waitpid(pid, &status, 0);
	CU_ASSERT(WIFEXITED(status));
	CU_ASSERT_EQUAL(WEXITSTATUS(status), 0);
}

static const struct test tests[] = {
	{ "output lands in the log directory and can be opened again",
	  output_lands_in_the_log_directory_and_can_be_opened_again },
	{ "a job cannot write its own exit status", a_job_cannot_write_its_own_exit_status },
	{ "no descriptor of the agent reaches the job or stays with pid 1",
	  no_descriptor_of_the_agent_reaches_the_job_or_stays_with_pid_1 },
	{ "it has namespaces of its own and a /proc of its own",
	  it_has_namespaces_of_its_own_and_a_proc_of_its_own },
	{ "no mount in the job hides another", no_mount_in_the_job_hides_another },
	{ "hidden mounts and those of others are gone, and the visible ones stay",
	  hidden_mounts_and_those_of_others_are_gone_and_the_visible_ones_stay },
	{ "what a job leaves behind dies with it", what_a_job_leaves_behind_dies_with_it },
	{ "orphans are reaped", orphans_are_reaped },
	{ "it starts inside its cgroup", it_starts_inside_its_cgroup },
	{ "a plain job has no namespaces and still reports", a_plain_job_has_no_namespaces_and_still_reports },
	{ "an agent that is not root runs jobs plainly only", an_agent_that_is_not_root_runs_jobs_plainly_only },
};

int main(void)
{
	return launch_tests_run("launch_world", tests, sizeof tests / sizeof *tests);
}
