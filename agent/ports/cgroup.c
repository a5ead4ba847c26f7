/* Owns the node's directories in cgroup2 and what is written to and read from their files. */
#include "agent/ports/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/ports/cgroup_tree.h"
#include "lib/base/clock.h"
#include "lib/base/scoped.h"

/* What went wrong, as a code: a cgroup that has vanished says ENOENT before it is opened and ENODEV after. */
static int code_of(int error)
{
	return error == ENOENT || error == ENODEV                    ? ERR_NOT_FOUND
	       : error == EACCES || error == EPERM || error == EROFS ? ERR_DENIED
	                                                             : ERR_FAILED;
}

const char *cgroup_path(char *buf, const struct cgroups *cg, const char *job, const char *file)
{
	return job ? fs_path(buf, "%s/%s%s%s", cg->node, job, file ? "/" : "", file ? file : "")
	           : fs_path(buf, "%s%s%s", cg->node, file ? "/" : "", file ? file : "");
}

/* ---- finding and making ------------------------------------------------------------------------ */

/* The mount point of the first cgroup2 in a line of mountinfo, in place; or NULL. */
static char *cgroup2_of(char *line)
{
	char *save = NULL, *type = strstr(line, " - ");
	if (!type || strncmp(type, " - cgroup2 ", 11) != 0)
		return NULL;
	char *field = strtok_r(line, " ", &save);
	for (int i = 0; field && i < 4; i++)
		field = strtok_r(NULL, " ", &save);
	return field;
}

static int find_mount(char *buf, struct err *e)
{
	scoped_file FILE *f = fopen("/proc/self/mountinfo", "re");
	scoped_free char *line = NULL;
	size_t room = 0;
	if (!f)
		return err_sys(e, ERR_FAILED, "cannot read /proc/self/mountinfo to find the cgroups");
	while (getline(&line, &room, f) >= 0) {
		char *at = cgroup2_of(line);
		if (!at)
			continue;
		fs_path(buf, "%s", at);
		return 0;
	}
	return err_set(e, ERR_NOT_FOUND, "no cgroup2 is mounted; mount -t cgroup2 none /sys/fs/cgroup/unified");
}

static int make_dir(const char *path, struct err *e)
{
	if (mkdir(path, 0755) == 0 || errno == EEXIST)
		return 0;
	return err_sys(e, code_of(errno), "cannot make the cgroup %s", path);
}

int cgroups_open_at(struct cgroups *cg, const char *mount, const char *node, struct err *e)
{
	char parent[FS_PATH_MAX];
	cg->node[0] = '\0';
	if (!*node || node[0] == '.' || strchr(node, '/') || strlen(node) > 200)
		return err_set(e, ERR_USAGE, "\"%s\" cannot be a node's name: it names a cgroup directory", node);
	fs_path(parent, "%s/cpagent", mount);
	int rc = make_dir(parent, e);
	if (rc < 0)
		return rc;
	char path[FS_PATH_MAX];
	rc = make_dir(fs_path(path, "%s/cpagent/%s", mount, node), e);
	if (rc == 0 && access(fs_path(parent, "%s/cpagent/%s/cgroup.freeze", mount, node), W_OK) < 0)
		rc = err_sys(e, code_of(errno),
		             "cannot freeze jobs with %s; cgroup2 of Linux 5.2 or later is needed", path);
	if (rc == 0)
		fs_path(cg->node, "%s", path);
	return rc;
}

int cgroups_open(struct cgroups *cg, const char *node, struct err *e)
{
	char mount[FS_PATH_MAX];
	cg->node[0] = '\0';
	int rc = find_mount(mount, e);
	return rc < 0 ? rc : cgroups_open_at(cg, mount, node, e);
}

void cgroups_close(struct cgroups *cg)
{
	char *slash = strrchr(cg->node, '/');
	if (!slash)
		return;
	if (rmdir(cg->node) == 0) {
		*slash = '\0';
		rmdir(cg->node); /* another agent on this machine may still use it */
	}
	cg->node[0] = '\0';
}

int cgroup_make(const struct cgroups *cg, const char *job, struct err *e)
{
	char path[FS_PATH_MAX];
	return make_dir(cgroup_path(path, cg, job, NULL), e);
}

int cgroup_fd(const struct cgroups *cg, const char *job, int *fd, struct err *e)
{
	char path[FS_PATH_MAX];
	*fd = open(cgroup_path(path, cg, job, NULL), O_PATH | O_DIRECTORY | O_CLOEXEC);
	return *fd >= 0 ? 0 : err_sys(e, code_of(errno), "cannot open the cgroup %s", path);
}

