/* What the agent tells cpinit about a job, and what cpinit reports back: the one description of both, shared by
 * agent/ports/launch.c and agent/init. Never stored and never sent to another machine, so in native byte order.
 *
 * SPEC_FD is a memfd: struct spec, then uint32_t groups[ngroups], then NUL-terminated strings one after the other:
 * job_dir, log_dir, cwd, stdin_path ("" for none), argv[argc], env[envc]; `total` bytes in all.
 * REPORT_FD is the write end of a pipe: empty when the command has been executed, else one struct spec_report. */
#ifndef CPA_AGENT_INIT_SPEC_H
#define CPA_AGENT_INIT_SPEC_H

#include <stdint.h>

#define SPEC_FD 3
#define REPORT_FD 4

#define SPEC_MAGIC 0x63706a31u /* "cpj1" */
#define SPEC_MAX (16u << 20)   /* argv and env are bounded by the kernel at 6 MiB */
#define SPEC_MAX_GROUPS 65536u
#define SPEC_LIMITS 16
#define SPEC_CPUS 1024
#define SPEC_FIXED_STRINGS 4

enum spec_flags {
	SPEC_PLAIN = 1,    /* no namespaces, no change of user: the agent is not root */
	SPEC_AFFINITY = 2, /* cpus holds the CPUs that the job may use */
};

struct spec_limit {
	uint64_t soft, hard;
};

struct spec {
	uint32_t magic, total;
	uint32_t flags, uid, gid, umask;
	int32_t nice;
	uint32_t limits_set; /* bit r: limits[r] counts */
	uint32_t ngroups, argc, envc, reserved;
	uint64_t cpus[SPEC_CPUS / 64];
	struct spec_limit limits[SPEC_LIMITS];
};

/* How far a launch came that failed. */
enum spec_step {
	STEP_SPEC = 1,
	STEP_MOUNTS,
	STEP_PROC,
	STEP_BIND_JOB,
	STEP_BIND_LOG,
	STEP_REEXEC,
	STEP_STDIO,
	STEP_FORK,
	STEP_GROUPS,
	STEP_USER,
	STEP_CWD,
	STEP_STDIN,
	STEP_EXEC,
};

struct spec_report {
	int32_t step, error; /* error: errno */
};

/* Where a job with its own mount namespace finds its directories; a plain one uses the paths of the spec. */
#define SPEC_JOB_DIR "/run/cpagent/job"
#define SPEC_LOG_DIR "/run/cpagent/log"
#define SPEC_CPINIT "cpinit"
#define SPEC_EXIT "exit"

#endif
