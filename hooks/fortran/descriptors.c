/* Descriptors, as Fortran passes its variables and texts, become what cpagent.h knows. Knows gfortran's type codes (a
 * kind behind a category). Called by the calls; cpa_f_var() and its like by the program. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hooks/fortran/descriptors.h"

enum wrong { FINE, NO_TYPE, NO_INTEGER, NO_EXTENT, NOT_ALLOCATED, LONG_NAME, LONG_CONSTANT };

static const char *const whys[] = {
	[NO_TYPE] = "its type has none in a checkpoint; name the components of a derived type one by one, or take its bytes "
		    "by cpa_bytes()",
	[NO_INTEGER] = "cpa_unsigned() takes integers of 1, 2, 4 or 8 bytes",
	[NO_EXTENT] = "the extent of an assumed-size array is not known; give a section, as u(1:n)",
	[NOT_ALLOCATED] = "it is not allocated",
	[LONG_NAME] = "its name is longer than 255 bytes",
	[LONG_CONSTANT] = "a constant scalar has at most 240 bytes; copy it into a variable",
};

_Thread_local char cpaf_said[NAME + 256];

int cpaf_refuse(int code, const char *what, const char *name, const char *why)
{
	snprintf(cpaf_said, sizeof cpaf_said, "%s %s: %s", what, name, why);
	return code;
}

/* An error that the caller does not take goes to the user. */
void cpaf_tell_said(int rc, int *ierr)
{
	if (ierr) {
		*ierr = rc;
	} else if (rc < 0) {
		fprintf(stderr, "cpagent: %s\n", cpaf_said[0] ? cpaf_said : cpa_strerror(rc));
		exit(1);
	}
}

void cpaf_tell(int rc, int *ierr)
{
	cpaf_said[0] = '\0';
	cpaf_tell_said(rc, ierr);
}

static size_t trimmed_length(const text *t)
{
	size_t length = t->elem_len;

	while (length && ((const char *)t->base_addr)[length - 1] == ' ')
		length--;
	return length;
}

const char *cpaf_text(const text *t, char *buf, size_t size)
{
	size_t length;

	if (!t || !t->base_addr)
		return NULL;
	length = trimmed_length(t);
	if (length > size - 1)
		length = size - 1;
	memcpy(buf, t->base_addr, length);
	buf[length] = '\0';
	return buf;
}

/* ---- variables ---- */

static int32_t type_of(const CFI_cdesc_t *x)
{
	static const int32_t integers[] = {[1] = CPA_I8, [2] = CPA_I16, [4] = CPA_I32, [8] = CPA_I64};
	int kind = x->type >> CFI_type_kind_shift;

	if (kind < 1 || kind > 16)
		return 0;
	switch (x->type & CFI_type_mask) {
	case CFI_type_Integer:
		return kind <= 8 ? integers[kind] : 0;
	case CFI_type_Logical: /* one byte is C's bool; the others are integers that are 0 or 1 */
		return kind == 1 ? CPA_BOOL : kind <= 8 ? integers[kind] : 0;
	case CFI_type_Real:
		return kind == 4 ? CPA_F32 : kind == 8 ? CPA_F64 : kind == 10 ? CPA_F80 : kind == 16 ? CPA_F128 : 0;
	case CFI_type_Complex:
		return kind == 4 ? CPA_C32 : kind == 8 ? CPA_C64 : kind == 10 ? CPA_C80 : kind == 16 ? CPA_C128 : 0;
	case CFI_type_Character:
		return kind == 1 ? CPA_CHAR : kind == 4 ? CPA_U32 : 0;
	default:
		return 0;
	}
}

/* How many elements, and where they lie if there are gaps between them; or what is wrong. */
static enum wrong measure(struct variable *v, const CFI_cdesc_t *x)
{
	int64_t next = (int64_t)x->elem_len;
	int i, gaps = 0;

	if (!x->base_addr)
		return NOT_ALLOCATED; /* and its extents are nothing either */
	v->count = 1;
	v->element = next;
	for (i = 0; i < x->rank; i++) {
		if (x->dim[i].extent < 0)
			return NO_EXTENT;
		gaps |= x->dim[i].extent > 1 && x->dim[i].sm != next;
		v->extent[i] = x->dim[i].extent;
		v->stride[i] = x->dim[i].sm;
		next *= x->dim[i].extent;
		v->count *= x->dim[i].extent;
	}
	v->rank = gaps && v->count ? x->rank : 0;
	return FINE;
}

static void describe(struct variable *v, const CFI_cdesc_t *x)
{
	int category = x->type & CFI_type_mask, kind = x->type >> CFI_type_kind_shift;

	v->data = x->base_addr;
	v->type = type_of(x);
	v->wrong = (int32_t)measure(v, x);
	if (!v->type)
		v->wrong = NO_TYPE;
	else if (category == CFI_type_Character)
		v->count *= (int64_t)x->elem_len / kind;
}

static void called(struct variable *v, const text *name)
{
	cpaf_text(name, v->name, sizeof v->name);
	if (trimmed_length(name) >= sizeof v->name)
		v->wrong = LONG_NAME;
}

struct variable cpa_f_var(const text *name, const CFI_cdesc_t *x)
{
	struct variable v = {0};

	describe(&v, x);
	called(&v, name);
	return v;
}

struct variable cpa_f_const(const text *name, const CFI_cdesc_t *x)
{
	struct variable v = {0};

	describe(&v, x);
	v.constant = 1;
	if (!v.wrong && x->rank == 0) {
		if (x->elem_len <= sizeof v.room)
			memcpy(v.room, v.data, x->elem_len);
		else
			v.wrong = LONG_CONSTANT;
		v.data = NULL;
	}
	called(&v, name);
	return v;
}

struct variable cpa_f_bytes(const text *name, const CFI_cdesc_t *x)
{
	struct variable v = {.data = x->base_addr, .type = CPA_BYTE};

	v.wrong = (int32_t)measure(&v, x);
	v.count *= (int64_t)x->elem_len;
	called(&v, name);
	return v;
}

struct variable cpa_f_unsigned(const text *name, const CFI_cdesc_t *x)
{
	struct variable v = {0};

	describe(&v, x);
	if ((x->type & CFI_type_mask) == CFI_type_Integer && v.type)
		v.type += CPA_U8 - CPA_I8;
	else
		v.wrong = NO_INTEGER;
	called(&v, name);
	return v;
}

int cpaf_region(const char *name, const CFI_cdesc_t *x, struct cpa_var *region)
{
	struct variable v = {0};

	cpaf_said[0] = '\0';
	describe(&v, x);
	return cpaf_variable(&v, "region", name, STAYS, region);
}

int cpaf_variable(const struct variable *v, const char *what, const char *name, int may, struct cpa_var *made)
{
	const void *data = v->constant && !v->data ? v->room : v->data;

	*made = (struct cpa_var){name, (void *)(uintptr_t)data, (uint64_t)v->count, (uint32_t)v->type};
	if (v->wrong)
		return cpaf_refuse(CPA_ERR_ARG, what, name, whys[v->wrong]);
	if (v->rank && !(may & HAVE_GAPS))
		return cpaf_refuse(CPA_ERR_ARG, what, name, "it is not contiguous, and has to stay where it is; copy the "
							    "section into an array");
	if (v->constant && !(may & BE_CONSTANT))
		return cpaf_refuse(CPA_ERR_ARG, what, name, "it is constant, and cannot be written to");
	return 0;
}
