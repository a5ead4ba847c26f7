/* Looks through a job's processes for what CRIU cannot dump or a restore cannot bring back. See precheck.h. */
#include "agent/ports/precheck.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "agent/ports/jobtree.h"
#include "agent/ports/precheck_sockets.h"
#include "lib/base/fs.h"
#include "lib/base/scoped.h"

#define MQUEUE_MAGIC 0x19800202
#define TTYS_MAX 64

struct check {
	struct precheck *found;
	const struct job_process *p; /* the one being looked at */
	struct job_sockets sockets;
	unsigned masters[TTYS_MAX]; /* terminals whose other end is in the job */
	size_t nmasters;
};

/* ---- findings --------------------------------------------------------------------------------- */

void precheck_add(struct precheck *found, bool refuse, const struct job_process *p, const char *fmt, ...)
{
	struct precheck_finding f = {.refuse = refuse};
	va_list ap;
	if (found->count == PRECHECK_FINDINGS_MAX) {
		found->more++;
		if (!refuse || found->refusing == found->count)
			return;
		found->count--; /* what refuses matters more than the last of what only ends */
	}
	int n = snprintf(f.text, sizeof f.text, "process %d (%s) ", p->inner, p->name);
	va_start(ap, fmt);
	vsnprintf(f.text + n, sizeof f.text - (size_t)n, fmt, ap);
	va_end(ap);
	size_t at = refuse ? found->refusing++ : found->count;
	memmove(&found->list[at + 1], &found->list[at], (found->count - at) * sizeof f);
	found->list[at] = f;
	found->count++;
}

#define refuse(c, ...) precheck_add((c)->found, true, (c)->p, __VA_ARGS__)

/* ---- descriptors ------------------------------------------------------------------------------ */

static bool is_plain_device(dev_t dev)
{
	static const unsigned minors[] = {3, 5, 7, 8, 9}; /* null zero full random urandom */
	for (size_t i = 0; i < sizeof minors / sizeof *minors; i++)
		if (major(dev) == 1 && minor(dev) == minors[i])
			return true;
	return false;
}

static bool is_terminal_slave(dev_t dev)
{
	return major(dev) >= 136 && major(dev) <= 143;
}

static bool is_terminal_master(dev_t dev)
{
	return major(dev) == 5 && minor(dev) == 2;
}

static bool has_master(const struct check *c, unsigned index)
{
	for (size_t i = 0; i < c->nmasters; i++)
		if (c->masters[i] == index)
			return true;
	return false;
}

static void check_device(struct check *c, int fd, const char *path, const struct stat *st)
{
	dev_t dev = st->st_rdev;
	if (is_plain_device(dev) || is_terminal_master(dev))
		return;
	if (is_terminal_slave(dev) && has_master(c, (major(dev) - 136) * 256 + minor(dev)))
		return;
	if (is_terminal_slave(dev) || major(dev) == 4 || major(dev) == 5)
		refuse(c, "has the terminal %s from outside the job (fd %d)", path, fd);
	else
		refuse(c, "has the device %s open (fd %d)", path, fd);
}

static void check_path(struct check *c, int fd, const char *link, const char *path)
{
	struct stat st;
	struct statfs fs;
	if (strstr(path, "[io_uring]"))
		refuse(c, "uses io_uring (fd %d)", fd);
	else if (strstr(path, "[userfaultfd]"))
		refuse(c, "uses userfaultfd (fd %d)", fd);
	if (stat(link, &st))
		return;
	if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))
		check_device(c, fd, path, &st);
	else if (S_ISDIR(st.st_mode) && !strncmp(path, "/proc/", 6) && isdigit((unsigned char)path[6]))
		refuse(c, "has the directory %s open (fd %d)", path, fd);
	else if (S_ISREG(st.st_mode) && !statfs(link, &fs) && fs.f_type == MQUEUE_MAGIC)
		refuse(c, "has the POSIX message queue %s open (fd %d)", path, fd);
	else if (S_ISSOCK(st.st_mode))
		job_sockets_add(&c->sockets, c->p, fd, (uint32_t)st.st_ino);
}

