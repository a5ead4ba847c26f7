/* The version that every rank of a group has: asked of the agent, which knows the others; and where there is no group,
 * what this arena has. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "hooks/internal.h"
#include "lib/arena/common.h"
#include "lib/arena/reader.h"

#define MINUTE_S 60.0
#define GROUP_MAX 64 /* bytes of a group's name */

/* ---- a group of one ---- */

struct own {
	struct arena_has *has; /* owned */
	size_t n;
	uint32_t keys;
};

static int add_key(struct own *o, struct arena_reader *r, const char *key)
{
	struct arena_whole w;
	struct arena_has *more;
	size_t i;
	int rc = arena_read_whole(r, key, &w);

	if (rc)
		return rc;
	if (!w.newest) /* kept room for, and nothing in it yet */
		return 0;
	more = realloc(o->has, (o->n + ARENA_SLOTS_MAX) * sizeof *more);
	if (!more)
		return -ENOMEM;
	o->has = more;
	for (i = 0; i < w.n; i++)
		o->has[o->n++] = (struct arena_has){w.version[i], 0, o->keys};
	o->keys++;
	return 0;
}

static int add_all(struct own *o, struct arena_reader *r)
{
	struct arena_keys keys = {0};
	int rc = arena_read_keys(r, 0, &keys);
	size_t i;

	for (i = 0; i < keys.n && !rc; i++) {
		if (is_memo(keys.key[i].key))
			continue;
		rc = add_key(o, r, keys.key[i].key);
		if (rc == -ENOENT) /* reset meanwhile */
			rc = 0;
	}
	arena_keys_free(&keys);
	return rc;
}

static int64_t own_version(cpa *cp, const char *key)
{
	struct arena_reader r = {.fd = -1, .image = cp->arena->base, .image_bytes = cp->arena->file_bytes};
	struct own o = {0};
	uint64_t version = 0;
	int rc = arena_read_open(&r);

	if (!rc)
		rc = key ? add_key(&o, &r, key) : add_all(&o, &r);
	if (!rc)
		version = arena_common(o.has, o.n, 1, o.keys);
	free(o.has);
	if (rc && rc != -ENOENT)
		return fail_arena(rc, key ? "key" : "arena", key ? key : cp->arena->path);
	if (!version && key)
		return fail(CPA_ERR_KEY, "cpa_version: no version of key %s is there", key);
	if (!version)
		return fail(CPA_ERR_KEY, o.keys ? "cpa_version: the keys have no version in common; name one"
						: "cpa_version: there is no checkpoint");
	return (int64_t)version;
}

/* ---- with an agent ---- */

static int is_served(const cpa *cp)
{
	return (__atomic_load_n(&cp->arena->head->agent_flags, __ATOMIC_RELAXED) & ARENA_SERVED) != 0;
}

int64_t cpa_version_within(cpa *cp, const char *group, const char *key, double timeout_s)
{
	int rc = key ? bad_call("cpa_version", cp, key, 1) : 0;

	if (!rc && (!cp || isnan(timeout_s)))
		rc = fail(CPA_ERR_ARG, "cpa_version: no handle, or a timeout that is not a number");
	if (!rc && group && (!*group || strnlen(group, GROUP_MAX + 1) > GROUP_MAX))
		rc = fail(CPA_ERR_ARG, "cpa_version: a group's name has 1 to %d bytes", GROUP_MAX);
	if (rc)
		return rc;
	notice(cp);
	if (!is_served(cp) && group)
		return fail(CPA_ERR_LEVEL, "cpa_version: group %s: no agent is there to ask; start the program with "
					   "cpagent run --group", group);
	if (group)
		return fail(CPA_ERR_ARG, "cpa_version: %s: there is no such group", group);
	return own_version(cp, key);
}

int64_t cpa_version_of(cpa *cp, const char *group, const char *key)
{
	return cpa_version_within(cp, group, key, MINUTE_S);
}
