/* Captures the content of a job's files into img_dir/files. See jobfiles.h. */
#include "agent/ports/jobfiles.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/ports/jobfiles_scan.h"
#include "lib/base/fs.h"
#include "lib/base/scoped.h"

#define COPY_CHUNK (UINT64_C(1) << 18)
#define CLONE_FROM (UINT64_C(1) << 20)   /* below, a copy is as fast as finding out whether a clone works */
#define LOG_TRAVELS (UINT64_C(64) << 20) /* of a longer output only so much of its end goes with the snapshot */

/* ---- rights ----------------------------------------------------------------------------------- */

/* The raw system calls act on the calling thread alone; glibc's would change every thread of the agent. Leaving
 * uid 0 for files also drops the capabilities that override their permissions. */
int jobfiles_become(const struct jobfile_rights *r)
{
	if (geteuid() != 0)
		return 0;
	if (syscall(SYS_setgroups, r->ngroups, r->groups) && errno != EPERM)
		return -1;
	syscall(SYS_setfsgid, r->gid);
	syscall(SYS_setfsuid, r->uid);
	if ((uid_t)syscall(SYS_setfsuid, -1) == r->uid && (gid_t)syscall(SYS_setfsgid, -1) == r->gid)
		return 0;
	jobfiles_return();
	errno = EPERM;
	return -1;
}

void jobfiles_return(void)
{
	if (geteuid() != 0)
		return;
	int saved = errno;
	syscall(SYS_setfsuid, 0);
	syscall(SYS_setfsgid, getegid());
	syscall(SYS_setgroups, 0, NULL);
	errno = saved;
}

/* ---- copying ---------------------------------------------------------------------------------- */

