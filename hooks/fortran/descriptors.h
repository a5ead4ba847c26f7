/* What the calls need of descriptors.c and table.c: texts without their blanks, variables as cpagent.h has them. */
#ifndef CPA_HOOKS_FORTRAN_DESCRIPTORS_H
#define CPA_HOOKS_FORTRAN_DESCRIPTORS_H

#include <ISO_Fortran_binding.h>

#include "hooks/cpagent.h"

typedef CFI_cdesc_t text; /* character(len=*); NULL when absent */

/* NAME and PATH have room for one byte more than the library takes, so that it is the library that says what is too long. */
enum { NAME = CPA_KEY_MAX + 2, PATH = 4096 + 1, FEW = 16 };

/* In base.f90: type(cpa), type(cpa_memo), type(cpa_variable). */
struct cpaf_handle {
	cpa *cp;
};

struct cpaf_memo {
	cpa_memo *m;
};

enum { RANKS = 15 }; /* of Fortran 2018; CFI_MAX_RANK is gfortran's */

struct variable {
	void *data;
	int64_t count, element; /* element: bytes from one to the next, if there were no gaps */
	int32_t type, wrong, rank; /* rank: 0 where there are no gaps */
	int32_t constant;
	union {
		struct {
			int64_t extent[RANKS], stride[RANKS];
		};
		char room[2 * RANKS * sizeof(int64_t)]; /* for a constant scalar, which may be gone by the call: data is NULL */
	};
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

/* A variable as the library has it, or what is wrong with it: "WHAT NAME: …". */
enum { STAYS = 0, HAVE_GAPS = 1, BE_CONSTANT = 2 }; /* what it may do */
int cpaf_variable(const struct variable *v, const char *what, const char *name, int may, struct cpa_var *made);

/* A list of variables as the library has it. */
struct table {
	struct cpa_var few[FEW], *vars;
	size_t n;
	const CFI_cdesc_t *list;
};

/* What becomes of sections with gaps: memory of their own that has their content, or is to be filled, or nothing. Only
 * what is read may be constant. */
enum gaps { GATHERED, LEFT_OUT, REFUSED };

/* 0, or an error of which the sentence is said; cpaf_table_free() follows either. */
int cpaf_table(struct table *t, const CFI_cdesc_t *list, enum gaps gaps);
void cpaf_table_free(struct table *t);

/* What was filled goes to the sections. */
void cpaf_table_spread(const struct table *t);

/* A region to protect, or what is wrong with it. */
int cpaf_region(const char *name, const CFI_cdesc_t *x, struct cpa_var *region);

#endif
