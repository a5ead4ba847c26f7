/* Keysets: the newest whole version of every key of a job, copied out of its arena so that they can be carried up
 * while the job goes on overwriting them. */
#ifndef CPA_AGENT_KEYSET_H
#define CPA_AGENT_KEYSET_H

#include "agent/jobs.h"
#include "lib/arena/mailbox.h"

/* What is in the arena now. */
struct keyset_seen {
	uint64_t count, bytes;
	uint64_t newest; /* highest version of any key */
	int64_t time_ns; /* of the newest */
	uint32_t incarnation;
	bool asked;       /* for any key to be carried to a level above, by now or some time ago */
	bool by_keys;     /* the program has said that it restores by its keys */
	uint64_t changes; /* differs when any version differs */
	uint64_t wishes;  /* differs when what is asked for and not yet there differs */
	struct arena_says says;
	uint32_t
	        wanted; /* the highest level that a key's newest version is asked for and does not have; 0: none */
};

/* Look, without copying values. 0, or ERR_NOT_FOUND (no arena), ERR_FAILED (broken). */
int keyset_look(struct job *j, struct keyset_seen *seen);

/* Look for ps: how many keys, how many bytes. */
void keyset_refresh(struct job *j);

/* Make a new keyset if any key has a new version since the last (blocking: worker thread; the job is busy).
 * 1: there is a new one, in j's slot; 0: nothing new. */
struct keyset_made {
	Cpa__Keyset *keys; /* owned */
	unsigned slot;
	uint64_t changes;
};
int keyset_make(struct job *j, struct keyset_made *made, struct err *e);

/* The process is back from a snapshot of that time (CLOCK_REALTIME), and its arena with it: what levels above hold
 * that is newer stays readable until this life has come past it. */
void keyset_restored(struct job *j, int64_t time_ns);

/* Write into the arena which level holds the versions of this keyset, and wake who waits for it. */
void keyset_held(struct job *j, uint64_t serial, uint32_t level);

#endif
