/* Times that come again and again: updates, saves, snapshots. A run of due times never drifts (they are multiples
 * of the period since it was set) and never piles up (what was missed is missed). */
#ifndef CPA_CORE_INTERVAL_H
#define CPA_CORE_INTERVAL_H

#include "agent/core/words.h"

struct interval {
	int64_t period; /* 0: off */
	bool on;
	int64_t base;   /* due times are base + k * period */
	int64_t next;   /* CORE_NEVER when off */
};

/* Set or change it; the first due time is one period after now. */
void interval_set(struct interval *i, int64_t period, bool on, int64_t now);
/* True when a time has come; moves on to the next one after now. */
bool interval_due(struct interval *i, int64_t now);

/* Young's and Daly's interval: sqrt(2 * cost * mtbf) - cost; never below cost, 0 when either is unknown (<= 0). */
int64_t interval_auto(int64_t cost, int64_t mtbf);

/* The level a checkpoint is carried to: as asked, 0 meaning the top; never above the top, never below 1. */
int level_for(int asked, int top);

#endif
