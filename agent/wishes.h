/* What a job's program asked to be carried up: versions of its keys, each wanted on a level. The program need not
 * live to see it. */
#ifndef CPA_AGENT_WISHES_H
#define CPA_AGENT_WISHES_H

#include "agent/jobs.h"

/* Look into the arena for what is asked for and not yet there, and ask the level above to come for it. When the
 * bell rings, when a level has taken something, when the program has ended. */
void wishes_look(struct job *j);

/* From time to time: ask again for what has not been fetched. */
void wishes_tick(struct job *j, int64_t now);

/* Is there anything that a level above still has to come for? Of an ended job too: its keys stay here until then.
 */
bool wishes_open(const struct job *j);

#endif
