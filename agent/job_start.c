/* Owns a start of a job: which sources are tried in which order, the worker that tries them, and what follows. */
#include "agent/job_start.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/asks.h"
#include "agent/bell.h"
#include "agent/keyset.h"
#include "agent/standing.h"
#include "agent/work.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/wire/copy.h"

#define QUICK_DEATH_NS (2 * NS_PER_S)

void start_from_free(struct start_from *from)
{
	for (size_t i = 0; from && i < from->n; i++)
		if (from->v[i].h)
			cpa__holding__free_unpacked(from->v[i].h, NULL);
	free(from);
}

static struct start_from *make_from(size_t room, struct err *e)
{
	struct start_from *from = calloc(1, sizeof *from + room * sizeof *from->v);
	if (!from)
		err_set(e, ERR_FAILED, "out of memory");
	return from;
}

struct start_from *start_from_nothing(struct err *e)
{
	struct start_from *from = make_from(1, e);
	if (from)
		from->v[from->n++] = (struct start_source){ .kind = SOURCE_ANEW };
	return from;
}

static struct holding as_held(struct job *j, const Cpa__Holding *h)
{
	j->by_keys |= h->by_keys;
	struct holding out = { .kind = h->what == CPA__WHAT__KEYSET ? SOURCE_KEYS : SOURCE_SNAPSHOT,
		               .level = (int)h->level,
		               .number = h->number,
		               .incarnation = h->incarnation,
		               .time = h->time_ns,
		               .bytes = h->bytes,
		               .bad = h->bad,
		               .reachable = true };
	if (out.kind == SOURCE_SNAPSHOT && h->number == j->crashed)
		out.crashes = j->crashes;
	core_copy(out.holder, sizeof out.holder, h->holder);
	return out;
}

/* Everything this node has or knows of; which[i] is the held copy behind held[i], NULL for its own. */
static size_t list_all(struct job *j, struct holding *held, const Cpa__Holding **which)
{
	size_t n = 0;
	for (size_t i = 0; i < j->n_gens; i++, n++) {
		const struct gen *g = &j->gens[i];
		which[n] = NULL;
		held[n] = (struct holding){ .kind = SOURCE_SNAPSHOT,
			                    .level = 1,
			                    .number = g->number,
			                    .incarnation = g->g->incarnation,
			                    .time = g->g->time_ns,
			                    .reachable = true,
			                    .bad = g->bad,
			                    .crashes = g->number == j->crashed ? j->crashes : 0 };
	}
	struct keyset_seen keys;
	if (keyset_look(j, &keys) == 0 && keys.count) {
		which[n] = NULL;
		held[n++] = (struct holding){ .kind = SOURCE_KEYS,
			                      .level = 1,
			                      .number = keys.newest,
			                      .incarnation = keys.incarnation,
			                      .time = keys.time_ns,
			                      .reachable = true };
		j->by_keys |= keys.by_keys;
	}
	for (size_t i = 0; i < j->n_held; i++, n++) {
		which[n] = j->held[i];
		held[n] = as_held(j, j->held[i]);
	}
	return n;
}

struct start_from *start_from_wish(struct job *j, const struct source_wish *wish, struct err *e)
{
	size_t room = j->n_gens + j->n_held + 2;
	struct holding *held = calloc(room, sizeof *held);
	const Cpa__Holding **which = calloc(room, sizeof(Cpa__Holding *));
	struct source *order = calloc(room + 1, sizeof *order);
	struct start_from *from = make_from(room + 1, e);
	if (held && which && order && from) {
		size_t n = list_all(j, held, which);
		struct source_wish w = *wish;
		w.by_keys |= j->by_keys;
		n = source_order(&w, held, n, order);
		for (size_t i = 0; i < n; i++) {
			const Cpa__Holding *h = order[i].from ? which[order[i].from - held] : NULL;
			from->v[from->n++] =
			        (struct start_source){ .kind = order[i].kind,
				                       .local = order[i].from && !h,
				                       .number = order[i].from ? order[i].from->number : 0,
				                       .h = h ? wire_copy(&h->base) : NULL };
		}
	}
	free(held);
	free(which);
	free(order);
	if (from && from->n == 0) {
		start_from_free(from);
		from = NULL;
		err_set(e, ERR_NOT_FOUND, "%s: nothing of that kind is held of this job; see cpagent history",
		        j->spec->name);
	}
	return from;
}

