/* Where a program's arena lies: where the launcher says, else in a private file named after the program, which its
 * next run finds again. Makes the private one. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hooks/internal.h"

static int path_put(char path[PLACE_MAX], const char *a, const char *b, const char *c)
{
	int n = snprintf(path, PLACE_MAX, "%s%s%s", a, b, c);

	return n < 0 || n >= PLACE_MAX ? fail(CPA_ERR_ARG, "%s: the path is too long", a) : 0;
}

/* Make a directory and its parents, for this user alone. */
static int make_dirs(char *path)
{
	char *slash;

	for (slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(path, 0700) != 0 && errno != EEXIST && errno != EROFS && errno != EACCES)
			goto refused;
		*slash = '/';
	}
	if (mkdir(path, 0700) == 0 || errno == EEXIST)
		return 0;
refused:
	return fail(errno == EACCES || errno == EPERM || errno == EROFS ? CPA_ERR_DENIED : CPA_ERR_SYSTEM,
		    "%s: cannot make this directory for the arena: %s; set XDG_STATE_HOME or name another one", path,
		    strerror(errno));
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
		return fail(CPA_ERR_SYSTEM, "no place for a private arena: neither XDG_STATE_HOME nor HOME is set");
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

static int private_in(char path[PLACE_MAX], const char *dir)
{
	int rc = path_put(path, dir, "/", program_invocation_short_name);
	size_t length = strlen(path);

	if (rc)
		return rc;
	if (length + sizeof ".arena" > PLACE_MAX)
		return fail(CPA_ERR_ARG, "%s: the path is too long", dir);
	memcpy(path + length, ".arena", sizeof ".arena");
	if (access(path, F_OK) == 0)
		return 0;
	rc = arena_create(path, default_budget(), 0600);
	return rc == 0 || rc == -EEXIST ? 0 : fail_arena(rc, "arena", path);
}

int place_find(char path[PLACE_MAX], const char *where)
{
	const char *launcher = getenv("CPAGENT_ARENA");
	char dir[PLACE_MAX];
	struct stat st;
	int rc;

	if (!where && launcher && *launcher)
		return path_put(path, launcher, "", "");
	if (!where) {
		rc = default_dir(dir);
		return rc ? rc : private_in(path, dir);
	}
	if (*where == '\0')
		return fail(CPA_ERR_ARG, "cpa_open: an empty path");
	if (stat(where, &st) != 0 && errno == ENOENT) {
		rc = path_put(dir, where, "", "");
		if (rc || (rc = make_dirs(dir)))
			return rc;
		return private_in(path, where);
	}
	return stat(where, &st) == 0 && !S_ISDIR(st.st_mode) ? path_put(path, where, "", "") : private_in(path, where);
}
