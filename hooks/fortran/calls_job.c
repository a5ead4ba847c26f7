/* What cpagent.f90 declares of memos, and of a program and its agent. */
#include <stdlib.h>

#include "hooks/fortran/descriptors.h"

/* ---- memos ---- */

int cpa_f_memo_begin(const struct cpaf_handle *h, struct cpaf_memo *m, const text *name, const CFI_cdesc_t *in,
		     const CFI_cdesc_t *out)
{
	struct cpa_var few_in[FEW], few_out[FEW], *ins, *outs = NULL;
	size_t n_in, n_out = 0;
	char n[NAME];
	int rc;

	m->m = NULL;
	ins = cpaf_table(in, few_in, &n_in, &rc);
	if (ins)
		outs = cpaf_table(out, few_out, &n_out, &rc);
	if (outs)
		rc = cpa_memo_begin(h->cp, &m->m, cpaf_text(name, n, sizeof n), ins, n_in, outs, n_out);
	if (ins != few_in)
		free(ins);
	if (outs != few_out)
		free(outs);
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

/* ---- the program and its agent ---- */

int cpa_f_should_checkpoint(const struct cpaf_handle *h)
{
	return cpa_should_checkpoint(h->cp);
}

void cpa_f_set_due(const struct cpaf_handle *h, double every, double mtbf, int *ierr)
{
	cpaf_tell(cpa_set_due(h->cp, every, mtbf), ierr);
}

int cpa_f_incarnation(const struct cpaf_handle *h, int *how)
{
	enum cpa_began began = CPA_FRESH;
	int rc = cpa_incarnation(h->cp, &began);

	cpaf_said[0] = '\0';
	if (how)
		*how = (int)began;
	return rc;
}

int cpa_f_snapshot(const struct cpaf_handle *h, double timeout, int64_t *generation)
{
	uint64_t number = 0;
	int rc = cpa_snapshot(h->cp, &number, timeout);

	cpaf_said[0] = '\0';
	if (generation)
		*generation = (int64_t)number;
	return rc;
}

void cpa_f_set_interval(const struct cpaf_handle *h, double update, double save, int *ierr)
{
	cpaf_tell(cpa_set_interval(h->cp, update, save), ierr);
}

void cpa_f_start(const struct cpaf_handle *h, int *ierr)
{
	cpaf_tell(cpa_start(h->cp), ierr);
}

void cpa_f_stop(const struct cpaf_handle *h, int *ierr)
{
	cpaf_tell(cpa_stop(h->cp), ierr);
}

void cpa_f_register(const struct cpaf_handle *h, const text *url, double timeout, int *ierr)
{
	char u[PATH];

	cpaf_tell(cpa_register(h->cp, cpaf_text(url, u, sizeof u), timeout), ierr);
}
