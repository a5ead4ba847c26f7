/* What calls.c needs of descriptors.c: texts without their blanks, variables as cpagent.h has them. */
#ifndef CPA_HOOKS_FORTRAN_DESCRIPTORS_H
#define CPA_HOOKS_FORTRAN_DESCRIPTORS_H

#include <ISO_Fortran_binding.h>

#include "hooks/cpagent.h"

typedef CFI_cdesc_t text; /* character(len=*); NULL when absent */

/* NAME and PATH have room for one byte more than the library takes, so that it is the library that says what is too long. */
enum { NAME = CPA_KEY_MAX + 2, PATH = 4096 + 1, FEW = 16 };

/* In cpagent.f90: type(cpa), type(cpa_memo), type(cpa_variable). */
struct cpaf_handle {
	cpa *cp;
};

struct cpaf_memo {
	cpa_memo *m;
};

struct variable {
	void *data;
	int64_t count;
	int32_t type, wrong;
	char name[CPA_KEY_MAX + 1];
};

/* The sentence about an error that was found here, in this thread; empty: the library has it. */
extern _Thread_local char cpaf_said[NAME + 256];

/* "WHAT NAME: WHY" becomes the sentence; returns code. */
int cpaf_refuse(int code, const char *what, const char *name, const char *why);

/* A result goes to the caller, and where there is no ierr, an error ends the program with its sentence: the library's, or
 * the one that was said here. */
void cpaf_tell(int rc, int *ierr);
void cpaf_tell_said(int rc, int *ierr);

/* A text without the blanks at its end, as much as fits, in buf; NULL when it is absent. */
const char *cpaf_text(const text *t, char *buf, size_t size);

/* A list of variables as the library has it: in few, which has room for FEW, or to be freed. NULL: an error, *rc. */
struct cpa_var *cpaf_table(const CFI_cdesc_t *list, struct cpa_var *few, size_t *n, int *rc);

/* A region to protect, or what is wrong with it. */
int cpaf_region(const char *name, const CFI_cdesc_t *x, struct cpa_var *region);

#endif
