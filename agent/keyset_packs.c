/* Owns small keys in a keyset: they share chunks, packs, and keep their place there as long as their size stays.
 * So one that changed costs its own reading and the hashing of one pack, which is made of the pack before. */
#include <stdlib.h>
#include <string.h>

#include "agent/keyset_impl.h"
#include "lib/base/scoped.h"

/* ---- those that stay ---- */

static int by_place(const void *x, const void *y)
{
	const struct entry *a = *(struct entry *const *)x, *b = *(struct entry *const *)y;
	return a->old->offset < b->old->offset ? -1 : a->old->offset > b->old->offset;
}

/* Put a value at its place in the pack in b->buf. One that does not fit there any more goes elsewhere later. */
static int renew(struct build *b, struct entry *n, struct err *e)
{
	struct arena_value v = { 0 };
	uint64_t span = keyset_span(n->old->bytes), at = n->old->offset % CHUNK_BYTES;
	int rc = keyset_read(b, n->now->key, &v, e);
	memset(b->buf + at, 0, span);
	if (rc == 0 && (keyset_is_large(v.info.bytes) || keyset_span(v.info.bytes) != span)) {
		n->later = true;
	} else if (rc == 0) {
		if (v.info.bytes)
			memcpy(b->buf + at, v.data, v.info.bytes);
		rc = keyset_put_key(n, &v.info, n->old->offset, e);
	}
	arena_value_free(&v);
	return rc < 0 ? rc : 0;
}

static bool untouched(const struct build *b, struct entry *const *keys, size_t n, const uint8_t *id)
{
	for (size_t i = 0; i < n; i++)
		if (!keys[i]->same)
			return false;
	return !b->whole || copies_have(b->dir, COPIES_PACK, id);
}

/* n keys whose places are in this chunk, in the order of these. */
static int stay_in(struct build *b, struct entry *const *keys, size_t n, uint64_t chunk, struct err *e)
{
	const uint8_t *id = b->old_ids + chunk * CHUNK_ID_BYTES;
	uint64_t end = 0;
	if (untouched(b, keys, n, id)) {
		memcpy(keyset_id(b, chunk), id, CHUNK_ID_BYTES);
		for (size_t i = 0; i < n; i++)
			if (keyset_put_key(keys[i], keys[i]->now, keys[i]->old->offset, e) < 0)
				return e->code;
		return 0;
	}
	bool have = copies_get(b->dir, id, b->buf) == 0;
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < n; i++) {
		uint64_t at = keys[i]->old->offset % CHUNK_BYTES;
		memset(b->buf + end, 0, at - end);
		rc = keys[i]->same && have ? keyset_put_key(keys[i], keys[i]->now, keys[i]->old->offset, e)
		                           : renew(b, keys[i], e);
		end = at + keyset_span(keys[i]->old->bytes);
	}
	memset(b->buf + end, 0, CHUNK_BYTES - end);
	return rc < 0 ? rc : keyset_put_chunk(b, COPIES_PACK, chunk, b->buf, e);
}

int keyset_packs_stay(struct build *b, struct err *e)
{
	scoped_free struct entry **keys = malloc((b->n + 1) * sizeof *keys);
	size_t n = 0;
	if (!keys)
		return err_set(e, ERR_FAILED, "out of memory");
	for (size_t i = 0; i < b->n; i++)
		if (b->entry[i].placed && !keyset_is_large(b->entry[i].now->bytes))
			keys[n++] = &b->entry[i];
		else if (!keyset_is_large(b->entry[i].now->bytes))
			b->entry[i].later = true;
	if (n)
		qsort(keys, n, sizeof(struct entry *), by_place);
	for (size_t i = 0, next; i < n; i = next) {
		uint64_t chunk = keys[i]->old->offset / CHUNK_BYTES;
		for (next = i + 1; next < n && keys[next]->old->offset / CHUNK_BYTES == chunk;)
			next++;
		if (stay_in(b, keys + i, next - i, chunk, e) < 0)
			return e->code;
	}
	return 0;
}

/* ---- those that come ---- */

/* The pack that is being filled. */
struct filling {
	bool open;
	uint64_t chunk, end;
	uint8_t *data; /* CHUNK_BYTES */
};

/* Go on in the last pack, if it is at hand. */
static void go_on(struct build *b, struct filling *f)
{
	uint64_t end = 0;
	for (size_t i = 0; i < b->n; i++) {
		const Cpa__Key *k = b->entry[i].out;
		if (k && !keyset_is_large(k->bytes) && k->offset + keyset_span(k->bytes) > end)
			end = k->offset + keyset_span(k->bytes);
	}
	if (end % CHUNK_BYTES == 0)
		return;
	f->chunk = end / CHUNK_BYTES;
	f->end = end % CHUNK_BYTES;
	f->open = copies_get(b->dir, keyset_id(b, f->chunk), f->data) == 0;
}

static int close_pack(struct build *b, struct filling *f, struct err *e)
{
	int rc = f->open ? keyset_put_chunk(b, COPIES_PACK, f->chunk, f->data, e) : 0;
	f->open = false;
	return rc;
}

static int add(struct build *b, struct filling *f, struct entry *n, const struct arena_value *v, struct err *e)
{
	uint64_t span = keyset_span(v->info.bytes);
	if (f->open && f->end + span > CHUNK_BYTES && close_pack(b, f, e) < 0)
		return e->code;
	if (!f->open) {
		if (keyset_more_chunks(b, 1, &f->chunk, e) < 0)
			return e->code;
		f->open = true;
		f->end = 0;
		memset(f->data, 0, CHUNK_BYTES);
	}
	if (v->info.bytes)
		memcpy(f->data + f->end, v->data, v->info.bytes);
	int rc = keyset_put_key(n, &v->info, f->chunk * CHUNK_BYTES + f->end, e);
	f->end += span;
	return rc;
}

static int add_one(struct build *b, struct filling *f, struct entry *n, struct err *e)
{
	struct arena_value v = { 0 };
	int rc = keyset_read(b, n->now->key, &v, e);
	if (rc == 0)
		rc = keyset_is_large(v.info.bytes) ? keyset_large_value(b, n, &v, e) : add(b, f, n, &v, e);
	arena_value_free(&v);
	return rc < 0 ? rc : 0;
}

int keyset_packs_add(struct build *b, struct err *e)
{
	struct filling f = { 0 };
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < b->n; i++) {
		if (!b->entry[i].later)
			continue;
		if (!f.data) {
			f.data = malloc(CHUNK_BYTES);
			if (!f.data)
				return err_set(e, ERR_FAILED, "out of memory");
			go_on(b, &f);
		}
		rc = add_one(b, &f, &b->entry[i], e);
	}
	if (rc == 0)
		rc = close_pack(b, &f, e);
	free(f.data);
	return rc;
}

uint64_t keyset_chunks_afresh(const struct arena_keys *keys)
{
	uint64_t chunks = 0, end = CHUNK_BYTES;
	for (size_t i = 0; i < keys->n; i++) {
		uint64_t span = keyset_span(keys->key[i].bytes);
		if (keyset_is_large(keys->key[i].bytes)) {
			chunks += span / CHUNK_BYTES;
			continue;
		}
		if (end + span > CHUNK_BYTES) {
			chunks++;
			end = 0;
		}
		end += span;
	}
	return chunks;
}