struct start_from *start_from_local(struct job *j, struct err *e)
{
	struct source_wish wish = { .mode = (enum restart_mode)j->spec->mode };
	return start_from_wish(j, &wish, e);
}

struct start_from *start_from_order(struct job *j, const Cpa__Start *order, struct err *e)
{
	if (order->anew)
		return start_from_nothing(e);
	for (size_t i = 0; i < order->n_sources; i++)
		if (strcmp(order->sources[i]->holder, j->agent->cfg.name) != 0)
			job_remember_held(j, order->sources[i]);
	struct source_wish wish = { .mode = (enum restart_mode)j->spec->mode,
		                    .level = (int)order->level,
		                    .generation = order->generation };
	return start_from_wish(j, &wish, e);
}

/* ---- the worker ---- */

static int try_source(struct start *s, const struct start_source *src, struct err *e)
{
	switch (src->kind) {
	case SOURCE_SNAPSHOT:
		return start_from_snapshot(s, src, e);
	case SOURCE_KEYS:
		return start_from_keys(s, src, e);
	case SOURCE_ANEW:
		return start_anew(s, e);
	}
	return err_set(e, ERR_FAILED, "unknown kind of source");
}

/* Nothing of an earlier life may be left where the next one begins. And the cgroup is always a new one: since
 * Linux 6.14 a process that is cloned into a cgroup is killed when cgroup.kill was ever written there and not in
 * its parent's. */
static int clear_cgroup(struct job *j, struct err *e)
{
	const struct cgroups *cg = j->agent->cgroup;
	if (!cg)
		return 0;
	if (cgroup_populated(cg, j->id, NULL) > 0 &&
	    (cgroup_kill(cg, j->id, e) < 0 || cgroup_wait_empty(cg, j->id, 10000, e) < 0))
		return e->code;
	if (cgroup_remove(cg, j->id, 10000, e) < 0 || cgroup_make(cg, j->id, e) < 0)
		return e->code;
	/* from here on a taken away job is frozen in the cgroup that we have just made, before, it is stopped here
	 */
	return atomic_load(&j->disowned) ? err_set(e, ERR_FAILED, "job %s was taken away", j->spec->name) : 0;
}

static void run_start(void *ctx)
{
	struct start *s = ctx;
	struct job *j = s->job;
	s->code = clear_cgroup(j, &s->err);
	if (s->code < 0)
		return;
	s->code = err_set(&s->err, ERR_NOT_FOUND, "nothing is held that job %s could be started from",
	                  j->spec->name);
	for (size_t i = 0; i < s->from->n && s->code < 0; i++) {
		const struct start_source *src = &s->from->v[i];
		struct err e = { 0 };
		s->code = try_source(s, src, &e);
		s->used = src->kind;
		s->number = src->number;
		if (s->code == 0 || atomic_load(&j->disowned))
			return;
		s->err = e;
		log_warn("start_source_failed", "job=%s kind=%s number=%llu at=%s why=\"%s\"", j->id,
		         source_kind_name(src->kind), (unsigned long long)src->number,
		         src->h ? src->h->holder : j->agent->cfg.name, e.text);
		if (clear_cgroup(j, &e) < 0)
			return;
		if (s->pid > 0)
			waitpid(s->pid, NULL, WNOHANG);
		s->pid = 0;
	}
}

static void took_over(struct job *j, struct start *s)
{
	if (s->fetched)
		job_gen_add(j, s->fetched, s->slot);
	for (size_t i = 0; i < s->n_bad; i++) {
		struct gen *g = job_gen_find(j, s->bad[i]);
		Cpa__Past *p = job_history_find(j, s->bad[i]);
		if (g)
			g->bad = true;
		if (p) {
			wire_set(&p->note, "damaged on its node: not used");
		}
	}
}