static int copy_run(int from, uint64_t from_offset, int to, uint64_t to_offset, uint64_t len)
{
	scoped_free uint8_t *buf = malloc(COPY_CHUNK);
	if (!buf)
		return -1;
	while (len) {
		ssize_t n = pread(from, buf, len < COPY_CHUNK ? len : COPY_CHUNK, (off_t)from_offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0)
			errno = EIO;
		if (n <= 0)
			return -1;
		for (ssize_t done = 0; done < n;) {
			ssize_t w = pwrite(to, buf + done, (size_t)(n - done), (off_t)to_offset + done);
			if (w < 0 && errno != EINTR)
				return -1;
			done += w > 0 ? w : 0;
		}
		from_offset += (uint64_t)n;
		to_offset += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

int jobfiles_copy(int from, uint64_t from_offset, int to, uint64_t to_offset, uint64_t len, bool sparse)
{
	if (!sparse)
		return copy_run(from, from_offset, to, to_offset, len);
	uint64_t at = from_offset, end = from_offset + len;
	while (at < end) {
		off_t data = lseek(from, (off_t)at, SEEK_DATA);
		if (data < 0 && errno == ENXIO)
			return 0; /* nothing but a hole up to the end */
		off_t hole = data < 0 ? -1 : lseek(from, data, SEEK_HOLE);
		if (data < 0 || hole < 0)
			return copy_run(from, at, to, to_offset + (at - from_offset), end - at);
		if ((uint64_t)data >= end)
			return 0;
		uint64_t stop = (uint64_t)hole < end ? (uint64_t)hole : end;
		uint64_t start = (uint64_t)data;
		if (copy_run(from, start, to, to_offset + (start - from_offset), stop - start))
			return -1;
		at = stop;
	}
	return 0;
}

/* ---- capturing -------------------------------------------------------------------------------- */

static void drop_source(struct jobfile *f)
{
	if (f->source >= 0)
		close(f->source);
	f->source = -1;
}

/* Was a file that nobody had open for writing changed since? */
static bool was_changed(const struct jobfile *f, const struct stat *now)
{
	return f->kind == JOBFILE_ROUTED && !f->written &&
	       (now->st_mtim.tv_sec != f->changed.tv_sec || now->st_mtim.tv_nsec != f->changed.tv_nsec);
}

/* Copy what is wanted of f's source into files/N. */
static int capture(struct jobfiles *all, struct jobfile *f, int img_dir, struct err *e)
{
	char name[32];
	struct stat st;
	uint32_t n = (uint32_t)++all->contents;
	snprintf(name, sizeof name, "files/%u", n);
	scoped_fd int to = openat(img_dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (to < 0)
		return err_sys(e, ERR_FAILED, "cannot make %s in the snapshot", name);
	if (f->kind == JOBFILE_LOG && f->size > LOG_TRAVELS)
		f->skipped = f->size - LOG_TRAVELS;
	/* a file that shrank meanwhile was cut by somebody who did not want the rest */
	if (!fstat(f->source, &st) && (uint64_t)st.st_size < f->size)
		return err_set(e, ERR_FAILED, "%s got shorter while it was captured; it is not safe to go on from "
			       "this snapshot", f->path);
	uint64_t len = f->size - f->skipped;
	if (jobfiles_copy(f->source, f->skipped, to, 0, len, true) || ftruncate(to, (off_t)len))
		return err_sys(e, ERR_FAILED, "cannot capture %s (%llu bytes)", f->path, (unsigned long long)len);
	if (!fstat(f->source, &st) && was_changed(f, &st))
		return err_set(e, ERR_FAILED, "%s was opened again and changed while it was captured", f->path);
	f->content = n;
	drop_source(f);
	return ERR_OK;
}

/* Swap the source for an unnamed clone of itself, made in one step; the content can then be read after the thaw.
 * 0, or -1 where the file system has no clones or the job's user may not write there. */
static int clone_source(struct jobfile *f)
{
	char dir[FS_PATH_MAX];
	fs_path(dir, "%s", f->path);
	char *slash = strrchr(dir, '/');
	if (!slash || jobfiles_become(&f->rights))
		return -1;
	slash[slash == dir] = '\0';
	int clone = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	jobfiles_return();
	if (clone < 0)
		return -1;
	if (ioctl(clone, FICLONE, f->source)) {
		close(clone);
		return -1;
	}
	drop_source(f);
	f->source = clone;
	return 0;
}

/* Is it to be captured while the job stands still? */
static bool at_once(const struct jobfile *f)
{
	return f->source >= 0 && (f->kind == JOBFILE_IN_PLACE || (f->kind == JOBFILE_ROUTED && f->written));
}

int jobfiles_record(struct jobfiles *f, const struct jobtree *t, enum snapshot_files mode, const char *job_dir,
		    int img_dir, struct err *e)
{
	*f = (struct jobfiles){0};
	if (mkdirat(img_dir, "files", 0700) && errno != EEXIST)
		return err_sys(e, ERR_FAILED, "cannot make a directory in the snapshot");
	if (jobfiles_scan_routed(f, job_dir, e) || jobfiles_scan(f, t, mode, img_dir, e))
		return ERR_FAILED;
	for (size_t i = 0; i < f->count; i++) {
		struct jobfile *file = &f->list[i];
		if (!at_once(file))
			continue;
		if (file->kind == JOBFILE_IN_PLACE && file->size >= CLONE_FROM && !clone_source(file))
			continue;
		if (capture(f, file, img_dir, e))
			return ERR_FAILED;
	}
	return ERR_OK;
}

int jobfiles_capture(struct jobfiles *f, int img_dir, struct err *e)
{
	for (size_t i = 0; i < f->count; i++)
		if (f->list[i].source >= 0 && capture(f, &f->list[i], img_dir, e))
			return ERR_FAILED;
	return ERR_OK;
}

void jobfiles_free(struct jobfiles *f)
{
	for (size_t i = 0; i < f->count; i++) {
		drop_source(&f->list[i]);
		free(f->list[i].path);
	}
	free(f->list);
	*f = (struct jobfiles){0};
}
