/* Jobs that ended well, at a level above: of them only the keys are held that their programs asked to be carried
 * up, and these not for ever. Of the others, where there is a level further up, only that they ended is
 * remembered, until that level has heard it. */
#ifndef CPA_AGENT_ENDED_H
#define CPA_AGENT_ENDED_H

#include "agent/ports/store.h"

/* It ended as this incarnation: a note beside what is held of it. Blocking, as all of these. */
int ended_mark(struct store *s, const char *job, uint32_t incarnation, struct err *e);

/* Give up all that is held of it. tell: but for the note and its spec, for the level above. */
int ended_let_go(struct store *s, const char *job, uint32_t incarnation, bool tell, struct err *e);

/* The level above has heard it: so nothing is remembered, unless something is held of it after all. */
int ended_heard(struct store *s, const char *job, struct err *e);

/* Is what is held of it of a job that has ended, and was not started again since? Then also as which incarnation.
 */
bool ended_marked(struct store *s, const char *job, uint32_t *incarnation);

/* Give up what is held, and remembered, of jobs that ended long ago, of the oldest when there are many, and of the
 * older half where the store takes most of budget. How many. */
size_t ended_clean(struct store *s, uint64_t budget);

#endif
