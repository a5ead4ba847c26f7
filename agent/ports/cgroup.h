/* The node's cgroups: cpagent/NODE/JOB in the cgroup2 hierarchy, wherever it is mounted (unified or hybrid
 * hosts). A cgroup freezes, kills and counts a job as one thing. Blocks only where a timeout is given; every
 * function may be called from any thread. `job` is a job's UUID, or NULL for all of the node's jobs at once. */
#ifndef CPA_AGENT_CGROUP_H
#define CPA_AGENT_CGROUP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/base/err.h"
#include "lib/base/fs.h"

struct cgroups {
	char node[FS_PATH_MAX]; /* the node's directory, absolute; "" while closed */
};

/* Find the cgroup2 mount and make cpagent/NODE in it. ERR_USAGE: node is no directory name; ERR_NOT_FOUND: no
 * cgroup2 is mounted; ERR_DENIED: not permitted (no root, read-only mount). */
int cgroups_open(struct cgroups *cg, const char *node, struct err *e);

/* Remove the node's directory and cpagent/ when they are empty; what still holds jobs stays. Idempotent. */
void cgroups_close(struct cgroups *cg);

/* The same in an existing mount of cgroup2, without looking for it. */
int cgroups_open_at(struct cgroups *cg, const char *mount, const char *node, struct err *e);

int cgroup_make(const struct cgroups *cg, const char *job, struct err *e); /* one that exists is no error */

/* Remove the job's cgroup and what the job made below it; waits for its last process to be gone.
 * ERR_TIMEOUT: something in it still lives. Absent is no error. */
int cgroup_remove(const struct cgroups *cg, const char *job, int timeout_ms, struct err *e);

/* An O_PATH descriptor for CLONE_INTO_CGROUP, owned by the caller; or ERR_NOT_FOUND, ERR_FAILED. */
int cgroup_fd(const struct cgroups *cg, const char *job, int *fd, struct err *e);

/* Move a process here (0: the caller, before it execs criu). Slow beside CLONE_INTO_CGROUP. */
int cgroup_join(const struct cgroups *cg, const char *job, pid_t pid, struct err *e);

/* Freeze, and wait until every process stands still. ERR_TIMEOUT: it was asked for, and is not yet so; it stays
 * asked for until cgroup_thaw(). timeout_ms 0 only asks. */
int cgroup_freeze(const struct cgroups *cg, const char *job, int timeout_ms, struct err *e);
int cgroup_thaw(const struct cgroups *cg, const char *job, int timeout_ms, struct err *e);

/* SIGKILL to every process, frozen ones too. */
int cgroup_kill(const struct cgroups *cg, const char *job, struct err *e);

/* Until the last process is gone. ERR_TIMEOUT. */
int cgroup_wait_empty(const struct cgroups *cg, const char *job, int timeout_ms, struct err *e);

/* 1 or 0, or a negative code (ERR_NOT_FOUND: no such cgroup). */
int cgroup_populated(const struct cgroups *cg, const char *job, struct err *e);
int cgroup_frozen(const struct cgroups *cg, const char *job, struct err *e);

/* The processes of the whole tree, as this process sees their pids; *pids is owned by the caller (free). */
int cgroup_pids(const struct cgroups *cg, const char *job, pid_t **pids, size_t *n, struct err *e);

/* CPU time used so far, in nanoseconds. */
int cgroup_cpu_ns(const struct cgroups *cg, const char *job, uint64_t *ns, struct err *e);

#endif
