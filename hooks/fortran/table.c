/* Lists of variables as Fortran passes them become the library's, and sections with gaps are gathered into memory of
 * their own, or spread from it. Called by the calls. A list of up to FEW variables without gaps allocates nothing, so that
 * a signal handler may checkpoint it. */
#include <stdlib.h>
#include <string.h>

#include "hooks/fortran/descriptors.h"

/* One row along the first dimension: from or to the section. */
static char *copy_row(const struct variable *v, char *at, char *packed, int spread)
{
	size_t bytes = (size_t)v->element;
	int64_t i;

	for (i = 0; i < v->extent[0]; i++, at += v->stride[0], packed += bytes)
		memcpy(spread ? at : packed, spread ? packed : at, bytes);
	return packed;
}

static void copy_section(const struct variable *v, char *packed, int spread)
{
	int64_t index[RANKS] = {0};
	char *at = v->data;
	int d = 0;

	while (d < v->rank) {
		packed = copy_row(v, at, packed, spread);
		for (d = 1; d < v->rank; d++) {
			at += v->stride[d];
			if (++index[d] < v->extent[d])
				break;
			at -= v->stride[d] * v->extent[d];
			index[d] = 0;
		}
	}
}

static const struct variable *variable_at(const CFI_cdesc_t *list, size_t i)
{
	return (const void *)((const char *)list->base_addr + (ptrdiff_t)i * list->dim[0].sm);
}

static int no_memory(const char *name)
{
	return cpaf_refuse(CPA_ERR_MEMORY, "variable", name, "there is no memory for it");
}

static const int may[] = {[GATHERED] = HAVE_GAPS | BE_CONSTANT, [LEFT_OUT] = HAVE_GAPS, [REFUSED] = STAYS};

static int add(struct table *t, const struct variable *v, enum gaps gaps)
{
	struct cpa_var *made = &t->vars[t->n];
	int rc = cpaf_variable(v, "variable", v->name, may[gaps], made);

	if (rc)
		return rc;
	if (v->rank) {
		made->data = malloc((size_t)made->count * cpa_type_size(v->type));
		if (!made->data)
			return no_memory(v->name);
		if (gaps == GATHERED)
			copy_section(v, made->data, 0);
	}
	t->n++;
	return 0;
}

int cpaf_table(struct table *t, const CFI_cdesc_t *list, enum gaps gaps)
{
	size_t i, n = (size_t)list->dim[0].extent;
	int rc = 0;

	cpaf_said[0] = '\0';
	t->list = list;
	t->n = 0;
	t->vars = n > FEW ? malloc(n * sizeof *t->vars) : t->few;
	if (!t->vars)
		return no_memory("list");
	for (i = 0; i < n && !rc; i++)
		rc = add(t, variable_at(list, i), gaps);
	return rc;
}

void cpaf_table_spread(const struct table *t)
{
	size_t i;

	for (i = 0; i < t->n; i++)
		if (variable_at(t->list, i)->rank)
			copy_section(variable_at(t->list, i), t->vars[i].data, 1);
}

void cpaf_table_free(struct table *t)
{
	size_t i;

	for (i = 0; i < t->n; i++)
		if (variable_at(t->list, i)->rank)
			free(t->vars[i].data);
	if (t->vars != t->few)
		free(t->vars);
	t->vars = NULL;
	t->n = 0;
}
