/* Launching jobs for real, with cpinit as pid 1: how they end, what their user gives them, signals. Needs root. */
#include "tests/unit/launch_run.h"

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

static void mount_points_that_were_removed_are_made_again(void)
{
	struct run r;
	CU_ASSERT_FATAL(rmdir(LAUNCH_JOB_DIR) == 0 && rmdir(LAUNCH_LOG_DIR) == 0 && rmdir("/run/cpagent") == 0);
	run_shell(&r, "exit 7");
	CU_ASSERT_EQUAL(exit_of(&r).code, 7);
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

static const struct test tests[] = {
	{ "the exit code is left and passed on", the_exit_code_is_left_and_passed_on },
	{ "a killing signal is left and passed on", a_killing_signal_is_left_and_passed_on },
	{ "a missing command is 127, one not executable 126",
	  a_missing_command_is_127_and_one_not_executable_126 },
	{ "a missing directory is 125", a_missing_directory_is_125 },
	{ "a missing cpinit is said", a_missing_cpinit_is_said },
	{ "mount points that were removed are made again", mount_points_that_were_removed_are_made_again },
	{ "it runs with the user's credentials, limits and directory",
	  it_runs_with_the_users_credentials_limits_and_directory },
	{ "it starts with no signal ignored or blocked", it_starts_with_no_signal_ignored_or_blocked },
	{ "input is opened with the user's rights", input_is_opened_with_the_users_rights },
	{ "signals are passed on", signals_are_passed_on },
	{ "TERM reaches the children of a shell that waits", term_reaches_the_children_of_a_shell_that_waits },
	{ "a large environment arrives whole", a_large_environment_arrives_whole },
};

int main(void)
{
	return launch_tests_run("launch", tests, sizeof tests / sizeof *tests);
}
