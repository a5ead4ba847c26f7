/* Owns carrying up what a program asked to be carried up, until the level it named holds it: an offer may be lost,
 * a parent may be away, the program may have ended the moment after it asked. */
#include "agent/wishes.h"

#include "agent/job_intervals.h"
#include "agent/keyset.h"
#include "agent/levels.h"
#include "agent/standing.h"
#include "lib/base/clock.h"

#define AGAIN_NS (1 * NS_PER_S)
#define AGAIN_MAX_NS (32 * NS_PER_S)

static void offer(struct job *j, int64_t now)
{
	j->wish_due = now + j->wish_pause;
	levels_offer(j, j->wish, true);
}

void wishes_look(struct job *j)
{
	struct keyset_seen seen;
	if (!j->agent->standing || j->disowned || keyset_look(j, &seen) < 0)
		return;
	job_intervals_take(j, &seen.says);
	int64_t now = clock_boot_ns();
	bool known = seen.wishes == j->wishes && now < j->wish_due; /* and offered a moment ago */
	j->keys_asked = seen.asked;
	j->wish = seen.wanted > 1 ? seen.wanted : 0;
	j->wishes = seen.wishes;
	if (!j->wish || known)
		return;
	j->wish_pause = AGAIN_NS;
	offer(j, now);
}

void wishes_tick(struct job *j, int64_t now)
{
	if (!j->wish || now < j->wish_due || j->disowned || j->state == JOB_LOST)
		return;
	/* a level that is not there is asked for in vain: less and less often */
	j->wish_pause = j->wish_pause < AGAIN_MAX_NS ? 2 * j->wish_pause : AGAIN_MAX_NS;
	offer(j, now);
}

bool wishes_open(const struct job *j)
{
	return j->wish > 0 && !j->disowned && j->state != JOB_LOST;
}
