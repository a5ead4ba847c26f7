/* Finds the files of a job through /proc, while it is frozen. See jobfiles.h.
 * Paths are read from /proc/PID/fd as the job's mount namespace has them; files are opened through the same links,
 * so that what is captured is the file that the job has open, whatever its name leads to by now. */
#include "agent/ports/jobfiles_scan.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "lib/base/fs.h"
#include "lib/base/scoped.h"

#define SMALL (UINT64_C(1) << 20) /* so small a file always travels */
#define FILES_MAX 65536

struct open_file { /* one way in which a process holds a file */
	const char *link; /* in /proc, leads to the file */
	const char *path;
	struct stat st;
	int flags;
	uint64_t pos;
	bool mapped;
};

struct scan {
	struct jobfiles *files;
	enum snapshot_files mode;
	struct jobfile_rights rights; /* of the process being looked at */
	struct stat criu_log;	      /* CRIU lends it to the code that it runs in the job */
	struct err *e;
};

static bool starts_with(const char *path, const char *dir)
{
	size_t n = strlen(dir);
	return !strncmp(path, dir, n) && path[n] == '/';
}

/* Not files in a sense that could be put back. */
static bool is_kernel_file(const char *link)
{
	struct statfs fs;
	if (statfs(link, &fs))
		return true;
	switch ((unsigned long)fs.f_type) {
	case PROC_SUPER_MAGIC:
	case SYSFS_MAGIC:
	case CGROUP_SUPER_MAGIC:
	case CGROUP2_SUPER_MAGIC:
	case DEBUGFS_MAGIC:
	case TRACEFS_MAGIC:
	case SECURITYFS_MAGIC:
	case BPF_FS_MAGIC:
		return true;
	default:
		return false;
	}
}

/* Files that come with the system, not with the job. */
static bool is_system_file(const char *path)
{
	static const char *const dirs[] = {"/usr", "/lib", "/lib64", "/bin", "/sbin", "/etc", "/dev"};
	for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++)
		if (starts_with(path, dirs[i]))
			return !starts_with(path, "/dev/shm");
	return false;
}

static enum jobfile_kind kind_of(const struct open_file *o)
{
	int access = o->flags & O_ACCMODE;
	if (starts_with(o->path, SNAPSHOT_LOG_MOUNT))
		return JOBFILE_LOG;
	if (o->mapped)
		return JOBFILE_IN_PLACE;
	if (access == O_RDONLY)
		return JOBFILE_INPUT;
	if ((o->flags & O_APPEND) || (access == O_WRONLY && o->pos >= (uint64_t)o->st.st_size))
		return JOBFILE_APPEND;
	return JOBFILE_IN_PLACE;
}

/* Is the content part of this snapshot? */
static bool wants_content(const struct scan *s, const struct jobfile *f)
{
	if (f->kind == JOBFILE_LOG || f->kind == JOBFILE_ROUTED)
		return true;
	switch (s->mode) {
	case SNAPSHOT_FILES_SHARED:
		return false;
	case SNAPSHOT_FILES_CARRY:
		return true;
	case SNAPSHOT_FILES_TRACK:
		break;
	}
	return f->kind == JOBFILE_IN_PLACE || (f->kind == JOBFILE_APPEND && f->size <= SMALL);
}

struct jobfile *jobfiles_find(struct jobfiles *files, const struct stat *st)
{
	for (size_t i = 0; i < files->count; i++)
		if (files->list[i].ino == st->st_ino && files->list[i].dev == st->st_dev)
			return &files->list[i];
	return NULL;
}

struct jobfile *jobfiles_append(struct jobfiles *files)
{
	if (files->count >= FILES_MAX)
		return NULL;
	if ((files->count & (files->count - 1)) == 0) { /* grow at powers of two */
		struct jobfile *more = realloc(files->list, (files->count ? files->count * 2 : 1) * sizeof *more);
		if (!more)
			return NULL;
		files->list = more;
	}
	struct jobfile *f = &files->list[files->count];
	*f = (struct jobfile){.source = -1};
	return f;
}

/* Another process or descriptor has the same file: the more demanding kind counts. */
static void merge(struct jobfile *f, enum jobfile_kind kind, bool cut_always)
{
	f->cut_always |= cut_always;
	if (f->kind == JOBFILE_INPUT || (f->kind == JOBFILE_APPEND && kind == JOBFILE_IN_PLACE))
		f->kind = kind;
}

