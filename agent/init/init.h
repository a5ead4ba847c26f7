/* The parts of cpinit: the spec as read (spec.c), the job's view of the file system (mounts.c), the command
 * (command.c), and pid 1 itself (cpinit.c). Plain libc, one thread, no descriptor kept: CRIU must be able to dump
 * it at any moment. */
#ifndef CPA_AGENT_INIT_H
#define CPA_AGENT_INIT_H

#include <stddef.h>
#include <sys/types.h>

#include "agent/init/spec.h"

struct job {
	const struct spec *spec;
	const uint32_t *groups;
	const char *job_dir, *log_dir, *cwd, *stdin_path;
	char **argv, **envp; /* NULL-terminated, pointing into the spec */
	void *map;           /* all of the above; given back by spec_drop() once the command runs */
	size_t map_len;
};

/* Read SPEC_FD. 0 or -1 with errno (EBADMSG: not a whole spec). */
int spec_read(struct job *j);
void spec_drop(struct job *j);

/* Tell the agent which step failed, with errno; then end. 125 to 127. */
_Noreturn void init_fail(enum spec_step step);

/* Make the mount namespace the job's own; ends the process when it cannot. */
void mounts_setup(const struct job *j);

/* In the forked child: become the job's command. */
_Noreturn void command_exec(const struct job *j);

#endif
