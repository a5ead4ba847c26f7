/* Whose turn it is for what several jobs want again and again, and a node can do for few at a time: who has waited
 * longest, and nobody before a pause that grows with what their last turn took. */
#ifndef CPA_CORE_TURNS_H
#define CPA_CORE_TURNS_H

#include "agent/core/words.h"

/* One who may want turns. Zeros: wants none, and may have one at once. */
struct turn {
	int64_t since; /* it wants one since then; 0: it wants none */
	int64_t from;  /* not before then */
	int64_t began; /* it has one since then; 0: it has none */
};

/* Which of them begins now; -1: none. at_once: how many may have a turn at a time. */
int turns_next(const struct turn *const turns[], size_t n, size_t at_once, int64_t now);

void turn_begin(struct turn *t, int64_t now);
/* Its turn is over: the next one is after a pause of three times as long, at least 50 ms and a minute at most. */
void turn_end(struct turn *t, int64_t now);

#endif
