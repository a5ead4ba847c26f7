/* Owns taking a process snapshot of a job: one at a time, complete or absent, in image directories used in turn.
 *
 * A generation exists when its directory has a manifest: everything in the directory is hashed first (after the
 * job runs again), the manifest is written aside and renamed last, and removed before the directory is used
 * again. An agent killed anywhere in between leaves a directory without a manifest: free for reuse. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/job_start.h"
#include "agent/levels.h"
#include "agent/ports/fence.h"
#include "agent/ports/images.h"
#include "agent/ports/precheck.h"
#include "agent/ports/snapshot.h"
#include "agent/work.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/scoped.h"
#include "lib/base/units.h"
#include "lib/chunk/manifest.h"
#include "lib/wire/copy.h"

#define DUMP_WATCHDOG_NS (60 * NS_PER_S)
#define HISTORY_CARRIED 20

struct shot {
	struct job *job;
	struct wanted *wanted; /* who asked before it began */
	unsigned slot;
	char reason[32];
	Cpa__Generation *g; /* owned */
	struct snapshot_taken taken;
	int watch;
	int code;
	struct err err;
};

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
	(void)criu;
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

/* The newest of its history go along with the generation. On the loop: there it also changes. */
static void carry_history(const struct job *j, Cpa__Generation *g)
{
	size_t from = j->n_history > HISTORY_CARRIED ? j->n_history - HISTORY_CARRIED : 0;
	g->history = calloc(HISTORY_CARRIED, sizeof(Cpa__Past *));
	for (size_t i = from; g->history && i < j->n_history; i++) {
		Cpa__Past *p = wire_copy(&j->history[i]->base);
		if (p)
			g->history[g->n_history++] = p;
	}
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

static void run_shot(void *ctx)
{
	struct shot *s = ctx;
	char dir[FS_PATH_MAX], manifest[FS_PATH_MAX + 16];
	s->watch = -1;
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

/* One that failed: why, and that it is not there. */
static void note_failure(struct shot *s)
{
	struct job *j = s->job;
	Cpa__Past *p = malloc(sizeof *p);
	if (!p)
		return;
	cpa__past__init(p);
	p->generation = j->last_generation;
	p->time_ns = clock_real_ns();
	wire_set(&p->reason, s->reason);
	p->incarnation = j->incarnation;
	wire_set(&p->node, j->agent->cfg.name);
	wire_set(&p->note, s->err.text);
	job_history_add(j, p);
}

static void answer(struct job *j, struct wanted *w, uint64_t generation, int64_t frozen_ns, const struct err *e)
{
	while (w) {
		struct wanted *next = w->next;
		if (w->done)
			w->done(w->ctx, j, generation, frozen_ns, e);
		free(w);
		w = next;
	}
}

static void done_shot(void *ctx)
{
	struct shot *s = ctx;
	struct job *j = s->job;
	j->busy = false;
	if (s->code == 0) {
		log_info("snapshot",
		         "job=%s name=%s generation=%llu bytes=%llu frozen_ms=%.1f total_ms=%.1f reason=\"%s\"", j->id,
		         j->spec->name, (unsigned long long)s->g->generation,
		         (unsigned long long)manifest_generation_bytes(s->g), (double)s->taken.frozen_ns / 1e6,
		         (double)s->taken.total_ns / 1e6, s->reason);
		job_gen_add(j, scoped_take(s->g), s->slot);
		if (j->restored_from && j->last_generation > j->restored_from)
			j->restored_from = 0; /* it has got past it */
		job_tell_gen(j, &j->gens[j->n_gens - 1]);
		levels_offer(j, j->spec->level, false);
	} else {
		note_failure(s);
		job_slot_lost(j, s->slot);
		log_warn("snapshot_failed", "job=%s name=%s generation=%llu why=\"%s\"", j->id, j->spec->name,
		         (unsigned long long)j->last_generation, s->err.text);
	}
	job_touched(j);
	struct wanted *w = s->wanted;
	struct err e = s->err;
	uint64_t number = s->code == 0 ? j->last_generation : 0;
	int64_t frozen = s->taken.frozen_ns;
	if (s->g)
		cpa__generation__free_unpacked(s->g, NULL);
	free(s);
	answer(j, w, number, frozen, number ? NULL : &e);
	if (j->died)
		job_died(j);
	else if (job_forgettable(j))
		jobs_remove(j);
	else if (j->wanted)
		job_snapshot_next(j);
}

/* Would one more generation, as large as the newest, spend the agent's memory? */
static bool over_budget(struct job *j, struct err *e)
{
	const struct gen *newest = j->n_gens ? &j->gens[j->n_gens - 1] : NULL;
	uint64_t have = jobs_memory(j->agent), more = newest ? manifest_generation_bytes(newest->g) : 0;
	char a[UNITS_TEXT_MAX], b[UNITS_TEXT_MAX];
	if (have + more <= j->agent->cfg.memory)
		return false;
	err_set(e, ERR_FAILED,
	        "no snapshot of %s: this node's images take %s and may take %s (--memory); keep fewer generations "
	        "or raise it",
	        j->spec->name, units_size_text(have, a), units_size_text(j->agent->cfg.memory, b));
	return true;
}

void job_snapshot(struct job *j, const char *reason, struct wanted *w)
{
	struct err e = { 0 };
	struct shot *s = calloc(1, sizeof *s);
	Cpa__Generation *g = malloc(sizeof *g);
	if (!j->agent->criu[0])
		err_set(&e, ERR_FAILED, "no process snapshot on this node: %s", j->agent->why_no_criu);
	else if (over_budget(j, &e))
		log_warn("snapshot_refused", "job=%s why=\"%s\"", j->id, e.text);
	else if (!s || !g)
		err_set(&e, ERR_FAILED, "out of memory");
	if (e.code < 0) {
		free(s);
		free(g);
		answer(j, w, 0, 0, &e);
		return;
	}
	cpa__generation__init(g);
	carry_history(j, g);
	*s = (struct shot){ .job = j, .wanted = w, .g = g, .slot = job_free_slot(j) };
	core_copy(s->reason, sizeof s->reason, reason);
	j->last_generation++;
	j->busy = true;
	work_start(&j->agent->loop, run_shot, done_shot, s);
}

void job_snapshot_want(struct job *j, const char *reason, snapshot_fn *done, void *ctx)
{
	struct wanted *w = malloc(sizeof *w);
	if (!w) {
		struct err e = { .code = ERR_FAILED, .text = "out of memory" };
		done(ctx, j, 0, 0, &e);
		return;
	}
	*w = (struct wanted){ j->wanted, reason, done, ctx };
	j->wanted = w;
	job_snapshot_next(j);
}

void job_snapshot_next(struct job *j)
{
	if (j->busy || j->state != JOB_RUNNING || !j->wanted)
		return;
	struct wanted *w = j->wanted;
	j->wanted = NULL;
	job_snapshot(j, w->reason, w);
}

void job_snapshot_refuse(struct job *j, const char *why)
{
	struct wanted *w = j->wanted;
	struct err e = { 0 };
	err_set(&e, ERR_FAILED, "job %s: %s", j->spec->name, why);
	j->wanted = NULL;
	answer(j, w, 0, 0, &e);
}
