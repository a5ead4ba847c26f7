/* What a job asks of its agent through its arena's mailbox: found, carried out by one handler per kind, answered.
 */
#ifndef CPA_AGENT_ASKS_H
#define CPA_AGENT_ASKS_H

#include "agent/jobs.h"
#include "lib/arena/format.h"

/* Hand what the job asks for, and nobody carries out yet, to its handlers. On the loop; cheap when there is
 * nothing. */
void asks_look(struct job *j);

/* The same from time to time: a datagram may get lost. */
void asks_tick(struct job *j, int64_t now);

/* What a handler owes exactly once for each call, at once or later, on the loop: 0 or an error code of ours; the
 * generation or version; why not, in a sentence (NULL: none; cut where the arena has no room). asked is the ask's
 * own. A job that meanwhile began another incarnation is not told: what asked is gone. */
void asks_answer(struct job *j, enum arena_ask_kind kind, uint32_t asked, int result, uint64_t number,
                 const char *why);

/* A handler carries one ask out and never blocks. ask is a copy, its texts terminated, and nothing in it is
 * trusted. It is not called again for this job before it has answered. One that answers later must see that the
 * job is still there (jobs_find()); of a job that is gone nobody waits for an answer. */
void ask_snapshot(struct job *j, const struct arena_ask *ask); /* ask_snapshot.c */
void ask_fetch(struct job *j, const struct arena_ask *ask);    /* ask_fetch.c */
void ask_save(struct job *j, const struct arena_ask *ask);     /* ask_save.c */
void ask_register(struct job *j, const struct arena_ask *ask); /* ask_register.c */
void ask_version(struct job *j, const struct arena_ask *ask);  /* ask_version.c */

/* How far up keys can be carried, for the arena. An agent without any parent is the top itself; one whose parent has
 * not answered yet does not know: 0. */
uint32_t asks_top(const struct agent *a);

/* Whose turn has come for the snapshot that it asked for? */
void ask_snapshot_tick(struct agent *a, int64_t now);

/* What an ask of this job brought here: take it away now, when its time is over, or from when on an agent that
 * finds it counts. */
void ask_fetch_forget(struct job *j);
void ask_fetch_tick(struct job *j, int64_t now);
void ask_fetch_found(struct job *j);

#endif
