/* The hooks that programs call: checks arguments, maps errors, and leaves the work to lib/arena. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "hooks/life.h"
#include "lib/arena/mailbox.h"
#include "lib/arena/walk.h"

_Static_assert(sizeof(struct cpa_var) == sizeof(struct arena_var) &&
	       offsetof(struct cpa_var, type) == offsetof(struct arena_var, type) &&
	       offsetof(struct cpa_var, count) == offsetof(struct arena_var, count), "one variable, two names");
_Static_assert((int)CPA_F128 == (int)ARENA_F128 && (int)CPA_C128 == (int)ARENA_C128 &&
	       (int)CPA_BYTE == (int)ARENA_BYTES && (int)CPA_U64 == (int)ARENA_U64, "one set of types, two names");

int bad_call(const char *call, const cpa *cp, const char *key, int level)
{
	if (!cp)
		return fail(CPA_ERR_ARG, "%s: no handle; has cpa_open() failed, or is it closed?", call);
	if (!key || !*key || strnlen(key, CPA_KEY_MAX + 1) > CPA_KEY_MAX)
		return fail(CPA_ERR_ARG, "%s: a key has 1 to %d bytes", call, CPA_KEY_MAX);
	if (is_memo(key))
		return fail(CPA_ERR_ARG, "%s: key %s: keys that begin with \"%s\" are the library's own", call, key,
			    MEMO_PREFIX);
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

#define MEASURED_FROM (64 << 10) /* bytes: below, two looks at the clock would be felt */

static uint64_t bytes_of(const struct cpa_var *vars, size_t n)
{
	uint64_t bytes = 0;
	size_t i;

	for (i = 0; i < n; i++)
		bytes += vars[i].count * arena_type_size(vars[i].type);
	return bytes;
}

/* A commit whose cost somebody wants to know; of a small one it is estimated. */
static int put_counted(cpa *cp, const char *key, const struct cpa_var *vars, size_t n)
{
	uint64_t bytes = bytes_of(vars, n);
	int64_t began = bytes < MEASURED_FROM ? 0 : life_clock(cp);
	int rc = memos_put(cp, key, as_arena(vars), n);

	if (!rc)
		life_cost(cp, began ? life_clock(cp) - began : 150 + (int64_t)(bytes / 8));
	return rc;
}

int cpa_checkpoint_vars(cpa *cp, const char *key, int level, const struct cpa_var *vars, size_t n)
{
	int rc;

	/* the key's length is the arena's to measure: what is wrong with it is said below */
	if (!cp || !key || is_memo(key) || level < 0 || level > (int)ARENA_LEVEL_MAX)
		return bad_call("cpa_checkpoint", cp, key, level);
	notice(cp);
	if (!vars)
		n = 0;
	rc = life_counts(cp) ? put_counted(cp, key, vars, n) : memos_put(cp, key, as_arena(vars), n);
	if (__builtin_expect(rc == 0 && level <= 1, 1))
		return 0;
	if (rc == -EINVAL && bad_call("cpa_checkpoint", cp, key, level) == 0 &&
	    bad_vars("cpa_checkpoint", key, vars, n) == 0)
		return fail(CPA_ERR_ARG, "cpa_checkpoint: key %s: it is not UTF-8, or its variables are too large",
			    key);
	if (rc == -EINVAL)
		return CPA_ERR_ARG;
	return rc ? fail_arena(rc, "key", key) : carry(cp, key, level);
}

int cpa_keep(cpa *cp, const char *key, int versions)
{
	int rc = bad_call("cpa_keep", cp, key, 1);

	if (rc)
		return rc;
	if (versions < 1 || versions > (int)ARENA_SLOTS_MAX - 1)
		return fail(CPA_ERR_ARG, "cpa_keep: key %s: %d versions: 1 to %d can be kept", key, versions,
			    (int)ARENA_SLOTS_MAX - 1);
	notice(cp);
	return fail_arena(arena_keep(cp->arena, key, (uint32_t)versions), "key", key);
}

int cpa_wait(cpa *cp, const char *key, int level, double timeout_s)
{
	int rc = bad_call("cpa_wait", cp, key, level);

	if (rc)
		return rc;
	if (isnan(timeout_s))
		return fail(CPA_ERR_ARG, "cpa_wait: key %s: the timeout is not a number", key);
	notice(cp);
	rc = arena_wait(cp->arena, key, (uint32_t)level, timeout_ns(timeout_s));
	if (rc == -ETIMEDOUT)
		return fail(CPA_ERR_TIMEOUT, "key %s: level %d did not hold it within %g s", key, level, timeout_s);
	return fail_arena(rc, "key", key);
}

/* Key by key, so that other processes go on with theirs. */
static int reset_keys(struct arena *a)
{
	struct arena_found *list = NULL;
	size_t n = 0, i;
	int rc = a->read_only ? -EACCES : arena_find(a, "", &list, &n);

	for (i = 0; i < n && !rc; i++) {
		if (!is_memo(list[i].key))
			rc = arena_reset(a, list[i].key);
		if (rc == -ENOENT) /* another process was faster */
			rc = 0;
	}
	arena_found_free(list);
	return rc;
}

int cpa_reset(cpa *cp, const char *key)
{
	int rc = bad_call("cpa_reset", cp, key ? key : "(all)", 1);

	if (rc)
		return rc;
	notice(cp);
	rc = key ? arena_reset(cp->arena, key) : reset_keys(cp->arena);
	if (!rc)
		__atomic_store_n(&cp->forgot, 1, __ATOMIC_RELAXED);
	return fail_arena(rc, "key", key ? key : "(all)");
}

const char *cpa_type_name(int type)
{
	return arena_type_name((uint32_t)type);
}

size_t cpa_type_size(int type)
{
	return arena_type_size((uint32_t)type);
}
