/* A child process with a tmpfs of its own, in its own mount namespace: gone with the child, whatever happens. */
#ifndef TESTS_UNIT_TINY_FS_H
#define TESTS_UNIT_TINY_FS_H

#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "tests/unit/scratch.h"

#define TINY_NO_PRIVILEGE 77

/* Run fn(dir) in it, dir being a tmpfs of `size` ("4m"); returns what fn returned (0 to 76), or TINY_NO_PRIVILEGE
 * when this user may not mount. */
static int tiny_fs_run(const char *size, int (*fn)(const char *dir))
{
	char dir[FS_PATH_MAX], opts[64];

	if (fs_mkdirs(scratch_path(dir), 0700, NULL) < 0)
		return 70;
	pid_t pid = fork();
	if (pid == 0) {
		snprintf(opts, sizeof opts, "size=%s", size);
		if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) < 0 ||
		    mount("tmpfs", dir, "tmpfs", 0, opts) < 0)
			_exit(TINY_NO_PRIVILEGE);
		_exit(fn(dir));
	}
	int status;
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || !WIFEXITED(status))
		return 71;
	if (WEXITSTATUS(status) == TINY_NO_PRIVILEGE)
		printf("    (not checked: mounting a tmpfs needs root)\n");
	return WEXITSTATUS(status);
}

static inline int tiny_fs_ok(int rc)
{
	return rc == 0 || rc == TINY_NO_PRIVILEGE;
}

#endif
