/* One version of a key, read piece by piece out of an arena that its job may scribble over: however large the value
 * is, no copy of it is made, and what the version before had too need not be read at all. The values are those of
 * arena_read_value(): variables at multiples of 8, without pads. Reads as reader.h says, with its errors. */
#ifndef CPA_ARENA_PIECES_H
#define CPA_ARENA_PIECES_H

#include "lib/arena/reader.h"

struct arena_pieces;

/* What is known before the first piece is read: a copy of the version's description. checked: with its checksums,
 * so that pieces are checked and compared; else whoever reads them must know by other means what they are to be.
 * -ENOENT: that version is not there any more; -ENOTSUP: not in blocks of which each has a checksum (small
 * ones are not). *out is owned. */
int arena_pieces_open(struct arena_reader *r, const char *key, uint64_t version, int checked,
		      struct arena_pieces **out);
void arena_pieces_close(struct arena_pieces *p);

/* Its version, time and variables; borrowed. */
const struct arena_key *arena_pieces_key(const struct arena_pieces *p);

/* length bytes at offset of the value to out, which has room for them. -EBADMSG: damaged, or written over since.
 * The reader may be another one of the same arena. */
int arena_pieces_read(struct arena_reader *r, const struct arena_pieces *p, uint64_t offset, uint64_t length,
		      void *out);

/* Do both versions say, by their checksums, that these bytes are the same? Both are checked ones. */
int arena_pieces_same(const struct arena_pieces *x, const struct arena_pieces *y, uint64_t offset,
		      uint64_t length);

#endif