static void start_failed(struct job *j, struct start *s)
{
	char why[CORE_WHY];
	core_copy(why, sizeof why, s->err.text);
	log_error("start_failed", "job=%s name=%s incarnation=%u why=\"%s\"", j->id, j->spec->name, j->incarnation,
	          s->err.text);
	if (s->first) {
		j->launch_status = s->launch_status ? s->launch_status : 125;
		j->ending = (struct ending){ j->launch_status, 0 };
		job_move(j, EV_LAUNCH_FAILED, why);
		job_tell(j, REPORT_FAILED);
	} else {
		job_move(j, EV_RESTORE_FAILED, why);
		job_tell(j, standing_has_registry(j->agent) ? REPORT_FAILED_HERE : REPORT_FAILED);
	}
	standing_job_gone(j->agent, j->id);
}

static void started(struct job *j, struct start *s)
{
	char why[CORE_WHY] = "";
	j->pid = s->pid;
	j->started_ns = clock_boot_ns();
	j->restored_from = s->used == SOURCE_SNAPSHOT ? s->number : 0;
	const struct gen *g = j->restored_from ? job_gen_find(j, j->restored_from) : NULL;
	if (g)
		keyset_restored(j, g->g->time_ns);
	ask_fetch_found(j); /* it may have been reading one when the snapshot was taken */
	interval_set(&j->every, (int64_t)j->spec->every_ns, j->spec->every_ns > 0, j->started_ns);
	if (!s->first && s->used != SOURCE_ANEW)
		snprintf(why, sizeof why, "from %s %llu", source_kind_name(s->used),
		         (unsigned long long)s->number);
	else if (!s->first)
		snprintf(why, sizeof why, "from the beginning: nothing of it was held");
	bell_open(j);
	job_move(j, j->state == JOB_STARTING ? EV_LAUNCHED : EV_RESTORED, why);
	job_tell(j, REPORT_RUNNING);
	if (job_watch(j, s->pidfd) < 0) {
		log_error("job_not_watched", "job=%s", j->id);
		job_kill(j);
		job_died(j);
	}
}

static void done_start(void *ctx)
{
	struct start *s = ctx;
	struct job *j = s->job;
	j->busy = false;
	took_over(j, s);
	if (s->code == 0)
		started(j, s);
	else if (j->disowned)
		job_died(j);
	else
		start_failed(j, s);
	job_launch_answer(j);
	if (s->code == 0 && j->disowned)
		job_kill(j);
	if (s->code == 0 && j->stopping && !j->kill_at)
		job_stop(j, 0);
	start_from_free(s->from);
	free(s);
	if (job_forgettable(j))
		jobs_remove(j);
}

void job_start(struct job *j, struct start_from *from)
{
	struct start *s = calloc(1, sizeof *s);
	if (!s) {
		start_from_free(from);
		job_move(j, j->state == JOB_STARTING ? EV_LAUNCH_FAILED : EV_RESTORE_FAILED, "out of memory");
		job_tell(j, REPORT_FAILED);
		job_launch_answer(j);
		return;
	}
	*s = (struct start){ .job = j, .from = from, .first = j->state == JOB_STARTING, .pidfd = -1 };
	s->mtbf_ms = job_mtbf_ms(j);
	s->top = asks_top(j->agent);
	j->busy = true;
	j->died = false;
	j->cgroup_gone = false;
	j->ending = (struct ending){ 0, 0 };
	static struct work_gate gate = {
		.limit = 16
	}; /* a restore waits for other agents: leave threads to serve them */
	work_start_in(&gate, &j->agent->loop, run_start, done_start, s);
}

void job_note_quick_death(struct job *j)
{
	bool clean = j->ending.code == 0 && j->ending.signal == 0;
	if (!j->restored_from || clean || j->stopping || clock_boot_ns() - j->started_ns > QUICK_DEATH_NS)
		return;
	if (j->crashed != j->restored_from)
		j->crashes = 0;
	j->crashed = j->restored_from;
	j->crashes++;
	log_warn("restored_job_died_at_once", "job=%s generation=%llu times=%u", j->id,
	         (unsigned long long)j->crashed, j->crashes);
}
