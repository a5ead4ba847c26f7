/* Restart decisions, as Erlang's supervisors make them: by policy, at most max_restarts in a sliding window of
 * max_seconds. A node's failure is not a job's failure: only deaths of its own process are counted here. */
#ifndef CPA_CORE_SUPERVISE_H
#define CPA_CORE_SUPERVISE_H

#include "agent/core/words.h"

enum { SUPERVISE_TIMES = 64 };

struct supervise {
	enum restart_policy policy;
	uint32_t max_restarts; /* at most SUPERVISE_TIMES; 0: never */
	int64_t window;        /* max_seconds in ns; 0: for ever */
	uint32_t count;        /* restarts remembered below, oldest first */
	int64_t times[SUPERVISE_TIMES];
	uint32_t quick; /* deaths at once in a row */
};

enum decision {
	SUPERVISE_RESTART,
	SUPERVISE_END,     /* it is over, and that is how it should be: exited */
	SUPERVISE_GIVE_UP, /* too many restarts: failed */
};

/* The process died at `now`, having run since `started`. stopped: on its user's order. On RESTART, *delay is how
 * long to wait first: 0, or for a job that dies within a second of its start, again and again, up to 5 s. */
enum decision supervise_died(struct supervise *s, struct ending how, bool stopped, int64_t started, int64_t now,
			     int64_t *delay);

/* Which members of a group are started again when member `dead` died; marks them in again[0..n). Ranks in order.
 * Returns how many. */
size_t supervise_group(enum strategy strategy, size_t dead, size_t n, bool *again);

#endif
