/* What job.f90 declares. */
#include "hooks/fortran/descriptors.h"

int cpa_f_should_checkpoint(const struct cpaf_handle *h)
{
	return cpa_should_checkpoint(h->cp);
}

void cpa_f_set_due(const struct cpaf_handle *h, double every, double mtbf, int *ierr)
{
	cpaf_tell(cpa_set_due(h->cp, every, mtbf), ierr);
}

double cpa_f_get_due(const struct cpaf_handle *h)
{
	return cpa_get_due(h->cp);
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

void cpa_f_get_interval(const struct cpaf_handle *h, double *update, double *save, int *ierr)
{
	*update = *save = 0;
	cpaf_tell(cpa_get_interval(h->cp, update, save), ierr);
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

int64_t cpa_f_version(const struct cpaf_handle *h, const text *group, const text *key, const double *timeout)
{
	char g[PATH], k[NAME];
	const char *of = cpaf_text(group, g, sizeof g), *called = cpaf_text(key, k, sizeof k);

	cpaf_said[0] = '\0';
	return timeout ? cpa_version_within(h->cp, of, called, *timeout) : cpa_version_of(h->cp, of, called);
}
