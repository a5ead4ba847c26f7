/* The part of jobfiles that looks: fills the list, opens the source of every file whose content is wanted. */
#ifndef CPA_PORTS_JOBFILES_SCAN_H
#define CPA_PORTS_JOBFILES_SCAN_H

#include "agent/ports/jobfiles.h"

int jobfiles_scan(struct jobfiles *f, const struct jobtree *t, enum snapshot_files mode, int img_dir,
		  struct err *e);

#endif
