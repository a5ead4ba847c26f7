/* Owns RUN/fence and the life of cpfence, as the agent sees them. What cpfence does stands in
 * agent/init/cpfence.c. */
#include "agent/ports/fence.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/init/fence_shared.h"
#include "lib/base/clock.h"
#include "lib/base/fs.h"
#include "lib/base/scoped.h"

#define START_TIMEOUT (5 * NS_PER_S)
#define QUIT_TRIES 2000

struct fence {
	struct fence_shared *shared;
	int fd;
	char path[FS_PATH_MAX], cgroup[FS_PATH_MAX], cpfence[FS_PATH_MAX];
};

static void pause_1ms(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = NS_PER_MS }, NULL);
}

static void wake(struct fence_shared *s)
{
	atomic_fetch_add(&s->wake, 1);
	syscall(SYS_futex, &s->wake, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* ---- the file ---------------------------------------------------------------------------------- */

static int read_boot_id(char *id, struct err *e)
{
	scoped_free char *text = NULL;
	size_t len;
	int rc = fs_read("/proc/sys/kernel/random/boot_id", 64, &text, &len, e);
	if (rc == 0 && len < FENCE_BOOT_ID)
		rc = err_set(e, ERR_FAILED, "the kernel's boot_id is shorter than it should be");
	if (rc == 0)
		memcpy(id, text, FENCE_BOOT_ID);
	return rc;
}

static int map(struct fence *f)
{
	f->fd = open(f->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (f->fd < 0 || lseek(f->fd, 0, SEEK_END) < (off_t)sizeof *f->shared)
		return -1;
	f->shared = mmap(NULL, sizeof *f->shared, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);
	return f->shared == MAP_FAILED ? -1 : 0;
}

static void unmap(struct fence *f)
{
	if (f->shared && f->shared != MAP_FAILED)
		munmap(f->shared, sizeof *f->shared);
	if (f->fd >= 0)
		close(f->fd);
	f->shared = NULL;
	f->fd = -1;
}

/* Keep the file of the agent's earlier life: its deadline is still a promise. Of an earlier boot, or not ours: a
 * new one. */
static int take_file(struct fence *f, struct err *e)
{
	struct fence_shared fresh = { .magic = FENCE_MAGIC };
	int rc = read_boot_id(fresh.boot_id, e);
	if (rc < 0)
		return rc;
	if (map(f) == 0 && f->shared->magic == FENCE_MAGIC &&
	    memcmp(f->shared->boot_id, fresh.boot_id, FENCE_BOOT_ID) == 0)
		return 0;
	unmap(f);
	rc = fs_write_aside(f->path, &fresh, sizeof fresh, 0600, 0, e);
	if (rc < 0)
		return rc;
	return map(f) == 0 ? 0 : err_sys(e, ERR_FAILED, "cannot map %s", f->path);
}

/* ---- cpfence's life ---------------------------------------------------------------------------- */

/* It holds the lock on the file for as long as it lives; no pid to be mistaken about. */
static bool guarded(const struct fence *f)
{
	if (flock(f->fd, LOCK_SH | LOCK_NB) < 0)
		return true;
	flock(f->fd, LOCK_UN);
	return false;
}

static int spawn(const struct fence *f, struct err *e)
{
	char *argv[] = { (char *)"cpfence", (char *)f->path, (char *)f->cgroup, NULL }, *env[] = { NULL };
	pid_t pid;
	int status, rc = posix_spawn(&pid, f->cpfence, NULL, NULL, argv, env);
	if (rc != 0) {
		errno = rc;
		return err_sys(e, rc == ENOENT ? ERR_NOT_FOUND : ERR_FAILED, "cannot start %s", f->cpfence);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR) /* it forks, and the first one ends at once */
		;
	return 0;
}

static int start(struct fence *f, struct err *e)
{
	int64_t end = clock_boot_ns() + START_TIMEOUT;
	atomic_store(&f->shared->ready, 0);
	int rc = spawn(f, e);
	if (rc < 0)
		return rc;
	while (!atomic_load(&f->shared->ready)) {
		struct timespec slice = { .tv_nsec = 100 * NS_PER_MS };
		if (clock_boot_ns() > end)
			return err_set(e, ERR_TIMEOUT,
			               "%s does not guard %s; the node's jobs would not be frozen at "
			               "their lease's end",
			               f->cpfence, f->path);
		syscall(SYS_futex, &f->shared->ready, FUTEX_WAIT, 0, &slice, NULL, 0);
	}
	return 0;
}

int fence_check(struct fence *f, struct err *e)
{
	int rc = guarded(f) ? 0 : start(f, e);
	if (rc < 0)
		return rc;
	errno = atomic_load(&f->shared->trouble);
	return errno ? err_sys(e, ERR_FAILED, "cpfence cannot freeze %s", f->cgroup) : 0;
}

int fence_open(struct fence **out, const char *run_dir, const char *cgroup_node, const char *cpfence,
               struct err *e)
{
	struct fence *f = calloc(1, sizeof *f);
	*out = f;
	if (!f)
		return err_set(e, ERR_FAILED, "out of memory for the fence");
	f->fd = -1;
	char real[PATH_MAX];
	if (!realpath(run_dir, real)) {
		err_sys(e, ERR_FAILED, "cannot find the runtime directory %s", run_dir);
		fence_close(out);
		return ERR_FAILED;
	}
	fs_path(f->path, "%s/fence", real);
	fs_path(f->cgroup, "%s", cgroup_node);
	fs_path(f->cpfence, "%s", cpfence);
	int rc = take_file(f, e);
	bool adopted = rc == 0 && guarded(f);
	if (rc == 0)
		rc = fence_check(f, e);
	if (rc < 0 && f->shared && !adopted)
		fence_quit(out); /* one that cannot guard is of no use */
	else if (rc < 0)
		fence_close(out);
	return rc;
}

void fence_close(struct fence **f)
{
	if (!*f)
		return;
	unmap(*f);
	free(*f);
	*f = NULL;
}

void fence_quit(struct fence **f)
{
	if (!*f)
		return;
	atomic_store(&(*f)->shared->quit, 1);
	unlink((*f)->path);
	wake((*f)->shared);
	for (int i = 0; i < QUIT_TRIES && guarded(*f); i++)
		pause_1ms();
	fence_close(f);
}

/* ---- the lease --------------------------------------------------------------------------------- */

/* A renewal wakes nobody: cpfence sees it when the earlier deadline comes. */
void fence_set_deadline(struct fence *f, int64_t boot_ns)
{
	int64_t before = atomic_exchange(&f->shared->deadline, boot_ns);
	if (before == 0 || (boot_ns && boot_ns < before) || atomic_load(&f->shared->fenced) ||
	    clock_boot_ns() >= before)
		wake(f->shared);
}

int64_t fence_deadline(const struct fence *f)
{
	return atomic_load(&f->shared->deadline);
}

bool fence_fenced(const struct fence *f)
{
	return atomic_load(&f->shared->fenced);
}

/* ---- dumps ------------------------------------------------------------------------------------- */

/* A slot that a dead agent left behind is free when its deadline has been dealt with. */
static bool claim(struct fence_watch *w)
{
	uint32_t self = (uint32_t)getpid(), owner = atomic_load(&w->owner);
	return owner != self &&
	       (owner == 0 || atomic_load(&w->deadline) == WATCH_OFF ||
	        atomic_load(&w->deadline) == WATCH_ACTED) &&
	       atomic_compare_exchange_strong(&w->owner, &owner, self);
}

int fence_watch_dump(struct fence *f, const char *uuid, pid_t pid, int64_t boot_ns, struct err *e)
{
	for (int i = 0; i < FENCE_SLOTS; i++) {
		struct fence_watch *w = &f->shared->watch[i];
		if (!claim(w))
			continue;
		snprintf(w->uuid, sizeof w->uuid, "%s", uuid ? uuid : "");
		atomic_store(&w->pid, pid);
		atomic_store(&w->started, pid > 0 ? fence_process_start(pid) : 0);
		atomic_store(&w->deadline, boot_ns);
		wake(f->shared);
		return i;
	}
	return err_set(e, ERR_FAILED, "%d dumps are watched already; try again when one has ended", FENCE_SLOTS);
}

bool fence_unwatch_dump(struct fence *f, int slot)
{
	if (slot < 0 || slot >= FENCE_SLOTS)
		return false;
	struct fence_watch *w = &f->shared->watch[slot];
	int64_t was = atomic_load(&w->deadline);
	while (was > 0 && !atomic_compare_exchange_weak(&w->deadline, &was, WATCH_OFF))
		;
	/* once it acts, let it finish: its thaw must not hit the next dump of this job */
	for (int i = 0; i < QUIT_TRIES && atomic_load(&w->deadline) == WATCH_ACTING; i++)
		pause_1ms();
	bool acted = was == WATCH_ACTING || was == WATCH_ACTED;
	atomic_store(&w->deadline, WATCH_OFF);
	atomic_store(&w->owner, 0);
	return acted;
}
