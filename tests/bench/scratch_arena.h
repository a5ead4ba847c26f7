/* An arena of the bench's own in memory, gone with the program. */
#ifndef TESTS_BENCH_SCRATCH_ARENA_H
#define TESTS_BENCH_SCRATCH_ARENA_H

#include <sys/stat.h>

#include "hooks/cpagent.h"

/* The directory for files in memory, made now and removed when the program ends. */
const char *scratch_dir(void);

/* A new arena with that budget, opened. The file has no name any more. *file (may be NULL): a descriptor of it. */
cpa *scratch_arena(unsigned long long budget, int *file);

/* How many bytes of files and memory there is room for. */
unsigned long long scratch_room(void);

#endif
