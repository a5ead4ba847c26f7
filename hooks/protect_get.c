/* Restores of protected regions: as of variables. What they write, the kernel sees as it sees every write, so the
 * checkpoint after one is right without more. */
#include <stdlib.h>
#include <string.h>

#include "hooks/regions.h"

/* A copy of where the regions are: the restore may take long (a level above), and nobody is kept out meanwhile. */
static struct cpa_var *copy_vars(const struct choice *p)
{
	struct cpa_var *vars;
	size_t i, bytes = p->n * sizeof *vars;
	char *text;

	for (i = 0; i < p->n; i++)
		bytes += strlen(p->vars[i].name) + 1;
	vars = malloc(bytes);
	if (!vars)
		return NULL;
	text = (char *)(vars + p->n);
	for (i = 0; i < p->n; i++) {
		bytes = strlen(p->vars[i].name) + 1;
		memcpy(text, p->vars[i].name, bytes);
		vars[i] = (struct cpa_var){text, p->vars[i].data, p->vars[i].count, p->vars[i].type};
		text += bytes;
	}
	return vars;
}

static int restore(cpa *cp, const char *call, const char *key, int level, const char *const *names, size_t n)
{
	struct cpa_var *vars = NULL;
	struct regions *r;
	struct choice p = {0};
	size_t chosen;
	int rc = bad_call(call, cp, key, level);

	if (rc)
		return rc;
	notice(cp);
	r = regions_of(cp);
	if (!r)
		return fail(CPA_ERR_MEMORY, "%s: out of memory", call);
	rc = regions_enter(r, call);
	if (rc)
		return rc;
	rc = choice_make(&p, r, call, names, n);
	if (!rc)
		rc = choice_check(&p, r, 1);
	if (!rc && !(vars = copy_vars(&p)))
		rc = fail(CPA_ERR_MEMORY, "%s: out of memory", call);
	chosen = p.n;
	choice_free(&p);
	regions_leave(cp, r);
	if (!rc)
		rc = cpa_restore_vars(cp, key, level, vars, chosen);
	free(vars);
	return rc;
}

int cpa_restore_protected(cpa *cp, const char *key, int level)
{
	return restore(cp, "cpa_restore_protected", key, level, NULL, 0);
}

int cpa_restore_regions(cpa *cp, const char *key, int level, const char *const *names, size_t n)
{
	if (!names)
		return fail(CPA_ERR_ARG, "cpa_restore_regions: no names");
	return restore(cp, "cpa_restore_regions", key, level, names, n);
}
