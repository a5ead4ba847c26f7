/* Owns a job's ask to have its agent registered with another parent: for the superuser and the agent's own user
 * alone, as it concerns all jobs of the node. */
#include <stdlib.h>

#include "agent/asks.h"
#include "agent/register.h"

struct own_ask {
	struct agent *agent;
	char job[CORE_UUID];
	uint32_t asked;
};

static void on_registered(void *ctx, const struct err *e)
{
	struct own_ask *q = ctx;
	struct job *j = jobs_find(q->agent, q->job);
	if (j)
		asks_answer(j, ARENA_ASK_REGISTER, q->asked, e ? e->code : 0, 0, e ? e->text : NULL);
	free(q);
}

void ask_register(struct job *j, const struct arena_ask *ask)
{
	struct own_ask *q = register_permitted(j->spec->uid) ? malloc(sizeof *q) : NULL;
	if (!q) {
		bool denied = !register_permitted(j->spec->uid);
		asks_answer(j, ARENA_ASK_REGISTER, ask->asked, denied ? ERR_DENIED : ERR_FAILED, 0,
		            denied ? "only root and the agent's own user may register it with another one"
		                   : "out of memory");
		return;
	}
	*q = (struct own_ask){ .agent = j->agent, .asked = ask->asked };
	core_copy(q->job, sizeof q->job, j->id);
	register_with(j->agent, ask->text, on_registered, q);
}
