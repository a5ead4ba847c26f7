/* What the parts of the hostile reader share. Not for users of lib/arena. */
#ifndef CPA_ARENA_READER_INTERNAL_H
#define CPA_ARENA_READER_INTERNAL_H

#include "lib/arena/internal.h"
#include "lib/arena/reader.h"

/* ---- reader.c ---- */

/* length bytes at offset, all or -EPROTO. */
int read_at(struct arena_reader *r, uint64_t at, void *out, uint64_t length);

/* The header as it is now: another table of the index may have taken over. */
int read_head(struct arena_reader *r);

/* ---- reader_records.c ---- */

/* A record's copy, with all it can have behind its fixed part. */
struct record {
	struct arena_record fixed;
	struct arena_extent slot[ARENA_SLOTS_MAX];
	char name[ARENA_KEY_MAX + 1];
	uint64_t at; /* in the file */
};

int read_record(struct arena_reader *r, uint64_t at, struct record *rec);

/* The record of a key. -ENOENT. */
int find_record(struct arena_reader *r, const char *key, struct record *rec);

/* Where every record lies, each once. *out owned by the caller, also when there are none. */
int read_records(struct arena_reader *r, uint64_t **out, size_t *n);

/* ---- reader_versions.c ---- */

/* Does an extent lie in the heap, and is it a slot's size, and at least `least`? Where it lies in the file. */
int read_extent_ok(const struct arena_reader *r, const struct arena_extent *e, uint64_t least);
uint64_t read_extent_at(const struct arena_reader *r, const struct arena_extent *e);

/* A slot's description, as far as it can be judged without its sums. *copy: freed, then owned by the caller, also
 * after an error. */
int read_slot_description(struct arena_reader *r, const struct arena_extent *e, uint8_t **copy, struct slot_plan *p);

/* The slot that says it has this version, by the record's copy; -1: none does. */
int read_slot_of(struct arena_reader *r, const struct record *rec, uint64_t version, uint64_t *found);

/* A copy of a slot's description, as far as it can be judged without its sums; whole: with block sums and map. *head
 * owned by the caller, also after an error. */
int read_slot_head(struct arena_reader *r, const struct record *rec, uint32_t slot, int whole, uint8_t **head,
		   struct slot_plan *p);

/* length bytes at `at` of a slot, if it is one that can hold what the plan says. */
int read_slot_at(struct arena_reader *r, const struct record *rec, uint32_t slot, const struct slot_plan *p, uint64_t at,
		 void *out, uint64_t length);

/* A copy of a key's newest version, or of the one wanted: its description, and with verify also its data, which
 * lie at p->data_at of the copy and have been checked. *copy owned by the caller, also after an error. *rec is
 * read again when the writer has moved on. *skipped: how many newer ones are damaged. */
int read_version(struct arena_reader *r, struct record *rec, uint64_t wanted, int verify, uint8_t **copy,
		 struct slot_plan *p, int *skipped);

/* ---- reader_values.c ---- */

/* What callers get of a version whose description is at hand. Free with arena_key_free(). */
int read_info(const struct record *rec, const uint8_t *copy, struct arena_key *k);

#endif
