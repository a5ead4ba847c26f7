/* Owns a job's ask to be saved: what it has goes to the disks of the levels above. The answer's number is the
 * serial of the newest keyset that is there. */
#include <stdlib.h>

#include "agent/asks.h"
#include "agent/save_job.h"

struct own_ask {
	struct agent *agent;
	char job[CORE_UUID];
	uint32_t asked;
};

static void on_saved(void *ctx, const struct err *e, uint64_t keyset)
{
	struct own_ask *q = ctx;
	struct job *j = jobs_find(q->agent, q->job);
	if (j)
		asks_answer(j, ARENA_ASK_SAVE, q->asked, e ? e->code : 0, keyset, e ? e->text : NULL);
	free(q);
}

void ask_save(struct job *j, const struct arena_ask *ask)
{
	struct own_ask *q = malloc(sizeof *q);
	if (!q) {
		asks_answer(j, ARENA_ASK_SAVE, ask->asked, ERR_FAILED, 0, "out of memory");
		return;
	}
	*q = (struct own_ask){ .agent = j->agent, .asked = ask->asked };
	core_copy(q->job, sizeof q->job, j->id);
	save_job_ask(j->agent, j->id, on_saved, q);
}
