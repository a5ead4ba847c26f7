/* libarchive, loaded when the first archive is read or written: it brings a dozen libraries with it, ICU among them, and
 * they would more than double the time that every cpagent takes to start. */
#ifndef CPA_ARCHIVE_LIBARCHIVE_H
#define CPA_ARCHIVE_LIBARCHIVE_H

#include <archive.h>
#include <archive_entry.h>

#include "lib/base/err.h"

#define LIBARCHIVE_CALLS(X)					\
	X(archive_errno)					\
	X(archive_error_string)					\
	X(archive_filter_code)					\
	X(archive_entry_new)					\
	X(archive_entry_free)					\
	X(archive_entry_pathname)				\
	X(archive_entry_filetype)				\
	X(archive_entry_hardlink)				\
	X(archive_entry_size)					\
	X(archive_entry_size_is_set)				\
	X(archive_entry_set_pathname)				\
	X(archive_entry_set_size)				\
	X(archive_entry_set_filetype)				\
	X(archive_entry_set_perm)				\
	X(archive_entry_set_mtime)				\
	X(archive_read_new)					\
	X(archive_read_free)					\
	X(archive_read_support_format_tar)			\
	X(archive_read_support_filter_zstd)			\
	X(archive_read_open_memory)				\
	X(archive_read_open_fd)					\
	X(archive_read_next_header)				\
	X(archive_read_data)					\
	X(archive_write_new)					\
	X(archive_write_free)					\
	X(archive_write_set_format_pax_restricted)		\
	X(archive_write_add_filter_zstd)			\
	X(archive_write_open_fd)				\
	X(archive_write_header)					\
	X(archive_write_data)					\
	X(archive_write_close)					\
	X(archive_write_fail)

struct libarchive {
#define LIBARCHIVE_MEMBER(call) __typeof__(call) *call;
	LIBARCHIVE_CALLS(LIBARCHIVE_MEMBER)
#undef LIBARCHIVE_MEMBER
};

extern struct libarchive la; /* only after libarchive_load() */

/* Load it, once. -ENOTSUP: it is not there, *e says what the loader said. Any thread. */
int libarchive_load(struct err *e);

#endif
