/* See scratch_arena.h. */
#include "tests/bench/scratch_arena.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "lib/arena/arena.h"
#include "tests/bench/timing.h"

#define ON "/dev/shm"

static char dir[64];

static void remove_dir(void)
{
	rmdir(dir);
}

const char *scratch_dir(void)
{
	if (!*dir) {
		memcpy(dir, ON "/cpagent-bench.XXXXXX", sizeof ON "/cpagent-bench.XXXXXX");
		if (!mkdtemp(dir))
			timing_fail(ON);
		atexit(remove_dir);
	}
	return dir;
}

cpa *scratch_arena(unsigned long long budget, int *file)
{
	char path[96];
	cpa *cp;
	int rc;

	snprintf(path, sizeof path, "%s/arena", scratch_dir());
	rc = arena_create(path, budget, 0600);
	if (rc == 0 && file)
		*file = open(path, O_RDONLY | O_CLOEXEC);
	if (rc != 0 || cpa_open(&cp, path) != 0)
		timing_fail("cannot make an arena in " ON);
	unlink(path);
	return cp;
}

unsigned long long scratch_room(void)
{
	unsigned long long page = (unsigned long long)sysconf(_SC_PAGESIZE), files, memory;
	struct statvfs v;

	if (statvfs(ON, &v) != 0)
		return 0;
	files = v.f_bavail * v.f_frsize;
	memory = (unsigned long long)sysconf(_SC_AVPHYS_PAGES) * page / 2; /* files are memory too: half of it each */
	return files < memory ? files : memory;
}
