/* Owns jobs' own asks for process snapshots of themselves: taken as `cpagent checkpoint` takes one, carried to the
 * level it named. The answer is the generation; the process that comes back from it hears none: it sees another
 * incarnation. Jobs that ask again and again take turns (core/turns.c), so that they leave the node to others. */
#include <stdlib.h>

#include "agent/asks.h"
#include "agent/job_start.h"
#include "agent/levels.h"
#include "agent/standing.h"
#include "lib/base/clock.h"

#define WHY_ASKED "asked by the job"
#define AT_ONCE 4 /* on a node */

static void begin_next(struct agent *a, int64_t now);

static void on_snapshot(void *ctx, struct job *j, uint64_t generation, int64_t frozen_ns, const struct err *e)
{
	(void)ctx;
	(void)frozen_ns;
	turn_end(&j->shot_turn, clock_boot_ns());
	if (!e && j->shot_level > 1)
		levels_offer(j, j->shot_level, true);
	asks_answer(j, ARENA_ASK_SNAPSHOT, j->asking[ARENA_ASK_SNAPSHOT].asked, e ? e->code : 0, generation,
	            e ? e->text : NULL);
	begin_next(j->agent, clock_boot_ns());
}

/* Who asked is gone, and hears nothing. */
static bool drop_if_gone(struct job *j)
{
	const struct ask_flight *f = &j->asking[ARENA_ASK_SNAPSHOT];
	if (!j->shot_turn.since || (f->incarnation == j->incarnation && job_live(j->state)))
		return false;
	j->shot_turn.since = 0;
	asks_answer(j, ARENA_ASK_SNAPSHOT, f->asked, ERR_FAILED, 0, "the process that asked has ended");
	return true;
}

static struct job *next_job(struct agent *a, int64_t now)
{
	const struct turn **turns = malloc((a->jobs->count + 1) * sizeof *turns);
	struct job **jobs = malloc((a->jobs->count + 1) * sizeof *jobs), *found = NULL;
	size_t n = 0;
	for (struct job *j = a->jobs->first; turns && jobs && j && n < a->jobs->count; j = j->next)
		if (j->shot_turn.began || (j->shot_turn.since && j->state == JOB_RUNNING)) {
			turns[n] = &j->shot_turn;
			jobs[n++] = j;
		}
	int next = turns && jobs ? turns_next(turns, n, AT_ONCE, now) : -1;
	if (next >= 0)
		found = jobs[next];
	free(turns);
	free(jobs);
	return found;
}

static void begin_next(struct agent *a, int64_t now)
{
	struct job *j;
	while (!a->stopping && (j = next_job(a, now))) {
		turn_begin(&j->shot_turn, now);
		job_snapshot_want(j, WHY_ASKED, on_snapshot, NULL);
	}
}

void ask_snapshot_tick(struct agent *a, int64_t now)
{
	bool waits = false;
	for (struct job *j = a->jobs->first; j; j = j->next)
		waits |= j->shot_turn.since && !drop_if_gone(j);
	if (waits)
		begin_next(a, now);
}

static int refuse(const struct job *j, uint32_t level, struct err *e)
{
	uint32_t top = standing_top(j->agent);
	if (level > 1 && !j->agent->standing)
		return err_set(e, ERR_FAILED, "this node has no parent that could hold level %u", level);
	if (top && level > top)
		return err_set(e, ERR_USAGE, "there is no level %u: the top of this cluster is level %u", level,
		               top);
	return 0;
}

void ask_snapshot(struct job *j, const struct arena_ask *ask)
{
	struct err e = { 0 };
	if (refuse(j, ask->level, &e) < 0) {
		asks_answer(j, ARENA_ASK_SNAPSHOT, ask->asked, e.code, 0, e.text);
		return;
	}
	j->shot_level = ask->level;
	j->shot_turn.since = clock_boot_ns();
	begin_next(j->agent, j->shot_turn.since);
}
