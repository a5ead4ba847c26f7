/* cpinit: pid 1 of a job. Static, tiny and part of every image: it reaps, passes signals on, and leaves the
 * job's exit status where its agent finds it. It runs twice: `cpinit setup UUID` from the agent's installation
 * makes the namespace, then `cpinit job UUID` runs from inside it, so that an image finds it on every node. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/init/init.h"

static const int to_group[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGCONT };
static const int to_main[] = { SIGUSR1, SIGUSR2 };

_Noreturn void init_fail(enum spec_step step)
{
	struct spec_report r = { .step = (int32_t)step, .error = errno };
	ssize_t n = write(REPORT_FD, &r, sizeof r);
	(void)n; /* without an agent there is nobody to tell */
	_exit(step != STEP_EXEC ? 125 : r.error == ENOENT ? 127 : 126);
}

static void close_from(unsigned first)
{
	if (syscall(SYS_close_range, first, ~0u, 0) == 0)
		return;
	long max = sysconf(_SC_OPEN_MAX); /* Linux before 5.9 */
	for (int fd = (int)first; fd < (max > 0 ? max : 1024); fd++)
		close(fd);
}

/* The agent may protect itself from the OOM killer; a job that inherits this could take the node down. */
static void reset_oom_score(void)
{
	int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
	char was[16] = "";
	if (fd >= 0 && read(fd, was, sizeof was - 1) > 0 && was[0] == '-' && pwrite(fd, "0", 1, 0) < 0)
		was[0] = '\0'; /* stays as it is: not worth a job */
	if (fd >= 0)
		close(fd);
}

static void setup(const struct job *j, const char *uuid)
{
	char copy[4096];
	setsid();
	if (!(j->spec->flags & SPEC_PLAIN))
		mounts_setup(j);
	reset_oom_score();
	snprintf(copy, sizeof copy, "%s/" SPEC_CPINIT, j->spec->flags & SPEC_PLAIN ? j->job_dir : SPEC_JOB_DIR);
	char *argv[] = { (char *)SPEC_CPINIT, (char *)"job", (char *)uuid, NULL }, *env[] = { NULL };
	execve(copy, argv, env);
	init_fail(STEP_REEXEC);
}

/* O_APPEND: what the job writes after a rollback of the file lands at its end. The job owns it, so that a shell
 * can open /dev/stderr again. */
static int open_output(const struct job *j, const char *name)
{
	char path[4096];
	int plain = j->spec->flags & SPEC_PLAIN;
	snprintf(path, sizeof path, "%s/%s", plain ? j->log_dir : SPEC_LOG_DIR, name);
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 || (!plain && fchown(fd, j->spec->uid, j->spec->gid) < 0))
		init_fail(STEP_STDIO);
	return fd;
}

static void put_fd(int fd, int at)
{
	if (dup2(fd, at) < 0)
		init_fail(STEP_STDIO);
	close(fd);
}

/* All descriptors are opened inside the mount namespace: CRIU finds no path for one that was not. */
static void open_stdio(const struct job *j)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		init_fail(STEP_STDIO);
	put_fd(null, 0);
	put_fd(open_output(j, "stdout"), 1);
	put_fd(open_output(j, "stderr"), 2);
}

static void block_signals(sigset_t *all)
{
	/* what the agent ignored, the job must not: also the two that the C library keeps from us, and leaves ignored in
	 * what it spawns; the kernel's own structure, all zero: the default action */
	static const unsigned long dfl[4];
	for (int s = 1; s < NSIG; s++)
		syscall(SYS_rt_sigaction, s, dfl, NULL, NSIG / 8);
	sigfillset(all);
	sigprocmask(SIG_SETMASK, all, NULL);
}

static int listed(int sig, const int *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (list[i] == sig)
			return 1;
	return 0;
}

static void forward(int sig, pid_t child)
{
	if (listed(sig, to_group, sizeof to_group / sizeof *to_group) && kill(-child, sig) < 0)
		kill(child, sig); /* it has not called setsid yet */
	else if (listed(sig, to_main, sizeof to_main / sizeof *to_main))
		kill(child, sig);
}

/* Reap whatever has ended; true when the main process has. */
static int reap(pid_t child, int *status)
{
	int ended = 0, s;
	for (pid_t pid; (pid = waitpid(-1, &s, WNOHANG)) > 0;)
		if (pid == child) {
			*status = s;
			ended = 1;
		}
	return ended;
}

static int supervise(pid_t child, const sigset_t *all)
{
	int status = 0;
	while (!reap(child, &status)) {
		int sig = sigwaitinfo(all, NULL); /* EINTR at each dump and restore */
		if (sig > 0)
			forward(sig, child);
	}
	return status;
}

/* Whole or absent, by path: after a restore on another node the same path leads to that node's directory. */
static void leave_status(const char *dir, int status)
{
	char path[4200], aside[4200], line[32];
	int n = WIFSIGNALED(status) ? snprintf(line, sizeof line, "signal %d\n", WTERMSIG(status))
	                            : snprintf(line, sizeof line, "code %d\n", WEXITSTATUS(status));
	snprintf(path, sizeof path, "%s/" SPEC_EXIT, dir);
	snprintf(aside, sizeof aside, "%s/" SPEC_EXIT ".aside", dir);
	int fd = open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd >= 0 && write(fd, line, (size_t)n) == n)
		rename(aside, path);
}

static void run(struct job *j)
{
	static char dir[4096];
	sigset_t all;
	int plain = j->spec->flags & SPEC_PLAIN;
	snprintf(dir, sizeof dir, "%s", plain ? j->job_dir : SPEC_JOB_DIR);
	block_signals(&all);
	if (plain)
		prctl(PR_SET_CHILD_SUBREAPER, 1);
	if (chdir("/") < 0)
		init_fail(STEP_STDIO);
	umask(022);
	open_stdio(j);
	pid_t child = fork();
	if (child < 0)
		init_fail(STEP_FORK);
	if (child == 0) {
		if (plain)
			prctl(PR_SET_PDEATHSIG, SIGKILL); /* no pid namespace ends it with us */
		command_exec(j);
	}
	close(REPORT_FD);
	spec_drop(j);
	int status = supervise(child, &all);
	if (plain)
		kill(-child, SIGKILL);
	leave_status(dir, status);
	_exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
}

int main(int argc, char **argv)
{
	struct job j = { 0 };
	if (argc != 3 || (strcmp(argv[1], "setup") != 0 && strcmp(argv[1], "job") != 0)) {
		fputs("cpinit is pid 1 of a cpagent job and started by cpagentd\n", stderr);
		return 2;
	}
	if (spec_read(&j) < 0)
		init_fail(STEP_SPEC);
	close_from(REPORT_FD + 1);
	if (strcmp(argv[1], "setup") == 0)
		setup(&j, argv[2]);
	close(SPEC_FD);
	if (fcntl(REPORT_FD, F_SETFD, FD_CLOEXEC) < 0)
		init_fail(STEP_STDIO);
	run(&j);
}
