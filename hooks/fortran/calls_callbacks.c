/* What callbacks.f90 declares: the library calls a trampoline there, whose argument is the program's procedure. Apart, so
 * that a program that has none is not linked with them. */
#include "hooks/fortran/descriptors.h"

typedef void procedure(void);

/* POSIX has pointers to functions as long as others, and C no conversion between them. */
static void *as_argument(procedure *fn)
{
	union {
		procedure *fn;
		void *argument;
	} both = {fn};

	return both.argument;
}

void cpa_f_on_init(const struct cpaf_handle *h, cpa_init_fn *trampoline, procedure *fn, int *ierr)
{
	cpaf_tell(cpa_on_init(h->cp, trampoline, as_argument(fn)), ierr);
}

void cpa_f_on_term(const struct cpaf_handle *h, cpa_term_fn *trampoline, procedure *fn, int *ierr)
{
	cpaf_tell(cpa_on_term(h->cp, trampoline, as_argument(fn)), ierr);
}

void cpa_f_on_restart(const struct cpaf_handle *h, cpa_restart_fn *trampoline, procedure *fn, int *ierr)
{
	cpaf_tell(cpa_on_restart(h->cp, trampoline, as_argument(fn)), ierr);
}
