/* Owns a job's ask for the version that every rank of a group has. The agent finds it (ranks.c), and lets the job
 * number its next versions above everything that any rank has, when one of them goes back farther than the others.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/asks.h"
#include "agent/ranks.h"
#include "lib/arena/mailbox.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/scoped.h"

#define PATIENCE_NS (60 * NS_PER_S)

struct own_ask {
	struct agent *agent;
	char job[CORE_UUID];
	uint32_t asked, incarnation;
	bool member; /* it asks about its own group */
};

/* Does the life of the job that asked go on? */
static bool still_wanted(void *ctx)
{
	const struct own_ask *q = ctx;
	const struct job *j = jobs_find(q->agent, q->job);
	return j && j->incarnation == q->incarnation && !j->died && job_live(j->state);
}

/* Numbers that a rank has given to what it now abandons are given to nothing else, by no rank. */
static void number_next(const struct job *j, const struct ranks_found *found)
{
	char path[FS_PATH_MAX];
	if (found->newest <= found->version || j->state != JOB_RUNNING)
		return;
	scoped_fd int fd = open(job_arena(j, path), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	int rc = fd < 0 ? -EIO : arena_set_number_from(fd, found->newest + 1);
	if (rc < 0)
		log_warn("versions_not_numbered", "job=%s from=%llu why=\"%s\"", j->id,
		         (unsigned long long)found->newest + 1, strerror(-rc));
}

static void on_found(void *ctx, const struct ranks_found *found)
{
	struct own_ask *q = ctx;
	struct job *j = q->agent->stopping ? NULL : jobs_find(q->agent, q->job); /* the next agent finds it open */
	bool same = j && j->incarnation == q->incarnation;
	if (same && q->member && (found->code == 0 || found->code == ERR_NOT_FOUND))
		number_next(j, found);
	if (j)
		asks_answer(j, ARENA_ASK_VERSION, q->asked, found->code, found->version, found->why);
	if (same && found->code == 0)
		log_info("version", "job=%s version=%llu newest=%llu", j->id, (unsigned long long)found->version,
		         (unsigned long long)found->newest);
	free(q);
}

/* Its own group by the run that it is of, another one by its name; in no group it is alone. */
static bool take_group(const struct job *j, const struct group_question *g, struct ranks_wish *w)
{
	const Cpa__Spec *s = j->spec;
	bool own = !g->group[0] || strcmp(g->group, s->group) == 0;
	core_copy(w->group, sizeof w->group, own ? s->group : g->group);
	core_copy(w->launch, sizeof w->launch, own ? s->launch : "");
	core_copy(w->alone, sizeof w->alone, w->group[0] ? "" : j->id);
	w->ranks = own ? s->ranks : 0;
	return own;
}

void ask_version(struct job *j, const struct arena_ask *ask)
{
	struct ranks_wish w = { .uid = j->spec->uid, .patience = PATIENCE_NS };
	struct group_question g;
	struct own_ask *q = malloc(sizeof *q);
	if (!q || !group_parse(ask->text, &g) || !arena_utf8(g.key, strlen(g.key))) {
		asks_answer(j, ARENA_ASK_VERSION, ask->asked, q ? ERR_USAGE : ERR_FAILED, 0,
		            q ? "that is no group and no key" : "out of memory");
		free(q);
		return;
	}
	*q = (struct own_ask){ .agent = j->agent, .asked = ask->asked, .incarnation = j->incarnation };
	core_copy(q->job, sizeof q->job, j->id);
	core_copy(w.key, sizeof w.key, g.key);
	q->member = take_group(j, &g, &w);
	if (ask->number)
		w.patience = ask->number < INT64_MAX / NS_PER_MS ? (int64_t)ask->number * NS_PER_MS : INT64_MAX;
	ranks_common(j->agent, &w, still_wanted, on_found, q);
}
