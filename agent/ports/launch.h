/* Starting a job: its namespaces, its cgroup, its credentials, with cpinit as its pid 1.
 *
 * What a job finds at the same place on every node: /run/cpagent/job (its job_dir: `arena`, `bell`, `exit`,
 * `cpinit`) and /run/cpagent/log (`stdout`, `stderr`). cpinit is copied into job_dir, runs from there and is part
 * of every image, so a snapshot must carry JOB_DIR/cpinit, and a node needs no cpinit of the same path.
 *
 * How a job ended stands in JOB_DIR/exit (see launch_read_exit()), whole or absent; job_dir is the agent's and
 * not writable for the job. cpinit also ends with the job's status (128 + signal when it was killed). Signals
 * TERM INT HUP QUIT CONT sent to cpinit go to the job's main process and its group, USR1 USR2 to it alone. When
 * the main process ends, all that is left of the job is killed. */
#ifndef CPA_AGENT_LAUNCH_H
#define CPA_AGENT_LAUNCH_H

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "lib/base/err.h"

#define LAUNCH_JOB_DIR "/run/cpagent/job"
#define LAUNCH_LOG_DIR "/run/cpagent/log"

struct launch {
	const char *uuid; /* shown in the command line of cpinit */
	uid_t uid;
	gid_t gid;
	const gid_t *groups;
	size_t ngroups;
	char *const *argv; /* argv[0] is looked up in PATH of envp */
	char *const *envp;
	const char *cwd;        /* NULL: / */
	const char *stdin_path; /* opened with the job's rights, from cwd; NULL: /dev/null */
	mode_t umask;
	int nice;
	struct rlimit limits[RLIM_NLIMITS]; /* by resource, those in limits_set only; one above what this agent */
	uint32_t limits_set;                /* may grant is cut to that */
	const cpu_set_t *affinity;          /* NULL: as the agent */
	const char *job_dir, *log_dir;      /* absolute, existing, owned by the agent, 0755 */
	const char *cpinit;                 /* the installed binary */
	int cgroup_fd;                      /* from cgroup_fd(); -1: none */
	bool plain;                         /* no namespaces, uid, groups or cgroup: an agent without root */
};

struct launched {
	pid_t pid;  /* of cpinit, as this process sees it; a child of this process */
	int pidfd;  /* owned by the caller */
	int status; /* after a failure: what `cpagent run` exits with, 125 to 127 */
};

/* Make the places where a job's directories are mounted: at the agent's start, so that it is known to work; launch_job
 * does, too, because whoever cleans up /run does not know that an agent without jobs needs them. */
int launch_prepare_node(struct err *e);

/* Put cpinit into job_dir (launch_job does). An existing one stays: it may be part of an image. */
int launch_put_cpinit(const char *cpinit, const char *job_dir, struct err *e);

/* Start it, and return when the command itself has been executed or has failed to be: a few ms, but as long as
 * the command's file system takes, so call it from a worker thread. After an error nothing of the job is left.
 * ERR_NOT_FOUND (127: no such command), ERR_DENIED, ERR_FAILED, ERR_TIMEOUT. */
int launch_job(const struct launch *l, int timeout_ms, struct launched *out, struct err *e);

struct launch_exit {
	int code;   /* exit code, or -1 */
	int signal; /* the signal that killed it, or 0 */
};
/* Read JOB_DIR/exit. ERR_NOT_FOUND: the job has not ended (or was killed together with its cpinit). */
int launch_read_exit(const char *job_dir, struct launch_exit *x, struct err *e);

#endif
