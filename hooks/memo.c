/* A computation's memo: is its result known, and keeping it. Whatever fails here, the program computes as if there were
 * no memo, and what it was going to compute from is as it was: a result is checked whole before a byte of it is copied. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hooks/memo_impl.h"

#define FEW 16            /* variables for which the stack has room */
#define BLOCKED (32 << 10) /* bytes of a result beyond which the arena checks block by block, while it copies */

struct cpa_memo {
	cpa *cp;
	void *inputs; /* copies of them, for CPA_MEMO_COMPARE */
	char key[CPA_KEY_MAX + 1];
	size_t n;
	struct arena_var vars[]; /* the outputs, then the inputs; then the inputs' names */
};

/* ---- arguments ---- */

static int bad_side(const char *name, const char *kind, const struct cpa_var *vars, size_t n, uint64_t *bytes)
{
	uint64_t length;
	size_t i;

	if (n && !vars)
		return fail(CPA_ERR_ARG, "cpa_memo_begin: %s: its %s are NULL", name, kind);
	for (i = 0; i < n; i++) {
		const char *var = vars[i].name ? vars[i].name : "(no name)";

		if (!vars[i].data && vars[i].count)
			return fail(CPA_ERR_ARG, "cpa_memo_begin: %s: %s %s is NULL", name, kind, var);
		if (!arena_type_size(vars[i].type))
			return fail(CPA_ERR_ARG, "cpa_memo_begin: %s: %s %s has no type", name, kind, var);
		if (strnlen(var, ARENA_NAME_MAX + 1) > ARENA_NAME_MAX)
			return fail(CPA_ERR_ARG, "cpa_memo_begin: %s: a variable's name is longer than %u bytes", name,
				    ARENA_NAME_MAX);
		if (__builtin_mul_overflow(vars[i].count, arena_type_size(vars[i].type), &length) ||
		    length > ARENA_HEAP_MAX || (*bytes += length) > ARENA_HEAP_MAX)
			return fail(CPA_ERR_ARG, "cpa_memo_begin: %s: %s %s is too large", name, kind, var);
	}
	return 0;
}

static int bad_begin(const char *name, const struct cpa_var *in, size_t n_in, const struct cpa_var *out, size_t n_out,
		     uint64_t *out_bytes)
{
	size_t length = name ? strnlen(name, MEMO_NAME_MAX + 1) : 0;
	uint64_t in_bytes = 0;

	if (length == 0 || length > MEMO_NAME_MAX || !arena_utf8(name, length))
		return fail(CPA_ERR_ARG, "cpa_memo_begin: a name has 1 to %d bytes of UTF-8", MEMO_NAME_MAX);
	if (n_out == 0 || n_out > ARENA_VARS_MAX || n_in > ARENA_VARS_MAX || n_in + n_out > ARENA_VARS_MAX)
		return fail(CPA_ERR_ARG, "cpa_memo_begin: %s: at least one output and at most %u variables, not %zu inputs "
			    "and %zu outputs", name, ARENA_VARS_MAX, n_in, n_out);
	return bad_side(name, "input", in, n_in, &in_bytes) ? CPA_ERR_ARG :
							      bad_side(name, "output", out, n_out, out_bytes);
}

/* ---- is it known? ---- */

/* Results are found by the names of their outputs; one that occurs twice, or looks like an input's, goes by its place. */
static void as_outputs(struct arena_var *vars, const struct cpa_var *out, size_t n)
{
	size_t i, j;

	for (i = 0; i < n; i++) {
		vars[i] = (struct arena_var){out[i].name, out[i].data, out[i].count, out[i].type};
		for (j = 0; j < i && vars[i].name; j++)
			if (vars[j].name && strcmp(vars[j].name, vars[i].name) == 0)
				vars[i].name = NULL;
		if (vars[i].name && strncmp(vars[i].name, MEMO_INPUT, sizeof MEMO_INPUT - 1) == 0)
			vars[i].name = NULL;
	}
}

/* Room for copies of the inputs, one behind the other: vars[] become inputs that lie there. names: 16 bytes each. */
static void *as_inputs(struct arena_var *vars, const struct cpa_var *in, size_t n, char (*names)[16])
{
	uint64_t bytes = 0;
	uint8_t *room;
	size_t i;

	for (i = 0; i < n; i++)
		bytes += in[i].count * arena_type_size(in[i].type);
	room = malloc(bytes ? bytes : 1);
	for (i = 0, bytes = 0; room && i < n; i++) {
		snprintf(names[i], sizeof *names, MEMO_INPUT "%u", (unsigned)i);
		vars[i] = (struct arena_var){names[i], room + bytes, in[i].count, in[i].type};
		bytes += in[i].count * arena_type_size(in[i].type);
	}
	return room;
}

/* 1: the result was made from these very inputs. 0: not so, or it does not say. */
static int same_inputs(cpa *cp, const char *key, uint64_t version, const struct cpa_var *in, size_t n)
{
	char (*names)[16] = malloc(n * sizeof *names);
	struct arena_var *vars = malloc(n * sizeof *vars);
	void *room = names && vars ? as_inputs(vars, in, n, names) : NULL;
	int same = room && arena_get(cp->arena, key, vars, n, version, NULL, NULL) == 0;
	size_t i;

	for (i = 0; same && i < n; i++)
		same = memo_same(in[i].type, in[i].count, in[i].data, vars[i].data);
	free(room);
	free(vars);
	free(names);
	return same;
}

/* Does it lack? Then there is no result; everything else is an error. */
static int lacks(int rc)
{
	return rc == -ENOENT || rc == -EBADMSG || rc == -EMEDIUMTYPE;
}

