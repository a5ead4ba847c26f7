/* RUN/fence: all that an agent and its cpfence share. Mapped by both; every field is atomic, since either side may
 * stop or die between any two instructions. Whoever changes something cpfence must act on at once adds one to
 * `wake` and wakes it as a futex. cpfence holds flock(LOCK_EX) on the file for its life: that is how one sees that
 * it lives. Removing or replacing the file ends it. */
#ifndef CPA_AGENT_INIT_FENCE_SHARED_H
#define CPA_AGENT_INIT_FENCE_SHARED_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

#define FENCE_MAGIC 0x31636e6566617063u /* "cpafenc1" */
#define FENCE_SLOTS 16
#define FENCE_UUID 40
#define FENCE_BOOT_ID 36

/* What watch.deadline says besides a time. */
enum { WATCH_OFF = 0, WATCH_ACTING = -1, WATCH_ACTED = -2 };

struct fence_watch {
	_Atomic uint32_t owner;   /* pid of the agent that took the slot; 0: free */
	_Atomic int32_t pid;      /* the criu, or 0 */
	_Atomic uint64_t started; /* its start time: pids are used again */
	_Atomic int64_t deadline; /* set last by the agent; taken over by cpfence in one step */
	char uuid[FENCE_UUID];    /* the job's cgroup to thaw, or "" */
};

struct fence_shared {
	uint64_t magic;
	char boot_id[FENCE_BOOT_ID]; /* CLOCK_BOOTTIME of another boot means nothing */
	_Atomic uint32_t wake;
	_Atomic uint32_t quit;
	_Atomic uint32_t ready;    /* cpfence's pid, once it guards */
	_Atomic int64_t deadline;  /* CLOCK_BOOTTIME in ns; 0: no lease */
	_Atomic uint32_t fenced;   /* by cpfence: the node's cgroup is frozen */
	_Atomic int32_t trouble;   /* by cpfence: errno of its last attempt to freeze or thaw; 0: it can */
	_Atomic int64_t fenced_at; /* by cpfence: when it froze last */
	struct fence_watch watch[FENCE_SLOTS];
};

/* When a process started, in clock ticks since boot; 0: there is none. Used by both sides. */
uint64_t fence_process_start(pid_t pid);

#endif
