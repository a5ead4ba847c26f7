/* Owns the files around a launch: the mount points on the node, the job's copy of cpinit, and reading the exit
 * status that cpinit left. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/init/spec.h"
#include "agent/ports/launch.h"
#include "lib/base/fs.h"
#include "lib/base/scoped.h"

_Static_assert(sizeof LAUNCH_JOB_DIR == sizeof SPEC_JOB_DIR, "cpinit and the agent mean the same place");

int launch_prepare_node(struct err *e)
{
	int rc = fs_mkdirs(LAUNCH_JOB_DIR, 0755, e);
	return rc < 0 ? rc : fs_mkdirs(LAUNCH_LOG_DIR, 0755, e);
}

static int copy(int from, const char *aside)
{
	struct stat st;
	scoped_fd int to = open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0755);
	if (to < 0 || fstat(from, &st) < 0)
		return -1;
	for (off_t at = 0; at < st.st_size;) {
		ssize_t n = sendfile(to, from, &at, (size_t)(st.st_size - at));
		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0)
			errno = EIO;
		if (n <= 0)
			return -1;
	}
	return fchmod(to, 0755);
}

int launch_put_cpinit(const char *cpinit, const char *job_dir, struct err *e)
{
	char path[FS_PATH_MAX], aside[FS_PATH_MAX];
	fs_path(path, "%s/" SPEC_CPINIT, job_dir);
	if (access(path, X_OK) == 0)
		return 0;
	if (link(cpinit, path) == 0) /* the agent keeps one copy beside the jobs */
		return 0;
	fs_path(aside, "%s.aside", path);
	scoped_fd int from = open(cpinit, O_RDONLY | O_CLOEXEC);
	if (from < 0)
		return err_sys(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_FAILED,
		               "cannot open cpinit, which every job needs, at %s", cpinit);
	if (copy(from, aside) == 0 && rename(aside, path) == 0)
		return 0;
	err_sys(e, ERR_FAILED, "cannot copy %s to %s", cpinit, path);
	unlink(aside);
	return ERR_FAILED;
}

/* One number and the line's end, as cpinit writes it. */
static int parse_number(const char *text, int max, int *value)
{
	char *end;
	errno = 0;
	long v = strtol(text, &end, 10);
	if (errno || end == text || strcmp(end, "\n") != 0 || v < 0 || v > max)
		return -1;
	*value = (int)v;
	return 0;
}

int launch_read_exit(const char *job_dir, struct launch_exit *x, struct err *e)
{
	char path[FS_PATH_MAX];
	scoped_free char *text = NULL;
	size_t len;
	fs_path(path, "%s/" SPEC_EXIT, job_dir);
	int rc = fs_read(path, 64, &text, &len, e);
	if (rc < 0)
		return rc;
	*x = (struct launch_exit){ .code = -1 };
	if (strncmp(text, "code ", 5) == 0 && parse_number(text + 5, 255, &x->code) == 0)
		return 0;
	if (strncmp(text, "signal ", 7) == 0 && parse_number(text + 7, 64, &x->signal) == 0)
		return 0;
	return err_set(e, ERR_FAILED, "%s holds no exit status", path);
}
