/* What memos.f90 declares. */
#include "hooks/fortran/descriptors.h"

/* The outputs are borrowed until the end: they are where they are, and in one piece. */
int cpa_f_memo_begin(const struct cpaf_handle *h, struct cpaf_memo *m, const text *name, const CFI_cdesc_t *in,
		     const CFI_cdesc_t *out)
{
	struct table ins, outs = {0};
	char n[NAME];
	int rc = cpaf_table(&ins, in, GATHERED);

	m->m = NULL;
	if (!rc)
		rc = cpaf_table(&outs, out, REFUSED);
	if (!rc)
		rc = cpa_memo_begin(h->cp, &m->m, cpaf_text(name, n, sizeof n), ins.vars, ins.n, outs.vars, outs.n);
	cpaf_table_free(&ins);
	cpaf_table_free(&outs);
	return rc;
}

void cpa_f_memo_end(struct cpaf_memo *m, int *ierr)
{
	cpa_memo *ended = m->m;

	m->m = NULL;
	cpaf_tell(cpa_memo_end(ended), ierr);
}

void cpa_f_memo_drop(struct cpaf_memo *m)
{
	cpa_memo_drop(m->m);
	m->m = NULL;
}

void cpa_f_memo_enable(const struct cpaf_handle *h, int on, const text *name, int *ierr)
{
	char n[NAME];

	cpaf_tell(cpa_memo_enable(h->cp, cpaf_text(name, n, sizeof n), on), ierr);
}

void cpa_f_memo_set(const struct cpaf_handle *h, int option, int64_t value, int *ierr)
{
	cpaf_tell(cpa_memo_set(h->cp, (enum cpa_memo_option)option, (uint64_t)value), ierr);
}

void cpa_f_memo_reset(const struct cpaf_handle *h, const text *name, int *ierr)
{
	char n[NAME];

	cpaf_tell(cpa_memo_reset(h->cp, cpaf_text(name, n, sizeof n)), ierr);
}

void cpa_f_memo_list(const struct cpaf_handle *h, struct cpa_memo_stats **list, int *n, int *ierr)
{
	int rc;

	*list = NULL;
	rc = cpa_memo_list(h->cp, list);
	*n = rc < 0 ? 0 : rc;
	cpaf_tell(rc, ierr);
}
