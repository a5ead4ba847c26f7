/* Launching jobs for real: namespaces, credentials, cpinit as pid 1. Needs root. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/ports/cgroup.h"
#include "agent/ports/launch.h"
#include "lib/base/clock.h"
#include "lib/base/fs.h"
#include "lib/base/scoped.h"
#include "tests/unit/harness.h"

#define WAIT_MS 20000

static char cpinit[FS_PATH_MAX];
static char *const plain_env[] = { (char *)"PATH=/usr/bin:/bin", (char *)"SHOWN=yes", NULL };

/* One job in directories of its own, with what it printed and how it ended. */
struct run {
	char dir[64], job[96], log[96];
	struct launch l;
	struct launched started;
	struct err e;
	int rc, wait_status;
	char *out;
};

static void prepare(struct run *r, char *const *argv)
{
	*r = (struct run){ .dir = "/tmp/cpa-launch.XXXXXX" };
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(r->dir));
	chmod(r->dir, 0755);
	snprintf(r->job, sizeof r->job, "%s/job", r->dir);
	snprintf(r->log, sizeof r->log, "%s/log", r->dir);
	mkdir(r->job, 0755);
	mkdir(r->log, 0755);
	r->l = (struct launch){ .uuid = "11111111-2222-3333-4444-555555555555",
		                .argv = argv,
		                .envp = plain_env,
		                .job_dir = r->job,
		                .log_dir = r->log,
		                .umask = 022,
		                .cgroup_fd = -1,
		                .cpinit = cpinit };
}

static void start(struct run *r)
{
	r->rc = launch_job(&r->l, WAIT_MS, &r->started, &r->e);
	if (r->rc < 0)
		printf("    %s\n", r->e.text);
}

static bool ended_in_time(int pidfd)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	return poll(&p, 1, WAIT_MS) == 1;
}

static void finish(struct run *r)
{
	char path[128];
	size_t len;
	if (r->started.pid > 0) {
		if (!ended_in_time(r->started.pidfd)) {
			kill(r->started.pid, SIGKILL);
			CU_FAIL("the job did not end");
		}
		waitpid(r->started.pid, &r->wait_status, 0);
		close(r->started.pidfd);
	}
	snprintf(path, sizeof path, "%s/stdout", r->log);
	fs_read(path, 1 << 20, &r->out, &len, NULL);
}

static void clean(struct run *r)
{
	free(r->out);
	fs_remove_tree(r->dir, NULL);
}

static void run_shell(struct run *r, const char *script)
{
	char *argv[] = { (char *)"sh", (char *)"-c", (char *)script, NULL };
	prepare(r, argv);
	start(r);
	finish(r);
}

static struct launch_exit exit_of(const struct run *r)
{
	struct launch_exit x = { -2, -2 };
	launch_read_exit(r->job, &x, NULL);
	return x;
}

/* Never with a pid of -1, of a job that did not start: as root that is every process of the machine. */
static void send(const struct run *r, int sig)
{
	CU_ASSERT_FATAL(r->started.pid > 1);
	kill(r->started.pid, sig);
}

static bool said(const struct run *r, const char *line)
{
	return r->out && strstr(r->out, line);
}

/* Until the job has written `text` to its output. */
static bool await_output(const struct run *r, const char *text)
{
	char path[128];
	snprintf(path, sizeof path, "%s/stdout", r->log);
	for (int64_t end = clock_boot_ns() + WAIT_MS * NS_PER_MS; clock_boot_ns() < end;) {
		scoped_free char *have = NULL;
		size_t len;
		if (fs_read(path, 1 << 20, &have, &len, NULL) == 0 && strstr(have, text))
			return true;
		poll(NULL, 0, 1);
	}
	return false;
}

static void the_exit_code_is_left_and_passed_on(void)
{
	struct run r;
	run_shell(&r, "exit 7");
	CU_ASSERT_EQUAL(r.rc, 0);
	CU_ASSERT_EQUAL(exit_of(&r).code, 7);
	CU_ASSERT_EQUAL(exit_of(&r).signal, 0);
	CU_ASSERT(WIFEXITED(r.wait_status) && WEXITSTATUS(r.wait_status) == 7);
	clean(&r);
}

static void a_killing_signal_is_left_and_passed_on(void)
{
	struct run r;
	run_shell(&r, "kill -9 $$");
	CU_ASSERT_EQUAL(exit_of(&r).code, -1);
	CU_ASSERT_EQUAL(exit_of(&r).signal, 9);
	CU_ASSERT(WIFEXITED(r.wait_status) && WEXITSTATUS(r.wait_status) == 137);
	clean(&r);
}

