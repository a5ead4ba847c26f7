/* Restart decisions. Owns the times of a job's past restarts; called by the node on each death of a process. */
#include "agent/core/supervise.h"

#include <string.h>

static bool wants_restart(enum restart_policy p, struct ending how)
{
	switch (p) {
	case RESTART_PERMANENT:
		return true;
	case RESTART_TRANSIENT:
		return how.code != 0 || how.signal != 0;
	case RESTART_TEMPORARY:
		break;
	}
	return false;
}

/* Forget restarts that the window has slid past. */
static void slide(struct supervise *s, int64_t now)
{
	uint32_t old = 0;
	while (s->window > 0 && old < s->count && now - s->times[old] > s->window)
		old++;
	s->count -= old;
	memmove(s->times, s->times + old, s->count * sizeof s->times[0]);
}

/* 0, 0.1 s, 0.2 s, … 5 s for a job that dies within a second of its start, again and again. */
static int64_t back_off(struct supervise *s, int64_t ran)
{
	if (ran >= CORE_S) {
		s->quick = 0;
		return 0;
	}
	unsigned k = s->quick < 7 ? s->quick : 7;
	s->quick++;
	int64_t wait = k ? (100 * CORE_MS) << (k - 1) : 0;
	return wait < 5 * CORE_S ? wait : 5 * CORE_S;
}

enum decision supervise_died(struct supervise *s, struct ending how, bool stopped, int64_t started, int64_t now,
			     int64_t *delay)
{
	*delay = 0;
	if (stopped || !wants_restart(s->policy, how))
		return SUPERVISE_END;
	uint32_t most = s->max_restarts < SUPERVISE_TIMES ? s->max_restarts : SUPERVISE_TIMES;
	slide(s, now);
	if (s->count >= most)
		return SUPERVISE_GIVE_UP;
	s->times[s->count++] = now;
	*delay = back_off(s, now - started);
	return SUPERVISE_RESTART;
}

size_t supervise_group(enum strategy strategy, size_t dead, size_t n, bool *again)
{
	size_t count = 0;
	for (size_t i = 0; i < n; i++) {
		again[i] = dead < n && (i == dead || strategy == ONE_FOR_ALL || (strategy == REST_FOR_ONE && i > dead));
		count += again[i];
	}
	return count;
}
