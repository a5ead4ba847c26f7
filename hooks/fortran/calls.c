/* What keys.f90 and base.f90 declare: arguments as C has them, and results go to the caller. */
#include <stdlib.h>
#include <string.h>

#include "hooks/fortran/descriptors.h"

void cpa_f_strerror(int code, const char **text)
{
	*text = cpaf_said[0] ? cpaf_said : cpa_strerror(code);
}

/* ---- keys ---- */

void cpa_f_open(struct cpaf_handle *h, const text *where, const text *name, const int64_t *budget, int *ierr)
{
	char w[PATH], n[NAME];

	h->cp = NULL;
	cpaf_tell(cpa_open_named(&h->cp, cpaf_text(where, w, sizeof w), cpaf_text(name, n, sizeof n),
				 budget ? (uint64_t)*budget : 0),
		  ierr);
}

void cpa_f_close(struct cpaf_handle *h)
{
	cpa_close(h->cp);
	h->cp = NULL;
}

typedef int vars_call(cpa *cp, const char *key, int64_t how, const struct cpa_var *vars, size_t n);

static int checkpoint(cpa *cp, const char *key, int64_t level, const struct cpa_var *vars, size_t n)
{
	return cpa_checkpoint_vars(cp, key, (int)level, vars, n);
}

static int restore(cpa *cp, const char *key, int64_t level, const struct cpa_var *vars, size_t n)
{
	return cpa_restore_vars(cp, key, (int)level, vars, n);
}

static int restore_version(cpa *cp, const char *key, int64_t version, const struct cpa_var *vars, size_t n)
{
	return cpa_restore_version(cp, key, (uint64_t)version, vars, n);
}

static void with_vars(vars_call *call, enum gaps gaps, const struct cpaf_handle *h, const text *key, int64_t how,
		      const CFI_cdesc_t *list, int *ierr)
{
	struct table t;
	char k[NAME];
	int rc = cpaf_table(&t, list, gaps);

	if (!rc)
		rc = call(h->cp, cpaf_text(key, k, sizeof k), how, t.vars, t.n);
	if (rc >= 0 && gaps == LEFT_OUT)
		cpaf_table_spread(&t);
	cpaf_table_free(&t);
	cpaf_tell_said(rc, ierr);
}

void cpa_f_checkpoint(const struct cpaf_handle *h, const text *key, int level, const CFI_cdesc_t *list, int *ierr)
{
	with_vars(checkpoint, GATHERED, h, key, level, list, ierr);
}

void cpa_f_restore(const struct cpaf_handle *h, const text *key, int level, const CFI_cdesc_t *list, int *ierr)
{
	with_vars(restore, LEFT_OUT, h, key, level, list, ierr);
}

void cpa_f_restore_version(const struct cpaf_handle *h, const text *key, int64_t version, const CFI_cdesc_t *list,
			   int *ierr)
{
	with_vars(restore_version, LEFT_OUT, h, key, version, list, ierr);
}

void cpa_f_reset(const struct cpaf_handle *h, const text *key, int *ierr)
{
	char k[NAME];

	cpaf_tell(cpa_reset(h->cp, cpaf_text(key, k, sizeof k)), ierr);
}

void cpa_f_keep(const struct cpaf_handle *h, const text *key, int versions, int *ierr)
{
	char k[NAME];

	cpaf_tell(cpa_keep(h->cp, cpaf_text(key, k, sizeof k), versions), ierr);
}

void cpa_f_wait(const struct cpaf_handle *h, const text *key, int level, double timeout, int *ierr)
{
	char k[NAME];

	cpaf_tell(cpa_wait(h->cp, cpaf_text(key, k, sizeof k), level, timeout), ierr);
}

/* How many elements of a variable; -1: there is none of that name. */
static int64_t count_of(const struct cpa_entry *e, const char *name)
{
	size_t i;

	for (i = 0; i < e->n; i++)
		if (strcmp(e->vars[i].name, name) == 0)
			return (int64_t)e->vars[i].count;
	return -1;
}

void cpa_f_query(const struct cpaf_handle *h, const text *key, const text *variable, int64_t *count, int64_t *version,
		 int *level, int *ierr)
{
	struct cpa_entry *entry = NULL;
	char k[NAME], v[NAME];
	const char *name = cpaf_text(variable, v, sizeof v);
	int64_t n = 0;
	int rc;

	cpaf_said[0] = '\0';
	rc = cpa_query(h->cp, cpaf_text(key, k, sizeof k), &entry);
	if (rc >= 0 && name)
		n = count_of(entry, name);
	if (rc >= 0 && n < 0)
		rc = cpaf_refuse(CPA_ERR_VAR, "variable", name, "it is not in the checkpoint");
	if (rc >= 0) {
		if (count)
			*count = n;
		if (version)
			*version = (int64_t)entry->version;
		if (level)
			*level = entry->level;
	}
	cpa_list_free(entry);
	cpaf_tell_said(rc, ierr);
}

/* One key, or all. */
void cpa_f_list(const struct cpaf_handle *h, const text *key, struct cpa_entry **list, int *n, int *ierr)
{
	char k[NAME];
	int rc;

	*list = NULL;
	rc = key ? cpa_query(h->cp, cpaf_text(key, k, sizeof k), list) : cpa_list(h->cp, list);
	*n = rc < 0 ? 0 : key ? 1 : rc;
	cpaf_tell(rc, ierr);
}

void cpa_f_key(const text *file, const text *procedure, const text *words, char *key)
{
	char f[PATH], p[NAME], w[PATH];

	cpa_key_join(key, cpaf_text(file, f, sizeof f), cpaf_text(procedure, p, sizeof p), cpaf_text(words, w, sizeof w));
}
