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

void keyset_larges_free(struct keyset_larges *l);

/* Make a new keyset if any key has a new version since the last (blocking: worker thread; the job is busy).
 * 1: there is a new one; 0: nothing new. *made goes to keyset_take() or keyset_made_free(), also after an error.
 */
struct keyset_made {
	Cpa__Keyset *keys; /* owned */
	unsigned slot;
	uint64_t changes;
	struct keyset_larges larges;
	bool whole;
	uint64_t read; /* bytes of values that were read for it */
};
int keyset_make(struct job *j, struct keyset_made *made, struct err *e);
void keyset_made_free(struct keyset_made *made);

/* It is the job's newest from now on. */
void keyset_take(struct job *j, struct keyset_made *made);

/* The job has none any more. */
void keyset_forget(struct job *j);

/* Where they lie in the job's directory; into buf of FS_PATH_MAX. */
const char *keyset_manifest_path(const struct job *j, unsigned slot, char *buf);
const char *keyset_copies_dir(const struct job *j, char *buf);

/* Which key a chunk of the job's newest keyset belongs to, and which bytes of it: for a chunk of which there is no
 * copy. NULL: no large one. */
const Cpa__Key *keyset_find_chunk(const struct job *j, const uint8_t *id, uint64_t *offset);

/* A chunk of the keyset: its copy, or what lies in the arena (blocking). key NULL: there is none to look for
 * there. ERR_FAILED: neither has it any more. buf has room for CHUNK_BYTES. */
struct keyset_wanted {
	const char *copies, *arena; /* paths */
	const uint8_t *id;
	const char *key;
	uint64_t version, offset;
};
int keyset_read_chunk(const struct keyset_wanted *w, uint8_t *buf, struct err *e);

/* Copies of which a level above has what they are copies of (blocking: worker thread; the job is busy). */
void keyset_drop_copies(const struct job *j);

/* The process is back from a snapshot of that time (CLOCK_REALTIME), and its arena with it: what levels above hold
 * that is newer stays readable until this life has come past it. */
void keyset_restored(struct job *j, int64_t time_ns);

/* Write into the arena which level holds the versions of this keyset, and wake who waits for it. */
void keyset_held(struct job *j, uint64_t serial, uint32_t level);

#endif
