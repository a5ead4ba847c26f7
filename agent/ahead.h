/* Keysets that a level above keeps of a job: the newest, and one that a process restore fell behind. */
#ifndef CPA_AGENT_AHEAD_H
#define CPA_AGENT_AHEAD_H

#include "agent/ports/store.h"

/* Give up all keysets of job but the newest two and, until the newest has come past each of its versions, the one
 * numbered ahead (0: none). Blocking. */
void ahead_keep(struct store *s, const char *job, uint64_t ahead);

#endif
