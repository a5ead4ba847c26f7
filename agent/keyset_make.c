/* Owns making a keyset out of a job's arena and the keyset before it, so that it costs what changed: a key of the
 * same version keeps its place and its chunks' ids, and is neither read nor hashed. What is read is copied chunk
 * by chunk (ports/copies.h), for the job goes on overwriting it. Every read goes through the arena's checked
 * reader. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/keyset_impl.h"
#include "lib/arena/pieces.h"
#include "lib/base/log.h"
#include "lib/base/scoped.h"
#include "lib/chunk/manifest.h"

#define WASTE_SPARE 8 /* chunks that may be left behind in any case */

/* ---- what the parts share ---- */

int keyset_more_chunks(struct build *b, uint64_t n, uint64_t *first, struct err *e)
{
	if (b->chunks + n > b->room) {
		uint64_t room = 2 * (b->chunks + n);
		uint8_t *ids = realloc(b->ids, room * CHUNK_ID_BYTES);
		if (!ids)
			return err_set(e, ERR_FAILED, "out of memory");
		memset(ids + b->room * CHUNK_ID_BYTES, 0, (room - b->room) * CHUNK_ID_BYTES);
		b->ids = ids;
		b->room = room;
	}
	*first = b->chunks;
	b->chunks += n;
	return 0;
}

int keyset_put_chunk(struct build *b, enum copies_kind kind, uint64_t chunk, const uint8_t *data, struct err *e)
{
	struct chunk_id id = chunk_id(data, CHUNK_BYTES);
	memcpy(keyset_id(b, chunk), id.b, CHUNK_ID_BYTES);
	return copies_put(b->dir, kind, id.b, data, e);
}

static Cpa__Key *make_key(const struct arena_key *k, uint64_t offset)
{
	Cpa__Key *out = malloc(sizeof *out);
	if (!out)
		return NULL;
	cpa__key__init(out);
	out->key = strdup(k->key);
	out->version = k->version;
	out->bytes = k->bytes;
	out->time_ns = k->time_ns;
	out->incarnation = k->incarnation;
	out->offset = offset;
	out->how = k->how;
	out->vars = calloc(k->n + 1, sizeof(Cpa__Var *));
	for (size_t i = 0; out->vars && i < k->n; i++) {
		Cpa__Var *v = malloc(sizeof *v);
		if (!v)
			break;
		cpa__var__init(v);
		v->name = strdup(k->vars[i].name);
		v->type = k->vars[i].type;
		v->count = k->vars[i].count;
		out->vars[out->n_vars++] = v;
	}
	if (out->key && out->vars && out->n_vars == k->n)
		return out;
	cpa__key__free_unpacked(out, NULL);
	return NULL;
}

int keyset_put_key(struct entry *n, const struct arena_key *info, uint64_t offset, struct err *e)
{
	n->out = make_key(info, offset);
	return n->out ? 0 : err_set(e, ERR_FAILED, "out of memory");
}

int keyset_read(struct build *b, const char *key, struct arena_value *v, struct err *e)
{
	int rc = arena_read_value(b->arena, key, 0, v, NULL);
	if (rc == -ENOENT)
		return 1;
	if (rc < 0)
		return err_set(e, ERR_FAILED, "key %s cannot be read out of the arena: %s", key, strerror(-rc));
	b->read += v->info.bytes;
	return 0;
}

/* ---- the keyset ---- */

static int begin(struct build *b, const struct arena_keys *keys, struct err *e)
{
	uint64_t first;
	if (b->old && !keyset_laid_out(b->old))
		b->old = NULL;
	if (b->old && b->old->values) {
		b->old_ids = b->old->values->chunks.data;
		b->old_chunks = b->old->values->size / CHUNK_BYTES;
	}
	b->afresh = !b->old || b->old_chunks > 2 * keyset_chunks_afresh(keys) + WASTE_SPARE;
	b->buf = malloc(CHUNK_BYTES);
	if (!b->buf)
		return err_set(e, ERR_FAILED, "out of memory");
	return keyset_more_chunks(b, b->afresh ? 0 : b->old_chunks, &first, e);
}

static Cpa__File *values_of(struct build *b)
{
	Cpa__File *f = malloc(sizeof *f);
	if (!f)
		return NULL;
	cpa__file__init(f);
	b->chunks = 0; /* up to the last key's */
	for (size_t i = 0; i < b->n; i++) {
		const Cpa__Key *k = b->entry[i].out;
		uint64_t end = k ? (k->offset + keyset_span(k->bytes) + CHUNK_BYTES - 1) / CHUNK_BYTES : 0;
		b->chunks = end > b->chunks ? end : b->chunks;
	}
	f->name = strdup("values");
	f->mode = 0600;
	f->size = b->chunks * CHUNK_BYTES;
	f->chunks = (ProtobufCBinaryData){ b->chunks * CHUNK_ID_BYTES, b->ids };
	b->ids = NULL;
	if (f->name)
		return f;
	cpa__file__free_unpacked(f, NULL);
	return NULL;
}

static Cpa__Keyset *new_keyset(const struct job *j, size_t n)
{
	Cpa__Keyset *ks = malloc(sizeof *ks);
	if (!ks)
		return NULL;
	cpa__keyset__init(ks);
	ks->job = strdup(j->id);
	ks->uid = j->spec->uid;
	ks->keys = calloc(n + 1, sizeof(Cpa__Key *));
	if (ks->job && ks->keys)
		return ks;
	cpa__keyset__free_unpacked(ks, NULL);
	return NULL;
}

