/* Owns what concerns a whole tree of cgroups: killing, removing, listing its processes. A job run by root may make
 * cgroups of its own below its own. */
#include "agent/ports/cgroup_tree.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/scoped.h"

#define DEPTH_MAX 32 /* the kernel's own default limit is deeper; no job's tree is */

/* Calls fn for dir and all below it, the deepest first. Stops at the first negative result and returns it. */
static int each_below(const char *dir, int depth, int (*fn)(void *ctx, const char *dir), void *ctx)
{
	errno = ELOOP;
	scoped_dir DIR *d = depth < DEPTH_MAX ? opendir(dir) : NULL;
	if (!d)
		return errno == ENOENT ? 0 : -1;
	for (struct dirent *entry; (entry = readdir(d));) {
		char path[FS_PATH_MAX];
		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		int rc = each_below(fs_path(path, "%s/%s", dir, entry->d_name), depth + 1, fn, ctx);
		if (rc < 0)
			return rc;
	}
	return fn(ctx, dir);
}

/* ---- killing ----------------------------------------------------------------------------------- */

struct pid_list {
	pid_t *pids;
	size_t n, room;
};

static int add_pid(struct pid_list *l, pid_t pid)
{
	if (l->n == l->room) {
		size_t room = l->room ? l->room * 2 : 64;
		pid_t *more = realloc(l->pids, room * sizeof *more);
		if (!more)
			return -1;
		l->pids = more;
		l->room = room;
	}
	l->pids[l->n++] = pid;
	return 0;
}

static int collect(void *ctx, const char *dir)
{
	char path[FS_PATH_MAX];
	scoped_file FILE *f = fopen(fs_path(path, "%s/cgroup.procs", dir), "re");
	scoped_free char *line = NULL;
	size_t room = 0;
	if (!f)
		return errno == ENOENT ? 0 : -1;
	while (getline(&line, &room, f) > 0) {
		pid_t pid = (pid_t)strtol(line, NULL, 10);
		if (pid > 0 && add_pid(ctx, pid) < 0) /* 0: of another pid namespace */
			return -1;
	}
	return 0;
}

int cgroup_pids(const struct cgroups *cg, const char *job, pid_t **pids, size_t *n, struct err *e)
{
	char path[FS_PATH_MAX];
	struct pid_list list = { 0 };
	cgroup_path(path, cg, job, NULL);
	if (access(path, F_OK) < 0 || each_below(path, 0, collect, &list) < 0) {
		free(list.pids);
		return err_sys(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_FAILED, "cannot list the processes of %s",
		               path);
	}
	*pids = list.pids;
	*n = list.n;
	return 0;
}

/* Linux before 5.14 has no cgroup.kill: in a frozen cgroup nothing can fork, so one pass reaches all. */
static int kill_each(const struct cgroups *cg, const char *job, struct err *e)
{
	scoped_free pid_t *pids = NULL;
	size_t n = 0;
	int rc = cgroup_freeze(cg, job, 1000, e);
	if (rc == 0 || rc == ERR_TIMEOUT)
		rc = cgroup_pids(cg, job, &pids, &n, e);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < n; i++)
		kill(pids[i], SIGKILL);
	return cgroup_thaw(cg, job, 0, e);
}

int cgroup_kill(const struct cgroups *cg, const char *job, struct err *e)
{
	char path[FS_PATH_MAX], dir[FS_PATH_MAX];
	if (fs_put(cgroup_path(path, cg, job, "cgroup.kill"), "1") == 0)
		return 0;
	if (errno == ENOENT && access(cgroup_path(dir, cg, job, NULL), F_OK) == 0)
		return kill_each(cg, job, e);
	return err_sys(e, errno == ENOENT || errno == ENODEV ? ERR_NOT_FOUND : ERR_FAILED, "cannot write 1 to %s",
	               path);
}

/* ---- removing ---------------------------------------------------------------------------------- */

static int remove_dir(void *ctx, const char *dir)
{
	(void)ctx;
	return rmdir(dir) == 0 || errno == ENOENT ? 0 : -1;
}

int cgroup_remove(const struct cgroups *cg, const char *job, int timeout_ms, struct err *e)
{
	char path[FS_PATH_MAX];
	if (access(cgroup_path(path, cg, job, NULL), F_OK) < 0)
		return 0;
	int rc = cgroup_wait_empty(cg, job, timeout_ms, e);
	if (rc < 0)
		return rc == ERR_NOT_FOUND ? 0 : rc;
	if (each_below(path, 0, remove_dir, NULL) == 0)
		return 0;
	return err_sys(e, errno == EBUSY ? ERR_TIMEOUT : ERR_FAILED, "cannot remove the cgroup %s", path);
}
