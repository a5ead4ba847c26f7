/* Owns a job's own ask for a process snapshot of itself: taken as `cpagent checkpoint` takes one, carried to the
 * level it named. The answer is the generation; the process that comes back from it hears none: it sees another
 * incarnation. */
#include <stdlib.h>

#include "agent/asks.h"
#include "agent/job_start.h"
#include "agent/levels.h"
#include "agent/standing.h"

#define WHY_ASKED "asked by the job"

struct own_ask {
	uint32_t asked, level;
};

static void on_snapshot(void *ctx, struct job *j, uint64_t generation, int64_t frozen_ns, const struct err *e)
{
	struct own_ask q = *(struct own_ask *)ctx;
	(void)frozen_ns;
	free(ctx);
	if (!e && q.level > 1)
		levels_offer(j, q.level, true);
	asks_answer(j, ARENA_ASK_SNAPSHOT, q.asked, e ? e->code : 0, generation, e ? e->text : NULL);
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
	struct own_ask *q = NULL;
	if (refuse(j, ask->level, &e) == 0 && !(q = malloc(sizeof *q)))
		err_set(&e, ERR_FAILED, "out of memory");
	if (!q) {
		asks_answer(j, ARENA_ASK_SNAPSHOT, ask->asked, e.code, 0, e.text);
		return;
	}
	*q = (struct own_ask){ ask->asked, ask->level };
	job_snapshot_want(j, WHY_ASKED, on_snapshot, q);
}
