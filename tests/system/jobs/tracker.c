/* tracker MODE: a job that holds a userfaultfd, as libcpagent does for protected regions. Prints "took" and "let go".
 *   polite     lets go when its arena says so, and takes another one when that is over
 *   busy       has its arena mapped and never looks at it
 *   stranger   has no arena */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "lib/arena/arena.h"

static int take(void)
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);

	if (fd < 0) {
		perror("userfaultfd");
		exit(1);
	}
	puts("took");
	fflush(stdout);
	return fd;
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "polite", *path = getenv("CPAGENT_ARENA");
	const struct timespec moment = {.tv_nsec = 5000000};
	struct arena *a = NULL;
	int fd;

	if (strcmp(mode, "stranger") && (!path || arena_map(&a, path)))
		return 1;
	fd = take();
	for (;;) {
		int give_up = a && !strcmp(mode, "polite") && __atomic_load_n(&a->head->give_up, __ATOMIC_ACQUIRE);

		if (give_up && fd >= 0) {
			close(fd);
			fd = -1;
			puts("let go");
			fflush(stdout);
		} else if (!give_up && fd < 0) {
			fd = take();
		}
		nanosleep(&moment, NULL);
	}
}
