/* What regions.f90 declares: protected regions and files. */
#include <stdlib.h>

#include "hooks/fortran/descriptors.h"

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

void cpa_f_protect_all(const struct cpaf_handle *h, const CFI_cdesc_t *list, int *ierr)
{
	struct table t;
	size_t i;
	int rc = cpaf_table(&t, list, REFUSED);

	for (i = 0; i < t.n && !rc; i++)
		rc = cpa_protect(h->cp, t.vars[i].name, t.vars[i].data, t.vars[i].count, (int)t.vars[i].type);
	cpaf_table_free(&t);
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

typedef int regions_call(cpa *cp, const char *key, int level, const char *const *names, size_t n);

static void with_names(regions_call *call, const struct cpaf_handle *h, const text *key, int level,
		       const CFI_cdesc_t *names, int *ierr)
{
	size_t i, n = (size_t)names->dim[0].extent;
	char k[NAME], (*texts)[NAME] = malloc((n + 1) * sizeof *texts);
	const char **list = malloc((n + 1) * sizeof *list);
	text one = {.elem_len = names->elem_len};
	int rc;

	cpaf_said[0] = '\0';
	for (i = 0; texts && list && i < n; i++) {
		one.base_addr = (char *)names->base_addr + (ptrdiff_t)i * names->dim[0].sm;
		list[i] = cpaf_text(&one, texts[i], sizeof *texts);
	}
	if (texts && list)
		rc = call(h->cp, cpaf_text(key, k, sizeof k), level, list, n);
	else
		rc = cpaf_refuse(CPA_ERR_MEMORY, "a list of", "regions", "there is no memory for it");
	free(texts);
	free(list);
	cpaf_tell_said(rc, ierr);
}

void cpa_f_checkpoint_regions(const struct cpaf_handle *h, const text *key, int level, const CFI_cdesc_t *names,
			      int *ierr)
{
	with_names(cpa_checkpoint_regions, h, key, level, names, ierr);
}

void cpa_f_restore_regions(const struct cpaf_handle *h, const text *key, int level, const CFI_cdesc_t *names, int *ierr)
{
	with_names(cpa_restore_regions, h, key, level, names, ierr);
}

void cpa_f_tracking(const struct cpaf_handle *h, const text *name, const char **why, int *tracked)
{
	char n[NAME];

	*why = NULL;
	cpaf_said[0] = '\0';
	*tracked = cpa_tracking(h->cp, cpaf_text(name, n, sizeof n), why);
}

/* ---- files ---- */

/* level < 0: a path to write to; else one that the newest version was written to. Into path of PATH bytes. */
void cpa_f_path(const struct cpaf_handle *h, const text *key, int level, char *path, int *ierr)
{
	char k[NAME];
	const char *called = cpaf_text(key, k, sizeof k);
	int rc = level < 0 ? cpa_route_file(h->cp, called, path, PATH) :
			     cpa_restore_file(h->cp, called, level, path, PATH);

	if (rc < 0)
		path[0] = '\0';
	cpaf_tell(rc, ierr);
}

void cpa_f_file_done(const struct cpaf_handle *h, const text *key, int level, int *ierr)
{
	char k[NAME];

	cpaf_tell(cpa_file_done(h->cp, cpaf_text(key, k, sizeof k), level), ierr);
}
