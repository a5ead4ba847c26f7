/* The hostile reader's way from the index to records. */
#include <errno.h>
#include <stdlib.h>

#include "lib/arena/reader_internal.h"

#define PROBES 65536 /* no table that is kept four fifths full has such a chain */

int read_record(struct arena_reader *r, uint64_t at, struct record *rec)
{
	uint64_t slots_bytes;
	int rc = read_at(r, at, &rec->fixed, sizeof rec->fixed);

	if (rc)
		return rc;
	if (rec->fixed.slots < 2 || rec->fixed.slots > ARENA_SLOTS_MAX || rec->fixed.name_bytes == 0)
		return -EPROTO;
	slots_bytes = rec->fixed.slots * sizeof rec->slot[0];
	rc = read_at(r, at + sizeof rec->fixed, rec->slot, slots_bytes);
	if (!rc)
		rc = read_at(r, at + sizeof rec->fixed + slots_bytes, rec->name, rec->fixed.name_bytes);
	if (rc)
		return rc;
	rec->name[rec->fixed.name_bytes] = '\0';
	rec->at = at;
	if (memchr(rec->name, '\0', rec->fixed.name_bytes) || !arena_utf8(rec->name, rec->fixed.name_bytes))
		return -EPROTO;
	return rec->fixed.hash == arena_hash(rec->name, rec->fixed.name_bytes, 0) ? 0 : -EPROTO;
}

static int by_number(const void *x, const void *y)
{
	uint32_t a = *(const uint32_t *)x, b = *(const uint32_t *)y;

	return (a > b) - (a < b);
}

static uint64_t record_at(const struct arena_reader *r, uint32_t bucket)
{
	return arena_heap_at(r->head.heap_bytes) + ((uint64_t)bucket - 1) * ARENA_UNIT;
}

static int names_record(const struct arena_reader *r, uint32_t bucket)
{
	return bucket != ARENA_BUCKET_EMPTY && bucket != ARENA_BUCKET_GONE &&
	       bucket <= r->head.heap_bytes / ARENA_UNIT;
}

/* The buckets that name a record, each once, to the front; returns how many. */
static size_t sort_buckets(const struct arena_reader *r, uint32_t *b, uint64_t buckets)
{
	size_t kept = 0, unique = 0;
	uint64_t i;

	for (i = 0; i < buckets; i++)
		if (names_record(r, b[i]))
			b[kept++] = b[i];
	qsort(b, kept, sizeof *b, by_number);
	for (i = 0; i < kept; i++)
		if (unique == 0 || b[unique - 1] != b[i])
			b[unique++] = b[i];
	return unique;
}

int read_records(struct arena_reader *r, uint64_t **out, size_t *n)
{
	uint64_t buckets = table_buckets(r->head.table);
	uint32_t *b = malloc(buckets * sizeof *b);
	size_t i;
	int rc;

	*out = NULL;
	*n = 0;
	if (!b)
		return -ENOMEM;
	rc = read_at(r, arena_table_at(r->head.table), b, buckets * sizeof *b);
	if (!rc) {
		*n = sort_buckets(r, b, buckets);
		*out = malloc((*n + 1) * sizeof **out);
		rc = *out ? 0 : -ENOMEM;
	}
	for (i = 0; !rc && i < *n; i++)
		(*out)[i] = record_at(r, b[i]);
	free(b);
	return rc;
}

/* By the same probing as the writer's. */
int find_record(struct arena_reader *r, const char *key, struct record *rec)
{
	size_t length = strnlen(key, ARENA_KEY_MAX + 1);
	uint64_t mask = table_buckets(r->head.table) - 1, hash, b, i;
	uint32_t word;
	int rc;

	if (length == 0 || length > ARENA_KEY_MAX)
		return -ENOENT;
	hash = arena_hash(key, length, 0);
	for (i = 0, b = hash & mask; i <= mask && i < PROBES; i++, b = (b + 1) & mask) {
		rc = read_at(r, arena_table_at(r->head.table) + 4 * b, &word, sizeof word);
		if (rc)
			return rc;
		if (word == ARENA_BUCKET_EMPTY)
			return -ENOENT;
		if (names_record(r, word) && read_record(r, record_at(r, word), rec) == 0 &&
		    strcmp(rec->name, key) == 0)
			return 0;
	}
	return -ENOENT;
}
