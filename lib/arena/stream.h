/* The variables of a version as one stream of bytes: the data as it lies in the arena, with zeros in between. */
#ifndef CPA_ARENA_STREAM_H
#define CPA_ARENA_STREAM_H

#include "lib/arena/arena.h"

struct stream {
	const struct arena_var *vars;
	const uint32_t *pads; /* or NULL */
	size_t n, i;          /* vars[i] … */
	uint64_t start, end;  /* … has this part of the stream; reads go forward only */
};

void stream_open(struct stream *s, const struct arena_var *vars, const uint32_t *pads, size_t n);

/* Bytes at offset `at` into out. */
void stream_read(struct stream *s, uint64_t at, uint8_t *out, uint64_t bytes);

/* Where the bytes from `at` on lie as they are, and how many do before their variable ends; NULL and 0 in
 * between. */
const uint8_t *stream_run(struct stream *s, uint64_t at, uint64_t *bytes);

#endif
