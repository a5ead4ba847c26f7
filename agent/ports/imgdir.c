/* See imgdir.h. Image directories are flat, but for files/. */
#include "agent/ports/imgdir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/ports/jobfiles.h"
#include "lib/base/fs.h"
#include "lib/base/scoped.h"

#define CPINIT "cpinit"

static DIR *open_at(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d && fd >= 0)
		close(fd);
	return d;
}

static bool is_dots(const char *name)
{
	return !strcmp(name, ".") || !strcmp(name, "..");
}

bool imgdir_is_talk(const char *name)
{
	size_t len = strlen(name);
	return (len > 4 && !strcmp(name + len - 4, ".log")) || !strncmp(name, "stats-", 6);
}

static bool is_kept(const char *name)
{
	return !strncmp(name, "pages-", 6) || !strcmp(name, "arena");
}

static int remove_below(int img_dir, const char *sub, struct err *e)
{
	scoped_dir DIR *d = open_at(img_dir, sub);
	for (struct dirent *ent; d && (ent = readdir(d));)
		if (!is_dots(ent->d_name) && unlinkat(dirfd(d), ent->d_name, 0))
			return err_sys(e, ERR_FAILED, "cannot remove %s/%s of an older snapshot", sub, ent->d_name);
	return ERR_OK;
}

int imgdir_clean(int img_dir, struct err *e)
{
	if (remove_below(img_dir, "files", e))
		return ERR_FAILED;
	scoped_dir DIR *d = open_at(img_dir, ".");
	if (!d)
		return err_sys(e, ERR_FAILED, "cannot list the image directory");
	for (struct dirent *ent; (ent = readdir(d));) {
		if (is_dots(ent->d_name) || is_kept(ent->d_name))
			continue;
		int flag = strcmp(ent->d_name, "files") ? 0 : AT_REMOVEDIR;
		if (unlinkat(img_dir, ent->d_name, flag))
			return err_sys(e, ERR_FAILED, "cannot remove %s of an older snapshot", ent->d_name);
	}
	return ERR_OK;
}

static int add_sizes(int img_dir, const char *sub, uint64_t *bytes, struct err *e)
{
	scoped_dir DIR *d = open_at(img_dir, sub);
	if (!d)
		return errno == ENOENT ? ERR_OK : err_sys(e, ERR_FAILED, "cannot list the image directory");
	for (struct dirent *ent; (ent = readdir(d));) {
		struct stat st;
		if (!imgdir_is_talk(ent->d_name) && !fstatat(dirfd(d), ent->d_name, &st, AT_SYMLINK_NOFOLLOW) &&
		    S_ISREG(st.st_mode))
			*bytes += (uint64_t)st.st_size;
	}
	return ERR_OK;
}

int imgdir_size(int img_dir, uint64_t *bytes, struct err *e)
{
	*bytes = 0;
	return add_sizes(img_dir, ".", bytes, e) || add_sizes(img_dir, "files", bytes, e) ? ERR_FAILED : ERR_OK;
}

/* ---- cpinit ----------------------------------------------------------------------------------- */

int imgdir_save_cpinit(int img_dir, const char *job_dir, struct err *e)
{
	char path[FS_PATH_MAX];
	struct stat st;
	scoped_fd int from = open(fs_path(path, "%s/" CPINIT, job_dir), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (from < 0)
		return ERR_OK;
	scoped_fd int to = openat(img_dir, CPINIT, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (to < 0 || fstat(from, &st) || jobfiles_copy(from, 0, to, 0, (uint64_t)st.st_size, false))
		return err_sys(e, ERR_FAILED, "cannot keep %s in the snapshot", path);
	return ERR_OK;
}

int imgdir_put_cpinit(int img_dir, const char *job_dir, struct err *e)
{
	char path[FS_PATH_MAX], aside[FS_PATH_MAX];
	struct stat kept, there;
	scoped_fd int from = openat(img_dir, CPINIT, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (from < 0)
		return ERR_OK;
	fs_path(path, "%s/" CPINIT, job_dir);
	if (!fstat(from, &kept) && !lstat(path, &there) && S_ISREG(there.st_mode) && there.st_size == kept.st_size)
		return ERR_OK;
	fs_path(aside, "%s.new", path);
	unlink(aside);
	int to = open(aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
	int rc = to < 0 || jobfiles_copy(from, 0, to, 0, (uint64_t)kept.st_size, false) || fchmod(to, 0755);
	if (to >= 0)
		close(to);
	if (rc || rename(aside, path))
		return err_sys(e, ERR_FAILED, "cannot put %s back", path);
	return ERR_OK;
}
