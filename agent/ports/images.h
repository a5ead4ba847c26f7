/* Image directories: what a snapshot left on its node (CRIU's images, the arena, captured files), described,
 * checked and read in chunks. Files and one level of subdirectories; links and special files are refused.
 * Everything here blocks; call it from a worker thread. */
#ifndef CPA_PORTS_IMAGES_H
#define CPA_PORTS_IMAGES_H

#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/chunk/chunk.h"
#include "lib/wire/cpagent.pb-c.h"

/* How much of a file belongs to the snapshot, where the file may be longer (a reused page buffer). */
struct images_size {
	const char *name; /* relative to the directory */
	uint64_t bytes;
};

/* Describe every file in dir into gen->files, n_files and size (owned by gen: replaced if there were any; freed
 * by images_forget() or with gen). sizes may be NULL; a file that it does not name counts as long as it is.
 * Left out: names that start with a dot, and logs (*.log) at the top. ERR_FAILED: a file that cannot be read, is
 * shorter than its size, or is neither file nor directory; gen then has no files. */
int images_describe(const char *dir, const struct images_size *sizes, size_t n_sizes, Cpa__Generation *gen,
                    struct err *e);

/* Free gen's files and leave it without any. */
void images_forget(Cpa__Generation *gen);

/* Check every chunk of every file against its id. Bytes behind a file's size are not looked at.
 * ERR_FAILED names the file and the offset of the first damage; ERR_NOT_FOUND: the directory is not there. */
int images_verify(const char *dir, const Cpa__Generation *gen, struct err *e);

/* Cut every file that is longer than its size in gen to that size: CRIU reads to the end of some. ERR_FAILED. */
int images_trim(const char *dir, const Cpa__Generation *gen, struct err *e);

/* Where a chunk lies: index into gen->files, offset and length. ERR_NOT_FOUND. */
int images_find(const Cpa__Generation *gen, const uint8_t *id, size_t *file, uint64_t *offset, size_t *len);

/* A chunk's bytes into buf of CHUNK_BYTES, checked against its id. ERR_NOT_FOUND, ERR_FAILED. */
int images_read(const char *dir, const Cpa__Generation *gen, const uint8_t *id, void *buf, size_t *len,
                struct err *e);

/* The same for one file alone (a keyset's values). Describing fills size, mode and chunks (owned, malloc; what was
 * there is freed) and leaves the name; name may be empty. */
int images_describe_file(const char *path, Cpa__File *file, struct err *e);
int images_verify_file(const char *path, const Cpa__File *file, struct err *e);
int images_read_file(const char *path, const Cpa__File *file, const uint8_t *id, void *buf, size_t *len,
                     struct err *e);

/* A value's bytes as a new File (owned, malloc all through): for values that are in memory. NULL: out of memory.
 */
Cpa__File *images_file_of(const char *name, const void *data, size_t len);

#endif
