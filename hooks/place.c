/* Where a program's arena lies: where the launcher says, else in a private file named after the program, which its
 * next run finds again. Makes the private one, and maps either. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hooks/internal.h"

#define NAME_BYTES 200 /* with what is put behind it, a file name still */

static int path_put(char path[PLACE_MAX], const char *a, const char *b, const char *c)
{
	int n = snprintf(path, PLACE_MAX, "%s%s%s", a, b, c);

	return n < 0 || n >= PLACE_MAX ? fail(CPA_ERR_ARG, "%.100s…: the path is too long", a) : 0;
}

static int cannot_make(const char *what, const char *path, int error)
{
	int code = CPA_ERR_SYSTEM;

	if (error == EACCES || error == EPERM || error == EROFS)
		code = CPA_ERR_DENIED;
	if (error == ENOSPC || error == EDQUOT)
		code = CPA_ERR_FULL;
	return fail(code, "%s %s: cannot be made: %s; %s", what, path, strerror(error),
		    code == CPA_ERR_FULL ? "make room there, or name another directory"
					 : "name a directory of your own, or set XDG_STATE_HOME");
}

/* Make a directory and its parents, for this user alone. */
static int make_dirs(char *path)
{
	char *slash;
	int error;

	for (slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(path, 0700) != 0 && errno != EEXIST) {
			error = errno; /* of a directory that is there, too, when no other may be made beside it */
			if (access(path, F_OK) != 0)
				return cannot_make("directory", path, error);
		}
		*slash = '/';
	}
	return mkdir(path, 0700) == 0 || errno == EEXIST ? 0 : cannot_make("directory", path, errno);
}

static int default_dir(char dir[PLACE_MAX])
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	int rc;

	if (state && state[0] == '/')
		rc = path_put(dir, state, "/cpagent", "");
	else if (home && home[0] == '/')
		rc = path_put(dir, home, "/.local/state/cpagent", "");
	else
		return fail(CPA_ERR_SYSTEM, "no place for a private arena: neither XDG_STATE_HOME nor HOME is set; set one, or "
					     "name a directory");
	return rc ? rc : make_dirs(dir);
}

