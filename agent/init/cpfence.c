/* cpfence FENCE CGROUP: freezes all of a node's jobs when the node's lease has run out, and ends dumps that keep a
 * job frozen for too long, whatever its agent does. Started by agent/ports/fence.c, told by RUN/fence alone,
 * outlives its agent. It allocates nothing and opens what it can beforehand, so that it acts on a machine that is
 * out of memory. It is the only one to freeze or thaw the node's cgroup: a thaw by an agent that was stopped
 * between its decision and the act could come after the lease's end. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "agent/init/fence_shared.h"

#define NS_PER_S INT64_C(1000000000)
#define LOOK_AGAIN NS_PER_S       /* at the latest: is the file still there, is the cgroup still frozen */
#define TRY_AGAIN (NS_PER_S / 20) /* after a failure to freeze */
#define LOCK_TRIES 100

static struct fence_shared *shared;
static const char *fence_path, *cgroup_dir;
static struct stat fence_stat;
static int freeze_fd = -1, kill_fd = -1;
static timer_t alarm_timer;

static int64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_BOOTTIME, &t);
	return t.tv_sec * NS_PER_S + t.tv_nsec;
}

/* ---- the node's cgroup ------------------------------------------------------------------------- */

static int open_in(const char *job, const char *file)
{
	char path[PATH_MAX];
	int n = snprintf(path, sizeof path, "%s/%s%s%s", cgroup_dir, job, *job ? "/" : "", file);
	return n < (int)sizeof path ? open(path, O_WRONLY | O_CLOEXEC) : -1;
}

static void open_cgroup(void)
{
	if (freeze_fd >= 0)
		close(freeze_fd);
	if (kill_fd >= 0)
		close(kill_fd);
	freeze_fd = open_in("", "cgroup.freeze");
	kill_fd = open_in("", "cgroup.kill");
}

/* The agent may have removed the cgroup and made it again since it was opened. */
static int put(const char *text)
{
	if (freeze_fd >= 0 && pwrite(freeze_fd, text, 1, 0) == 1)
		return 0;
	open_cgroup();
	return freeze_fd >= 0 && pwrite(freeze_fd, text, 1, 0) == 1 ? 0 : -1;
}

/* Past the deadline, in every round: it must hold also when someone else thawed it. A job that cannot be frozen is
 * killed, because another node may start it now. Without a cgroup there is no job. */
static void freeze(int64_t now)
{
	bool frozen = put("1") == 0;
	atomic_store(&shared->trouble, frozen ? 0 : errno);
	bool held = frozen || (kill_fd >= 0 && pwrite(kill_fd, "1", 1, 0) == 1);
	if (held && !atomic_exchange(&shared->fenced, 1))
		atomic_store(&shared->fenced_at, now);
}

static void thaw(void)
{
	bool thawed = put("0") == 0;
	atomic_store(&shared->trouble, thawed ? 0 : errno);
	if (thawed)
		atomic_store(&shared->fenced, 0);
}

/* Returns when to look again. */
static int64_t guard_lease(int64_t now)
{
	int64_t deadline = atomic_load(&shared->deadline);
	if (deadline && now >= deadline)
		freeze(now);
	else if (atomic_load(&shared->fenced) || atomic_load(&shared->trouble))
		thaw();
	if (deadline && now >= deadline)
		return atomic_load(&shared->trouble) ? now + TRY_AGAIN : INT64_MAX;
	return deadline ? deadline : INT64_MAX;
}

/* ---- dumps ------------------------------------------------------------------------------------- */

static void kill_process(pid_t pid, uint64_t started)
{
	int fd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
	if (fd < 0)
		return;
	if (fence_process_start(pid) == started)
		syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
	close(fd);
}

static void thaw_job(const char *uuid)
{
	int fd = *uuid ? open_in(uuid, "cgroup.freeze") : -1;
	if (fd < 0)
		return;
	if (pwrite(fd, "0", 1, 0) != 1)
		atomic_store(&shared->trouble, errno);
	close(fd);
}

static int64_t guard_dumps(int64_t now)
{
	int64_t next = INT64_MAX;
	for (int i = 0; i < FENCE_SLOTS; i++) {
		struct fence_watch *w = &shared->watch[i];
		int64_t deadline = atomic_load(&w->deadline);
		if (deadline > now && deadline < next)
			next = deadline;
		if (deadline <= 0 || deadline > now ||
		    !atomic_compare_exchange_strong(&w->deadline, &deadline, WATCH_ACTING))
			continue;
		char uuid[FENCE_UUID];
		memcpy(uuid, w->uuid, sizeof uuid);
		uuid[sizeof uuid - 1] = '\0';
		kill_process(atomic_load(&w->pid), atomic_load(&w->started));
		thaw_job(uuid);
		atomic_store(&w->deadline, WATCH_ACTED);
	}
	return next;
}

