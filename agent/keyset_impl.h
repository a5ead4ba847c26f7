/* Shared by the parts that make a keyset: keyset_before.c compares with the keyset before, keyset_packs.c lays
 * small keys out in chunks that they share, keyset_large.c gives large ones chunks of their own. */
#ifndef CPA_AGENT_KEYSET_IMPL_H
#define CPA_AGENT_KEYSET_IMPL_H

#include "agent/keyset.h"
#include "agent/ports/copies.h"
#include "lib/arena/reader.h"
#include "lib/chunk/chunk.h"

#define KEYSET_ALIGN 64 /* of small keys in their pack */

/* A key on its way into the keyset. */
struct entry {
	const struct arena_key *now; /* as the arena lists it */
	const Cpa__Key *old;         /* in the keyset before; NULL: it is new */
	struct keyset_large *before; /* what was known of it there, of a large one; NULL: nothing */
	bool same;                   /* the same version: neither read nor hashed */
	bool placed;                 /* it stays where it was */
	bool later;                  /* small, and to be put into a pack at the end */
	Cpa__Key *out;               /* owned; NULL: not there yet, or removed meanwhile */
};

struct build {
	struct job *job;
	struct arena_reader *arena;
	char dir[FS_PATH_MAX];  /* of the copies */
	const Cpa__Keyset *old; /* NULL: there is none */
	const uint8_t *old_ids; /* of its chunks … */
	uint64_t old_chunks;    /* … and how many */
	bool whole;             /* a copy of every chunk is wanted: somebody asked for one in vain */
	bool afresh;            /* nothing keeps its place: too much room was left behind */
	struct entry *entry;
	size_t n;
	uint8_t *ids; /* owned; all zeros where nothing lies */
	uint64_t chunks, room;
	struct keyset_larges larges;
	uint8_t *buf; /* CHUNK_BYTES */
	uint64_t read;
};

static inline bool keyset_is_large(uint64_t bytes)
{
	return bytes >= CHUNK_BYTES;
}

/* The room that a value takes among all. */
static inline uint64_t keyset_span(uint64_t bytes)
{
	uint64_t to = keyset_is_large(bytes) ? CHUNK_BYTES : KEYSET_ALIGN;
	return ((bytes ? bytes : 1) + to - 1) / to * to;
}

static inline uint8_t *keyset_id(struct build *b, uint64_t chunk)
{
	return b->ids + chunk * CHUNK_ID_BYTES;
}

/* ---- keyset_make.c ---- */

/* Make a keyset of these keys. As keyset_make(). */
int keyset_build(struct job *j, struct arena_reader *r, const struct arena_keys *keys, bool by_keys,
                 struct keyset_made *made, struct err *e);

/* n more chunks behind all others; *first is where. */
int keyset_more_chunks(struct build *b, uint64_t n, uint64_t *first, struct err *e);

/* What is in b->buf is this chunk: its id, and a copy. */
int keyset_put_chunk(struct build *b, enum copies_kind kind, uint64_t chunk, const uint8_t *data, struct err *e);

/* A key's place is at offset. */
int keyset_put_key(struct entry *n, const struct arena_key *info, uint64_t offset, struct err *e);

/* The newest whole version, as it is now. 1: the key is gone. *v is for arena_value_free() in any case. */
int keyset_read(struct build *b, const char *key, struct arena_value *v, struct err *e);

/* ---- keyset.c ---- */

/* The newest keyset that an earlier life of this agent made. NULL: there is none. Owned by the caller. */
Cpa__Keyset *keyset_on_disk(const struct job *j, unsigned *slot);

/* ---- keyset_before.c ---- */

/* Make the entries: each key with what it was before. larges: of the keyset before, or NULL. */
int keyset_match(struct build *b, const struct arena_keys *keys, const struct keyset_larges *larges,
                 struct err *e);
/* Is it one version, in the arena and in a keyset? */
bool keyset_same_version(const struct arena_key *now, const Cpa__Key *old);
/* Is it laid out as keysets are? Not every version of this program has made them so. */
bool keyset_laid_out(const Cpa__Keyset *old);
/* Is it what is in the arena now? */
bool keyset_unchanged(const struct arena_keys *keys, const Cpa__Keyset *old);

/* ---- keyset_packs.c ---- */

/* The small keys that keep their place. */
int keyset_packs_stay(struct build *b, struct err *e);
/* The small ones that are left. */
int keyset_packs_add(struct build *b, struct err *e);
/* How many chunks keys of these sizes take when they are laid out anew. */
uint64_t keyset_chunks_afresh(const struct arena_keys *keys);

/* ---- keyset_large.c ---- */

int keyset_large_all(struct build *b, struct err *e);
/* A value that is in memory, and turned out to be a large one. */
int keyset_large_value(struct build *b, struct entry *n, const struct arena_value *v, struct err *e);

#endif
