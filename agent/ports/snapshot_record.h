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

struct snapshot_record {
	struct jobfiles files;
	struct affinities affinities;
	uid_t arena_owner; /* meaningful when the snapshot has an arena */
	gid_t arena_group;
	mode_t arena_mode;
};

int snapshot_record_write(int img_dir, const struct snapshot_record *r, struct err *e);

/* What a snapshot says about itself. *r is valid (to be freed) also after an error. */
int snapshot_record_read(int img_dir, struct snapshot_record *r, struct err *e);
void snapshot_record_free(struct snapshot_record *r);

#endif
