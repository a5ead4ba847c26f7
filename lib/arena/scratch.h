/* Memory and order for what a signal handler may call: a checkpoint in a full arena walks the index, also when it was
 * malloc() that the signal interrupted. qsort() of the C library allocates, too. */
#ifndef CPA_ARENA_SCRATCH_H
#define CPA_ARENA_SCRATCH_H

#include <stddef.h>

/* Room for bytes at least; p: what an earlier call gave, whose content stays, or NULL. NULL: out of memory, p is as it
 * was. New room is zeros. */
void *scratch_more(void *p, size_t bytes);
void scratch_free(void *p);

/* Sort n things of a size (at most SCRATCH_SORT) in place: compare as qsort_r()'s. */
#define SCRATCH_SORT 64
void scratch_sort(void *list, size_t n, size_t size, int (*compare)(const void *, const void *, void *), void *with);

#endif
