/* The job's own directory for checkpoints that it writes as files: all of it is part of a snapshot, whether the files
 * are open or not, since a program closes such a file before it says that it is done. See jobfiles.h, routed.h. */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/ports/jobfiles_scan.h"
#include "lib/base/fs.h"
#include "lib/base/scoped.h"

#define BELOW SNAPSHOT_JOB_MOUNT "/" SNAPSHOT_ROUTED "/"
#define ROUTED_MAX 1024 /* each is a descriptor until it is captured */

/* A plain file of the directory's user; another user's may have been linked there to be read by root. */
static int open_plain(int dir, const char *name, uid_t owner, struct stat *st)
{
	int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd >= 0 && !fstat(fd, st) && S_ISREG(st->st_mode) && st->st_uid == owner)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

/* fd is the list's when it returns 0. */
static int add(struct jobfiles *f, const char *name, int fd, const struct stat *st, struct err *e)
{
	char path[FS_PATH_MAX];
	struct jobfile *file = f->count < ROUTED_MAX ? jobfiles_append(f) : NULL;
	char *copy = file ? strdup(fs_path(path, BELOW "%s", name)) : NULL;
	if (!copy)
		return err_set(e, ERR_FAILED, "the job has too many files in " BELOW " to record");
	file->path = copy;
	file->kind = JOBFILE_ROUTED;
	file->size = (uint64_t)st->st_size;
	file->mode = st->st_mode & 07777;
	file->owner = st->st_uid;
	file->owner_group = st->st_gid;
	file->dev = st->st_dev;
	file->ino = st->st_ino;
	file->changed = st->st_mtim;
	file->source = fd;
	f->count++;
	return ERR_OK;
}

int jobfiles_scan_routed(struct jobfiles *f, const char *job_dir, struct err *e)
{
	char path[FS_PATH_MAX];
	struct stat dir, st;
	scoped_dir DIR *d = opendir(fs_path(path, "%s/" SNAPSHOT_ROUTED, job_dir));
	if (!d || fstat(dirfd(d), &dir))
		return ERR_OK; /* none is routed */
	for (struct dirent *ent; (ent = readdir(d));) {
		int fd = open_plain(dirfd(d), ent->d_name, dir.st_uid, &st);
		if (fd < 0)
			continue;
		if (add(f, ent->d_name, fd, &st, e)) {
			close(fd);
			return ERR_FAILED;
		}
	}
	return ERR_OK;
}

int jobfiles_note_routed(struct jobfiles *f, const char *path, const struct stat *st, bool written, struct err *e)
{
	if (strncmp(path, BELOW, strlen(BELOW)))
		return ERR_OK; /* the arena, cpinit */
	struct jobfile *file = jobfiles_find(f, st);
	if (!file)
		return err_set(e, ERR_FAILED, "the job has %s open, and only plain files of its user directly in " BELOW
			       " are part of a snapshot", path);
	file->written |= written;
	return ERR_OK;
}
