/* cpa_restore(): which version is meant by a level, where it is, and why it does not fit. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "hooks/restore.h"
#include "lib/arena/mailbox.h"

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

static int fetch_failed(const char *key, int level, int rc, const struct arena_ask *answer)
{
	const char *why = answer->why;

	if (rc == -ENOTCONN)
		return fail(CPA_ERR_LEVEL,
			    "key %s: no agent is there to bring it from level %d; start the program with cpagent run",
			    key, level);
	if (rc == -ETIMEDOUT)
		return fail(CPA_ERR_TIMEOUT,
			    "key %s: the agent did not bring it from level %d within %d s; see cpagent status", key,
			    level, FETCH_S);
	if (rc == -ESTALE)
		return fail(CPA_ERR_BUSY, "key %s: other processes of this job fetch so many keys that this one was "
					  "replaced again and again", key);
	if (rc != -EBADE)
		return fail_arena(rc, "key", key);
	if (answer->result == AGENT_DENIED)
		return fail(CPA_ERR_DENIED, "key %s: level %d: %s", key, level, why);
	if (answer->result == AGENT_TIMEOUT)
		return fail(CPA_ERR_TIMEOUT, "key %s: level %d: %s", key, level, why);
	if (answer->result != AGENT_NOTHING && answer->result != AGENT_NOBODY)
		return fail(CPA_ERR_SYSTEM, "key %s: level %d: %s", key, level, why);
	return fail(CPA_ERR_LEVEL, "key %s: level %d does not hold it%s%s", key, level, *why ? ": " : "", why);
}

/* Is this a process that came back from a snapshot, and has not committed key since? Then a level above may hold
 * versions that it has not come to again. */
static int may_be_behind(const cpa *cp, const char *key)
{
	const struct arena_header *h = cp->arena->head;
	struct arena_reader r = {.fd = -1, .image = cp->arena->base, .image_bytes = cp->arena->file_bytes};
	struct arena_key k = {0};
	int behind;

	if (__atomic_load_n(&h->start, __ATOMIC_RELAXED) != ARENA_FROM_SNAPSHOT || arena_read_open(&r) != 0)
		return 0;
	behind = arena_read_key(&r, key, &k) != 0 || k.incarnation < __atomic_load_n(&h->incarnation, __ATOMIC_RELAXED);
	arena_key_free(&k);
	return behind;
}

/* From that level, or a higher one. What is still here and held there is the same: in one life a version never
 * changes. */
static int from_level(cpa *cp, const char *key, int level, struct taker *t)
{
	struct arena_ask answer = {0};
	struct arena_record *r;
	uint64_t version = 0, here;
	int rc = -ENOENT;

	if (arena_newest(cp->arena, key, &r))
		version = held_version(r, (uint32_t)level);
	here = version;
	if (version && !may_be_behind(cp, key))
		rc = t->take(t, cp->arena, key, version);
	if (rc == -ENOENT || rc == -EBADMSG)
		rc = fetch(cp, (uint32_t)level, key, t, &version, &answer);
	else
		return fail_arena(rc, "key", key);
	if (here && rc < 0 && rc != -EMEDIUMTYPE && t->take(t, cp->arena, key, here) >= 0)
		return 0;
	return rc >= 0 || rc == -EMEDIUMTYPE ? fail_arena(rc, "key", key) : fetch_failed(key, level, rc, &answer);
}

/* Is it worth asking for what is not here? What the program itself has forgotten is meant to be absent, and in a first
 * life nothing else can be. */
static int may_be_above(const cpa *cp, int rc)
{
	const struct arena_header *h = cp->arena->head;

	if (rc == -EBADMSG)
		return 1;
	return rc == -ENOENT && !__atomic_load_n(&cp->forgot, __ATOMIC_RELAXED) &&
	       (__atomic_load_n(&h->incarnation, __ATOMIC_RELAXED) ||
		__atomic_load_n(&h->start, __ATOMIC_RELAXED) != ARENA_FRESH);
}

