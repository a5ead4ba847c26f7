/* The hooks that programs call: checks arguments, maps errors, and leaves the work to lib/arena. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "hooks/internal.h"
#include "lib/arena/mailbox.h"

_Static_assert(sizeof(struct cpa_var) == sizeof(struct arena_var) &&
	       offsetof(struct cpa_var, type) == offsetof(struct arena_var, type) &&
	       offsetof(struct cpa_var, count) == offsetof(struct arena_var, count), "one variable, two names");
_Static_assert((int)CPA_F128 == (int)ARENA_F128 && (int)CPA_C128 == (int)ARENA_C128 &&
	       (int)CPA_BYTE == (int)ARENA_BYTES && (int)CPA_U64 == (int)ARENA_U64, "one set of types, two names");

int cpa_open(cpa **cp, const char *where)
{
	char path[PLACE_MAX];
	struct arena *a;
	int rc;

	if (!cp)
		return fail(CPA_ERR_ARG, "cpa_open: no place for the handle");
	*cp = NULL;
	rc = place_find(path, where);
	if (rc)
		return rc;
	rc = arena_map(&a, path);
	if (rc == -ENOENT)
		return fail(CPA_ERR_SYSTEM, "arena %s: there is no such file; is CPAGENT_ARENA right?", path);
	if (rc)
		return fail_arena(rc, "arena", path);
	*cp = calloc(1, sizeof **cp);
	if (!*cp) {
		arena_unmap(a);
		return fail(CPA_ERR_MEMORY, "cpa_open: out of memory");
	}
	(*cp)->arena = a;
	(*cp)->incarnation = __atomic_load_n(&a->head->incarnation, __ATOMIC_ACQUIRE);
	return 0;
}

void cpa_close(cpa *cp)
{
	if (!cp)
		return;
	regions_free(cp);
	routes_free(cp);
	memos_free(cp);
	life_free(cp);
	arena_unmap(cp->arena);
	free(cp);
}

int bad_call(const char *call, const cpa *cp, const char *key, int level)
{
	if (!cp)
		return fail(CPA_ERR_ARG, "%s: no handle; has cpa_open() failed?", call);
	if (!key || !*key || strnlen(key, CPA_KEY_MAX + 1) > CPA_KEY_MAX)
		return fail(CPA_ERR_ARG, "%s: a key has 1 to %d bytes", call, CPA_KEY_MAX);
	if (level < 0 || level > (int)ARENA_LEVEL_MAX)
		return fail(CPA_ERR_ARG, "%s: level %d: levels go from 1 to %d", call, level, (int)ARENA_LEVEL_MAX);
	return 0;
}

int bad_vars(const char *call, const char *key, const struct cpa_var *vars, size_t n)
{
	size_t i;

	if (!vars || n == 0 || n > ARENA_VARS_MAX)
		return fail(CPA_ERR_ARG, "%s: key %s: 1 to %u variables, not %zu", call, key, ARENA_VARS_MAX, n);
	for (i = 0; i < n; i++) {
		const char *name = vars[i].name ? vars[i].name : "(no name)";

		if (!vars[i].data && vars[i].count)
			return fail(CPA_ERR_ARG, "%s: key %s: variable %s is NULL", call, key, name);
		if (!arena_type_size(vars[i].type))
			return fail(CPA_ERR_ARG, "%s: key %s: variable %s has no type", call, key, name);
		if (strnlen(name, ARENA_NAME_MAX + 1) > ARENA_NAME_MAX)
			return fail(CPA_ERR_ARG, "%s: key %s: a variable's name is longer than %u bytes", call, key,
				    ARENA_NAME_MAX);
	}
	return 0;
}

int carry(cpa *cp, const char *key, int level)
{
	return level > 1 ? fail_arena(arena_want(cp->arena, key, (uint32_t)level), "key", key) : 0;
}

int cpa_checkpoint_vars(cpa *cp, const char *key, int level, const struct cpa_var *vars, size_t n)
{
	int rc = bad_call("cpa_checkpoint", cp, key, level);

	if (rc)
		return rc;
	notice(cp);
	rc = arena_put(cp->arena, key, as_arena(vars), vars ? n : 0, NULL);
	if (rc == -EINVAL && bad_vars("cpa_checkpoint", key, vars, n) == 0)
		return fail(CPA_ERR_ARG, "cpa_checkpoint: key %s: it is not UTF-8, or its variables are too large", key);
	if (rc == -EINVAL)
		return CPA_ERR_ARG;
	return rc ? fail_arena(rc, "key", key) : carry(cp, key, level);
}

static int misfit(const char *key, const struct cpa_var *vars, const struct arena_misfit *m)
{
	const struct cpa_var *v = &vars[m->var];
	const char *name = v->name ? v->name : "(no name)";

	if (m->absent)
		return fail(CPA_ERR_VAR, "key %s: variable %s is not in the checkpoint", key, name);
	return fail(CPA_ERR_VAR, "key %s: variable %s: the checkpoint has %llu %s, the program %llu %s", key, name,
		    (unsigned long long)m->count, arena_type_name(m->type), (unsigned long long)v->count,
		    arena_type_name(v->type));
}

/* The newest version that a level from `level` on holds, of those that are still here. */
static uint64_t held_version(const struct arena_record *r, uint32_t level)
{
	uint64_t newest = __atomic_load_n(&r->commit, __ATOMIC_ACQUIRE) >> 8, version, found = 0;
	uint32_t l, held;

	for (l = level; l <= ARENA_LEVEL_MAX; l++) {
		held = __atomic_load_n(&r->held[l - 2], __ATOMIC_ACQUIRE);
		version = newest - (uint32_t)((uint32_t)newest - held);
		if (held && version <= newest && version > found)
			found = version;
	}
	return found;
}