static void expect_failure(const char *command, int status, int code)
{
	struct run r;
	char *argv[] = { (char *)command, NULL };
	prepare(&r, argv);
	start(&r);
	CU_ASSERT_EQUAL(r.rc, code);
	CU_ASSERT_EQUAL(r.started.status, status);
	CU_ASSERT_EQUAL(r.started.pid, -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(r.e.text, command));
	clean(&r);
}

static void a_missing_command_is_127_and_one_not_executable_126(void)
{
	expect_failure("no-such-command-here", 127, ERR_NOT_FOUND);
	expect_failure("/etc/passwd", 126, ERR_DENIED);
	expect_failure("/", 126, ERR_DENIED);
}

static void a_missing_directory_is_125(void)
{
	struct run r;
	char *argv[] = { (char *)"true", NULL };
	prepare(&r, argv);
	r.l.cwd = "/no/such/dir";
	start(&r);
	CU_ASSERT_EQUAL(r.started.status, 125);
	CU_ASSERT_PTR_NOT_NULL(strstr(r.e.text, "/no/such/dir"));
	clean(&r);
}

static void a_missing_cpinit_is_said(void)
{
	struct run r;
	char *argv[] = { (char *)"true", NULL };
	prepare(&r, argv);
	r.l.cpinit = "/no/such/cpinit";
	start(&r);
	CU_ASSERT_EQUAL(r.rc, ERR_NOT_FOUND);
	CU_ASSERT_EQUAL(r.started.status, 125);
	clean(&r);
}

static void it_runs_with_the_users_credentials_limits_and_directory(void)
{
	struct run r;
	char *argv[] = { (char *)"sh", (char *)"-c",
		         (char *)"id -u; id -g; id -G; umask; pwd; ulimit -n; nice; grep Cpus_allowed_list "
		                 "/proc/self/status; echo $SHOWN; cat",
		         NULL };
	gid_t groups[] = { 4321, 7777 };
	cpu_set_t cpus;
	char input[128];
	prepare(&r, argv);
	CPU_ZERO(&cpus);
	CPU_SET(0, &cpus);
	r.l.uid = 12345, r.l.gid = 4321, r.l.groups = groups, r.l.ngroups = 2;
	r.l.umask = 027, r.l.cwd = "/usr", r.l.nice = 5, r.l.affinity = &cpus;
	r.l.limits[RLIMIT_NOFILE] = (struct rlimit){ 77, 99 };
	r.l.limits_set = 1u << RLIMIT_NOFILE;
	snprintf(input, sizeof input, "%s/input", r.dir);
	CU_ASSERT_EQUAL(fs_write_aside(input, "from-stdin\n", 11, 0644, 0, NULL), 0);
	r.l.stdin_path = input;
	start(&r);
	finish(&r);
	CU_ASSERT(said(&r, "12345\n4321\n4321 7777\n0027\n/usr\n77\n5\nCpus_allowed_list:\t0\nyes\nfrom-stdin\n"));
	clean(&r);
}

