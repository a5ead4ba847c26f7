/* Puts a job's files back before it is restored: cut to their size, or given their content. See jobfiles.h.
 * The agent is root and the files are a user's: each is opened with that user's rights and never through a link
 * at its end; log files, which lie in the agent's own directory, must be plain files with one name of that user, and
 * those in the job's own directory are made in an empty one. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/ports/jobfiles.h"
#include "lib/base/fs.h"
#include "lib/base/scoped.h"

struct place { /* where a file lives here */
	const struct jobfile *f;
	int dir;          /* of the agent's own, which is_ours(); else AT_FDCWD */
	const char *name; /* relative to dir */
	enum snapshot_files mode;
	int img_dir;
	const char *suffix;
};

/* In a directory of ours, where no process of the job can be at this moment. */
static bool is_ours(const struct jobfile *f)
{
	return f->kind == JOBFILE_LOG || f->kind == JOBFILE_ROUTED;
}

/* ---- opening with the right rights ------------------------------------------------------------ */

static int open_as_job(const struct place *p, const char *name, int flags)
{
	bool ours = is_ours(p->f);
	if (!ours && jobfiles_become(&p->f->rights))
		return -1;
	int fd = openat(p->dir, name, flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, p->f->mode & 0777);
	if (!ours)
		jobfiles_return();
	else if (fd >= 0 && (flags & O_CREAT) && fchown(fd, p->f->owner, p->f->owner_group)) {
		close(fd);
		return -1;
	}
	return fd;
}

static int open_existing(const struct place *p, struct stat *st)
{
	int fd = open_as_job(p, p->name, O_RDWR);
	if (fd < 0 || fstat(fd, st))
		return fd;
	bool fine = S_ISREG(st->st_mode);
	if (p->f->kind == JOBFILE_LOG)
		fine = fine && st->st_nlink == 1 && st->st_uid == p->f->owner;
	if (fine)
		return fd;
	close(fd);
	errno = ELOOP;
	return -1;
}

/* Make a file anew, with the directories above it. */
static int open_new(const struct place *p)
{
	int fd = open_as_job(p, p->name, O_RDWR | O_CREAT | O_EXCL);
	if (fd >= 0 || errno != ENOENT || is_ours(p->f))
		return fd;
	char dir[FS_PATH_MAX];
	fs_path(dir, "%s", p->name);
	*strrchr(dir, '/') = '\0';
	if (jobfiles_become(&p->f->rights))
		return -1;
	int rc = fs_mkdirs(dir, 0755, NULL);
	jobfiles_return();
	return rc ? -1 : open_as_job(p, p->name, O_RDWR | O_CREAT | O_EXCL);
}

/* ---- content ---------------------------------------------------------------------------------- */

