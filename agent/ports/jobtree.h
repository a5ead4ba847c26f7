/* The processes of a job, from its pid 1 down. What CRIU would dump is exactly this tree: the job's pid namespace
 * leaves nobody outside it. A snapshot in time: while the job runs, entries may be gone by the time they are used. */
#ifndef CPA_PORTS_JOBTREE_H
#define CPA_PORTS_JOBTREE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "lib/base/err.h"

struct job_process {
	pid_t pid;   /* as seen here */
	pid_t inner; /* as seen in the job */
	char name[20];
};

struct jobtree {
	struct job_process *list; /* parents before their children */
	size_t count;
};

/* ERR_NOT_FOUND: no such process. Free with jobtree_free(). */
int jobtree_read(pid_t pid, struct jobtree *t, struct err *e);
void jobtree_free(struct jobtree *t);

/* The pid of a process or thread inside its innermost pid namespace, or 0 when it is gone. */
pid_t jobtree_inner(pid_t pid, pid_t tid);

/* Call visit for every thread of the tree. */
void jobtree_threads(const struct jobtree *t, void (*visit)(void *ctx, const struct job_process *p, pid_t tid),
		     void *ctx);

/* Call visit for every child of a process, zombies too. */
void jobtree_children(pid_t pid, void (*visit)(void *ctx, pid_t child), void *ctx);

/* Private memory that a dump of this process would hold, in bytes; an estimate, 0 when unknown. */
uint64_t jobtree_memory(pid_t pid);

/* Open /proc/PID/NAME for reading lines; NULL when it is gone. */
FILE *jobtree_open(pid_t pid, const char *name);

#endif