/* What take() gave here is an error: is there another version above? */
static __attribute__((noinline)) int from_above(cpa *cp, const char *key, struct taker *t, int rc)
{
	uint64_t newest = arena_newest(cp->arena, key, NULL), version;
	struct arena_ask answer = {0};
	int above = fetch(cp, 0, key, t, &version, &answer);

	if (above == -EMEDIUMTYPE)
		return fail_arena(above, "key", key);
	if (above < 0)
		return fail_arena(rc, "key", key);
	newest = newest > version ? newest - version : 0;
	return newest > INT_MAX ? INT_MAX : (int)newest;
}

int find_version(cpa *cp, const char *key, int level, struct taker *t)
{
	int rc;

	level = (int)arena_level(cp->arena, (uint32_t)level);
	if (level > 1)
		return from_level(cp, key, level, t);
	rc = t->take(t, cp->arena, key, 0);
	return level == 0 && may_be_above(cp, rc) ? from_above(cp, key, t, rc) : fail_arena(rc, "key", key);
}

int restore_with(cpa *cp, const char *key, int level, struct taker *t)
{
	notice(cp);
	arena_say_restores(cp->arena);
	return find_version(cp, key, level, t);
}

/* ---- into variables ---- */

struct vars_taker {
	struct taker t;
	struct arena_var *vars;
	size_t n;
	struct arena_misfit misfit;
};

static int take_vars(struct taker *t, struct arena *a, const char *key, uint64_t version)
{
	struct vars_taker *v = (struct vars_taker *)(void *)t;

	return arena_get(a, key, v->vars, v->n, version, NULL, &v->misfit);
}

static int misfit(const char *key, const struct cpa_var *vars, const struct arena_misfit *m)
{
	const struct cpa_var *v = &vars[m->var];
	const char *name = v->name ? v->name : "(no name)";

	if (m->absent)
		return fail(CPA_ERR_VAR, "key %s: variable %s is not in the checkpoint", key, name);
	return fail(CPA_ERR_VAR, "key %s: variable %s: the checkpoint has %s%llu %s, the program %llu %s", key, name,
		    m->placed ? "none of that name, and at its place " : "", (unsigned long long)m->count,
		    arena_type_name(m->type), (unsigned long long)v->count, arena_type_name(v->type));
}

static struct vars_taker taker_of(const struct cpa_var *vars, size_t n)
{
	return (struct vars_taker){.t = {take_vars}, .vars = (struct arena_var *)(uintptr_t)as_arena(vars), .n = n};
}

int cpa_restore_vars(cpa *cp, const char *key, int level, const struct cpa_var *vars, size_t n)
{
	struct vars_taker v = taker_of(vars, n);
	int rc = bad_call("cpa_restore", cp, key, level);

	if (!rc)
		rc = bad_vars("cpa_restore", key, vars, n);
	if (rc)
		return rc;
	rc = restore_with(cp, key, level, &v.t);
	return rc == CPA_ERR_VAR ? misfit(key, vars, &v.misfit) : rc;
}

int cpa_restore_version(cpa *cp, const char *key, uint64_t version, const struct cpa_var *vars, size_t n)
{
	struct vars_taker v = taker_of(vars, n);
	int rc = bad_call("cpa_restore_version", cp, key, 1);

	if (!rc)
		rc = bad_vars("cpa_restore_version", key, vars, n);
	if (!rc && version == 0)
		rc = fail(CPA_ERR_ARG, "cpa_restore_version: key %s: versions begin with 1", key);
	if (rc)
		return rc;
	notice(cp);
	arena_say_restores(cp->arena);
	rc = v.t.take(&v.t, cp->arena, key, version);
	if (rc == -EMEDIUMTYPE)
		return misfit(key, vars, &v.misfit);
	if (rc == -ENOENT)
		return fail(CPA_ERR_KEY, "key %s: version %llu is not kept on this node", key,
			    (unsigned long long)version);
	return fail_arena(rc, "key", key);
}