/* The entries become its keys; a key that was removed meanwhile is none. */
static void take_keys(struct build *b, Cpa__Keyset *ks)
{
	size_t *at = calloc(b->n + 1, sizeof *at);
	for (size_t i = 0; i < b->n; i++) {
		Cpa__Key *k = b->entry[i].out;
		if (!k)
			continue;
		b->entry[i].out = NULL;
		if (at)
			at[i] = ks->n_keys;
		ks->keys[ks->n_keys++] = k;
		if (k->time_ns > ks->time_ns)
			ks->time_ns = k->time_ns;
		if (k->incarnation > ks->incarnation)
			ks->incarnation = k->incarnation;
	}
	for (size_t i = 0; at && i < b->larges.n; i++)
		b->larges.l[i].key = at[b->larges.l[i].key];
	if (!at)
		keyset_larges_free(&b->larges);
	free(at);
}

static int lay_out(struct build *b, struct err *e)
{
	int rc = keyset_packs_stay(b, e);
	if (rc == 0)
		rc = keyset_large_all(b, e);
	return rc == 0 ? keyset_packs_add(b, e) : rc;
}

static int write_manifest(const struct job *j, const struct keyset_made *made, struct err *e)
{
	char path[FS_PATH_MAX];
	uint8_t *sealed;
	size_t len;
	if (manifest_pack_keyset(made->keys, j->agent->manifest_key, &sealed, &len, e) < 0)
		return e->code;
	int rc = fs_write_aside(keyset_manifest_path(j, made->slot, path), sealed, len, 0600, 0, e);
	free(sealed);
	return rc;
}

/* Copies that neither this keyset nor the one before names; a parent may be fetching that one. */
static void drop_copies(const struct build *b, const Cpa__Keyset *ks)
{
	size_t n = ks->values->chunks.len / CHUNK_ID_BYTES, m = b->old_chunks;
	scoped_free struct chunk_id *ids = malloc((n + m + 1) * sizeof *ids);
	if (!ids)
		return;
	if (n)
		memcpy(ids, ks->values->chunks.data, n * sizeof *ids);
	if (m)
		memcpy(ids + n, b->old_ids, m * sizeof *ids);
	copies_keep(b->dir, ids, n + m);
}

static int build(struct build *b, const struct arena_keys *keys, const struct keyset_larges *larges,
                 struct keyset_made *made, struct err *e)
{
	int rc = begin(b, keys, e);
	if (rc == 0)
		rc = keyset_match(b, keys, b->old ? larges : NULL, e);
	if (rc == 0)
		rc = fs_mkdirs(b->dir, 0700, e);
	if (rc == 0)
		rc = lay_out(b, e);
	if (rc < 0)
		return rc;
	made->keys->values = values_of(b);
	if (!made->keys->values)
		return err_set(e, ERR_FAILED, "out of memory");
	take_keys(b, made->keys);
	rc = write_manifest(b->job, made, e);
	if (rc == 0)
		drop_copies(b, made->keys);
	made->larges = b->larges;
	made->read = b->read;
	b->larges = (struct keyset_larges){ 0 };
	return rc;
}

static void forget_build(struct build *b)
{
	for (size_t i = 0; i < b->n; i++)
		if (b->entry[i].out)
			cpa__key__free_unpacked(b->entry[i].out, NULL);
	keyset_larges_free(&b->larges);
	free(b->entry);
	free(b->ids);
	free(b->buf);
}

/* Without what was known of their checksums. */
static int list_larges(const Cpa__Keyset *ks, struct keyset_larges *out, struct err *e)
{
	out->l = calloc(ks->n_keys + 1, sizeof *out->l);
	if (!out->l)
		return err_set(e, ERR_FAILED, "out of memory");
	for (size_t i = 0; i < ks->n_keys; i++)
		if (keyset_is_large(ks->keys[i]->bytes))
			out->l[out->n++] = (struct keyset_large){ .first = ks->keys[i]->offset / CHUNK_BYTES,
				                                  .chunks = chunk_count(ks->keys[i]->bytes),
				                                  .key = i };
	return 0;
}

int keyset_build(struct job *j, struct arena_reader *r, const struct arena_keys *keys, bool by_keys,
                 struct keyset_made *made, struct err *e)
{
	unsigned found_slot = 0;
	Cpa__Keyset *found = j->keyset ? NULL : keyset_on_disk(j, &found_slot);
	const Cpa__Keyset *old = found ? found : j->keyset;
	struct build b = { .job = j, .arena = r, .old = old, .whole = j->keyset_whole };
	made->whole = b.whole;
	if (found && !b.whole && keyset_laid_out(found) &&
	    keyset_unchanged(keys, found)) { /* an earlier life of this agent made it */
		made->keys = found;
		made->slot = found_slot;
		return list_larges(found, &made->larges, e) < 0 ? e->code : 1;
	}
	uint64_t last = found && found->serial > j->last_keyset ? found->serial : j->last_keyset;
	made->slot = (found ? found_slot : j->keyset_slot) ^ 1;
	keyset_copies_dir(j, b.dir);
	made->keys = new_keyset(j, keys->n);
	int rc = made->keys ? 0 : err_set(e, ERR_FAILED, "out of memory");
	if (rc == 0) {
		made->keys->serial = last + 1;
		made->keys->by_keys = by_keys;
		rc = build(&b, keys, j->keyset ? &j->keyset_larges : NULL, made, e);
	}
	forget_build(&b);
	if (found)
		cpa__keyset__free_unpacked(found, NULL);
	return rc < 0 ? rc : 1;
}
