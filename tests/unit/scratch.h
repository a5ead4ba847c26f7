/* A directory for one test, made in $TMPDIR or /tmp and removed when the program ends. */
#ifndef TESTS_UNIT_SCRATCH_H
#define TESTS_UNIT_SCRATCH_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/fs.h"

static char scratch_root[FS_PATH_MAX];
static pid_t scratch_owner;

static void scratch_remove(void)
{
	if (scratch_owner == getpid()) /* not in a forked child */
		fs_remove_tree(scratch_root, NULL);
}

/* A fresh path in it, not yet there; into buf of FS_PATH_MAX. */
static const char *scratch_path(char *buf)
{
	static unsigned count;

	if (!*scratch_root) {
		const char *tmp = getenv("TMPDIR");
		fs_path(scratch_root, "%s/cpa-test-XXXXXX", tmp ? tmp : "/tmp");
		if (!mkdtemp(scratch_root))
			abort();
		scratch_owner = getpid();
		atexit(scratch_remove);
	}
	return fs_path(buf, "%s/%u", scratch_root, count++);
}

#endif
