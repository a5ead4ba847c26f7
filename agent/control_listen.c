/* Owns how an agent comes to its socket's name: a lock beside it says who lives, and the new socket replaces the
 * old one by rename, so that a client finds one of the two at any moment. */
#include "agent/control_listen.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/base/fs.h"
#include "lib/base/scoped.h"

#define BACKLOG 128

static int already_running(const char *path, struct err *e)
{
	return err_set(e, ERR_FAILED,
	               "%s: an agent is already running here; stop it, or give this one its own --run "
	               "and --name",
	               path);
}

/* A connect that is neither refused nor finds nothing means that somebody listens, if only with a full queue. */
static int is_answered(const struct sockaddr_un *at)
{
	scoped_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	return fd >= 0 && (connect(fd, (const struct sockaddr *)at, sizeof *at) == 0 || errno == EAGAIN);
}

static int take_lock(const char *path, struct err *e)
{
	char name[FS_PATH_MAX];
	scoped_fd int fd = -1;

	fd = open(fs_path(name, "%s.lock", path), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_sys(e, errno == EACCES || errno == EPERM || errno == EROFS ? ERR_DENIED : ERR_FAILED,
		               "%s: cannot create it; give a directory that this user may write with --run", name);
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		if (errno == EWOULDBLOCK)
			return already_running(path, e);
		return err_sys(e, ERR_FAILED, "%s: cannot lock it", name);
	}
	return scoped_take_fd(fd);
}

int control_listen(const char *path, int *out_fd, int *out_lock, struct err *e)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX }, aside = at;
	scoped_fd int fd = -1, lock = -1;

	if (strlen(path) + sizeof ".new" > sizeof at.sun_path)
		return err_set(e, ERR_FAILED,
		               "%s: the path is longer than the %zu bytes of a socket's name; "
		               "choose a shorter --run",
		               path, sizeof at.sun_path - sizeof ".new");
	snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
	snprintf(aside.sun_path, sizeof aside.sun_path, "%s.new", path);
	lock = take_lock(path, e);
	if (lock < 0)
		return lock;
	if (is_answered(&at))
		return already_running(path, e);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_sys(e, ERR_FAILED, "%s: cannot create a socket", path);
	unlink(aside.sun_path);
	if (bind(fd, (const struct sockaddr *)&aside, sizeof aside) || chmod(aside.sun_path, 0666) ||
	    listen(fd, BACKLOG) || rename(aside.sun_path, path)) {
		err_sys(e, errno == EACCES ? ERR_DENIED : ERR_FAILED, "%s: cannot listen", path);
		unlink(aside.sun_path);
		return e ? e->code : ERR_FAILED;
	}
	*out_fd = scoped_take_fd(fd);
	*out_lock = scoped_take_fd(lock);
	return 0;
}
