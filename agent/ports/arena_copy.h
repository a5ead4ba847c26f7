/* A job's arena, copied into its snapshot while it is frozen and put back before a restore.
 * The arena belongs to the job, who may do anything to it: it is only ever read by the kernel's copy (a file that
 * shrinks is a short read, not a SIGBUS) and never opened through a link. */
#ifndef CPA_PORTS_ARENA_COPY_H
#define CPA_PORTS_ARENA_COPY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/base/err.h"

struct arena_copy {
	bool is_open;
	int from, to;
	uint8_t *map; /* of the copy; size bytes */
	uint64_t size;
	uid_t owner;
	gid_t group;
	mode_t mode;
};

/* Before the freeze: open the arena, and touch the memory of img_dir/arena where the arena has data. path NULL: the
 * job has none, the copy's file is removed and the other calls do nothing. */
int arena_copy_open(struct arena_copy *a, const char *path, int img_dir, struct err *e);

/* During the freeze: copy. */
int arena_copy_run(struct arena_copy *a, struct err *e);

/* Idempotent; also for a zeroed one. */
void arena_copy_close(struct arena_copy *a);

/* Put img_dir/arena back to path, owned as it was; a file of that name is replaced, not written to (a process
 * that has it mapped keeps its own). Nothing when the snapshot has no arena. */
int arena_put_back(int img_dir, const char *path, uid_t owner, gid_t group, mode_t mode, struct err *e);

#endif
