/* A job's bell: the datagram socket beside its arena by which it says that the mailbox holds a request. */
#ifndef CPA_AGENT_BELL_H
#define CPA_AGENT_BELL_H

#include "agent/jobs.h"

/* Have the bell answered. A bell that cannot be made is logged: requests are then found at the next update. */
void bell_open(struct job *j);
/* Look for what the job asks in a moment, as if it had rung. */
void bell_look(struct job *j);
void bell_close(struct job *j);

#endif