static void each_fd(struct check *c, void (*visit)(struct check *c, int fd, const char *link, const char *path))
{
	char dir[FS_PATH_MAX], link[FS_PATH_MAX + 32], path[FS_PATH_MAX];
	scoped_dir DIR *d = opendir(fs_path(dir, "/proc/%d/fd", c->p->pid));
	for (struct dirent *ent; d && (ent = readdir(d));) {
		int fd = (int)strtol(ent->d_name, NULL, 10);
		if (!isdigit((unsigned char)ent->d_name[0]))
			continue;
		snprintf(link, sizeof link, "%s/%d", dir, fd);
		ssize_t n = readlink(link, path, sizeof path - 1);
		if (n <= 0)
			continue;
		path[n] = '\0';
		visit(c, fd, link, path);
	}
}

/* The number of the terminal that a master leads to stands in its fdinfo. */
static void note_master(struct check *c, int fd, const char *link, const char *path)
{
	char name[64], line[128];
	unsigned index;
	struct stat st;
	(void)path;
	if (stat(link, &st) || !S_ISCHR(st.st_mode) || !is_terminal_master(st.st_rdev))
		return;
	snprintf(name, sizeof name, "fdinfo/%d", fd);
	scoped_file FILE *f = jobtree_open(c->p->pid, name);
	while (f && fgets(line, sizeof line, f))
		if (sscanf(line, "tty-index: %u", &index) == 1 && c->nmasters < TTYS_MAX)
			c->masters[c->nmasters++] = index;
}

/* ---- processes -------------------------------------------------------------------------------- */

static void check_traced(struct check *c)
{
	char line[256];
	int tracer = 0;
	scoped_file FILE *f = jobtree_open(c->p->pid, "status");
	while (f && fgets(line, sizeof line, f))
		if (sscanf(line, "TracerPid: %d", &tracer) == 1 && tracer)
			refuse(c, "is being traced by a debugger or the like");
}

static void check_namespaces(struct check *c, pid_t root)
{
	static const char *const nested[] = {"pid", "user", "cgroup", "time", "net"};
	for (size_t i = 0; i < sizeof nested / sizeof *nested; i++) {
		char path[64];
		struct stat own, job;
		snprintf(path, sizeof path, "/proc/%d/ns/%s", c->p->pid, nested[i]);
		if (stat(path, &own))
			continue;
		snprintf(path, sizeof path, "/proc/%d/ns/%s", root, nested[i]);
		if (!stat(path, &job) && own.st_ino != job.st_ino)
			refuse(c, "has a %s namespace of its own", nested[i]);
	}
}

/* Memory of a device, such as a GPU's. */
static void check_mappings(struct check *c)
{
	char line[FS_PATH_MAX + 128];
	struct stat st;
	scoped_file FILE *f = jobtree_open(c->p->pid, "maps");
	while (f && fgets(line, sizeof line, f)) {
		char *path = strstr(line, " /dev/");
		if (!path || strstr(path, "(deleted)"))
			continue;
		path++;
		path[strcspn(path, "\n")] = '\0';
		if (!stat(path, &st) && (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) && !is_plain_device(st.st_rdev)) {
			refuse(c, "has the device %s mapped", path);
			return;
		}
	}
}

int precheck_job(pid_t pid, struct precheck *found, struct err *e)
{
	struct jobtree t;
	struct check c = {.found = found};
	*found = (struct precheck){0};
	int rc = jobtree_read(pid, &t, e);
	if (rc)
		return rc;
	for (size_t i = 0; i < t.count; i++) {
		c.p = &t.list[i];
		each_fd(&c, note_master);
	}
	for (size_t i = 0; i < t.count; i++) {
		c.p = &t.list[i];
		each_fd(&c, check_path);
		check_traced(&c);
		check_namespaces(&c, pid);
		check_mappings(&c);
	}
	rc = job_sockets_check(&c.sockets, found, e);
	job_sockets_free(&c.sockets);
	jobtree_free(&t);
	return rc;
}

int precheck_verdict(const struct precheck *found, struct err *e)
{
	if (!found->refusing)
		return ERR_OK;
	size_t others = found->refusing - 1;
	if (!others)
		return err_set(e, ERR_FAILED, "no snapshot can be taken: %s", found->list[0].text);
	return err_set(e, ERR_FAILED, "no snapshot can be taken: %s; and %zu more such thing%s", found->list[0].text,
		       others, others > 1 ? "s" : "");
}