/* ---- asking and waiting ------------------------------------------------------------------------ */

static int put(const struct cgroups *cg, const char *job, const char *file, const char *text, struct err *e)
{
	char path[FS_PATH_MAX];
	if (fs_put(cgroup_path(path, cg, job, file), text) == 0)
		return 0;
	return err_sys(e, code_of(errno), "cannot write %s to %s", text, path);
}

int cgroup_join(const struct cgroups *cg, const char *job, pid_t pid, struct err *e)
{
	char text[16];
	snprintf(text, sizeof text, "%d", pid);
	return put(cg, job, "cgroup.procs", text, e);
}

/* One field of cgroup.events: 0 or 1, or -1 with errno. */
static int read_event(int fd, const char *field)
{
	char text[256];
	ssize_t n = pread(fd, text, sizeof text - 1, 0);
	if (n < 0)
		return -1;
	text[n] = '\0';
	const char *at = strstr(text, field);
	errno = EPROTO;
	return at ? at[strlen(field)] == '1' : -1;
}

static int event_now(const struct cgroups *cg, const char *job, const char *field, struct err *e)
{
	char path[FS_PATH_MAX];
	scoped_fd int fd = open(cgroup_path(path, cg, job, "cgroup.events"), O_RDONLY | O_CLOEXEC);
	int value = fd < 0 ? -1 : read_event(fd, field);
	return value >= 0 ? value : err_sys(e, code_of(errno), "cannot read %s", path);
}

int cgroup_populated(const struct cgroups *cg, const char *job, struct err *e)
{
	return event_now(cg, job, "populated ", e);
}

int cgroup_frozen(const struct cgroups *cg, const char *job, struct err *e)
{
	return event_now(cg, job, "frozen ", e);
}

static int left_ms(int64_t deadline)
{
	int64_t left = (deadline - clock_boot_ns() + NS_PER_MS - 1) / NS_PER_MS;
	return left > 0 ? (int)left : 0;
}

static int wait_event(const struct cgroups *cg, const char *job, const char *field, int want, int timeout_ms,
                      struct err *e)
{
	char path[FS_PATH_MAX];
	int64_t deadline = clock_boot_ns() + timeout_ms * NS_PER_MS;
	scoped_fd int fd = open(cgroup_path(path, cg, job, "cgroup.events"), O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, code_of(errno), "cannot open %s", path);
	for (;;) {
		/* the read arms the next POLLPRI, so a change between the two is not missed */
		int value = read_event(fd, field), left = left_ms(deadline);
		if (value == want)
			return 0;
		if (value < 0)
			return err_sys(e, code_of(errno), "cannot read %s", path);
		if (left == 0)
			return err_set(e, ERR_TIMEOUT, "%s did not say \"%s%d\" within %d ms", path, field, want,
			               timeout_ms);
		struct pollfd p = { .fd = fd, .events = POLLPRI };
		poll(&p, 1, left);
	}
}

int cgroup_freeze(const struct cgroups *cg, const char *job, int timeout_ms, struct err *e)
{
	int rc = put(cg, job, "cgroup.freeze", "1", e);
	return rc < 0 || timeout_ms == 0 ? rc : wait_event(cg, job, "frozen ", 1, timeout_ms, e);
}

int cgroup_thaw(const struct cgroups *cg, const char *job, int timeout_ms, struct err *e)
{
	int rc = put(cg, job, "cgroup.freeze", "0", e);
	return rc < 0 || timeout_ms == 0 ? rc : wait_event(cg, job, "frozen ", 0, timeout_ms, e);
}

int cgroup_wait_empty(const struct cgroups *cg, const char *job, int timeout_ms, struct err *e)
{
	return wait_event(cg, job, "populated ", 0, timeout_ms, e);
}

int cgroup_cpu_ns(const struct cgroups *cg, const char *job, uint64_t *ns, struct err *e)
{
	char path[FS_PATH_MAX];
	scoped_free char *text = NULL;
	size_t len;
	int rc = fs_read(cgroup_path(path, cg, job, "cpu.stat"), 64 << 10, &text, &len, e);
	if (rc < 0)
		return rc;
	const char *at = strstr(text, "usage_usec ");
	if (!at)
		return err_set(e, ERR_FAILED, "%s has no usage_usec", path);
	*ns = strtoull(at + strlen("usage_usec "), NULL, 10) * 1000;
	return 0;
}
