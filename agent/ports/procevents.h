/* Kernel process events (the process connector, over libnl): forks, execs and exits of the whole machine, filtered
 * in the kernel so that an idle agent is not woken by what it did not ask for. Pids are those of the machine's
 * first pid namespace. The caller polls procevents_fd() and calls procevents_read(). */
#ifndef CPA_AGENT_PROCEVENTS_H
#define CPA_AGENT_PROCEVENTS_H

#include <stdint.h>
#include <sys/types.h>

#include "lib/base/err.h"

enum procevent_type {
	PROCEVENT_FORK = 1,
	PROCEVENT_EXEC = 2,
	PROCEVENT_EXIT = 4,        /* of whole processes, not of their threads */
	PROCEVENT_EXIT_FAILED = 8, /* in a mask only: exits with a code or by a signal, not exit(0) */
	PROCEVENT_LOST = 16,       /* always delivered: events were lost, look again at what is there */
};

struct procevent {
	enum procevent_type type;
	pid_t pid;
	pid_t parent;     /* FORK, EXIT (0 where the kernel does not say) */
	int code;         /* EXIT: exit code, or -1 */
	int signal;       /* EXIT: the signal that killed it, or 0 */
	uint64_t mono_ns; /* when, on the kernel's monotonic clock */
};

typedef void procevents_fn(void *ctx, const struct procevent *ev);

struct procevents;

/* mask: of FORK, EXEC, EXIT, EXIT_FAILED. ERR_DENIED with a sentence where the kernel gives no events to this
 * process (no privilege, another pid namespace): go on without. */
int procevents_open(struct procevents **p, unsigned mask, procevents_fn *fn, void *ctx, struct err *e);
int procevents_fd(const struct procevents *p);

/* Deliver what has arrived; does not block. ERR_FAILED: the socket is broken, close it. */
int procevents_read(struct procevents *p, struct err *e);

void procevents_close(struct procevents **p); /* idempotent: *p becomes NULL */

#endif