/* Half of the memory, as the agents; less under this process's own limits. The file is sparse. */
static uint64_t default_budget(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
	uint64_t budget = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page / 2 : UINT64_C(1) << 30;
	static const __rlimit_resource_t limits[] = {RLIMIT_AS, RLIMIT_FSIZE};
	struct rlimit limit;
	size_t i;

	for (i = 0; i < sizeof limits / sizeof *limits; i++)
		if (getrlimit(limits[i], &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
		    limit.rlim_cur / 2 < budget)
			budget = limit.rlim_cur / 2;
	if (budget > ARENA_HEAP_MAX)
		budget = ARENA_HEAP_MAX;
	return budget < ARENA_HEAP_MIN ? ARENA_HEAP_MIN : budget;
}

static int bad_name(const char *name)
{
	const unsigned char *c = (const unsigned char *)name;
	size_t bytes = strnlen(name, NAME_BYTES + 1);

	if (bytes == 0 || bytes > NAME_BYTES || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return fail(CPA_ERR_ARG,
			    "cpa_open: a name is a file name of 1 to %d bytes; give one to cpa_open_named()", NAME_BYTES);
	for (; *c; c++)
		if (*c < ' ' || *c == 0x7f || *c == '/')
			return fail(CPA_ERR_ARG, "cpa_open: a name has neither '/' nor control characters; give "
						 "another one to cpa_open_named()");
	return 0;
}

static int private_in(struct place *p, const char *dir, const char *name, uint64_t budget)
{
	int rc = bad_name(name);
	size_t length;

	if (!rc)
		rc = path_put(p->path, dir, "/", name);
	if (rc)
		return rc;
	length = strlen(p->path);
	if (length + sizeof ".arena" > PLACE_MAX)
		return fail(CPA_ERR_ARG, "%.100s…: the path is too long", dir);
	memcpy(p->path + length, ".arena", sizeof ".arena");
	p->is_private = 1;
	if (faccessat(AT_FDCWD, p->path, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	rc = arena_create(p->path, budget ? budget : default_budget(), 0600);
	return rc == 0 || rc == -EEXIST ? 0 : cannot_make("arena", p->path, -rc);
}

/* A directory of that name would be a surprise to somebody who has mistyped an arena's. */
static int is_arena_name(const char *where)
{
	size_t length = strlen(where);

	return length > 6 && strcmp(where + length - 6, ".arena") == 0;
}

static int no_arena(const char *path, int error)
{
	if (error == EACCES)
		return fail(CPA_ERR_DENIED, "arena %s: permission denied; open it as the user that it belongs to, or "
					    "name a directory of your own", path);
	return fail(CPA_ERR_SYSTEM, "arena %s: %s; name a directory, and an arena is made there", path,
		    error == ENOENT ? "there is no such file" : strerror(error));
}

static int find(struct place *p, const char *where, const char *name, uint64_t budget)
{
	const char *launcher = getenv("CPAGENT_ARENA");
	char dir[PLACE_MAX];
	struct stat st;
	int rc;

	memset(p, 0, sizeof *p);
	if (budget && (budget < ARENA_HEAP_MIN || budget > ARENA_HEAP_MAX))
		return fail(CPA_ERR_ARG, "cpa_open: a budget of %llu bytes: it may be 0, or 64 KiB to 512 GiB",
			    (unsigned long long)budget);
	if (!where && launcher && *launcher)
		return path_put(p->path, launcher, "", "");
	if (!where) {
		rc = default_dir(dir);
		return rc ? rc : private_in(p, dir, name, budget);
	}
	if (*where == '\0')
		return fail(CPA_ERR_ARG, "cpa_open: an empty path");
	if (stat(where, &st) == 0 && S_ISREG(st.st_mode))
		return path_put(p->path, where, "", "");
	rc = path_put(dir, where, "", "");
	if (!rc && stat(where, &st) != 0 && is_arena_name(where))
		return no_arena(where, errno);
	if (!rc && stat(where, &st) != 0)
		rc = make_dirs(dir);
	else if (!rc && !S_ISDIR(st.st_mode))
		rc = fail(CPA_ERR_ARG, "cpa_open: %s is neither a directory nor a file", where);
	return rc ? rc : private_in(p, dir, name, budget);
}

/* The program may change its directory while the arena is open, and what lies beside the arena is found by its path. */
static int make_absolute(char path[PLACE_MAX])
{
	char relative[PLACE_MAX], cwd[PLACE_MAX];

	if (*path == '/')
		return 0;
	if (!getcwd(cwd, sizeof cwd))
		return fail(CPA_ERR_SYSTEM, "arena %s: the current directory has no path: %s; name the arena by its "
					    "whole path", path, strerror(errno));
	memcpy(relative, path, PLACE_MAX);
	return path_put(path, cwd, "/", relative);
}

int place_find(struct place *p, const char *where, const char *name, uint64_t budget)
{
	int rc = find(p, where, name, budget);

	return rc ? rc : make_absolute(p->path);
}

/* ---- mapping it ---- */

static int cannot_map(const char *path, int rc)
{
	switch (rc) {
	case -ENOENT:
		return fail(CPA_ERR_SYSTEM, "arena %s: there is no such file; is CPAGENT_ARENA right?", path);
	case -ELOOP:
		return fail(CPA_ERR_DENIED, "arena %s: it is a symbolic link; name the file itself", path);
	case -EACCES:
	case -EPERM:
		return fail(CPA_ERR_DENIED, "arena %s: permission denied; open it as the user that it belongs to, or "
					    "name a directory of your own", path);
	case -EPROTO:
		return fail(CPA_ERR_BROKEN, "arena %s: the file is damaged, or no arena; move it away to begin with an "
					    "empty one", path);
	case -EPROTONOSUPPORT:
		return fail(CPA_ERR_FORMAT, "arena %s: it was made by another version of the library; end the program "
					    "with that version, or move the file away", path);
	case -ENOMEM:
		return fail(CPA_ERR_MEMORY, "arena %s: there is no address space for it; raise the limit (ulimit -v), "
					    "or give a smaller budget to cpa_open_named()", path);
	default:
		return fail_arena(rc, "arena", path);
	}
}

/* Whoever owns an arena can change it under us. A private one lies where others may be able to put files, and root has
 * no more reason than anybody else to use theirs; an arena that was named by its path may also be root's, and root
 * may look at anybody's. */
static int is_foreign(const struct place *p, const struct arena *a)
{
	uid_t me = geteuid();

	return a->owner != me && (p->is_private || (a->owner != 0 && me != 0));
}

int place_map(const struct place *p, struct arena **a)
{
	int rc = arena_map(a, p->path);
	unsigned owner;

	if (rc)
		return cannot_map(p->path, rc);
	if (!is_foreign(p, *a))
		return 0;
	owner = (unsigned)(*a)->owner;
	arena_unmap(*a);
	*a = NULL;
	return fail(CPA_ERR_DENIED, "arena %s: it belongs to another user (uid %u); name a directory of your own",
		    p->path, owner);
}
