/* A real job for tests of snapshots: launched with namespaces and cpinit, its directories and images aside. */
#ifndef TESTS_UNIT_SNAPSHOT_JOB_H
#define TESTS_UNIT_SNAPSHOT_JOB_H

#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/ports/criu.h"
#include "agent/ports/launch.h"
#include "agent/ports/routed.h"
#include "agent/ports/snapshot.h"
#include "lib/base/clock.h"
#include "lib/base/fs.h"
#include "lib/base/scoped.h"

#define WAIT_NS (20 * NS_PER_S)
#define MAX_COPIES 4

struct job {
	char dir[64];  /* the job's own files, on disk */
	char fast[64]; /* job_dir and images, on tmpfs */
	char job[128], log[128], img[128], file[128], arena[128];
	pid_t copies[MAX_COPIES]; /* pid 1 of the job and of what was restored from it */
	int ncopies;
	struct snapshot_taken taken;
	struct err e;
};

static char criu_path[FS_PATH_MAX], bin_dir[FS_PATH_MAX];

/* Find CRIU and our own build directory. 0, or -1 after saying why the tests cannot run. */
static inline int snapshot_tests_open(void)
{
	struct err e = {0};
	ssize_t n = readlink("/proc/self/exe", bin_dir, sizeof bin_dir - 1);
	char *tests = n > 0 ? strstr(bin_dir, "/tests/") : NULL;
	if (tests)
		*tests = '\0';
	if (geteuid() != 0 || launch_prepare_node(&e) || criu_find(getenv("CPA_TEST_CRIU"), criu_path, &e)) {
		printf("skipped: snapshots need root and CRIU (%s)\n0 passed, 0 failed\n",
		       *e.text ? e.text : "not root");
		return -1;
	}
	return 0;
}

static inline void job_make(struct job *j)
{
	*j = (struct job){.dir = "/var/tmp/cpa-snapshot.XXXXXX", .fast = "/dev/shm/cpa-snapshot.XXXXXX"};
	if (!mkdtemp(j->dir) || !mkdtemp(j->fast))
		abort();
	chmod(j->dir, 0755);
	chmod(j->fast, 0755);
	snprintf(j->log, sizeof j->log, "%s/log", j->dir);
	snprintf(j->file, sizeof j->file, "%s/out", j->dir);
	snprintf(j->job, sizeof j->job, "%s/job", j->fast);
	snprintf(j->img, sizeof j->img, "%s/img.0", j->fast);
	snprintf(j->arena, sizeof j->arena, "%s/job/arena", j->fast);
	mkdir(j->log, 0755);
	mkdir(j->job, 0755);
	routed_make(j->job, (uid_t)-1, (gid_t)-1, &j->e);
	mkdir(j->img, 0700);
}

/* Launch bin in MODE; arg may be NULL. */
static inline bool job_start(struct job *j, const char *mode, const char *arg)
{
	char bin[FS_PATH_MAX], cpinit[FS_PATH_MAX];
	char *argv[] = {(char *)fs_path(bin, "%s/tests/unit/snapshot_job", bin_dir), (char *)mode, (char *)arg, NULL};
	char *envp[] = {(char *)"PATH=/usr/bin:/bin", NULL};
	const gid_t group = 0;
	const struct launch l = {.groups = &group, .ngroups = 1,
				 .uuid = "11111111-2222-3333-4444-555555555555", .argv = argv, .envp = envp,
				 .job_dir = j->job, .log_dir = j->log, .umask = 022, .cgroup_fd = -1,
				 .cpinit = fs_path(cpinit, "%s/cpinit", bin_dir)};
	struct launched started;
	if (launch_job(&l, 20000, &started, &j->e)) {
		printf("    %s\n", j->e.text);
		return false;
	}
	close(started.pidfd);
	j->copies[j->ncopies++] = started.pid;
	return true;
}

static inline struct snapshot_take job_how_to_take(const struct job *j)
{
	return (struct snapshot_take){.criu = criu_path, .pid = j->copies[0], .img_dir = j->img, .job_dir = j->job,
				      .log_dir = j->log};
}

static inline int job_take(struct job *j)
{
	struct snapshot_take how = job_how_to_take(j);
	int rc = snapshot_take(&how, &j->taken, &j->e);
	if (rc)
		printf("    %s\n", j->e.text);
	return rc;
}

static inline struct snapshot_restore job_how_to_restore(const struct job *j)
{
	return (struct snapshot_restore){.criu = criu_path, .img_dir = j->img, .job_dir = j->job, .log_dir = j->log,
					 .tail_suffix = "1"};
}

static inline int job_restore_as(struct job *j, const struct snapshot_restore *how)
{
	pid_t pid = 0;
	int rc = snapshot_restore(how, &pid, &j->e);
	if (rc)
		printf("    %s\n", j->e.text);
	else
		j->copies[j->ncopies++] = pid;
	return rc;
}

static inline int job_restore(struct job *j)
{
	struct snapshot_restore how = job_how_to_restore(j);
	return job_restore_as(j, &how);
}

static inline bool job_lives(pid_t pid)
{
	return pid > 0 && waitpid(pid, NULL, WNOHANG) == 0;
}

static inline void job_kill(struct job *j, int copy)
{
	if (copy >= j->ncopies || j->copies[copy] <= 0)
		return;
	kill(j->copies[copy], SIGKILL);
	waitpid(j->copies[copy], NULL, 0);
	j->copies[copy] = 0;
}

static inline void job_clean(struct job *j)
{
	for (int i = 0; i < j->ncopies; i++)
		job_kill(j, i);
	fs_remove_tree(j->dir, NULL);
	fs_remove_tree(j->fast, NULL);
}

static inline off_t size_of(const char *path)
{
	struct stat st;
	return stat(path, &st) ? -1 : st.st_size;
}

static inline const char *job_stdout(const struct job *j, char *buf)
{
	return fs_path(buf, "%s/stdout", j->log);
}

/* Until the job has written `more` bytes to its output, beyond what is there; false when it does not. */
static inline bool job_goes_on(const struct job *j, off_t more)
{
	char path[FS_PATH_MAX];
	off_t from = size_of(job_stdout(j, path));
	for (int64_t end = clock_boot_ns() + WAIT_NS; clock_boot_ns() < end; poll(NULL, 0, 1))
		if (size_of(path) >= (from < 0 ? 0 : from) + more)
			return true;
	return false;
}

#endif