int cpa_restore_vars(cpa *cp, const char *key, int level, const struct cpa_var *vars, size_t n)
{
	struct arena_misfit m = {0};
	struct arena_record *r;
	uint64_t version = 0;
	int rc = bad_call("cpa_restore", cp, key, level);

	if (rc)
		return rc;
	arena_say_restores(cp->arena);
	if (bad_vars("cpa_restore", key, vars, n))
		return CPA_ERR_ARG;
	if (level > 1) {
		if (arena_newest(cp->arena, key, &r) == 0)
			return fail_arena(-ENOENT, "key", key);
		version = held_version(r, (uint32_t)level);
		if (version == 0)
			return fail(CPA_ERR_LEVEL, "key %s: level %d does not hold it", key, level);
	}
	/* the copy here is the level's own: a version never changes */
	rc = arena_get(cp->arena, key, (struct arena_var *)(uintptr_t)as_arena(vars), n, version, NULL, &m);
	if (rc == -EMEDIUMTYPE)
		return misfit(key, vars, &m);
	if (rc == -ENOENT && version)
		return fail(CPA_ERR_LEVEL, "key %s: version %llu of level %d is no longer on this node", key,
			    (unsigned long long)version, level);
	return fail_arena(rc, "key", key);
}

int cpa_wait(cpa *cp, const char *key, int level, double timeout_s)
{
	int rc = bad_call("cpa_wait", cp, key, level);
	int64_t ns = -1;

	if (rc)
		return rc;
	if (isnan(timeout_s))
		return fail(CPA_ERR_ARG, "cpa_wait: key %s: the timeout is not a number", key);
	if (timeout_s >= 0 && timeout_s < 1e9)
		ns = (int64_t)(timeout_s * 1e9);
	rc = arena_wait(cp->arena, key, (uint32_t)level, ns);
	if (rc == -ETIMEDOUT)
		return fail(CPA_ERR_TIMEOUT, "key %s: level %d did not hold it within %g s", key, level, timeout_s);
	return fail_arena(rc, "key", key);
}

int cpa_reset(cpa *cp, const char *key)
{
	int rc = bad_call("cpa_reset", cp, key ? key : "*", 1);

	if (rc)
		return rc;
	return fail_arena(key ? arena_reset(cp->arena, key) : arena_reset_all(cp->arena), "key", key ? key : "(all)");
}

const char *cpa_type_name(int type)
{
	return arena_type_name((uint32_t)type);
}

size_t cpa_type_size(int type)
{
	return arena_type_size((uint32_t)type);
}
