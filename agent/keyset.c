/* Owns a job's newest keyset: looking into its arena whether there is to be another (keyset_make.c makes it), what
 * is known of it, its chunks for who fetches it, and telling the arena who holds it. Every read goes through the
 * arena's checked reader: a job may scribble over its arena, and loses only its own keys. */
#include "agent/keyset.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/keyset_impl.h"
#include "agent/standing.h"
#include "lib/arena/mailbox.h"
#include "lib/arena/pieces.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/scoped.h"
#include "lib/chunk/manifest.h"

static int open_arena(struct job *j, int flags, struct arena_reader *r)
{
	char path[FS_PATH_MAX];
	*r = (struct arena_reader){ .fd = open(job_arena(j, path), flags | O_CLOEXEC | O_NOFOLLOW) };
	if (r->fd < 0)
		return ERR_NOT_FOUND;
	if (arena_read_open(r) == 0)
		return 0;
	close(r->fd);
	return ERR_FAILED;
}

static uint64_t mix(uint64_t h, uint64_t v)
{
	h ^= v + UINT64_C(0x9e3779b97f4a7c15) + (h << 6) + (h >> 2);
	return h;
}

/* top: the highest level there is; nothing is wanted beyond it. 0: not known. */
static void see(struct keyset_seen *seen, const struct arena_keys *keys, uint32_t top)
{
	for (size_t i = 0; i < keys->n; i++) {
		const struct arena_key *k = &keys->key[i];
		seen->count++;
		seen->bytes += k->bytes;
		seen->changes = mix(mix(seen->changes, k->version ^ k->record), (uint64_t)k->time_ns);
		if (k->version > seen->newest)
			seen->newest = k->version;
		if (k->time_ns > seen->time_ns)
			seen->time_ns = k->time_ns;
		if (k->incarnation > seen->incarnation)
			seen->incarnation = k->incarnation;
		seen->asked |= k->want_version != 0 && k->want_level > 1;
		uint32_t want = top && k->want_level > top ? top : k->want_level;
		if (!k->want_version || want <= k->level)
			continue;
		seen->wishes = mix(mix(seen->wishes, k->record), k->want_version << 8 | want);
		if (want > seen->wanted)
			seen->wanted = want;
	}
}

int keyset_look(struct job *j, struct keyset_seen *seen)
{
	struct arena_reader r;
	struct arena_keys keys = { 0 };
	*seen = (struct keyset_seen){ 0 };
	int rc = open_arena(j, O_RDONLY, &r);
	if (rc < 0)
		return rc;
	arena_says(&r, &seen->says);
	seen->by_keys = (seen->says.flags & ARENA_RESTORES) != 0;
	rc = arena_read_keys(&r, 0, &keys) < 0 ? ERR_FAILED : 0;
	if (rc == 0)
		see(seen, &keys, standing_top(j->agent));
	arena_keys_free(&keys);
	close(r.fd);
	return rc;
}

void keyset_refresh(struct job *j)
{
	struct keyset_seen seen;
	if (!job_live(j->state) || keyset_look(j, &seen) < 0)
		return;
	j->n_keys = seen.count;
	j->keys_bytes = seen.bytes;
	j->by_keys |= seen.by_keys;
}

/* ---- making one ---- */

const char *keyset_manifest_path(const struct job *j, unsigned slot, char *buf)
{
	return fs_path(buf, "%s/keys/.manifest.%u", j->dir, slot);
}

const char *keyset_copies_dir(const struct job *j, char *buf)
{
	return fs_path(buf, "%s/keys/chunks", j->dir);
}

static Cpa__Keyset *read_manifest(const struct job *j, unsigned slot)
{
	char path[FS_PATH_MAX];
	scoped_free char *data = NULL;
	size_t len;
	struct manifest m;
	if (fs_read(keyset_manifest_path(j, slot, path), MANIFEST_MAX, &data, &len, NULL) < 0 ||
	    manifest_unpack(CPA__WHAT__KEYSET, (uint8_t *)data, len, j->agent->manifest_key, &m, NULL) < 0)
		return NULL;
	return m.keys;
}

