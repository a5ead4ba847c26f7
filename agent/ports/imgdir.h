/* An image directory as a thing that is used again and again. */
#ifndef CPA_PORTS_IMGDIR_H
#define CPA_PORTS_IMGDIR_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/err.h"

/* Remove what an older generation left, except the files whose touched memory is worth keeping: page files and
 * the arena's copy. */
int imgdir_clean(int img_dir, struct err *e);

/* The size of everything that makes the snapshot. */
int imgdir_size(int img_dir, uint64_t *bytes, struct err *e);

/* The job's pid 1 runs from a file in its job_dir, and CRIU wants that very file again: it travels with the snapshot,
 * and is put where it is missing or another one. A job_dir without it is no error. */
int imgdir_save_cpinit(int img_dir, const char *job_dir, struct err *e);
int imgdir_put_cpinit(int img_dir, const char *job_dir, struct err *e);

/* Is this file of an image directory only talk (logs, statistics) and no part of the snapshot? */
bool imgdir_is_talk(const char *name);

#endif
