/* Owns which chunks are needed: what lacks for a manifest, what is pinned while it is fetched, and the mark and
 * sweep that removes the rest. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/ports/store_priv.h"
#include "lib/base/scoped.h"

/* ---- sets of chunks ---- */

static int by_ref(const void *a, const void *b)
{
	const struct store_ref *x = a, *y = b;

	if (x->uid != y->uid)
		return x->uid < y->uid ? -1 : 1;
	return memcmp(x->id.b, y->id.b, CHUNK_ID_BYTES);
}

static int push(struct store_refs *refs, const struct store_ref *ref)
{
	if (refs->n == refs->room) {
		size_t room = refs->room ? 2 * refs->room : 256;
		struct store_ref *list = realloc(refs->list, room * sizeof *list);
		if (!list)
			return -1;
		refs->list = list;
		refs->room = room;
	}
	refs->list[refs->n++] = *ref;
	return 0;
}

/* Every chunk that m names, zeros left out. */
int store_refs_add(struct store_refs *refs, const struct manifest *m)
{
	const Cpa__File *f;

	for (size_t i = 0; (f = manifest_file(m, i)); i++)
		for (size_t at = 0; at < f->chunks.len; at += CHUNK_ID_BYTES) {
			struct store_ref ref = { .uid = manifest_uid(m) };
			memcpy(ref.id.b, f->chunks.data + at, CHUNK_ID_BYTES);
			if (!chunk_id_is_zero(ref.id.b) && push(refs, &ref) < 0)
				return -1;
		}
	return 0;
}

static void sort(struct store_refs *refs)
{
	if (refs->n)
		qsort(refs->list, refs->n, sizeof *refs->list, by_ref);
}

int store_missing(struct store *s, const struct manifest *m, struct chunk_id **ids, size_t *n, struct err *e)
{
	struct store_refs refs = { 0 };

	*ids = NULL;
	*n = 0;
	if (store_refs_add(&refs, m) == 0 && refs.n)
		*ids = malloc(refs.n * sizeof **ids);
	if (refs.n && !*ids) {
		free(refs.list);
		return err_set(e, ERR_FAILED, "out of memory looking for lacking chunks");
	}
	sort(&refs);
	for (size_t i = 0; i < refs.n; i++)
		if ((i == 0 || by_ref(&refs.list[i - 1], &refs.list[i]) != 0) &&
		    !store_has(s, refs.list[i].uid, refs.list[i].id.b))
			(*ids)[(*n)++] = refs.list[i].id;
	free(refs.list);
	if (*n == 0) {
		free(*ids);
		*ids = NULL;
	}
	return 0;
}

struct store_pin *store_pin(struct store *s, const struct manifest *m)
{
	struct store_pin *pin = calloc(1, sizeof *pin);

	if (!pin || store_refs_add(&pin->refs, m) < 0) {
		if (pin)
			free(pin->refs.list);
		free(pin);
		return NULL;
	}
	pthread_mutex_lock(&s->lock);
	pin->next = s->pins;
	s->pins = pin;
	pthread_mutex_unlock(&s->lock);
	return pin;
}

void store_unpin(struct store *s, struct store_pin *pin)
{
	if (!pin)
		return;
	pthread_mutex_lock(&s->lock);
	for (struct store_pin **at = &s->pins; *at; at = &(*at)->next)
		if (*at == pin) {
			*at = pin->next;
			break;
		}
	s->garbage = true; /* if the fetch was given up, its chunks are nobody's now */
	pthread_mutex_unlock(&s->lock);
	free(pin->refs.list);
	free(pin);
}

/* ---- mark and sweep ---- */

/* 1: it is damaged, and what it needs is not known. Nobody can use it any more. */
static int mark_item(struct store *s, const struct store_item *it, struct store_refs *live, struct err *e)
{
	char path[FS_PATH_MAX];
	scoped_free char *data = NULL;
	size_t len;
	struct manifest m;

	int rc = fs_read(store_item_path(s, it->job, it->what, it->number, path), MANIFEST_MAX, &data, &len, e);
	if (rc < 0)
		return rc == ERR_NOT_FOUND ? 1 : err_wrap(e, "nothing can be cleaned up");
	if (manifest_unpack(it->what, (uint8_t *)data, len, s->key, &m, NULL) < 0)
		return 1;
	rc = store_refs_add(live, &m);
	manifest_free(&m);
	return rc < 0 ? err_set(e, ERR_FAILED, "out of memory cleaning up the store") : 0;
}

