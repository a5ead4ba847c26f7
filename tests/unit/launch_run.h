/* Jobs for the tests of launching: one at a time, in directories of its own, with what it printed and how it ended.
 * A program includes this once, and calls launch_tests_run() instead of harness_run(). */
#ifndef TESTS_UNIT_LAUNCH_RUN_H
#define TESTS_UNIT_LAUNCH_RUN_H

#include <libgen.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

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

static inline void prepare(struct run *r, char *const *argv)
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

static inline void start(struct run *r)
{
	r->rc = launch_job(&r->l, WAIT_MS, &r->started, &r->e);
	if (r->rc < 0)
		printf("    %s\n", r->e.text);
}

static inline bool ended_in_time(int pidfd)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	return poll(&p, 1, WAIT_MS) == 1;
}

static inline void finish(struct run *r)
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

static inline void clean(struct run *r)
{
	free(r->out);
	fs_remove_tree(r->dir, NULL);
}

static inline void run_shell(struct run *r, const char *script)
{
	char *argv[] = { (char *)"sh", (char *)"-c", (char *)script, NULL };
	prepare(r, argv);
	start(r);
	finish(r);
}

static inline struct launch_exit exit_of(const struct run *r)
{
	struct launch_exit x = { -2, -2 };
	launch_read_exit(r->job, &x, NULL);
	return x;
}

/* Never with a pid of -1, of a job that did not start: as root that is every process of the machine. */
static inline void send(const struct run *r, int sig)
{
	CU_ASSERT_FATAL(r->started.pid > 1);
	kill(r->started.pid, sig);
}

static inline bool said(const struct run *r, const char *line)
{
	return r->out && strstr(r->out, line);
}

/* Until the job has written `text` to its output. */
static inline bool await_output(const struct run *r, const char *text)
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

static inline int launch_tests_run(const char *suite, const struct test *tests, size_t n)
{
	char self[FS_PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
	self[length > 0 ? length : 0] = '\0';
	fs_path(cpinit, "%s/../../cpinit", dirname(self));
	/* a /run of its own, so that nothing is left in the machine's */
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("run", "/run", "tmpfs", 0, NULL) < 0 || launch_prepare_node(NULL) < 0) {
		printf("%s\n  skipped: namespaces need root\n0 passed, 0 failed\n", suite);
		return 0;
	}
	return harness_run(suite, tests, n);
}

#endif
