/* A listening unix socket that exactly one agent owns. Used by control.c only. */
#ifndef CPA_AGENT_CONTROL_LISTEN_H
#define CPA_AGENT_CONTROL_LISTEN_H

#include "lib/base/err.h"

/* Bind and listen on path, open to every local user; take it over from a dead agent. *lock is held as long as the
 * socket is this process's. Errors as control_open(). Both descriptors owned, close-on-exec, non-blocking. */
int control_listen(const char *path, int *fd, int *lock, struct err *e);

#endif
