/* Jobs that ended well, at a level above: of them only the keys are held that their programs asked to be carried
 * up, and these not for ever. */
#ifndef CPA_AGENT_ENDED_H
#define CPA_AGENT_ENDED_H

#include "agent/ports/store.h"

/* It ended as this incarnation: a note beside what is held of it. Blocking, as all of these. */
int ended_mark(struct store *s, const char *job, uint32_t incarnation, struct err *e);

/* Is what is held of it of a job that has ended, and was not started again since? */
bool ended_marked(struct store *s, const char *job);

/* Give up what is held of jobs that ended long ago, of the oldest when there are many, and of the older half where
 * the store takes most of budget. How many. */
size_t ended_clean(struct store *s, uint64_t budget);

#endif
