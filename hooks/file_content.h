/* A file's content in private memory: file_content.c. Errors are negative errno values. */
#ifndef CPA_HOOKS_FILE_CONTENT_H
#define CPA_HOOKS_FILE_CONTENT_H

#include "hooks/file_place.h"

struct content { /* begins as zeros, ends with content_free() */
	uint8_t *data;
	uint64_t bytes;
};

/* Room for so many bytes; what was there before is gone. */
int content_room(struct content *c, uint64_t bytes);

/* All of a file. -ENOENT; -EBUSY: somebody has it open for writing; -ESTALE: it changed meanwhile. */
int content_read(const char *path, struct content *c);

/* Into a file, written aside and renamed. */
int content_write(const char *path, const struct content *c);

void content_free(struct content *c);

#endif
