/* Owns keysets: looking at a job's arena, copying out what is new, and telling the arena who holds it. Every read
 * goes through the arena's checked reader: a job may scribble over its arena, and loses only its own keys. */
#include "agent/keyset.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/ports/images.h"
#include "agent/standing.h"
#include "lib/arena/mailbox.h"
#include "lib/arena/reader.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/scoped.h"
#include "lib/chunk/manifest.h"

#define VALUE_ALIGN 64

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
		seen->changes = mix(seen->changes, k->version ^ k->record);
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

static int copy_value(struct arena_reader *r, const char *key, int fd, Cpa__Keyset *ks, uint64_t *end,
                      struct err *e)
{
	struct arena_value v = { 0 };
	int rc = arena_read_value(r, key, 0, &v, NULL);
	if (rc == -ENOENT)
		return 0;
	if (rc < 0) {
		arena_value_free(&v);
		return err_set(e, ERR_FAILED, "key %s cannot be read out of the arena: %s", key, strerror(-rc));
	}
	Cpa__Key *k = make_key(&v.info, *end);
	if (!k)
		rc = err_set(e, ERR_FAILED, "out of memory");
	else if (lseek(fd, (off_t)*end, SEEK_SET) < 0 || fs_write_full(fd, v.data, v.info.bytes) < 0)
		rc = err_sys(e, ERR_FAILED, "cannot copy key %s out of the arena", key);
	if (rc == 0) {
		ks->keys[ks->n_keys++] = k;
		*end += (v.info.bytes + VALUE_ALIGN - 1) / VALUE_ALIGN * VALUE_ALIGN;
		if (v.info.time_ns > ks->time_ns)
			ks->time_ns = v.info.time_ns;
		if (v.info.incarnation > ks->incarnation)
			ks->incarnation = v.info.incarnation;
	} else if (k) {
		cpa__key__free_unpacked(k, NULL);
	}
	arena_value_free(&v);
	return rc;
}

/* Copy every key's newest whole version behind the other; a key that the job has removed by now is left out. One
 * that cannot be read makes no keyset: levels above would give up a whole one for one that lacks it. */
static int copy_values(struct arena_reader *r, const struct arena_keys *keys, int fd, Cpa__Keyset *ks,
                       uint64_t *end, struct err *e)
{
	if (keys->broken)
		return err_set(e, ERR_FAILED, "%zu of its keys are broken", keys->broken);
	for (size_t i = 0; i < keys->n; i++)
		if (copy_value(r, keys->key[i].key, fd, ks, end, e) < 0)
			return e->code;
	return 0;
}

static int describe_values(Cpa__Keyset *ks, const char *dir, uint64_t end, struct err *e)
{
	Cpa__Generation g = CPA__GENERATION__INIT;
	struct images_size size = { "values", end };
	if (images_describe(dir, &size, 1, &g, e) < 0)
		return e->code;
	for (size_t i = 0; i < g.n_files; i++) {
		if (strcmp(g.files[i]->name, "values") != 0)
			continue;
		ks->values = g.files[i];
		g.files[i] = g.files[--g.n_files];
	}
	images_forget(&g);
	return ks->values || end == 0 ? 0 : err_set(e, ERR_FAILED, "the values of the keys were not written");
}

static Cpa__Keyset *new_keyset(struct job *j, size_t n)
{
	Cpa__Keyset *ks = malloc(sizeof *ks);
	if (!ks)
		return NULL;
	cpa__keyset__init(ks);
	ks->job = strdup(j->id);
	ks->serial = j->last_keyset + 1;
	ks->incarnation = 0;
	ks->uid = j->spec->uid;
	ks->keys = calloc(n + 1, sizeof(Cpa__Key *));
	if (ks->job && ks->keys)
		return ks;
	cpa__keyset__free_unpacked(ks, NULL);
	return NULL;
}

static int write_keyset(struct job *j, Cpa__Keyset *ks, struct arena_reader *r, const struct arena_keys *keys,
                        unsigned slot, struct err *e)
{
	char dir[FS_PATH_MAX], path[FS_PATH_MAX + 16];
	uint64_t end = 0;
	uint8_t *sealed;
	size_t len;
	if (fs_mkdirs(job_keys_dir(j, slot, dir), 0700, e) < 0)
		return e->code;
	snprintf(path, sizeof path, "%s/.manifest", dir);
	unlink(path);
	char values[FS_PATH_MAX + 16];
	snprintf(values, sizeof values, "%s/values", dir);
	scoped_fd int fd = open(values, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(e, ERR_FAILED, "cannot create %s", values);
	if (copy_values(r, keys, fd, ks, &end, e) < 0 || ftruncate(fd, (off_t)end) < 0 ||
	    describe_values(ks, dir, end, e) < 0 ||
	    manifest_pack_keyset(ks, j->agent->manifest_key, &sealed, &len, e) < 0)
		return ERR_FAILED;
	int rc = fs_write_aside(path, sealed, len, 0600, 0, e);
	free(sealed);
	return rc;
}

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
	if (rc == 0 && seen.count && seen.changes != j->keyset_changes) {
		made->slot = j->keyset_slot ^ 1;
		made->changes = seen.changes;
		made->keys = new_keyset(j, keys.n);
		if (made->keys)
			made->keys->by_keys = (says.flags & ARENA_RESTORES) != 0;
		rc = made->keys ? write_keyset(j, made->keys, &r, &keys, made->slot, e)
		                : err_set(e, ERR_FAILED, "out of memory");
		if (rc == 0)
			rc = 1;
		else if (made->keys)
			cpa__keyset__free_unpacked(made->keys, NULL);
	}
	arena_keys_free(&keys);
	close(r.fd);
	return rc;
}

/* Both lists are in the order of the names. */
static void mark_held(struct arena_reader *r, const Cpa__Keyset *ks, const struct arena_keys *keys, uint32_t level)
{
	for (size_t i = 0, at = 0; i < keys->n && at < ks->n_keys; i++) {
		int c = -1;
		while (at < ks->n_keys && (c = strcmp(ks->keys[at]->key, keys->key[i].key)) < 0)
			at++;
		if (c == 0)
			arena_set_held(r, &keys->key[i], ks->keys[at]->version, level);
	}
}

/* The keyset before the newest, from its directory: a level far up may tell of it late, and somebody may wait. */
static Cpa__Keyset *earlier(struct job *j, uint64_t serial)
{
	char dir[FS_PATH_MAX], path[FS_PATH_MAX + 16];
	scoped_free char *data = NULL;
	size_t len;
	struct manifest m;
	snprintf(path, sizeof path, "%s/.manifest", job_keys_dir(j, j->keyset_slot ^ 1, dir));
	if (fs_read(path, MANIFEST_MAX, &data, &len, NULL) < 0 ||
	    manifest_unpack(CPA__WHAT__KEYSET, (uint8_t *)data, len, j->agent->manifest_key, &m, NULL) < 0)
		return NULL;
	if (m.keys->serial == serial)
		return m.keys;
	manifest_free(&m);
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
