/* What cpagent.f90 declares: arguments as C has them, and results go to the caller. */
#include <stdlib.h>
#include <string.h>

#include "hooks/fortran/descriptors.h"

void cpa_f_strerror(int code, char *out, int *length)
{
	const char *sentence = cpaf_said[0] ? cpaf_said : cpa_strerror(code);
	size_t n = strnlen(sentence, PATH - 1);

	memcpy(out, sentence, n);
	*length = (int)n;
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

static void with_vars(vars_call *call, const struct cpaf_handle *h, const text *key, int64_t how,
		      const CFI_cdesc_t *list, int *ierr)
{
	struct cpa_var few[FEW], *vars;
	char k[NAME];
	size_t n;
	int rc;

	vars = cpaf_table(list, few, &n, &rc);
	if (vars)
		rc = call(h->cp, cpaf_text(key, k, sizeof k), how, vars, n);
	if (vars != few)
		free(vars);
	cpaf_tell_said(rc, ierr);
}

void cpa_f_checkpoint(const struct cpaf_handle *h, const text *key, int level, const CFI_cdesc_t *list, int *ierr)
{
	with_vars(checkpoint, h, key, level, list, ierr);
}

void cpa_f_restore(const struct cpaf_handle *h, const text *key, int level, const CFI_cdesc_t *list, int *ierr)
{
	with_vars(restore, h, key, level, list, ierr);
}

void cpa_f_restore_version(const struct cpaf_handle *h, const text *key, int64_t version, const CFI_cdesc_t *list,
			   int *ierr)
{
	with_vars(restore_version, h, key, version, list, ierr);
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

/* ---- protected regions ---- */

void cpa_f_protect(const struct cpaf_handle *h, const text *name, const CFI_cdesc_t *x, int *ierr)
{
	struct cpa_var region;
	char buf[NAME];
	const char *called = cpaf_text(name, buf, sizeof buf);
	int rc = cpaf_region(called, x, &region);

	if (!rc)
		rc = cpa_protect(h->cp, called, region.data, region.count, (int)region.type);
	cpaf_tell_said(rc, ierr);
}

void cpa_f_unprotect(const struct cpaf_handle *h, const text *name, int *ierr)
{
	char n[NAME];

	cpaf_tell(cpa_unprotect(h->cp, cpaf_text(name, n, sizeof n)), ierr);
}

void cpa_f_checkpoint_protected(const struct cpaf_handle *h, const text *key, int level, int *ierr)
{
	char k[NAME];

	cpaf_tell(cpa_checkpoint_protected(h->cp, cpaf_text(key, k, sizeof k), level), ierr);
}

void cpa_f_restore_protected(const struct cpaf_handle *h, const text *key, int level, int *ierr)
{
	char k[NAME];

	cpaf_tell(cpa_restore_protected(h->cp, cpaf_text(key, k, sizeof k), level), ierr);
}

int cpa_f_tracking(const struct cpaf_handle *h, const text *name)
{
	char n[NAME];

	cpaf_said[0] = '\0';
	return cpa_tracking(h->cp, cpaf_text(name, n, sizeof n), NULL);
}

/* ---- files ---- */

/* level < 0: a path to write to; else one that the newest version was written to. */
void cpa_f_path(const struct cpaf_handle *h, const text *key, int level, char *out, int *length, int *ierr)
{
	char k[NAME], path[PATH] = "";
	const char *called = cpaf_text(key, k, sizeof k);
	int rc = level < 0 ? cpa_route_file(h->cp, called, path, sizeof path) :
			     cpa_restore_file(h->cp, called, level, path, sizeof path);

	*length = rc < 0 ? 0 : (int)strnlen(path, PATH - 1);
	memcpy(out, path, (size_t)*length);
	cpaf_tell(rc, ierr);
}

void cpa_f_file_done(const struct cpaf_handle *h, const text *key, int level, int *ierr)
{
	char k[NAME];

	cpaf_tell(cpa_file_done(h->cp, cpaf_text(key, k, sizeof k), level), ierr);
}