/* 1: known, the outputs are filled in. 0: not. Only the newest version counts: one before it may have been made from
 * other inputs. */
static int recall(cpa *cp, struct memos *ms, const char *key, const struct cpa_var *in, size_t n_in,
		  struct arena_var *out, size_t n_out, uint64_t out_bytes)
{
	uint64_t version = arena_newest(cp->arena, key, NULL);
	int rc = 0;

	if (!version)
		return 0;
	if (__atomic_load_n(&ms->compare, __ATOMIC_RELAXED) && n_in && !same_inputs(cp, key, version, in, n_in))
		return 0;
	if (out_bytes + 8 * n_out >= BLOCKED)
		rc = arena_whole(cp->arena, key, version);
	if (!rc)
		rc = arena_get(cp->arena, key, out, n_out, version, NULL, NULL);
	if (rc)
		return lacks(rc) ? 0 : rc;
	if (!cp->arena->read_only)
		(void)arena_use(cp->arena, key, NULL);
	return 1;
}

/* What cpa_memo_end() needs. The inputs may be gone by then: a computation in place. */
static cpa_memo *make(cpa *cp, const char *key, const struct cpa_var *in, size_t n_in, const struct cpa_var *out,
		      size_t n_out)
{
	size_t bytes = sizeof(cpa_memo) + (n_out + n_in) * (sizeof(struct arena_var) + 16), i;
	cpa_memo *m = malloc(bytes);

	if (!m)
		return NULL;
	m->cp = cp;
	m->inputs = NULL;
	m->n = n_out + n_in;
	memcpy(m->key, key, sizeof m->key);
	as_outputs(m->vars, out, n_out);
	if (n_in)
		m->inputs = as_inputs(m->vars + n_out, in, n_in, (char (*)[16])(m->vars + m->n));
	if (n_in && !m->inputs) {
		free(m);
		return NULL;
	}
	for (i = 0; i < n_in; i++)
		if (in[i].count)
			memcpy(m->vars[n_out + i].data, in[i].data, in[i].count * arena_type_size(in[i].type));
	return m;
}

static int look_up(cpa *cp, struct memos *ms, const char *key, const struct cpa_var *in, size_t n_in,
		   const struct cpa_var *out, size_t n_out, uint64_t out_bytes)
{
	struct arena_var few[FEW], *vars = n_out > FEW ? malloc(n_out * sizeof *vars) : few;
	int rc = -ENOMEM;

	if (vars) {
		as_outputs(vars, out, n_out);
		rc = recall(cp, ms, key, in, n_in, vars, n_out, out_bytes);
	}
	if (vars != few)
		free(vars);
	return rc;
}

int cpa_memo_begin(cpa *cp, cpa_memo **m, const char *name, const struct cpa_var *in, size_t n_in,
		   const struct cpa_var *out, size_t n_out)
{
	char key[CPA_KEY_MAX + 1];
	uint64_t out_bytes = 0;
	struct memos *ms;
	int rc;

	if (!m)
		return fail(CPA_ERR_ARG, "cpa_memo_begin: no place for the memo");
	*m = NULL;
	if (!cp)
		return fail(CPA_ERR_ARG, "cpa_memo_begin: no handle; has cpa_open() failed, or is it closed?");
	notice(cp);
	if (bad_begin(name, in, n_in, out, n_out, &out_bytes) != 0)
		return CPA_ERR_ARG;
	ms = memos_of(cp);
	if (!ms)
		return fail(CPA_ERR_MEMORY, "cpa_memo_begin: %s: out of memory", name);
	if (!memos_on(ms, name))
		return 0;
	memo_key(key, name, in, n_in, out, n_out);
	rc = look_up(cp, ms, key, in, n_in, out, n_out, out_bytes);
	if (rc == 0) {
		*m = make(cp, key, in, __atomic_load_n(&ms->compare, __ATOMIC_RELAXED) ? n_in : 0, out, n_out);
		rc = *m ? 0 : -ENOMEM;
	}
	if (rc >= 0)
		memo_counted(cp, name, rc);
	return fail_arena(rc, "memo", name);
}

/* ---- keeping it ---- */

static uint64_t bytes_of(const cpa_memo *m)
{
	uint64_t bytes = 0;
	size_t i;

	for (i = 0; i < m->n; i++)
		bytes = ((bytes + 7) & ~UINT64_C(7)) + m->vars[i].count * arena_type_size(m->vars[i].type);
	return bytes;
}

static int keep(cpa_memo *m)
{
	uint64_t limit = __atomic_load_n(&m->cp->memos->limit, __ATOMIC_RELAXED), bytes = bytes_of(m);
	struct arena_found before = {0}, now;
	int rc;

	if (limit && bytes > limit)
		return fail(CPA_ERR_FULL, "cpa_memo_end: %s: the result is larger than the limit of all memos", m->key);
	(void)arena_use(m->cp->arena, m->key, &before); /* what there is of it is not to make room for it */
	rc = memos_put(m->cp, m->key, m->vars, m->n);
	if (!rc && arena_use(m->cp->arena, m->key, &now) == 0)
		memo_grown(m->cp, limit, (int64_t)(now.bytes - before.bytes), before.version == 0);
	return fail_arena(rc, "memo", m->key);
}

int cpa_memo_end(cpa_memo *m)
{
	int rc;

	if (!m)
		return 0;
	notice(m->cp);
	rc = keep(m);
	cpa_memo_drop(m);
	return rc;
}

void cpa_memo_drop(cpa_memo *m)
{
	if (!m)
		return;
	free(m->inputs);
	free(m);
}
