/* See job_intervals.h. */
#include "agent/job_intervals.h"

#include <stdlib.h>

#include "agent/keyset.h"
#include "agent/levels.h"
#include "agent/save_job.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"

#define SHORTEST_NS (100 * NS_PER_MS)
#define LONGEST_NS (INT64_C(365) * 86400 * NS_PER_S)
#define NEXT_LEVEL 2

/* The arena's word is the job's: any number may stand there. 0 stays 0. */
static int64_t bounded(uint64_t ms)
{
	int64_t ns = ms > (uint64_t)(LONGEST_NS / NS_PER_MS) ? LONGEST_NS : (int64_t)ms * NS_PER_MS;
	return ns > 0 && ns < SHORTEST_NS ? SHORTEST_NS : ns;
}

static void set(struct interval *i, int64_t period, int64_t now)
{
	if (period != i->period)
		interval_set(i, period, period > 0, now);
}

void job_intervals_take(struct job *j, const struct arena_says *says)
{
	int64_t now = clock_boot_ns(), update = bounded(says->update_ms), save = bounded(says->save_ms);
	/* always on, also below a parent that collects nothing by itself: then at this node's own interval */
	if (update == 0 && says->periodic == ARENA_PERIODIC)
		update = j->agent->cfg.update_ns;
	if (save == 0 && says->periodic == ARENA_PERIODIC)
		save = j->agent->cfg.save_ns;
	j->periodic = says->periodic;
	set(&j->update, j->periodic == ARENA_ON_DEMAND ? 0 : update, now);
	set(&j->save, j->periodic == ARENA_ON_DEMAND ? 0 : save, now);
}

bool job_on_demand(const struct job *j)
{
	return j->periodic == ARENA_ON_DEMAND;
}

static bool any_news(struct job *j)
{
	struct keyset_seen seen;
	const struct gen *g = job_gen_find(j, 0);
	bool carried = j->keyset && j->keyset_held >= j->keyset->serial;
	if (g && g->level < NEXT_LEVEL)
		return true;
	return keyset_look(j, &seen) == 0 && seen.count && (seen.changes != j->keyset_changes || !carried);
}

struct saving {
	struct agent *agent;
	char job[CORE_UUID];
};

static void on_saved(void *ctx, const struct err *e, uint64_t keyset)
{
	struct saving *s = ctx;
	struct job *j = jobs_find(s->agent, s->job);
	(void)keyset;
	if (e)
		log_warn("job_not_saved_above", "job=%s why=\"%s\"", s->job, e->text);
	if (j)
		j->saving = false;
	free(s);
}

static void save(struct job *j)
{
	struct saving *s = j->saving ? NULL : calloc(1, sizeof *s);
	if (!s)
		return;
	s->agent = j->agent;
	core_copy(s->job, sizeof s->job, j->id);
	j->saving = true;
	save_job_ask(j->agent, j->id, on_saved, s);
}

void job_intervals_tick(struct job *j, int64_t now)
{
	if (j->state != JOB_RUNNING || !j->agent->standing)
		return;
	if (interval_due(&j->update, now) && any_news(j))
		levels_offer(j, NEXT_LEVEL, true);
	if (interval_due(&j->save, now))
		save(j);
}
