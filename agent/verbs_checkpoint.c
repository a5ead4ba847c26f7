/* Owns the verb checkpoint: a snapshot now, and an answer when the level asked for holds it. */
#include <stdlib.h>
#include <string.h>

#include "agent/job_start.h"
#include "agent/levels.h"
#include "agent/standing.h"
#include "agent/verbs.h"
#include "lib/base/clock.h"

#define LEVEL_WAIT_NS (120 * NS_PER_S)
#define OFFER_AGAIN_NS (2 * NS_PER_S)

struct asked {
	struct asked *next;
	struct request *rq;
	char job[CORE_UUID];
	uint32_t level;
	uint64_t generation;
	int64_t frozen_ns, give_up, offer_at;
};

static struct asked *waiting; /* for a level above to hold it; one list, one loop */

static void answer(struct asked *q, struct job *j, uint32_t level)
{
	Cpa__Past *p = job_history_find(j, q->generation);
	request_reply(q->rq,
	              json_pack("{s:I,s:i,s:f,s:I}", "generation", (json_int_t)q->generation, "level", (int)level,
	                        "frozen_seconds", (double)q->frozen_ns / 1e9, "size_bytes",
	                        (json_int_t)(p ? p->size : 0)),
	              NULL, 0);
	free(q);
}

static uint32_t level_reached(struct job *j, uint64_t generation)
{
	Cpa__Past *p = job_history_find(j, generation);
	uint32_t level = 0;
	for (size_t i = 0; p && i < p->n_levels; i++)
		level = p->levels[i] > level ? p->levels[i] : level;
	return level;
}

void verbs_checkpoint_look(struct agent *a)
{
	int64_t now = clock_boot_ns();
	for (struct asked **p = &waiting; *p;) {
		struct asked *q = *p;
		struct job *j = jobs_find(a, q->job);
		uint32_t level = j ? level_reached(j, q->generation) : 0;
		if (level < q->level && now < q->give_up && !q->rq->gone && j) {
			if (now >= q->offer_at) { /* a parent that was restarted may not have known us when it was offered */
				q->offer_at = now + OFFER_AGAIN_NS;
				levels_offer(j, q->level, true);
			}
			p = &q->next;
			continue;
		}
		*p = q->next;
		if (level >= q->level) {
			answer(q, j, level);
			continue;
		}
		request_fail(q->rq, ERR_TIMEOUT,
		             "generation %llu is complete at level %u, but level %u does not hold it yet; see "
		             "cpagent status",
		             (unsigned long long)q->generation, level, q->level);
		free(q);
	}
}

static void on_snapshot(void *ctx, struct job *j, uint64_t generation, int64_t frozen_ns, const struct err *e)
{
	struct asked *q = ctx;
	if (e) {
		request_fail_err(q->rq, e);
		free(q);
		return;
	}
	q->generation = generation;
	q->frozen_ns = frozen_ns;
	if (q->level <= 1) {
		answer(q, j, 1);
		return;
	}
	levels_offer(j, q->level, true);
	q->offer_at = clock_boot_ns() + OFFER_AGAIN_NS;
	q->give_up = clock_boot_ns() + LEVEL_WAIT_NS;
	q->next = waiting;
	waiting = q;
}

void verb_checkpoint(struct request *rq, struct job *j)
{
	int64_t level = request_number(rq, "level", 1);
	if (verbs_refuse_ended(rq, j))
		return;
	if (level > 1 && !j->agent->standing) {
		request_fail(rq, ERR_FAILED,
		             "this node has no parent that could hold level %lld; start cpagentd with --parent",
		             (long long)level);
		return;
	}
	uint32_t top = standing_top(j->agent);
	if (top && level > top) {
		request_fail(rq, ERR_USAGE, "there is no level %lld: the top of this cluster is level %u",
		             (long long)level, top);
		return;
	}
	if (j->state == JOB_FROZEN) {
		request_fail(rq, ERR_FAILED, "%s: it is frozen because its node's lease ran out (%s)",
		             j->spec->name, standing_why(j->agent));
		return;
	}
	struct asked *q = calloc(1, sizeof *q);
	if (!q) {
		request_fail(rq, ERR_FAILED, "out of memory");
		return;
	}
	*q = (struct asked){ .rq = rq, .level = level < 0 ? 1 : (uint32_t)level };
	core_copy(q->job, sizeof q->job, j->id);
	job_snapshot_want(j, "demand", on_snapshot, q);
}
