/* The directory in which a job's program writes checkpoints as files: SNAPSHOT_ROUTED in the job's directory, its
 * user's, 0700. In memory like the arena beside it. What is in it belongs to a process: a snapshot takes it along
 * (jobfiles.h), a command that is started anew begins with an empty one. */
#ifndef CPA_PORTS_ROUTED_H
#define CPA_PORTS_ROUTED_H

#include <stdbool.h>
#include <sys/types.h>

#include "lib/base/err.h"

/* Make it, if it is not there; give it to uid and gid ((uid_t)-1: as this process is). */
int routed_make(const char *job_dir, uid_t uid, gid_t gid, struct err *e);

/* Remove it with all that is in it. No process of the job is left. */
int routed_remove(const char *job_dir, struct err *e);

#endif
