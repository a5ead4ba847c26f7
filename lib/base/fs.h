/* Files as crash-only code needs them: whole or absent, bounded when read, made and removed as trees. */
#ifndef CPA_BASE_FS_H
#define CPA_BASE_FS_H

#include <stddef.h>
#include <sys/types.h>

#include "lib/base/err.h"

#define FS_PATH_MAX 4096

/* "DIR/NAME" into buf of FS_PATH_MAX; fmt as printf. Returns buf; too long a path is cut (and will not open). */
const char *fs_path(char *buf, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Write a file so that a reader finds the old content or the new, never a part: aside, then renamed.
 * durable: fsync the file and its directory (for disks; pointless on tmpfs). */
int fs_write_aside(const char *path, const void *data, size_t len, mode_t mode, int durable, struct err *e);

/* A whole file of at most max bytes: *data owned (free), one NUL behind its end. ERR_NOT_FOUND, ERR_FAILED. */
int fs_read(const char *path, size_t max, char **data, size_t *len, struct err *e);

/* Create a directory and its parents; those that exist stay as they are. */
int fs_mkdirs(const char *path, mode_t mode, struct err *e);

/* Remove a file or a tree, without following links or crossing into other mounts. Absent is no error. */
int fs_remove_tree(const char *path, struct err *e);

/* Read or write all of it, going on after EINTR and short counts. 0 or -1 with errno;
 * fs_read_full: also -1 with errno 0 when the file ended before. */
int fs_write_full(int fd, const void *data, size_t len);
int fs_read_full(int fd, void *data, size_t len);

/* Write a short string to an existing file such as cgroup.freeze. 0 or -1 with errno. */
int fs_put(const char *path, const char *text);

#endif
