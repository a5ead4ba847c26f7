/* What cpagent.f90 declares of archives: apart, so that a program that has none is not linked with them. */
#include "hooks/fortran/descriptors.h"

void cpa_f_save(const struct cpaf_handle *h, const text *file, int *ierr)
{
	char f[PATH];

	cpaf_tell(cpa_save(h->cp, cpaf_text(file, f, sizeof f)), ierr);
}

void cpa_f_load(const struct cpaf_handle *h, const text *file, int *ierr)
{
	char f[PATH];

	cpaf_tell(cpa_load(h->cp, cpaf_text(file, f, sizeof f)), ierr);
}
