/* Owns large keys in a keyset: each has chunks of its own, so that its unchanged chunks keep their ids wherever it
 * lies. A key that changed is read chunk by chunk, and not where the checksums in its arena say that a chunk is as
 * it was. */
#include <stdlib.h>
#include <string.h>

#include "agent/keyset_impl.h"
#include "lib/arena/pieces.h"

static int find_place(struct build *b, struct entry *n, uint64_t chunks, uint64_t *first, struct err *e)
{
	if (n->old && !b->afresh && keyset_is_large(n->old->bytes) && chunk_count(n->old->bytes) == chunks) {
		*first = n->old->offset / CHUNK_BYTES;
		return 0;
	}
	return keyset_more_chunks(b, chunks, first, e);
}

static void note(struct build *b, const struct entry *n, uint64_t first, uint64_t chunks,
                 struct keyset_large *from, struct arena_pieces *sums)
{
	b->larges.l[b->larges.n++] = (struct keyset_large){
		.first = first, .chunks = chunks, .key = (size_t)(n - b->entry), .sums = sums, .from = from
	};
}

/* The same version: nothing of it is looked at. */
static int stays(struct build *b, struct entry *n, struct err *e)
{
	uint64_t first, chunks = chunk_count(n->now->bytes);
	if (find_place(b, n, chunks, &first, e) < 0)
		return e->code;
	memcpy(keyset_id(b, first), b->old_ids + n->old->offset / CHUNK_BYTES * CHUNK_ID_BYTES,
	       chunks * CHUNK_ID_BYTES);
	note(b, n, first, chunks, n->before, NULL);
	return keyset_put_key(n, n->now, first * CHUNK_BYTES, e);
}

/* ---- one that changed ---- */

/* 1: a piece of it cannot be read any more. */
static int put_piece(struct build *b, const struct arena_pieces *p, uint64_t i, uint64_t chunk, struct err *e)
{
	uint64_t bytes = arena_pieces_key(p)->bytes;
	size_t len = chunk_len(bytes, i);
	if (arena_pieces_read(b->arena, p, i * CHUNK_BYTES, len, b->buf) != 0)
		return 1;
	b->read += len;
	memset(b->buf + len, 0, CHUNK_BYTES - len);
	return keyset_put_chunk(b, COPIES_LARGE, chunk, b->buf, e);
}

static bool as_before(const struct build *b, const struct keyset_large *old, const struct arena_pieces *p,
                      uint64_t i)
{
	uint64_t bytes = arena_pieces_key(p)->bytes;
	return !b->whole && old && old->sums && old->chunks == chunk_count(bytes) &&
	       arena_pieces_same(old->sums, p, i * CHUNK_BYTES, chunk_len(bytes, i));
}

/* 1: it cannot be read this way; see the errors of arena_pieces_open(). */
static int by_pieces(struct build *b, struct entry *n, struct arena_pieces *p, struct err *e)
{
	uint64_t first, chunks = chunk_count(arena_pieces_key(p)->bytes);
	int rc = find_place(b, n, chunks, &first, e);
	for (uint64_t i = 0; rc == 0 && i < chunks; i++)
		if (as_before(b, n->before, p, i))
			memcpy(keyset_id(b, first + i), b->old_ids + (n->before->first + i) * CHUNK_ID_BYTES,
			       CHUNK_ID_BYTES);
		else
			rc = put_piece(b, p, i, first + i, e);
	if (rc == 0)
		rc = keyset_put_key(n, arena_pieces_key(p), first * CHUNK_BYTES, e);
	if (rc == 0)
		note(b, n, first, chunks, NULL, p);
	if (rc == 1) /* it is not going to lie here */
		memset(keyset_id(b, first), 0, chunks * CHUNK_ID_BYTES);
	return rc;
}

int keyset_large_value(struct build *b, struct entry *n, const struct arena_value *v, struct err *e)
{
	uint64_t first, bytes = v->info.bytes, chunks = chunk_count(bytes);
	int rc = find_place(b, n, chunks, &first, e);
	for (uint64_t i = 0; rc == 0 && i < chunks; i++) {
		size_t len = chunk_len(bytes, i);
		memcpy(b->buf, v->data + i * CHUNK_BYTES, len);
		memset(b->buf + len, 0, CHUNK_BYTES - len);
		rc = keyset_put_chunk(b, COPIES_LARGE, first + i, b->buf, e);
	}
	if (rc == 0)
		rc = keyset_put_key(n, &v->info, first * CHUNK_BYTES, e);
	if (rc == 0)
		note(b, n, first, chunks, NULL, NULL);
	return rc;
}

/* It is damaged, laid out otherwise, or being written over: whichever version can be had whole. */
static int by_value(struct build *b, struct entry *n, struct err *e)
{
	struct arena_value v = { 0 };
	int rc = keyset_read(b, n->now->key, &v, e);
	if (rc == 0 && !keyset_is_large(v.info.bytes))
		n->later = true;
	else if (rc == 0)
		rc = keyset_large_value(b, n, &v, e);
	arena_value_free(&v);
	return rc;
}

static int changed(struct build *b, struct entry *n, struct err *e)
{
	struct arena_pieces *p = NULL;
	int rc = arena_pieces_open(b->arena, n->now->key, n->now->version, 1, &p) == 0 &&
	                         keyset_is_large(arena_pieces_key(p)->bytes)
	                 ? by_pieces(b, n, p, e)
	                 : 1;
	if (rc != 0)
		arena_pieces_close(p);
	return rc == 1 ? by_value(b, n, e) : rc;
}

int keyset_large_all(struct build *b, struct err *e)
{
	for (size_t i = 0; i < b->n; i++) {
		struct entry *n = &b->entry[i];
		if (!keyset_is_large(n->now->bytes))
			continue;
		int rc = n->same && !b->whole ? stays(b, n, e) : changed(b, n, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}
