/* See let_go.h. */
#include "agent/ports/let_go.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/ports/jobtree.h"
#include "lib/arena/mailbox.h"
#include "lib/base/fs.h"
#include "lib/base/scoped.h"

static int tell(const char *arena, uint32_t give_up, struct stat *st)
{
	scoped_fd int fd = open(arena, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	return fd < 0 || fstat(fd, st) ? -1 : arena_set_give_up(fd, give_up);
}

static bool has_userfaultfd(pid_t pid)
{
	char dir[FS_PATH_MAX], path[64];
	scoped_dir DIR *d = opendir(fs_path(dir, "/proc/%d/fd", pid));

	for (struct dirent *ent; d && (ent = readdir(d));) {
		ssize_t n = readlinkat(dirfd(d), ent->d_name, path, sizeof path - 1);
		path[n > 0 ? n : 0] = '\0';
		if (strstr(path, "[userfaultfd]"))
			return true;
	}
	return false;
}

/* By the inode: the path in maps is the one inside the job. "start-end perms offset dev inode  path" */
static bool maps(pid_t pid, const struct stat *arena)
{
	char line[FS_PATH_MAX + 128];
	unsigned long long inode;
	unsigned major, minor;
	scoped_file FILE *f = jobtree_open(pid, "maps");

	while (f && fgets(line, sizeof line, f))
		if (sscanf(line, "%*s %*s %*s %x:%x %llu", &major, &minor, &inode) == 3 && inode == arena->st_ino &&
		    strstr(line, "/arena"))
			return true;
	return false;
}

bool let_go_holds_on(pid_t pid, const char *arena, char who[LET_GO_NAME])
{
	struct jobtree t;
	struct stat st;
	bool found = false;

	if (!arena || tell(arena, 1, &st) || jobtree_read(pid, &t, NULL))
		return false;
	for (size_t i = 0; i < t.count && !found; i++) {
		found = has_userfaultfd(t.list[i].pid) && maps(t.list[i].pid, &st);
		if (found)
			snprintf(who, LET_GO_NAME, "process %d (%s)", t.list[i].inner, t.list[i].name);
	}
	jobtree_free(&t);
	return found;
}

void let_go_over(const char *arena)
{
	struct stat st;

	if (arena)
		tell(arena, 0, &st);
}
