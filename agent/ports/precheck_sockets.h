/* The part of precheck that looks at connections. */
#ifndef CPA_PORTS_PRECHECK_SOCKETS_H
#define CPA_PORTS_PRECHECK_SOCKETS_H

#include <stdint.h>

#include "agent/ports/jobtree.h"
#include "agent/ports/precheck.h"

struct job_socket {
	const struct job_process *p; /* borrowed */
	int fd;
	uint32_t inode;
};

struct job_sockets {
	struct job_socket *list;
	size_t count;
};

void job_sockets_add(struct job_sockets *s, const struct job_process *p, int fd, uint32_t inode);
int job_sockets_check(const struct job_sockets *s, struct precheck *found, struct err *e);
void job_sockets_free(struct job_sockets *s);

void precheck_add(struct precheck *found, bool refuse, const struct job_process *p, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

#endif
