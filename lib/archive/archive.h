/* Archives: keyed checkpoints in one portable file, a .tar.zst that standard tools open. In it, in this order:
 *
 *   manifest.json       what there is: keys, versions, times, variables, byte order
 *   XXH128SUMS          a checksum for the manifest and each file of values, as xxh128sum -c reads them
 *   keys/NNNNNN/V-NAME  the elements of one variable each, one after the other, as the manifest lists them
 *
 * Written aside and renamed: complete or not at all. docs/formats.md describes the manifest. An archive may come from
 * anyone: everything in it is bounded and checked here, and nothing in it names a place on this machine.
 *
 * Functions return 0 (or as they say), or a negative errno value with its sentence in *e:
 *   -ENOENT, -EACCES, -ENOSPC, -EISDIR, …  as the system said  -EBADMSG  damaged, or no archive
 *   -EPROTONOSUPPORT  of another format version, or values that this machine cannot turn into its own byte order
 *   -EFBIG  it holds more than the caller allows               -ENOMEM */
#ifndef CPA_ARCHIVE_ARCHIVE_H
#define CPA_ARCHIVE_ARCHIVE_H

#include <stddef.h>
#include <stdint.h>

#include "lib/arena/format.h"
#include "lib/base/err.h"

#define ARCHIVE_FILE_FORMAT 1

struct arena_var;

/* One variable: bytes = count × the size of its type. */
struct archive_var {
	const char *name;
	uint64_t count, bytes;
	uint64_t sum[2]; /* XXH3-128 of its bytes: low, high */
	uint32_t type;   /* enum arena_type */
};

struct archive_key {
	const char *key;
	uint64_t version;
	uint64_t bytes; /* of all variables, each at the next multiple of 8 */
	int64_t time_ns;
	uint32_t incarnation;
	uint32_t how; /* enum arena_how */
	size_t n;
	struct archive_var *vars;
};

/* What an archive says of itself. Texts are UTF-8; "" when it does not say. */
struct archive_info {
	int64_t time_ns;
	const char *program, *host, *job;
	int swapped;    /* it was written in the other byte order; values are turned as they are read */
	uint64_t bytes; /* of all keys */
	size_t n;
	struct archive_key *keys;
};

/* ---- writing ---- */

struct archive_out;

/* Begin an archive that will be `path`. program, host, job may be NULL. *o is owned; archive_out_close() in any case. */
int archive_out_open(struct archive_out **o, const char *path, const char *program, const char *host, const char *job,
		     struct err *e);

/* Add a key. k: all but bytes and vars is taken from it. The values are copied before it returns. */
int archive_out_add(struct archive_out *o, const struct archive_key *k, const struct arena_var *vars, size_t n,
		    struct err *e);

/* Write the file. Until this returns 0, what lay at its path is as it was. */
int archive_out_commit(struct archive_out *o, struct err *e);
void archive_out_close(struct archive_out *o);

/* ---- reading ---- */

struct archive_in;

/* Open one and check all but the values. max_bytes: more than that in all is -EFBIG; 0: no bound. *i is owned. */
int archive_in_open(struct archive_in **i, const char *path, uint64_t max_bytes, struct err *e);

/* The same from memory, also from a tar that is not compressed (for tests). data: borrowed until the close. */
int archive_in_open_memory(struct archive_in **i, const void *data, size_t bytes, uint64_t max_bytes, struct err *e);

const struct archive_info *archive_in_info(const struct archive_in *i);

/* The values of the next key, in the order of the info; *data is owned (free), each variable at the next multiple
 * of 8, in this machine's byte order, checked. data NULL: only check. Returns 1; 0 at the end, when that is in order too. */
int archive_in_next(struct archive_in *i, void **data, struct err *e);
void archive_in_close(struct archive_in *i);

#endif
