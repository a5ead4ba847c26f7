/* Owns the asks of this node's jobs: which kind goes to which handler, one of a kind at a time for each job, and
 * that an answer reaches the incarnation that asked or none. What asks is still open lies in the arena alone, so
 * an agent that was killed in between finds it there again. */
#include "agent/asks.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "agent/bell.h"
#include "agent/job_intervals.h"
#include "agent/standing.h"
#include "agent/wishes.h"
#include "lib/arena/mailbox.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/scoped.h"

#define LOOK_NS NS_PER_S

static const struct asked_kind {
	const char *name;
	void (*carry_out)(struct job *j, const struct arena_ask *ask);
} kinds[ARENA_ASKS] = {
	[ARENA_ASK_SNAPSHOT] = { "snapshot", ask_snapshot },
	[ARENA_ASK_SAVE] = { "save", ask_save },
	[ARENA_ASK_FETCH] = { "fetch", ask_fetch },
	[ARENA_ASK_REGISTER] = { "register", ask_register },
	[ARENA_ASK_VERSION] = { "version", ask_version },
};

static int open_arena(const struct job *j, int flags)
{
	char path[FS_PATH_MAX];
	return open(job_arena(j, path), flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
}

static void begin(struct job *j, enum arena_ask_kind kind, const struct arena_ask *ask)
{
	j->asking[kind] = (struct ask_flight){ true, ask->asked, j->incarnation };
	kinds[kind].carry_out(j, ask);
}

uint32_t asks_top(const struct agent *a)
{
	return a->cfg.parents.n ? standing_top(a) : a->cfg.level;
}

static void tell_top(const struct job *j, const struct arena_says *says)
{
	uint32_t top = asks_top(j->agent);
	scoped_fd int fd = top && top != says->top ? open_arena(j, O_RDWR) : -1;
	if (fd >= 0)
		arena_set_top(fd, top);
}

void asks_look(struct job *j)
{
	struct arena_says says;
	struct arena_reader r = { .fd = -1 };
	if (j->state != JOB_RUNNING || j->pid <= 0 || j->died)
		return;
	scoped_fd int fd = open_arena(j, O_RDONLY);
	r.fd = fd;
	if (fd < 0 || arena_read_open(&r) < 0)
		return;
	arena_says(&r, &says);
	tell_top(j, &says);
	for (size_t kind = 0; kind < ARENA_ASKS; kind++)
		if (says.ask[kind].asked != says.ask[kind].answered && !j->asking[kind].busy)
			begin(j, (enum arena_ask_kind)kind, &says.ask[kind]);
}

void asks_tick(struct job *j, int64_t now)
{
	ask_fetch_tick(j, now);
	wishes_tick(j, now);
	job_intervals_tick(j, now);
	if (now < j->asks_due)
		return;
	j->asks_due = now + LOOK_NS;
	asks_look(j);
}

void asks_answer(struct job *j, enum arena_ask_kind kind, uint32_t asked, int result, uint64_t number,
                 const char *why)
{
	struct ask_flight *f = &j->asking[kind];
	if (!f->busy || f->asked != asked) {
		log_error("ask_answered_twice", "job=%s ask=%s", j->id, kinds[kind].name);
		return;
	}
	f->busy = false;
	bell_look(j); /* there may be more by now */
	if (f->incarnation != j->incarnation || !job_live(j->state))
		return;
	scoped_fd int fd = open_arena(j, O_RDWR);
	int rc = fd < 0 ? -errno : arena_answer(fd, kind, asked, result, number, why);
	if (rc < 0)
		log_warn("ask_not_answered", "job=%s ask=%s why=\"%s\"", j->id, kinds[kind].name, strerror(-rc));
}