static int note(struct scan *s, const struct open_file *o)
{
	enum jobfile_kind kind = kind_of(o);
	bool cut_always = kind != JOBFILE_INPUT && !((o->flags & O_APPEND) && (o->flags & O_ACCMODE) == O_WRONLY);
	struct jobfile *f = jobfiles_find(s->files, &o->st);
	if (f) {
		merge(f, kind, cut_always);
		return 0;
	}
	f = jobfiles_append(s->files);
	if (!f || !(f->path = strdup(o->path)))
		return err_set(s->e, ERR_FAILED, "the job has too many open files to record");
	f->kind = kind;
	f->size = (uint64_t)o->st.st_size;
	f->mode = o->st.st_mode & 07777;
	f->owner = o->st.st_uid;
	f->owner_group = o->st.st_gid;
	f->rights = s->rights;
	f->cut_always = cut_always;
	f->dev = o->st.st_dev;
	f->ino = o->st.st_ino;
	s->files->count++;
	if (wants_content(s, f) || (f->kind == JOBFILE_APPEND && s->mode == SNAPSHOT_FILES_TRACK)) {
		f->source = open(o->link, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
		if (f->source < 0)
			return err_sys(s->e, ERR_FAILED, "cannot read %s, which the job has open", f->path);
	}
	return 0;
}

/* Is this open file one that belongs to the snapshot, to be put back where it lies? */
static bool is_ours(const struct scan *s, const struct open_file *o)
{
	if (is_kernel_file(o->link))
		return false;
	if (o->st.st_ino == s->criu_log.st_ino && o->st.st_dev == s->criu_log.st_dev)
		return false;
	if (o->mapped || (o->flags & O_ACCMODE) != O_RDONLY)
		return true;
	return s->mode == SNAPSHOT_FILES_CARRY && !is_system_file(o->path);
}

static int look_at(struct scan *s, struct open_file *o)
{
	bool written = o->mapped || (o->flags & O_ACCMODE) != O_RDONLY;
	if (o->path[0] != '/' || stat(o->link, &o->st) || !S_ISREG(o->st.st_mode) || o->st.st_nlink == 0)
		return 0;
	if (starts_with(o->path, SNAPSHOT_JOB_MOUNT))
		return jobfiles_note_routed(s->files, o->path, &o->st, written, s->e);
	return is_ours(s, o) ? note(s, o) : 0;
}

static void read_fdinfo(pid_t pid, const char *fd, struct open_file *o)
{
	char name[64], line[256];
	unsigned long long pos;
	unsigned flags;
	snprintf(name, sizeof name, "fdinfo/%.20s", fd);
	scoped_file FILE *f = jobtree_open(pid, name);
	while (f && fgets(line, sizeof line, f)) {
		if (sscanf(line, "pos: %llu", &pos) == 1)
			o->pos = pos;
		if (sscanf(line, "flags: %o", &flags) == 1)
			o->flags = (int)flags;
	}
}

static int scan_fds(struct scan *s, pid_t pid)
{
	char dir[FS_PATH_MAX], link[FS_PATH_MAX + 300], path[FS_PATH_MAX];
	scoped_dir DIR *d = opendir(fs_path(dir, "/proc/%d/fd", pid));
	for (struct dirent *ent; d && (ent = readdir(d));) {
		if (!isdigit((unsigned char)ent->d_name[0]))
			continue;
		snprintf(link, sizeof link, "%s/%s", dir, ent->d_name);
		ssize_t n = readlink(link, path, sizeof path - 1);
		if (n <= 0)
			continue;
		path[n] = '\0';
		struct open_file o = {.link = link, .path = path};
		read_fdinfo(pid, ent->d_name, &o);
		if (look_at(s, &o))
			return -1;
	}
	return 0;
}

/* Shared writable mappings: "start-end rw-s offset dev inode  path". */
static int scan_maps(struct scan *s, pid_t pid)
{
	char line[FS_PATH_MAX + 128], link[FS_PATH_MAX];
	unsigned long start, end;
	char perms[8];
	int at;
	scoped_file FILE *f = jobtree_open(pid, "maps");
	while (f && fgets(line, sizeof line, f)) {
		at = 0;
		if (sscanf(line, "%lx-%lx %7s %*s %*s %*s %n", &start, &end, perms, &at) < 3 || !at)
			continue;
		if (perms[1] != 'w' || perms[3] != 's' || line[at] != '/')
			continue;
		line[at + (int)strcspn(line + at, "\n")] = '\0';
		struct open_file o = {.link = fs_path(link, "/proc/%d/map_files/%lx-%lx", pid, start, end),
				      .path = line + at, .mapped = true, .flags = O_RDWR};
		if (look_at(s, &o))
			return -1;
	}
	return 0;
}

static void read_rights(pid_t pid, struct jobfile_rights *r)
{
	char line[2048];
	unsigned id;
	*r = (struct jobfile_rights){.uid = (uid_t)-1, .gid = (gid_t)-1};
	scoped_file FILE *f = jobtree_open(pid, "status");
	while (f && fgets(line, sizeof line, f)) {
		/* the real ids: a set-uid program in a user's job must not lend root's rights to what that user
		 * does with the names of its files */
		if (sscanf(line, "Uid: %u", &id) == 1)
			r->uid = id;
		if (sscanf(line, "Gid: %u", &id) == 1)
			r->gid = id;
		if (strncmp(line, "Groups:", 7))
			continue;
		char *at = line + 7, *end;
		for (; r->ngroups < JOBFILE_GROUPS_MAX; at = end) {
			unsigned long g = strtoul(at, &end, 10);
			if (end == at)
				break;
			r->groups[r->ngroups++] = (gid_t)g;
		}
	}
}

int jobfiles_scan(struct jobfiles *f, const struct jobtree *t, enum snapshot_files mode, int img_dir, struct err *e)
{
	struct scan s = {.files = f, .mode = mode, .e = e};
	fstatat(img_dir, "dump.log", &s.criu_log, AT_SYMLINK_NOFOLLOW);
	for (size_t i = 0; i < t->count; i++) {
		pid_t pid = t->list[i].pid;
		read_rights(pid, &s.rights);
		if (scan_fds(&s, pid) || scan_maps(&s, pid))
			return ERR_FAILED;
	}
	/* kinds are settled only now that every holder has been seen */
	for (size_t i = 0; i < f->count; i++) {
		struct jobfile *file = &f->list[i];
		if (wants_content(&s, file) || file->source < 0)
			continue;
		close(file->source);
		file->source = -1;
	}
	return ERR_OK;
}
