/* The newest version that all have: see common.h. Sorted by version, a version that all have is a run of ranks × keys
 * different entries. */
#include "lib/arena/common.h"

#include <stdlib.h>

static int compare(const void *x, const void *y)
{
	const struct arena_has *a = x, *b = y;

	if (a->version != b->version)
		return a->version > b->version ? -1 : 1;
	if (a->rank != b->rank)
		return a->rank < b->rank ? -1 : 1;
	return (a->key > b->key) - (a->key < b->key);
}

uint64_t arena_common(struct arena_has *has, size_t n, uint32_t ranks, uint32_t keys)
{
	uint64_t all = (uint64_t)ranks * keys, run = 0;
	size_t i;

	if (!n || !all)
		return 0;
	qsort(has, n, sizeof *has, compare);
	for (i = 0; i < n; i++) {
		if (i && compare(&has[i - 1], &has[i]) == 0)
			continue;
		run = i && has[i - 1].version == has[i].version ? run + 1 : 1;
		if (run == all && has[i].version)
			return has[i].version;
	}
	return 0;
}
