/* The arena as the job's side uses it: mapped, trusted, written at the speed of memory. Owns creation, commits
 * and lookups; the agent reads arenas through reader.h instead, and reaches into live ones through mailbox.h.
 *
 * Functions return 0 or a negative errno value; those a caller can act on:
 *   -ENOSPC          the budget (or the memory behind it) is spent; the previous version stands
 *   -ENOENT          no such key, or it has no version
 *   -EINVAL          an argument is out of bounds
 *   -EPROTO          the file is no arena, or damaged    -EPROTONOSUPPORT  an arena of another format version
 *   -EBADMSG         a version's checksum does not fit   -EDEADLK, -ETIMEDOUT  the key is being written (by a
 *                    handler's interrupted caller; by another process for more than a minute) */
#ifndef CPA_ARENA_ARENA_H
#define CPA_ARENA_ARENA_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/arena/format.h"

/* A variable: count elements of a type at data. name: at most ARENA_NAME_MAX bytes, borrowed. */
struct arena_var {
	const char *name;
	void *data;
	uint64_t count;
	uint32_t type; /* enum arena_type */
};

struct arena {
	uint8_t *base;
	uint8_t *heap;
	struct arena_header *head;
	uint64_t file_bytes, heap_bytes;
	uint32_t tables;
	int read_only;
	uid_t owner; /* of the file */
	char *path;
};

/* Make an arena file at path with that budget of heap, complete or not at all. Sparse: it takes memory as it is
 * used. -EEXIST: there is a file already. The caller gives it to its user with chown(). */
int arena_create(const char *path, uint64_t budget, mode_t mode);

/* Map it. *a is owned by the caller and survives fork(). Locks left over from before a boot are made anew. */
int arena_map(struct arena **a, const char *path);
void arena_unmap(struct arena *a);

/* Make every lock anew. Only while no process has the arena mapped for writing: the agent calls it on a file
 * that it puts back before it starts a command anew (not before a process restore, whose locks are alive). */
int arena_unlock_all(const char *path);

/* Commit vars as the next version of key; *version (may be NULL) is its number. A caller that dies at any
 * instruction leaves the version before. */
int arena_put(struct arena *a, const char *key, const struct arena_var *vars, size_t n, uint64_t *version);

/* The same, with a version's number, incarnation and time as they were elsewhere: to fill the arena of a job that
 * starts from keys on another node. -EEXIST: the key has this version or a newer one. */
int arena_load(struct arena *a, const char *key, const struct arena_var *vars, size_t n, uint64_t version,
	       uint32_t incarnation, int64_t time_ns);

/* The same for protected regions: vars[i] begins pads[i] bytes (below 4096) behind the next multiple of 8 of the
 * data. base: a version of which the caller knows what changed since: bit b of changed says that block b (of
 * 4096 bytes of the data) may differ from it. When base is not the newest version, has another sum or is laid
 * out differently, and with base 0, everything is copied. how: enum arena_how, what is written down about it;
 * where everything was copied, ARENA_WHOLE instead of ARENA_DIRTY. */
struct arena_regions {
	const struct arena_var *vars;
	const uint32_t *pads;
	size_t n;
	uint64_t base;
	uint64_t base_sum; /* arena_slot.sum of that version: a key that was reset counts from 1 again */
	const uint64_t *changed;
	uint8_t how;
};
/* *version and *sum (may be NULL): what to give as base and base_sum the next time. */
int arena_put_regions(struct arena *a, const char *key, const struct arena_regions *r, uint64_t *version,
		      uint64_t *sum);

/* Where each variable's elements begin in the data, and the data's length. pads may be NULL. 0 if they are
 * impossible. */
uint64_t arena_offsets(const struct arena_var *vars, const uint32_t *pads, size_t n, uint64_t *at);

/* Keep that many versions of key (1 to ARENA_SLOTS_MAX - 1; without this call one), which need not exist yet.
 * -ENOSPC; fewer than there are forgets the oldest. arena_reset() forgets this too. */
int arena_keep(struct arena *a, const char *key, uint32_t versions);

/* Why a variable did not fit (-EMEDIUMTYPE): absent, or other in type or count. */
struct arena_misfit {
	size_t var; /* index into the caller's vars */
	int absent;
	int placed;     /* none of that name: the one at its place is meant */
	uint64_t count; /* as stored */
	uint32_t type;
};

/* Copy a version into vars, found by name, else by position. version: 0, or the one wanted. Types and
 * counts must agree: else -EMEDIUMTYPE, *misfit says where, nothing was written. Returns how many newer versions
 * were damaged and passed over. -EBADMSG: all are; what vars hold is then undefined. */
int arena_get(struct arena *a, const char *key, struct arena_var *vars, size_t n, uint64_t version,
	      uint64_t *got, struct arena_misfit *misfit);

/* The newest version of key, 0 for none, and the record it stands in (borrowed; may be NULL). */
uint64_t arena_newest(struct arena *a, const char *key, struct arena_record **record);

/* Forget a key; every key. */
int arena_reset(struct arena *a, const char *key);
int arena_reset_all(struct arena *a);

#endif
