/* The hand-over of userfaultfds. libcpagent holds one in a process whose protected regions it tracks, and CRIU
 * refuses such a process. So the arena says that a snapshot is near, the library lets go at its next call, and
 * takes it again when the arena says that it is over. Blocking, but never waits: the caller looks again. Any
 * thread. */
#ifndef CPA_PORTS_LET_GO_H
#define CPA_PORTS_LET_GO_H

#include <stdbool.h>
#include <sys/types.h>

#include "lib/base/err.h"

/* Ask the job (its pid 1, its arena's file; NULL: none) to let go. True while a process that has the arena mapped
 * holds on; *who then names it ("process 7 (solver)"). A userfaultfd of a program that does not use the library is
 * not waited for: precheck.h refuses it. */
#define LET_GO_NAME 64
bool let_go_holds_on(pid_t pid, const char *arena, char who[LET_GO_NAME]);

/* The snapshot is over, or will not be: they may be taken again. */
void let_go_over(const char *arena);

#endif