static int mark(struct store *s, struct store_refs *live, struct err *e)
{
	for (size_t i = 0; i < s->n_items;) {
		const struct store_item it = s->items[i];
		int rc = mark_item(s, &it, live, e);
		if (rc < 0)
			return rc;
		if (rc == 0 || store_drop_locked(s, it.job, it.what, it.number, NULL) < 0)
			i++;
	}
	for (const struct store_pin *p = s->pins; p; p = p->next)
		for (size_t i = 0; i < p->refs.n; i++)
			if (push(live, &p->refs.list[i]) < 0)
				return err_set(e, ERR_FAILED, "out of memory cleaning up the store");
	sort(live);
	return 0;
}

/* Out of the way first: to give a file's memory back takes long, and others wait for the lock. */
static uint64_t sweep_shelf(struct store *s, const char *path, uint32_t uid, const struct store_refs *live)
{
	uint64_t freed = 0;
	char gone[FS_PATH_MAX];
	scoped_dir DIR *d = opendir(path);

	for (const struct dirent *ent; d && (ent = readdir(d));) {
		struct store_ref ref = { .uid = uid };
		struct stat st;
		if (!chunk_from_hex(ent->d_name, &ref.id))
			continue;
		if (live->n && bsearch(&ref, live->list, live->n, sizeof ref, by_ref))
			continue;
		fs_path(gone, "%s/aside/gone-%" PRIu32 "-%s", s->dir, uid, ent->d_name);
		if (fstatat(dirfd(d), ent->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    renameat(dirfd(d), ent->d_name, AT_FDCWD, gone) == 0)
			freed += (uint64_t)st.st_size;
	}
	store_uncount(s, freed);
	return freed;
}

static uint64_t sweep_user(struct store *s, const char *name, const struct store_refs *live)
{
	char path[FS_PATH_MAX], *end;
	uint64_t freed = 0;
	unsigned long uid = strtoul(name, &end, 10);
	scoped_dir DIR *d = opendir(fs_path(path, "%s/chunks/%s", s->dir, name));

	for (const struct dirent *ent; d && !*end && (ent = readdir(d));)
		if (ent->d_name[0] != '.')
			freed += sweep_shelf(s, fs_path(path, "%s/chunks/%s/%s", s->dir, name, ent->d_name),
			                     (uint32_t)uid, live);
	return freed;
}

void store_gc_empty(struct store *s)
{
	char path[FS_PATH_MAX];
	scoped_dir DIR *d = opendir(fs_path(path, "%s/aside", s->dir));

	for (const struct dirent *ent; d && (ent = readdir(d));)
		if (strncmp(ent->d_name, "gone-", 5) == 0)
			unlinkat(dirfd(d), ent->d_name, 0);
}

/* Until store_gc_empty() the bytes are not used any more, but not given back either. */
int store_gc_locked(struct store *s, uint64_t *freed, struct err *e)
{
	struct store_refs live = { 0 };
	uint64_t sum = 0;
	char path[FS_PATH_MAX];

	int rc = mark(s, &live, e);
	scoped_dir DIR *d = rc < 0 ? NULL : opendir(fs_path(path, "%s/chunks", s->dir));
	for (const struct dirent *ent; d && (ent = readdir(d));)
		if (ent->d_name[0] != '.')
			sum += sweep_user(s, ent->d_name, &live);
	free(live.list);
	if (rc == 0)
		s->garbage = false;
	if (freed)
		*freed = sum;
	return rc;
}

int store_gc(struct store *s, uint64_t *freed, struct err *e)
{
	pthread_mutex_lock(&s->lock);
	int rc = store_gc_locked(s, freed, e);
	pthread_mutex_unlock(&s->lock);
	store_gc_empty(s);
	return rc;
}