/* Write the captured content into fd. fresh: fd is empty, so holes stay holes. */
static int put_content(const struct place *p, int fd, bool fresh, struct err *e)
{
	char name[32];
	const struct jobfile *f = p->f;
	snprintf(name, sizeof name, "files/%u", f->content);
	scoped_fd int from = openat(p->img_dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (from < 0)
		return err_sys(e, ERR_FAILED, "the snapshot lacks the content of %s (%s)", f->path, name);
	if (jobfiles_copy(from, 0, fd, f->skipped, f->size - f->skipped, fresh) || ftruncate(fd, (off_t)f->size))
		return err_sys(e, ERR_FAILED, "cannot put %s back", f->path);
	return ERR_OK;
}

/* Keep what was written after the snapshot beside the file, then cut it off. */
static int cut(const struct place *p, int fd, uint64_t size, struct err *e)
{
	char tail[FS_PATH_MAX];
	const struct jobfile *f = p->f;
	fs_path(tail, "%s.cpagent-tail.%s", p->name, p->suffix);
	int to = open_as_job(p, tail, O_WRONLY | O_CREAT | O_EXCL);
	if (to < 0 && errno == EEXIST) {
		/* from an attempt to restore that failed later on; what is there now is all that is left to cut */
		fs_path(tail, "%s.cpagent-tail.%s.%lld", p->name, p->suffix, (long long)size);
		to = open_as_job(p, tail, O_WRONLY | O_CREAT | O_EXCL);
	}
	if (to < 0)
		return err_sys(e, ERR_FAILED, "cannot keep the tail of %s as %s", f->path, tail);
	int rc = jobfiles_copy(fd, f->size, to, 0, size - f->size, true) || ftruncate(to, (off_t)(size - f->size));
	if (rc)
		err_sys(e, ERR_FAILED, "cannot keep the tail of %s as %s", f->path, tail);
	close(to);
	if (rc)
		return ERR_FAILED;
	if (ftruncate(fd, (off_t)f->size))
		return err_sys(e, ERR_FAILED, "cannot cut %s back to %llu bytes", f->path,
			       (unsigned long long)f->size);
	return ERR_OK;
}

/* ---- one file --------------------------------------------------------------------------------- */

static int make(const struct place *p, struct err *e)
{
	const struct jobfile *f = p->f;
	if (!f->content)
		return err_set(e, ERR_FAILED, "%s, which the job had open, does not exist here; put it there, or run "
			       "the job with --files carry", f->path);
	scoped_fd int fd = open_new(p);
	if (fd < 0)
		return err_sys(e, ERR_FAILED, "cannot make %s, which the job had open", f->path);
	fchmod(fd, f->mode & 0777);
	return put_content(p, fd, true, e);
}

static int adjust(const struct place *p, int fd, uint64_t size, struct err *e)
{
	const struct jobfile *f = p->f;
	switch (f->kind) {
	case JOBFILE_INPUT:
		return ERR_OK;
	case JOBFILE_IN_PLACE:
		if (f->content)
			return put_content(p, fd, false, e);
		break; /* shared: the user vouches for the content, CRIU still insists on the size */
	case JOBFILE_LOG:
	case JOBFILE_APPEND:
	case JOBFILE_ROUTED: /* never there before */
		break;
	}
	if (size > f->size)
		return cut(p, fd, size, e);
	if (size < f->size && f->content)
		return put_content(p, fd, false, e);
	if (size < f->size)
		return err_set(e, ERR_FAILED, "%s is shorter (%llu bytes) than when the snapshot was taken (%llu); "
			       "restore an older generation, or run the job with --files carry", f->path,
			       (unsigned long long)size, (unsigned long long)f->size);
	return ERR_OK;
}

static int restore_file(const struct place *p, struct err *e)
{
	struct stat st;
	const struct jobfile *f = p->f;
	if (p->mode == SNAPSHOT_FILES_SHARED && !is_ours(f) && !f->cut_always)
		return ERR_OK;
	if (f->kind == JOBFILE_ROUTED)
		return make(p, e);
	scoped_fd int fd = f->kind == JOBFILE_INPUT ? open_as_job(p, p->name, O_RDONLY) : open_existing(p, &st);
	if (fd < 0 && errno == ENOENT)
		return make(p, e);
	if (fd < 0 && errno == ELOOP)
		return err_set(e, ERR_FAILED, "%s is no longer the file that the job had open but a link or something "
			       "else; it is not touched", f->path);
	if (fd < 0)
		return err_sys(e, ERR_FAILED, "cannot open %s, which the job had open, with the job's rights", f->path);
	return adjust(p, fd, f->kind == JOBFILE_INPUT ? 0 : (uint64_t)st.st_size, e);
}

/* The directories of ours that files lie in; -1 where there is none. */
struct ours {
	int logs, routed;
};

static int restore_one(struct place *p, const struct ours *ours, struct err *e)
{
	const struct jobfile *f = p->f;
	p->dir = AT_FDCWD;
	p->name = f->path;
	if (!is_ours(f))
		return restore_file(p, e);
	p->dir = f->kind == JOBFILE_LOG ? ours->logs : ours->routed;
	p->name += f->kind == JOBFILE_LOG ? strlen(SNAPSHOT_LOG_MOUNT "/")
					  : strlen(SNAPSHOT_JOB_MOUNT "/" SNAPSHOT_ROUTED "/");
	if (strchr(p->name, '/') || !*p->name)
		return err_set(e, ERR_FAILED, "%s lies below a directory of the agent's in which only plain files are "
			       "put back", f->path);
	return restore_file(p, e);
}

int jobfiles_restore(const struct jobfiles *f, enum snapshot_files mode, int img_dir, const char *log_dir,
		     const char *job_dir, const char *tail_suffix, struct err *e)
{
	char path[FS_PATH_MAX];
	scoped_fd int logs = open(log_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	scoped_fd int routed = open(fs_path(path, "%s/" SNAPSHOT_ROUTED, job_dir),
				    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	const struct ours ours = {logs, routed};
	if (logs < 0)
		return err_sys(e, ERR_FAILED, "cannot open the job's log directory %s", log_dir);
	for (size_t i = 0; i < f->count; i++) {
		struct place p = {.f = &f->list[i], .mode = mode, .img_dir = img_dir, .suffix = tail_suffix};
		if (restore_one(&p, &ours, e))
			return ERR_FAILED;
	}
	return ERR_OK;
}
