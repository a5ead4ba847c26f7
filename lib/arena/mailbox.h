/* What job and agent tell each other through the arena: requests up, answers down. The job's side works on its
 * mapping and rings the bell; the agent's side works on the file's descriptor and never touches memory that
 * the job could take away. */
#ifndef CPA_ARENA_MAILBOX_H
#define CPA_ARENA_MAILBOX_H

#include "lib/arena/arena.h"
#include "lib/arena/reader.h"

/* ---- the job's side ---- */

/* Ask for key's newest version to be carried to level; ring the bell. -ENOENT. */
int arena_want(struct arena *a, const char *key, uint32_t level);

/* The level that is meant by one: beyond the top is the top, as far as that is known. */
uint32_t arena_level(const struct arena *a, uint32_t level);

/* Wait until level (or a higher one) holds the version of key that is the newest now. timeout_ns < 0: for ever.
 * -ETIMEDOUT, -ENOENT, -ENOTCONN: no agent serves this arena. */
int arena_wait(struct arena *a, const char *key, uint32_t level, int64_t timeout_ns);

/* Ask the agent for something and wait for its answer. level, number, text: as struct arena_ask says; text NULL for
 * none. timeout_ns < 0: for ever. Returns 0 (*answer is what the agent wrote; see its result), 1: the process was
 * restored from a snapshot while it waited, so nobody will answer; -ENOTCONN, -ETIMEDOUT, -EACCES, -EINVAL (text). */
int arena_ask(struct arena *a, enum arena_ask_kind kind, uint32_t level, uint64_t number, const char *text,
	      int64_t timeout_ns, struct arena_ask *answer);

/* This job's own intervals, in milliseconds (0: as configured), and whether it is updated and saved by itself. */
int arena_set_intervals(struct arena *a, uint64_t update_ms, uint64_t save_ms, enum arena_periodic periodic);

/* Say that the program restores by its keys. */
void arena_say_restores(struct arena *a);

/* One datagram of one byte to the socket "bell" beside the arena. Nobody listening is no error. */
void arena_ring(const struct arena *a);

/* ---- the agent's side: fd is the arena file, open for reading and writing ---- */

/* The job's next incarnation, how it starts, and the generation it starts from; marks the arena as served, takes
 * give_up back, and settles every ask that was open: nobody waits for those now. */
int arena_set_start(int fd, uint32_t incarnation, enum arena_start start, uint64_t generation);

/* What the job has said: flags (enum arena_flag), its count of requests, and the asks. From a reader that
 * has just been opened. */
struct arena_says {
	uint32_t flags, requests, incarnation;
	enum arena_periodic periodic;
	uint32_t top; /* as arena_set_top() was told */
	uint64_t update_ms, save_ms;
	struct arena_ask ask[ARENA_ASKS]; /* texts terminated */
};
void arena_says(const struct arena_reader *r, struct arena_says *out);

/* Level holds version of the key: write it down, wake who waits. k comes from arena_read_keys().
 * Checks that the record is still that key's: -ENOENT if not. */
int arena_set_held(struct arena_reader *r, const struct arena_key *k, uint64_t version, uint32_t level);

/* Answer the asks of a kind that were numbered up to `asked`. why may be NULL. */
int arena_answer(int fd, enum arena_ask_kind kind, uint32_t asked, int result, uint64_t number, const char *why);

/* A job's own intervals, as its user sets them: see arena_set_intervals(). */
int arena_put_intervals(int fd, uint64_t update_ms, uint64_t save_ms, enum arena_periodic periodic);

/* The highest level there is, 0 for not known (as it is when an incarnation begins). */
int arena_set_top(int fd, uint32_t top);

/* Before a snapshot: ask the job's processes to let their userfaultfds go (1), and after it: they may have them
 * again (0). Whether they did is seen in /proc. */
int arena_set_give_up(int fd, uint32_t give_up);

/* The next version of any key gets this number at least. -EINVAL: no version can have it. */
int arena_set_number_from(int fd, uint64_t number);

/* What the agent has seen of failures: mean time between them, 0 for not known. */
int arena_set_mtbf(int fd, uint64_t mtbf_ms);

#endif
