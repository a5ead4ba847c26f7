/* The part of jobfiles that looks: fills the list, opens the source of every file whose content is wanted. */
#ifndef CPA_PORTS_JOBFILES_SCAN_H
#define CPA_PORTS_JOBFILES_SCAN_H

#include <sys/stat.h>

#include "agent/ports/jobfiles.h"

int jobfiles_scan(struct jobfiles *f, const struct jobtree *t, enum snapshot_files mode, int img_dir,
		  struct err *e);

/* One more, zeroed, at the end of the list, to be counted by the caller; NULL: there are too many. */
struct jobfile *jobfiles_append(struct jobfiles *f);
struct jobfile *jobfiles_find(struct jobfiles *f, const struct stat *st);

/* jobfiles_routed.c. Before the others: every file in job_dir's SNAPSHOT_ROUTED. */
int jobfiles_scan_routed(struct jobfiles *f, const char *job_dir, struct err *e);
/* A process has this path open, which is not of the kinds that are recorded where it lies. ERR_FAILED: it is a file
 * below SNAPSHOT_ROUTED that was not found in it. */
int jobfiles_note_routed(struct jobfiles *f, const char *path, const struct stat *st, bool written, struct err *e);

#endif
