/* The agent's side of cpfence: the process that freezes the node's jobs when their lease has run out, and ends
 * dumps that keep a job frozen for too long, whether the agent is alive, hung or dead. One file, RUN/fence, mapped
 * by both, is all that they share.
 *
 * cpfence alone freezes and thaws the node's cgroup: it freezes when the deadline has passed and thaws when it has
 * been moved to the future again (or to 0), so a hung agent that wakes up late cannot thaw anything by mistake.
 * Kill the jobs that must not run again before you set the new deadline. */
#ifndef CPA_AGENT_FENCE_H
#define CPA_AGENT_FENCE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/base/err.h"

struct fence;

/* Adopt the cpfence that guards RUN/fence, or start one. cgroup_node: struct cgroups' node. A deadline left by
 * the agent's previous life stays in force. */
int fence_open(struct fence **f, const char *run_dir, const char *cgroup_node, const char *cpfence, struct err *e);

/* Let go of it; cpfence goes on guarding. Idempotent: *f becomes NULL. */
void fence_close(struct fence **f);

/* End cpfence and remove RUN/fence: when no jobs remain. Closes too. */
void fence_quit(struct fence **f);

/* The lease's end on CLOCK_BOOTTIME in ns; 0: no lease, never freeze. Lock-free, takes effect at once. */
void fence_set_deadline(struct fence *f, int64_t boot_ns);
int64_t fence_deadline(const struct fence *f);

/* True while the jobs are frozen because their deadline passed. */
bool fence_fenced(const struct fence *f);

/* At each tick of the agent: start cpfence again if it is gone. The sentence tells why it cannot freeze. */
int fence_check(struct fence *f, struct err *e);

/* Until unwatched: at boot_ns cpfence kills `pid` (the criu; 0: none) and thaws the job's cgroup (uuid; NULL:
 * none). Returns a slot number, or ERR_FAILED when all are taken. */
int fence_watch_dump(struct fence *f, const char *uuid, pid_t pid, int64_t boot_ns, struct err *e);

/* Returns true when the deadline had passed and cpfence acted. */
bool fence_unwatch_dump(struct fence *f, int slot);

#endif
