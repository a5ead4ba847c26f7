/* Owns taking a process snapshot of a job: one at a time, complete or absent, in image directories used in turn.
 * What runs in a worker thread is in job_shot.c. */
#include <stdlib.h>
#include <string.h>

#include "agent/job_shot.h"
#include "agent/levels.h"
#include "agent/ports/let_go.h"
#include "agent/work.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/scoped.h"
#include "lib/base/units.h"
#include "lib/chunk/manifest.h"
#include "lib/wire/copy.h"

#define LET_GO_LOOK_MS 20
#define HISTORY_CARRIED 20

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

/* One that failed: why, and that it is not there. */
static void note_failure(struct shot *s)
{
	struct job *j = s->job;
	Cpa__Past *last = j->n_history ? j->history[j->n_history - 1] : NULL, *p = malloc(sizeof *p);
	if (!p)
		return;
	if (last && last->n_levels == 0 && strcmp(last->note, s->err.text) == 0 &&
	    strcmp(last->reason, s->reason) == 0) /* again: the ones that can be restored stay in sight */
		cpa__past__free_unpacked(j->history[--j->n_history], NULL);
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

static void done_shot(void *ctx);

static void look_again(uv_timer_t *t)
{
	struct shot *s = t->data;
	work_start(&s->job->agent->loop, shot_run, done_shot, s);
}

static void free_pause(uv_handle_t *h)
{
	free(h);
}

/* Look again in a moment, without a thread that waits. False when it is not worth it any more. */
static bool wait_more(struct shot *s)
{
	struct job *j = s->job;
	char arena[FS_PATH_MAX];
	if (!s->pause && (s->pause = malloc(sizeof *s->pause))) {
		uv_timer_init(&j->agent->loop, s->pause);
		s->pause->data = s;
	}
	bool over = j->died || j->stopping || j->disowned || j->agent->stopping || j->state != JOB_RUNNING;
	if (!over && s->pause && uv_timer_start(s->pause, look_again, LET_GO_LOOK_MS, 0) == 0)
		return true;
	s->code = err_set(&s->err, ERR_FAILED, "no snapshot of %s: it was ended or frozen, or its agent ended",
	                  j->spec->name);
	let_go_over(job_arena(j, arena));
	return false;
}

static void done_shot(void *ctx)
{
	struct shot *s = ctx;
	struct job *j = s->job;
	if (s->waits && wait_more(s))
		return;
	if (s->pause)
		uv_close((uv_handle_t *)s->pause, free_pause);
	j->busy = false;
	if (s->code == 0) {
		log_info("snapshot",
		         "job=%s name=%s generation=%llu bytes=%llu frozen_ms=%.1f total_ms=%.1f reason=\"%s\"",
		         j->id, j->spec->name, (unsigned long long)s->g->generation,
		         (unsigned long long)manifest_generation_bytes(s->g), (double)s->taken.frozen_ns / 1e6,
		         (double)s->taken.total_ns / 1e6, s->reason);
		job_gen_add(j, scoped_take(s->g), s->slot);
		if (j->restored_from && j->last_generation > j->restored_from)
			j->restored_from = 0; /* it has got past it */
		job_tell_gen(j, &j->gens[j->n_gens - 1]);
		levels_offer(j, j->spec->level, false);
	} else {
		note_failure(s);
		if (s->began)
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
	work_start(&j->agent->loop, shot_run, done_shot, s);
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