static void it_starts_with_no_signal_ignored_or_blocked(void)
{
	struct run r;
	/* grep itself: a shell would set some right */
	char *argv[] = { (char *)"grep", (char *)"-E", (char *)"Sig(Ign|Blk)", (char *)"/proc/self/status", NULL };
	prepare(&r, argv);
	signal(SIGHUP, SIG_IGN); /* as under nohup */
	start(&r);
	signal(SIGHUP, SIG_DFL);
	finish(&r);
	CU_ASSERT(said(&r, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n"));
	clean(&r);
}

static void input_is_opened_with_the_users_rights(void)
{
	struct run r;
	char *argv[] = { (char *)"cat", NULL };
	prepare(&r, argv);
	r.l.uid = r.l.gid = 12345;
	r.l.stdin_path = "/etc/shadow";
	start(&r);
	CU_ASSERT_EQUAL(r.rc, ERR_DENIED);
	CU_ASSERT_EQUAL(r.started.status, 125);
	clean(&r);
}

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

static void signals_are_passed_on(void)
{
	struct run r;
	char *argv[] = { (char *)"sh", (char *)"-c",
		         (char *)"trap 'echo usr1' USR1; trap 'echo term; exit 4' TERM; echo ready; "
		                 "while :; do sleep 0.01; done",
		         NULL };
	prepare(&r, argv);
	start(&r);
	CU_ASSERT(await_output(&r, "ready"));
	send(&r, SIGUSR1);
	CU_ASSERT(await_output(&r, "usr1"));
	send(&r, SIGTERM);
	finish(&r);
	CU_ASSERT(said(&r, "term"));
	CU_ASSERT_EQUAL(exit_of(&r).code, 4);
	clean(&r);
}

static void term_reaches_the_children_of_a_shell_that_waits(void)
{
	struct run r;
	/* a shell runs its trap when its child has ended */
	char *argv[] = { (char *)"sh", (char *)"-c",
		         (char *)"trap 'exit 6' TERM; sh -c 'echo ready; exec sleep 1000'; exit 7", NULL };
	prepare(&r, argv);
	start(&r);
	CU_ASSERT(await_output(&r, "ready"));
	send(&r, SIGTERM);
	finish(&r);
	CU_ASSERT_EQUAL(exit_of(&r).code, 6);
	clean(&r);
}

static void it_starts_inside_its_cgroup(void)
{
	struct run r;
	struct cgroups cg;
	char *argv[] = { (char *)"grep", (char *)"^0::", (char *)"/proc/self/cgroup", NULL };
	prepare(&r, argv);
	CU_ASSERT_EQUAL_FATAL(cgroups_open(&cg, "unit-launch", &r.e), 0);
	CU_ASSERT_EQUAL(cgroup_make(&cg, "job-1", &r.e), 0);
	CU_ASSERT_EQUAL(cgroup_fd(&cg, "job-1", &r.l.cgroup_fd, &r.e), 0);
	start(&r);
	finish(&r);
	close(r.l.cgroup_fd);
	CU_ASSERT(said(&r, "/cpagent/unit-launch/job-1\n"));
	CU_ASSERT_EQUAL(cgroup_remove(&cg, "job-1", 1000, &r.e), 0);
	cgroups_close(&cg);
	clean(&r);
}

static void a_large_environment_arrives_whole(void)
{
	struct run r;
	char *argv[] = { (char *)"sh", (char *)"-c", (char *)"env | grep ^BIG | wc -c", NULL };
	static char text[100][10001];
	char *env[102] = { (char *)"PATH=/bin:/usr/bin" };
	prepare(&r, argv);
	for (int i = 0; i < 100; i++) {
		env[i + 1] = text[i];
		memset(text[i], 'x', 10000);
		char name[8];
		snprintf(name, sizeof name, "BIG%03d=", i);
		memcpy(text[i], name, 7);
	}
	r.l.envp = env;
	start(&r);
	finish(&r);
	CU_ASSERT(said(&r, "1000100\n")); /* with line ends */
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
	{ "the exit code is left and passed on", the_exit_code_is_left_and_passed_on },
	{ "a killing signal is left and passed on", a_killing_signal_is_left_and_passed_on },
	{ "a missing command is 127, one not executable 126",
	  a_missing_command_is_127_and_one_not_executable_126 },
	{ "a missing directory is 125", a_missing_directory_is_125 },
	{ "a missing cpinit is said", a_missing_cpinit_is_said },
	{ "it runs with the user's credentials, limits and directory",
	  it_runs_with_the_users_credentials_limits_and_directory },
	{ "it starts with no signal ignored or blocked", it_starts_with_no_signal_ignored_or_blocked },
	{ "input is opened with the user's rights", input_is_opened_with_the_users_rights },
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
	{ "signals are passed on", signals_are_passed_on },
	{ "TERM reaches the children of a shell that waits", term_reaches_the_children_of_a_shell_that_waits },
	{ "it starts inside its cgroup", it_starts_inside_its_cgroup },
	{ "a large environment arrives whole", a_large_environment_arrives_whole },
	{ "a plain job has no namespaces and still reports", a_plain_job_has_no_namespaces_and_still_reports },
	{ "an agent that is not root runs jobs plainly only", an_agent_that_is_not_root_runs_jobs_plainly_only },
};

int main(void)
{
	char self[FS_PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	self[n > 0 ? n : 0] = '\0';
	fs_path(cpinit, "%s/../../cpinit", dirname(self));
	/* a /run of its own, so that nothing is left in the machine's */
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("run", "/run", "tmpfs", 0, NULL) < 0 || launch_prepare_node(NULL) < 0) {
		puts("launch\n  skipped: namespaces need root\n0 passed, 0 failed");
		return 0;
	}
	return harness_run("launch", tests, sizeof tests / sizeof *tests);
}