/* ---- waiting ----------------------------------------------------------------------------------- */

/* A futex cannot wait on CLOCK_BOOTTIME, and any other clock stands still while the machine sleeps. So a timer on
 * that clock sends a signal, and the signal changes the futex, so that it is not missed before the wait. */
static void on_alarm(int sig)
{
	(void)sig;
	atomic_fetch_add(&shared->wake, 1);
}

static void wait_until(int64_t when, uint32_t seen)
{
	struct itimerspec at = { .it_value = { when / NS_PER_S, when % NS_PER_S } };
	timer_settime(alarm_timer, TIMER_ABSTIME, &at, NULL);
	syscall(SYS_futex, &shared->wake, FUTEX_WAIT, seen, NULL, NULL, 0);
}

static bool still_wanted(void)
{
	struct stat st;
	return !atomic_load(&shared->quit) && stat(fence_path, &st) == 0 && st.st_ino == fence_stat.st_ino &&
	       st.st_dev == fence_stat.st_dev;
}

static void guard(void)
{
	for (;;) {
		uint32_t seen = atomic_load(&shared->wake);
		if (!still_wanted())
			return;
		int64_t now = now_ns(), next = now + LOOK_AGAIN;
		int64_t lease = guard_lease(now), dump = guard_dumps(now);
		next = lease < next ? lease : next;
		wait_until(dump < next ? dump : next, seen);
	}
}

/* ---- starting ---------------------------------------------------------------------------------- */

/* Away from the agent: its session, its descriptors, its terminal, its parenthood. */
static void detach(void)
{
	syscall(SYS_close_range, 3u, ~0u, 0);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int fd = 0; null >= 0 && fd < 3; fd++)
		dup2(null, fd);
	setsid();
	if (fork() != 0)
		_exit(0);
	if (chdir("/") < 0)
		_exit(1);
}

/* As much protection as this user may have; it guards without, too. */
static void protect(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	bool safe = fd >= 0 && write(fd, "-1000", 5) == 5;
	if (fd >= 0)
		close(fd);
	safe = mlockall(MCL_CURRENT | MCL_FUTURE) == 0 && safe;
	if (sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){ .sched_priority = 1 }) < 0)
		setpriority(PRIO_PROCESS, 0, safe ? -20 : -19);
}

static int map_fence(void)
{
	int fd = open(fence_path, O_RDWR | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &fence_stat) < 0 || fence_stat.st_size < (off_t)sizeof *shared)
		return -1;
	/* the agent's own look at the lock may hold it for a moment */
	for (int i = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; i++) {
		if (i == LOCK_TRIES)
			return -1;
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	return shared != MAP_FAILED && shared->magic == FENCE_MAGIC ? 0 : -1;
}

static int start_timer(void)
{
	struct sigaction wake = { .sa_handler = on_alarm }, none = { .sa_handler = SIG_IGN };
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM };
	sigset_t empty;
	sigemptyset(&empty);
	sigaction(SIGALRM, &wake, NULL);
	sigaction(SIGHUP, &none, NULL);
	sigaction(SIGINT, &none, NULL);
	sigprocmask(SIG_SETMASK, &empty, NULL);
	return timer_create(CLOCK_BOOTTIME, &ev, &alarm_timer);
}

int main(int argc, char **argv)
{
	if (argc != 3 || argv[1][0] != '/' || argv[2][0] != '/') {
		fputs("cpfence guards the jobs of a cpagent node and is started by cpagentd\n", stderr);
		return 2;
	}
	fence_path = argv[1];
	cgroup_dir = argv[2];
	detach();
	if (map_fence() < 0 || start_timer() < 0)
		return 1;
	protect();
	open_cgroup();
	atomic_store(&shared->trouble, freeze_fd < 0 ? errno : 0);
	atomic_store(&shared->fenced, 1); /* what an earlier one left frozen is thawed, or frozen again */
	guard_lease(now_ns());
	atomic_store(&shared->ready, (uint32_t)getpid());
	syscall(SYS_futex, &shared->ready, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
	guard();
	return 0;
}
