/* Where routed files lie, and how they are called: KEY.PIDNS.PID.MARK.KIND in the directory "files" beside the arena
 * that an agent made for one job, or in one of a private arena's own, ARENA.files. MARK tells this process from one that
 * had its pid in an earlier life. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "hooks/file_place.h"

#define PLAIN_MAX 150  /* bytes of a key's name that are spelt out */
#define FOREIGN_S 86400 /* what processes of another pid namespace left is removed after a day */

struct owner {
	uint64_t space; /* pid namespace */
	pid_t pid;
	uint32_t mark;
};

/* ---- names ---- */

static uint64_t pid_space(void)
{
	struct stat st;

	return stat("/proc/self/ns/pid", &st) == 0 ? (uint64_t)st.st_ino : 0;
}

/* Drawn once by each process; a restored one still has it. */
static uint32_t own_mark(void)
{
	static uint64_t drawn; /* pid << 32 | mark */
	uint64_t old = __atomic_load_n(&drawn, __ATOMIC_ACQUIRE), pid = (uint64_t)getpid();
	struct timespec now;
	uint32_t mark;

	if (old >> 32 == pid)
		return (uint32_t)old;
	if (getrandom(&mark, sizeof mark, GRND_NONBLOCK) != (ssize_t)sizeof mark) {
		clock_gettime(CLOCK_REALTIME, &now);
		mark = (uint32_t)now.tv_nsec ^ (uint32_t)now.tv_sec;
	}
	/* of two threads that are here for the first time, one wins */
	return __atomic_compare_exchange_n(&drawn, &old, pid << 32 | mark, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE) ||
			       old >> 32 != pid ? mark : (uint32_t)old;
}

static int is_plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

/* A key as a file name: portable characters as they are, others as %XX, a long one by its beginning and its hash. */
static void key_name(const char *key, char out[PLAIN_MAX + 20])
{
	size_t n = 0;
	const char *c;

	for (c = key; *c && n + 3 <= PLAIN_MAX; c++) {
		if (is_plain(*c))
			out[n++] = *c;
		else
			n += (size_t)snprintf(out + n, 4, "%%%02X", (unsigned char)*c);
	}
	out[n] = '\0';
	if (*c)
		snprintf(out + n, 18, "~%016llx", (unsigned long long)arena_hash(key, strlen(key), 0));
}

/* Whose file is it? 0: it is none of ours. */
static int owner_of(const char *name, struct owner *o)
{
	const char *dot = strchr(name, '.');
	unsigned long long space;
	int pid, end = 0;
	unsigned mark;

	if (!dot || sscanf(dot, ".%llu.%d.%x.%n", &space, &pid, &mark, &end) != 3 || end == 0 || pid <= 0)
		return 0;
	*o = (struct owner){space, pid, mark};
	return strncmp(dot + end, "part", 4) == 0 || strncmp(dot + end, "restored", 8) == 0;
}

/* ---- the directory ---- */

static int is_served(const cpa *cp)
{
	return (__atomic_load_n(&cp->arena->head->agent_flags, __ATOMIC_RELAXED) & ARENA_SERVED) != 0;
}

static int dir_of(const cpa *cp, char dir[PLACE_MAX])
{
	const char *arena = cp->arena->path, *slash = strrchr(arena, '/');
	int n;

	if (is_served(cp))
		n = snprintf(dir, PLACE_MAX, "%.*s/files", (int)(slash - arena), arena);
	else
		n = snprintf(dir, PLACE_MAX, "%s.files", arena);
	return n < 0 || n >= PLACE_MAX ? fail(CPA_ERR_ARG, "%.100s…: the path is too long", arena) : 0;
}

/* Others may be able to put a directory there, or a link: their own is not used. */
static int dir_make(const char *dir)
{
	struct stat st;

	if (mkdir(dir, 0700) != 0 && errno != EEXIST)
		return fail_arena(-errno, "directory for files", dir);
	if (lstat(dir, &st) != 0)
		return fail_arena(-errno, "directory for files", dir);
	if (!S_ISDIR(st.st_mode) || (st.st_uid != geteuid() && st.st_uid != 0))
		return fail(CPA_ERR_DENIED, "directory for files %s: it is another user's, or no directory", dir);
	return 0;
}

/* Under an agent all processes of the job see one another, in this life of it. A private arena may be shared by
 * processes that do not: of those only age tells. */
static int is_left(const struct owner *o, const struct owner *me, int served, const struct stat *st)
{
	if (!served && o->space != me->space)
		return time(NULL) - st->st_mtim.tv_sec > FOREIGN_S;
	if (o->pid == me->pid)
		return o->mark != me->mark;
	return kill(o->pid, 0) != 0 && errno == ESRCH;
}

static void sweep(const char *dir, const struct owner *me, int served)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	struct owner o;
	struct stat st;

	while (d && (e = readdir(d)))
		if (owner_of(e->d_name, &o) && fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    is_left(&o, me, served, &st))
			unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		closedir(d);
}

int file_place(const cpa *cp, const char *key, const char *kind, char path[FILE_PATH_MAX])
{
	const struct owner me = {pid_space(), getpid(), own_mark()};
	char dir[PLACE_MAX], name[PLAIN_MAX + 20];
	int rc = dir_of(cp, dir);

	if (!rc)
		rc = dir_make(dir);
	if (rc)
		return rc;
	sweep(dir, &me, is_served(cp));
	key_name(key, name);
	snprintf(path, FILE_PATH_MAX, "%s/%s.%llu.%d.%x.%s", dir, name, (unsigned long long)me.space, (int)me.pid,
		 me.mark, kind);
	return 0;
}
