/* Scoped cleanup for straight-line code: `scoped_fd int fd = open(…)`, `scoped_free char *p = …`.
 * Hand ownership on with scoped_take(). */
#ifndef CPA_BASE_SCOPED_H
#define CPA_BASE_SCOPED_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void scoped_free_at(void *p)
{
	free(*(void **)p);
}

static inline void scoped_fd_at(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void scoped_file_at(FILE **f)
{
	if (*f)
		fclose(*f);
}

static inline void scoped_dir_at(DIR **d)
{
	if (*d)
		closedir(*d);
}

#define scoped_free __attribute__((cleanup(scoped_free_at)))
#define scoped_fd __attribute__((cleanup(scoped_fd_at)))
#define scoped_file __attribute__((cleanup(scoped_file_at)))
#define scoped_dir __attribute__((cleanup(scoped_dir_at)))

/* The pointer, no longer cleaned up here. */
#define scoped_take(p)                    \
	({                                \
		__typeof__(p) taken_ = (p); \
		(p) = NULL;               \
		taken_;                   \
	})

/* The descriptor, no longer closed here. */
#define scoped_take_fd(fd)        \
	({                        \
		int taken_ = (fd); \
		(fd) = -1;        \
		taken_;           \
	})

#endif
