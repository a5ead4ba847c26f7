/* Between an arena and an archive. Which keys, the caller says. Errors as archive.h, and those of lib/arena. */
#ifndef CPA_ARCHIVE_ARENA_H
#define CPA_ARCHIVE_ARENA_H

#include "lib/arena/arena.h"
#include "lib/base/err.h"

/* Is the key to be saved, or loaded? May: unless it is damaged. */
enum archive_wish { ARCHIVE_NOT, ARCHIVE_MUST, ARCHIVE_MAY };
typedef enum archive_wish archive_wish_fn(void *arg, const char *key);

/* Write the newest whole version of each key into an archive. Returns their number. */
int archive_save_arena(struct arena *a, const char *path, const char *program, const char *host, const char *job,
		       archive_wish_fn *wish, void *arg, struct err *e);

/* Make each key of an archive the next version of that key, unless its newest has the same variables and bytes. All of the
 * archive is checked before the first; then each key is one commit. Returns how many keys the archive has of those that
 * are wished for. -ENOSPC: *needs more bytes were needed at once; what was committed before stays. */
int archive_load_arena(struct arena *a, const char *path, archive_wish_fn *wish, void *arg, uint64_t *needs,
		       struct err *e);

#endif
