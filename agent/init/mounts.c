/* Owns the job's mount namespace: private, with a /proc of its pid namespace, its directories at their fixed
 * places, and nothing in it that would stop CRIU from building it again, here or on another node. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/init/init.h"

#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif
#ifndef MOVE_MOUNT_F_EMPTY_PATH
#define MOVE_MOUNT_F_EMPTY_PATH 4
#endif
#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif

#define TABLE_MAX (1 << 20)
#define MOUNTS_MAX 4096
#define ROUNDS_MAX 64

struct mount {
	int id, parent;
	char *at, *type;
};

struct table {
	char *text;
	struct mount *mounts;
	int n;
};

/* Mounts that belong to a login session or to other containers: a job does not need them, another node does not
 * have them, and a private copy of them would keep them from going away. */
static const char *const not_the_jobs[] = {
	"/run/user/",       "/run/credentials/",    "/run/netns",        "/run/docker/",
	"/var/lib/docker/", "/var/lib/containers/", "/var/lib/kubelet/", "/snap/",
};

/* mountinfo writes space, tab, newline and backslash as \ooo. */
static void unescape(char *s)
{
	char *to = s;
	for (; *s; s++, to++) {
		*to = *s;
		if (s[0] == '\\' && s[1] && s[2] && s[3]) {
			*to = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 3;
		}
	}
	*to = '\0';
}

/* "ID PARENT MAJ:MIN ROOT AT OPTIONS … - TYPE SOURCE SUPER" */
static int parse_line(char *line, struct mount *m)
{
	char *save = NULL, *field[5];
	char *rest = strstr(line, " - ");
	if (!rest)
		return -1;
	*rest = '\0';
	for (int i = 0; i < 5; i++)
		if (!(field[i] = strtok_r(i ? NULL : line, " ", &save)))
			return -1;
	m->id = (int)strtol(field[0], NULL, 10);
	m->parent = (int)strtol(field[1], NULL, 10);
	m->at = field[4];
	unescape(m->at);
	m->type = strtok_r(rest + 3, " ", &save);
	return m->type ? 0 : -1;
}

static int read_text(char *into, size_t room)
{
	int fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	size_t have = 0;
	ssize_t n = fd < 0 ? -1 : 0;
	while (fd >= 0 && have < room - 1 && (n = read(fd, into + have, room - 1 - have)) != 0) {
		if (n < 0 && errno != EINTR)
			break;
		have += n > 0 ? (size_t)n : 0;
	}
	if (fd >= 0)
		close(fd);
	into[have] = '\0';
	return n < 0 ? -1 : 0;
}

static int read_table(struct table *t)
{
	t->n = 0;
	if (read_text(t->text, TABLE_MAX) < 0)
		return -1;
	char *save = NULL;
	for (char *line = strtok_r(t->text, "\n", &save); line && t->n < MOUNTS_MAX;
	     line = strtok_r(NULL, "\n", &save))
		if (parse_line(line, &t->mounts[t->n]) == 0)
			t->n++;
	return 0;
}

static int is_foreign(const struct mount *m)
{
	if (strcmp(m->type, "nsfs") == 0)
		return 1;
	for (size_t i = 0; i < sizeof not_the_jobs / sizeof *not_the_jobs; i++)
		if (strncmp(m->at, not_the_jobs[i], strlen(not_the_jobs[i])) == 0)
			return 1;
	return 0;
}

static int drop_foreign(const struct table *t)
{
	int dropped = 0;
	for (int i = t->n; i-- > 0;) /* later mounts lie on earlier ones */
		if (is_foreign(&t->mounts[i]) && umount2(t->mounts[i].at, MNT_DETACH) == 0)
			dropped = 1;
	return dropped;
}

static int is_below(const char *path, const char *dir)
{
	size_t n = strlen(dir);
	return strncmp(path, dir, n) == 0 && path[n] == '/';
}

/* The mount that hides m: one on its root, or a younger sibling above its place. */
static const struct mount *cover_of(const struct table *t, const struct mount *m)
{
	for (int i = 0; i < t->n; i++) {
		const struct mount *k = &t->mounts[i];
		if (k == m || strcmp(k->at, "/") == 0)
			continue;
		if ((k->parent == m->id && strcmp(k->at, m->at) == 0) ||
		    (k->parent == m->parent && is_below(m->at, k->at)))
			return k;
	}
	return NULL;
}

/* Take the topmost mount of `at` away, with all that is below it; unmount what it hid; put it back. CRIU cannot
 * open a mount that another one covers ("Failed to open_tree"). */
static int uncover(const struct mount *hidden, const struct mount *cover, int depth)
{
	int tree = (int)syscall(SYS_open_tree, AT_FDCWD, cover->at, OPEN_TREE_CLONE | O_CLOEXEC | AT_RECURSIVE);
	if (tree < 0)
		return -1;
	for (int i = 0; i < depth; i++)
		umount2(cover->at, MNT_DETACH);
	if (strcmp(hidden->at, cover->at) != 0)
		umount2(hidden->at, MNT_DETACH);
	int rc = (int)syscall(SYS_move_mount, tree, "", AT_FDCWD, cover->at, MOVE_MOUNT_F_EMPTY_PATH);
	close(tree);
	return rc;
}

/* How many mounts lie on each other at m's place, m the lowest that another covers. */
static int depth_at(const struct table *t, const char *at)
{
	int n = 0;
	for (int i = 0; i < t->n; i++)
		n += strcmp(t->mounts[i].at, at) == 0;
	return n;
}

static int uncover_one(const struct table *t)
{
	for (int i = 0; i < t->n; i++) {
		const struct mount *cover = cover_of(t, &t->mounts[i]);
		if (cover)
			return uncover(&t->mounts[i], cover, depth_at(t, cover->at)) == 0;
	}
	return 0;
}

static void tidy(void)
{
	struct table t = { .text = malloc(TABLE_MAX), .mounts = calloc(MOUNTS_MAX, sizeof *t.mounts) };
	if (t.text && t.mounts && read_table(&t) == 0 && (!drop_foreign(&t) || read_table(&t) == 0))
		for (int round = 0; round < ROUNDS_MAX && uncover_one(&t) && read_table(&t) == 0; round++)
			;
	free(t.text);
	free(t.mounts);
}

void mounts_setup(const struct job *j)
{
	/* private, not slave: CRIU refuses a namespace whose mounts have masters outside it */
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		init_fail(STEP_MOUNTS);
	/* off, not over: hosts stack binfmt_misc and others on it, and CRIU needs it bare */
	for (int i = 0; i < ROUNDS_MAX && umount2("/proc", MNT_DETACH) == 0; i++)
		;
	if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		init_fail(STEP_PROC);
	tidy();
	if (mount(j->job_dir, SPEC_JOB_DIR, NULL, MS_BIND, NULL) < 0)
		init_fail(STEP_BIND_JOB);
	if (mount(j->log_dir, SPEC_LOG_DIR, NULL, MS_BIND, NULL) < 0)
		init_fail(STEP_BIND_LOG);
}