Cpa__Keyset *keyset_on_disk(const struct job *j, unsigned *slot)
{
	Cpa__Keyset *of[2] = { read_manifest(j, 0), read_manifest(j, 1) };
	*slot = of[1] && (!of[0] || of[1]->serial > of[0]->serial);
	if (of[*slot ^ 1])
		cpa__keyset__free_unpacked(of[*slot ^ 1], NULL);
	return of[*slot];
}

/* A key that cannot be read makes no keyset: levels above would give up a whole one for one that lacks it. */
int keyset_make(struct job *j, struct keyset_made *made, struct err *e)
{
	struct arena_reader r;
	struct arena_keys keys = { 0 };
	struct keyset_seen seen = { 0 };
	struct arena_says says;
	int rc = open_arena(j, O_RDONLY, &r);
	if (rc < 0)
		return rc == ERR_NOT_FOUND ? 0 : err_set(e, rc, "the arena of job %s is broken", j->spec->name);
	arena_says(&r, &says);
	rc = arena_read_keys(&r, 0, &keys) < 0
	             ? err_set(e, ERR_FAILED, "the arena of job %s is broken", j->spec->name)
	             : 0;
	if (rc == 0)
		see(&seen, &keys, 0);
	made->changes = seen.changes;
	if (rc == 0 && seen.count && (seen.changes != j->keyset_changes || j->keyset_whole))
		rc = keys.broken ? err_set(e, ERR_FAILED, "%zu of its keys are broken", keys.broken)
		                 : keyset_build(j, &r, &keys, (says.flags & ARENA_RESTORES) != 0, made, e);
	arena_keys_free(&keys);
	close(r.fd);
	return rc;
}

void keyset_larges_free(struct keyset_larges *l)
{
	for (size_t i = 0; i < l->n; i++)
		arena_pieces_close(l->l[i].sums);
	free(l->l);
	*l = (struct keyset_larges){ 0 };
}

void keyset_made_free(struct keyset_made *made)
{
	if (made->keys)
		cpa__keyset__free_unpacked(made->keys, NULL);
	made->keys = NULL;
	keyset_larges_free(&made->larges);
}

void keyset_forget(struct job *j)
{
	if (j->keyset)
		cpa__keyset__free_unpacked(j->keyset, NULL);
	j->keyset = NULL;
	j->keyset_changes = 0;
	j->keyset_whole = false;
	keyset_larges_free(&j->keyset_larges);
}

void keyset_take(struct job *j, struct keyset_made *made)
{
	bool whole = j->keyset_whole && !made->whole; /* asked for meanwhile */
	for (size_t i = 0; i < made->larges.n; i++) {
		struct keyset_large *l = &made->larges.l[i];
		if (!l->from)
			continue;
		l->sums = l->from->sums;
		l->from->sums = NULL;
		l->from = NULL;
	}
	keyset_forget(j);
	j->keyset = made->keys;
	j->keyset_larges = made->larges;
	j->keyset_slot = made->slot;
	j->keyset_changes = made->changes;
	j->keyset_whole = whole;
	if (j->last_keyset < j->keyset->serial)
		j->last_keyset = j->keyset->serial;
	j->by_keys |= j->keyset->by_keys;
	j->n_keys = j->keyset->n_keys;
	j->keys_bytes = 0;
	for (size_t i = 0; i < j->n_keys; i++)
		j->keys_bytes += j->keyset->keys[i]->bytes;
	*made = (struct keyset_made){ 0 };
}

/* ---- its chunks ---- */

const Cpa__Key *keyset_find_chunk(const struct job *j, const uint8_t *id, uint64_t *offset)
{
	const ProtobufCBinaryData *ids = &j->keyset->values->chunks;
	for (size_t i = 0; i < j->keyset_larges.n; i++) {
		const struct keyset_large *l = &j->keyset_larges.l[i];
		for (uint64_t c = 0; c < l->chunks && (l->first + c + 1) * CHUNK_ID_BYTES <= ids->len; c++) {
			if (!chunk_id_equal(ids->data + (l->first + c) * CHUNK_ID_BYTES, id))
				continue;
			*offset = c * CHUNK_BYTES;
			return j->keyset->keys[l->key];
		}
	}
	return NULL;
}

