/* Restores a snapshot. See snapshot.h.
 * CRIU runs in the job's cgroup, so the job lands in it; the tree's root becomes our child. Until CRIU says that all
 * is done, anything that goes wrong ends in the whole tree killed: a restored job that nobody knows of would be a
 * second copy. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/ports/arena_copy.h"
#include "agent/ports/criu.h"
#include "agent/ports/imgdir.h"
#include "agent/ports/jobtree.h"
#include "agent/ports/snapshot.h"
#include "agent/ports/snapshot_record.h"
#include "lib/base/clock.h"
#include "lib/base/scoped.h"

#define WATCHDOG_NS (300 * NS_PER_S)
#define DONE_NS NS_PER_S /* for CRIU to end after its last word */

struct restore {
	const struct snapshot_restore *how;
	int img_dir;
	int64_t deadline_ns;
	struct snapshot_record record;
	pid_t pid; /* the tree's root; 0 until CRIU has told */
};

/* ---- ending what was begun -------------------------------------------------------------------- */

static void reap(pid_t pid)
{
	if (pid <= 1)
		return; /* to kill -1 would be to kill everything */
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

/* Is this process (or zombie) in the cgroup? "0::/cpagent/NODE/JOB" is below where the hierarchy is mounted. */
static bool is_in_cgroup(pid_t pid, const char *cgroup)
{
	char line[FS_PATH_MAX];
	size_t have = strlen(cgroup);
	scoped_file FILE *f = jobtree_open(pid, "cgroup");
	while (f && fgets(line, sizeof line, f)) {
		if (strncmp(line, "0::/", 4))
			continue;
		line[strcspn(line, "\n")] = '\0';
		size_t len = strlen(line + 3);
		return len > 1 && len <= have && !strcmp(cgroup + have - len, line + 3);
	}
	return false;
}

static void reap_if_ours(void *ctx, pid_t child)
{
	const struct restore *r = ctx;
	if (is_in_cgroup(child, r->how->cgroup))
		reap(child);
}

/* CRIU itself is gone. The tree's root is our child even when CRIU did not live to tell its pid: then its cgroup,
 * which holds nothing but this restore, tells. */
static void kill_tree(struct restore *r)
{
	char path[FS_PATH_MAX];
	if (r->how->cgroup)
		fs_put(fs_path(path, "%s/cgroup.kill", r->how->cgroup), "1");
	if (r->pid > 0)
		reap(r->pid); /* pid 1 of its namespace: the kernel kills the rest with it */
	else if (r->how->cgroup)
		jobtree_children(getpid(), reap_if_ours, r);
}

/* ---- the dialogue with CRIU ------------------------------------------------------------------- */

static int request(const struct restore *r, const struct criu *c, struct err *e)
{
	char job[FS_PATH_MAX], log[FS_PATH_MAX];
	const char *const external[] = {fs_path(job, "mnt[cpajob]:%s", r->how->job_dir),
					fs_path(log, "mnt[cpalog]:%s", r->how->log_dir), "mnt[]", NULL};
	const struct criu_opts opts = {
		.restore = true, .img_fd = r->img_dir, .work_fd = r->img_dir, .log_file = "restore.log",
		.external = external, .tcp_established = r->how->tcp_established,
	};
	return criu_request(c, &opts, e);
}

/* The tree stands, not yet running. */
static int on_pre_resume(const struct restore *r, struct err *e)
{
	struct jobtree tree;
	int rc = jobtree_read(r->pid, &tree, e);
	if (rc)
		return rc;
	affinities_apply(&r->record.affinities, &tree);
	jobtree_free(&tree);
	return r->how->ready ? r->how->ready(r->how->ctx, r->pid, e) : ERR_OK;
}

static int converse(struct restore *r, const struct criu *c, struct err *e)
{
	for (;;) {
		struct criu_event ev;
		int rc = criu_next(c, r->deadline_ns, &ev, e);
		if (rc)
			return rc;
		if (ev.pid > 0)
			r->pid = ev.pid;
		if (ev.kind == CRIU_DONE)
			return ev.success && r->pid > 0 ? ERR_OK : err_set(e, ERR_FAILED, "CRIU failed");
		if (!strcmp(ev.script, "pre-resume") && (rc = on_pre_resume(r, e)))
			return rc;
		if (criu_answer(c, true, e))
			return ERR_FAILED;
	}
}

static int explain(const struct restore *r, int rc, struct err *e)
{
	char reason[400];
	if (rc == ERR_TIMEOUT)
		return err_wrap(e, "the restore was given up, it took too long");
	if (*criu_reason(r->img_dir, "restore.log", reason, sizeof reason))
		return err_set(e, rc, "cannot restore the job; CRIU says: %s", reason);
	return err_wrap(e, "cannot restore the job");
}

static int run_criu(struct restore *r, struct err *e)
{
	const struct criu_start start = {.path = r->how->criu, .cgroup = r->how->cgroup, .page_sock = -1};
	struct criu c;
	int rc = criu_start(&c, &start, e);
	if (rc)
		return rc;
	rc = request(r, &c, e);
	if (!rc)
		rc = converse(r, &c, e);
	criu_close(&c, rc ? 0 : DONE_NS);
	if (!rc)
		return ERR_OK;
	kill_tree(r);
	return explain(r, rc, e);
}

/* ---- before it -------------------------------------------------------------------------------- */

static bool is_plain_name(const char *s)
{
	return s && *s && strlen(s) < 64 && !strchr(s, '/');
}

static int prepare(struct restore *r, struct err *e)
{
	const struct snapshot_restore *how = r->how;
	if (!is_plain_name(how->tail_suffix))
		return err_set(e, ERR_USAGE, "the suffix for cut tails must be a plain name");
	if (snapshot_record_read(r->img_dir, &r->record, e))
		return ERR_FAILED;
	/* the job's mounts need a place to be mounted on, also on a node that never ran a job */
	if (fs_mkdirs(SNAPSHOT_JOB_MOUNT, 0755, e) || fs_mkdirs(SNAPSHOT_LOG_MOUNT, 0755, e))
		return ERR_FAILED;
	if (jobfiles_restore(&r->record.files, how->files, r->img_dir, how->log_dir, how->job_dir, how->tail_suffix, e))
		return ERR_FAILED;
	if (imgdir_put_cpinit(r->img_dir, how->job_dir, e))
		return ERR_FAILED;
	if (!how->arena)
		return ERR_OK;
	return arena_put_back(r->img_dir, how->arena, r->record.arena_owner, r->record.arena_group,
			      r->record.arena_mode, e);
}

int snapshot_restore(const struct snapshot_restore *how, pid_t *pid, struct err *e)
{
	struct err own = {0};
	struct restore r = {.how = how};
	e = e ? e : &own;
	r.img_dir = open(how->img_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r.img_dir < 0)
		return err_sys(e, ERR_FAILED, "cannot open the snapshot %s", how->img_dir);
	r.deadline_ns = clock_boot_ns() + (how->watchdog_ns ? how->watchdog_ns : WATCHDOG_NS);
	int rc = prepare(&r, e);
	if (!rc)
		rc = run_criu(&r, e);
	if (!rc)
		*pid = r.pid;
	snapshot_record_free(&r.record);
	close(r.img_dir);
	return rc;
}
