/* img_dir/record: the job's files and CPU affinities of a snapshot, written and read. Format: snapshot.proto. */
#ifndef CPA_PORTS_SNAPSHOT_RECORD_H
#define CPA_PORTS_SNAPSHOT_RECORD_H

#include "agent/ports/jobfiles.h"
#include "agent/ports/jobtree.h"
#include "lib/base/err.h"

struct affinity {
	pid_t thread; /* inside the job */
	uint8_t *mask;
	size_t len;
};

struct affinities {
	struct affinity *list;
	size_t count;
};

/* While the job is frozen: remember every thread that may not run on all of the machine's CPUs. */
int affinities_record(struct affinities *a, const struct jobtree *t, struct err *e);

/* Set them on a restored tree. A mask that fits no CPU of this machine is let go. */
void affinities_apply(const struct affinities *a, const struct jobtree *t);
void affinities_free(struct affinities *a);

int snapshot_record_write(int img_dir, const struct jobfiles *f, const struct affinities *a, struct err *e);

/* What a snapshot says about itself. Both are valid (to be freed) also after an error. */
int snapshot_record_read(int img_dir, struct jobfiles *f, struct affinities *a, struct err *e);

#endif
