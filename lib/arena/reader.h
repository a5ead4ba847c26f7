/* Reading an arena that a job may scribble over, cut short or replace at any moment. Everything is copied out,
 * bounded and checked; nothing is mapped (a file cut short would be SIGBUS). Reads only: no lock is taken, and
 * the job notices nothing. Called by the agent for its jobs' arenas, and by the hooks for lists.
 *
 * Functions return 0 or -EPROTO (broken), -EPROTONOSUPPORT (another format), -ENOENT, -EBADMSG (checksum),
 * -EAGAIN (the value kept changing while it was copied), -EFBIG (beyond max_bytes), -ENOMEM, -EIO. */
#ifndef CPA_ARENA_READER_H
#define CPA_ARENA_READER_H

#include "lib/arena/arena.h"

struct arena_reader {
	int fd;            /* borrowed; or -1 … */
	const void *image; /* … and an arena in memory instead, of image_bytes (tests, the hooks' own mapping) */
	uint64_t image_bytes;
	uint64_t max_bytes; /* largest value that is copied out; 0: no bound but the arena */
	/* filled by arena_read_open() */
	struct arena_header head;
	uint64_t file_bytes;
};

/* One version of a key. */
struct arena_key {
	char key[ARENA_KEY_MAX + 1]; /* terminated; a key with a NUL inside is broken */
	uint64_t version;
	uint64_t bytes; /* of data, each variable at the next multiple of 8 */
	int64_t time_ns;
	uint32_t incarnation;
	uint32_t how;          /* enum arena_how */
	uint32_t level;        /* the highest that holds this version; 1: only here */
	uint64_t want_version; /* request: carry this version … */
	uint32_t want_level;   /* … to this level; 0: none */
	uint64_t record;       /* file offset of its record, and its count of answers, for mailbox.h */
	uint32_t tick;
	uint32_t held[ARENA_LEVEL_MAX - 1];
	size_t n;
	struct arena_var *vars; /* names owned here; data NULL, or pointing into a value's copy */
};

struct arena_keys {
	size_t n;
	struct arena_key *key;
	uint64_t bytes; /* of all values */
	size_t broken;  /* records that made no sense and were left out */
};

struct arena_value {
	struct arena_key info; /* info.vars[i].data points into data */
	uint8_t *data; /* info.bytes of it, variables at multiples of 8, without pads; lies in … */
	void *copy;    /* … what is owned here */
};

/* Check the header of r->fd (or r->image) and keep a copy. */
int arena_read_open(struct arena_reader *r);

/* Every key that has a version, sorted by name. Free with arena_keys_free(), also after an error.
 * verify: read every value too, and leave out versions whose checksum does not fit (the one before is listed). */
int arena_read_keys(struct arena_reader *r, int verify, struct arena_keys *out);
void arena_keys_free(struct arena_keys *keys);

/* One key's newest version with its variables, without looking at its data. Free with arena_key_free(), also
 * after an error. */
int arena_read_key(struct arena_reader *r, const char *key, struct arena_key *out);
void arena_key_free(struct arena_key *key);

/* The record at a file offset that arena_read_keys() gave: its key, requests and held levels, without versions and
 * variables (nothing to free). */
int arena_read_key_at(struct arena_reader *r, uint64_t record, struct arena_key *out);

/* A copy of a key's version, whole and checked. version 0: the newest that is whole; *skipped (may be NULL) counts
 * the damaged ones before it. Free with arena_value_free(). */
int arena_read_value(struct arena_reader *r, const char *key, uint64_t version, struct arena_value *out,
		     int *skipped);
void arena_value_free(struct arena_value *v);

/* The versions of a key that are whole to the last block, in any order; there may be none. -ENOENT: no such key. */
struct arena_whole {
	size_t n;
	uint64_t version[ARENA_SLOTS_MAX];
	uint64_t newest; /* that was committed, whole or not; 0: none */
	uint64_t bytes;  /* of data that were read for this */
};
int arena_read_whole(struct arena_reader *r, const char *key, struct arena_whole *out);

/* Copy the file's used parts to a new file, byte for byte at the same offsets: a process snapshot's arena.
 * The job must be frozen. -EEXIST as arena_create(). */
int arena_clone(int fd, const char *path, mode_t mode);

/* Put data of variables described by vars (name, type, count) into place: sets vars[i].data into data of bytes as
 * arena_read_value() gives them. -EPROTO if the sizes do not add up to bytes. */
int arena_vars_lay(struct arena_var *vars, size_t n, void *data, uint64_t bytes);

#endif