static int read_from_arena(const struct keyset_wanted *w, uint8_t *buf)
{
	struct arena_reader r = { .fd = open(w->arena, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) };
	struct arena_pieces *p = NULL;
	int rc = r.fd < 0 ? -ENOENT : arena_read_open(&r);
	if (rc == 0)
		rc = arena_pieces_open(&r, w->key, w->version, 0, &p);
	uint64_t bytes = rc == 0 ? arena_pieces_key(p)->bytes : 0;
	if (rc == 0 && w->offset >= bytes)
		rc = -EPROTO;
	if (rc == 0) {
		size_t len = chunk_len(bytes, w->offset / CHUNK_BYTES);
		rc = arena_pieces_read(&r, p, w->offset, len, buf);
		memset(buf + len, 0, CHUNK_BYTES - len);
	}
	arena_pieces_close(p);
	if (r.fd >= 0)
		close(r.fd);
	return rc;
}

int keyset_read_chunk(const struct keyset_wanted *w, uint8_t *buf, struct err *e)
{
	if (copies_get(w->copies, w->id, buf) == 0)
		return 0;
	struct chunk_id is = { 0 };
	if (w->key && read_from_arena(w, buf) == 0)
		is = chunk_id(buf, CHUNK_BYTES);
	return chunk_id_equal(is.b, w->id) ? 0
	                                   : err_set(e, ERR_FAILED, "that version was overwritten by a newer one");
}

void keyset_drop_copies(const struct job *j)
{
	char dir[FS_PATH_MAX];
	copies_drop_large(keyset_copies_dir(j, dir));
}

/* ---- who holds it ---- */

/* Of a key that was forgotten meanwhile and has begun anew, nobody has anything, though the numbers are the same. */
static bool goes_on(const struct arena_key *now, const Cpa__Key *held)
{
	return now->version > held->version || keyset_same_version(now, held);
}

/* Both lists are in the order of the names. */
static void mark_held(struct arena_reader *r, const Cpa__Keyset *ks, const struct arena_keys *keys, uint32_t level)
{
	for (size_t i = 0, at = 0; i < keys->n && at < ks->n_keys; i++) {
		int c = -1;
		while (at < ks->n_keys && (c = strcmp(ks->keys[at]->key, keys->key[i].key)) < 0)
			at++;
		if (c == 0 && goes_on(&keys->key[i], ks->keys[at]))
			arena_set_held(r, &keys->key[i], ks->keys[at]->version, level);
	}
}

/* The keyset before the newest, from its manifest: a level far up may tell of it late, and somebody may wait. */
static Cpa__Keyset *earlier(struct job *j, uint64_t serial)
{
	Cpa__Keyset *ks = read_manifest(j, j->keyset_slot ^ 1);
	if (!ks || ks->serial == serial)
		return ks;
	cpa__keyset__free_unpacked(ks, NULL);
	return NULL;
}

void keyset_restored(struct job *j, int64_t time_ns)
{
	j->ahead = 0;
	j->keyset_base = j->last_keyset;
	for (size_t i = 0; i < j->n_held; i++) {
		const Cpa__Holding *h = j->held[i];
		if (h->what == CPA__WHAT__KEYSET && !h->bad && h->time_ns > time_ns && h->number > j->ahead)
			j->ahead = h->number;
	}
}

void keyset_held(struct job *j, uint64_t serial, uint32_t level)
{
	struct arena_reader r;
	/* the numbers of its versions stand for others in this life */
	if (serial <= j->keyset_base)
		return;
	struct arena_keys keys = { 0 };
	bool newest = j->keyset && j->keyset->serial == serial;
	bool overtaken = j->keyset_held > serial && j->keyset_level >= level;
	Cpa__Keyset *before = newest || overtaken || !j->keyset ? NULL : earlier(j, serial);
	const Cpa__Keyset *ks = newest ? j->keyset : before;
	if (ks && open_arena(j, O_RDWR, &r) == 0) {
		if (arena_read_keys(&r, 0, &keys) == 0)
			mark_held(&r, ks, &keys, level);
		arena_keys_free(&keys);
		close(r.fd);
	}
	if (before)
		cpa__keyset__free_unpacked(before, NULL);
}
