/* A version that this node no longer has: the agent is asked for it, and leaves it as a small arena of that one key
 * beside the job's. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hooks/restore.h"
#include "lib/arena/mailbox.h"

#define TRIES 8 /* another process's answer may replace ours before we open it */

static char *beside(const char *arena, const char *name)
{
	const char *slash = strrchr(arena, '/');
	char *path = NULL;

	return asprintf(&path, "%.*s/%s", (int)(slash - arena), arena, name) < 0 ? NULL : path;
}

/* The next version is to be numbered after the one that came back, so the arena has to have it. If there is no room for
 * it, the program has its data all the same. */
static void keep_here(cpa *cp, struct arena *f, const char *key, uint64_t version)
{
	struct arena_reader r = {.fd = -1, .image = f->base, .image_bytes = f->file_bytes};
	struct arena_value v = {0};

	if (arena_newest(cp->arena, key, NULL) >= version || arena_read_open(&r) != 0 ||
	    arena_read_value(&r, key, version, &v, NULL) != 0)
		return;
	arena_load(cp->arena, key, v.info.vars, v.info.n, version, v.info.incarnation, v.info.time_ns);
	arena_value_free(&v);
}

/* -ESTALE: the file is not what was answered. */
static int take_from(cpa *cp, const char *path, const char *key, uint64_t version, struct taker *t)
{
	struct arena *f;
	int rc = arena_map(&f, path);

	if (rc)
		return rc == -ENOENT ? -ESTALE : rc;
	if (f->owner != 0 && f->owner != geteuid() && f->owner != cp->arena->owner)
		rc = -EPERM;
	else if (version == 0 || arena_newest(f, key, NULL) != version)
		rc = -ESTALE;
	else
		rc = t->take(t, f, key, version);
	if (rc >= 0)
		keep_here(cp, f, key, version);
	arena_unmap(f);
	return rc;
}

int fetch(cpa *cp, uint32_t level, const char *key, struct taker *t, uint64_t *version, struct arena_ask *answer)
{
	char *path = beside(cp->arena->path, "fetched");
	int rc = path ? -ESTALE : -ENOMEM, i;

	for (i = 0; rc == -ESTALE && i < TRIES; i++) {
		rc = arena_ask(cp->arena, ARENA_ASK_FETCH, level, 0, key, (int64_t)FETCH_S * 1000000000, answer);
		if (rc == 1) { /* restored from a snapshot meanwhile: another agent has to be asked */
			notice(cp);
			rc = -ESTALE;
		} else if (!rc && answer->result) {
			rc = -EBADE;
		} else if (!rc) {
			rc = take_from(cp, path, key, answer->number, t);
		}
	}
	*version = answer->number;
	free(path);
	return rc;
}
