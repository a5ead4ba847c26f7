/* Owns the straight-line part of a snapshot, in worker threads.
 *
 * A generation exists when its directory has a manifest: everything in the directory is hashed first (after the
 * job runs again), the manifest is written aside and renamed last, and removed before the directory is used
 * again. An agent killed anywhere in between leaves a directory without a manifest: free for reuse. */
#include "agent/job_shot.h"

#include <errno.h>
#include <unistd.h>

#include "agent/ports/fence.h"
#include "agent/ports/images.h"
#include "agent/ports/let_go.h"
#include "agent/ports/precheck.h"
#include "lib/base/scoped.h"
#include "lib/chunk/manifest.h"
#include "lib/wire/copy.h"

#define DUMP_WATCHDOG_NS (60 * NS_PER_S)

static void watch_dump(void *ctx, pid_t criu)
{
	struct shot *s = ctx;
	struct agent *a = s->job->agent;
	s->watch = a->fence ? fence_watch_dump(a->fence, s->job->id, criu,
	                                       clock_boot_ns() + DUMP_WATCHDOG_NS + 5 * NS_PER_S, NULL)
	                    : -1;
}

static void unwatch_dump(void *ctx, pid_t criu)
{
	struct shot *s = ctx;
	char arena[FS_PATH_MAX];
	(void)criu;
	let_go_over(job_arena(s->job, arena)); /* it runs again, and what is left to do takes its time */
	if (s->watch >= 0)
		fence_unwatch_dump(s->job->agent->fence, s->watch);
	s->watch = -1;
}

static int take(struct shot *s, const char *dir, struct err *e)
{
	struct job *j = s->job;
	char arena[FS_PATH_MAX];
	struct precheck found;
	if (precheck_job(j->pid, &found, e) < 0 || precheck_verdict(&found, e) < 0)
		return err_wrap(e, "no snapshot of %s can be taken", j->spec->name);
	bool has_arena = access(job_arena(j, arena), F_OK) == 0;
	struct snapshot_take how = { .criu = j->agent->criu,
		                     .pid = j->pid,
		                     .img_dir = dir,
		                     .job_dir = j->job_dir,
		                     .log_dir = j->log_dir,
		                     .arena = has_arena ? arena : NULL,
		                     .files = (enum snapshot_files)j->spec->files,
		                     .tcp_established = j->spec->tcp == CPA__TCP__ESTABLISHED,
		                     .watchdog_ns = DUMP_WATCHDOG_NS,
		                     .watch = watch_dump,
		                     .unwatch = unwatch_dump,
		                     .ctx = s };
	return snapshot_take(&how, &s->taken, e);
}

static int fill(struct shot *s, struct err *e)
{
	struct job *j = s->job;
	Cpa__Generation *g = s->g;
	g->generation = j->last_generation;
	g->incarnation = j->incarnation;
	g->time_ns = clock_real_ns();
	g->frozen_ns = (uint64_t)s->taken.frozen_ns;
	g->uid = j->spec->uid;
	if (!wire_set(&g->job, j->id) || !wire_set(&g->reason, s->reason) ||
	    !wire_set(&g->node, j->agent->cfg.name) || !wire_set(&g->machine, j->agent->machine))
		return err_set(e, ERR_FAILED, "out of memory");
	return 0;
}

static int complete(struct shot *s, const char *dir, const char *manifest, struct err *e)
{
	scoped_free uint8_t *sealed = NULL;
	size_t len;
	if (images_describe(dir, NULL, 0, s->g, e) < 0 || fill(s, e) < 0 ||
	    manifest_pack_generation(s->g, s->job->agent->manifest_key, &sealed, &len, e) < 0)
		return e->code;
	return fs_write_aside(manifest, sealed, len, 0600, 0, e);
}

/* Has the job let go of what CRIU cannot dump? If not, this is to be asked again, but not for ever. */
static bool let_go(struct shot *s, const char *arena)
{
	char who[LET_GO_NAME];
	s->waits = false;
	if (!s->let_go_by)
		s->let_go_by = clock_boot_ns() + LET_GO_NS;
	if (!let_go_holds_on(s->job->pid, arena, who))
		return true;
	s->waits = clock_boot_ns() < s->let_go_by;
	if (!s->waits)
		s->code =
		        err_set(&s->err, ERR_FAILED,
		                "no snapshot of %s: %s holds a userfaultfd and made no call of libcpagent within "
		                "%lld s",
		                s->job->spec->name, who, (long long)(LET_GO_NS / NS_PER_S));
	return false;
}

static void take_all(struct shot *s)
{
	char dir[FS_PATH_MAX], manifest[FS_PATH_MAX + 16];
	s->began = true;
	job_img_dir(s->job, s->slot, dir);
	snprintf(manifest, sizeof manifest, "%s/.manifest", dir);
	s->code = fs_mkdirs(dir, 0700, &s->err);
	if (s->code == 0 && unlink(manifest) < 0 && errno != ENOENT)
		s->code = err_sys(&s->err, ERR_FAILED, "cannot reuse %s", dir);
	if (s->code == 0)
		s->code = take(s, dir, &s->err);
	if (s->code == 0)
		s->code = complete(s, dir, manifest, &s->err);
	if (s->code < 0 && access(manifest, F_OK) != 0)
		fs_remove_tree(dir, NULL); /* a full disk has room again */
}

void shot_run(void *ctx)
{
	struct shot *s = ctx;
	char arena[FS_PATH_MAX];
	s->watch = -1;
	job_arena(s->job, arena);
	if (let_go(s, arena))
		take_all(s);
	if (!s->waits)
		let_go_over(arena);
}
