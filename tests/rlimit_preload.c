/* rlimit_preload: lets CRIU dump another user's process where root lacks CAP_SYS_RESOURCE. Test-only.
 *
 * CRIU reads the limits of each task by prlimit(2), which the kernel refuses for another uid without that
 * capability. A root on an ordinary host has it; a root inside many containers and small virtual machines
 * has not, and tests with a second user would have to be skipped there. The same figures stand in
 * /proc/PID/limits, which root may read everywhere: preloaded into CRIU (LD_PRELOAD=…/rlimit_preload.so
 * before the criu program or the agent that starts it), this answers a refused read from that file.
 * Everything but a refused read goes to the kernel unchanged. */
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* "Max cpu time  unlimited  unlimited  seconds": the figures begin at a fixed column */
#define NAME_WIDTH 26

static rlim_t limit_parse(const char *s, char **end)
{
	while (*s == ' ')
		s++;
	if (strncmp(s, "unlimited", 9) == 0) {
		*end = (char *)s + 9;
		return RLIM_INFINITY;
	}
	return strtoull(s, end, 10);
}

/* The file lists the limits in the order of their numbers, below one line of headings. */
static int limits_read(pid_t pid, int resource, struct rlimit *out)
{
	char path[64], line[160];
	int row = -1, rc = -1;

	snprintf(path, sizeof path, "/proc/%d/limits", (int)pid);
	FILE *f = fopen(path, "re");

	if (!f)
		return -1;
	while (fgets(line, sizeof line, f)) {
		if (row++ != resource || strlen(line) <= NAME_WIDTH)
			continue;
		char *end;

		out->rlim_cur = limit_parse(line + NAME_WIDTH, &end);
		out->rlim_max = limit_parse(end, &end);
		rc = 0;
		break;
	}
	fclose(f);
	return rc;
}

/* CRIU calls prlimit through syscall(2), so that is where to stand. Six arguments cover every call. */
__attribute__((visibility("default"))) long syscall(long number, ...)
{
	static long (*next)(long, ...);
	long a[6];
	va_list ap;

	va_start(ap, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "syscall");
	long rc = next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
	bool refused_read = rc < 0 && errno == EPERM && number == SYS_prlimit64 && !a[2] && a[3];

	if (refused_read && limits_read((pid_t)a[0], (int)a[1], (struct rlimit *)a[3]) == 0)
		return 0;
	if (refused_read)
		errno = EPERM;
	return rc;
}
