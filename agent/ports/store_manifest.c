/* Owns manifests in the store: when one may go in, what is listed, what is given up. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/ports/store_priv.h"
#include "lib/base/scoped.h"

bool store_item_name(const char *name, Cpa__What *what, uint64_t *number)
{
	char *end;

	if ((name[0] != 'g' && name[0] != 'k') || name[1] != '-' || !isdigit((unsigned char)name[2]))
		return false;
	errno = 0;
	*number = strtoull(name + 2, &end, 10);
	*what = name[0] == 'g' ? CPA__WHAT__GENERATION : CPA__WHAT__KEYSET;
	return errno == 0 && !*end;
}

static int no_such(const char *job, Cpa__What what, uint64_t number, struct err *e)
{
	char text[40];

	return err_set(e, ERR_NOT_FOUND, "%s of job %s is not held here",
	               manifest_text(what, number, text, sizeof text), job);
}

/* ---- in ---- */

bool store_complete(const struct store *s, const struct manifest *m)
{
	const Cpa__File *f;
	char path[FS_PATH_MAX];

	for (size_t i = 0; (f = manifest_file(m, i)); i++)
		for (size_t at = 0; at < f->chunks.len; at += CHUNK_ID_BYTES)
			if (!chunk_id_is_zero(f->chunks.data + at) &&
			    access(store_chunk_path(s, manifest_uid(m), f->chunks.data + at, path), F_OK) < 0)
				return false;
	return true;
}

int store_make_job(struct store *s, const char *job, struct err *e)
{
	char path[FS_PATH_MAX];

	if (!manifest_job_ok(job))
		return err_set(e, ERR_USAGE, "this is no job's id");
	return fs_mkdirs(store_job_path(s, job, path), 0700, e);
}

static uint64_t file_bytes(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

/* The lock is held from the look at the chunks until the manifest protects them from the sweep. */
static int put_locked(struct store *s, const struct manifest *m, const uint8_t *sealed, size_t len, struct err *e)
{
	char path[FS_PATH_MAX], text[40];
	const char *job = manifest_job(m);
	uint64_t number = manifest_number(m);
	const struct store_item *old = store_find(s, job, m->what, number);

	manifest_text(m->what, number, text, sizeof text);
	if (old && old->incarnation > manifest_incarnation(m))
		return err_set(e, ERR_FAILED, "%s of job %s is held already from the later incarnation %u", text,
		               job, old->incarnation);
	if (!store_complete(s, m))
		return err_set(e, ERR_FAILED, "%s of job %s is not complete: chunks are lacking", text, job);
	if (store_make_job(s, job, e) < 0)
		return ERR_FAILED;
	store_item_path(s, job, m->what, number, path);
	uint64_t before = file_bytes(path);
	if (fs_write_aside(path, sealed, len, 0600, s->durable, e) < 0)
		return ERR_FAILED;
	store_uncount(s, before);
	s->used += len;
	return store_catalog_add(s, m) == 0 ? 0 : err_set(e, ERR_FAILED, "out of memory holding %s", text);
}

int store_put_manifest(struct store *s, Cpa__What what, const uint8_t *sealed, size_t len, struct err *e)
{
	struct manifest m;

	if (manifest_unpack(what, sealed, len, s->key, &m, e) < 0)
		return ERR_FAILED;
	pthread_mutex_lock(&s->lock);
	int rc = put_locked(s, &m, sealed, len, e);
	pthread_mutex_unlock(&s->lock);
	manifest_free(&m);
	return rc;
}

/* ---- out ---- */

int store_manifest_read(struct store *s, const char *job, Cpa__What what, uint64_t number, uint8_t **sealed,
                        size_t *len, struct err *e)
{
	char path[FS_PATH_MAX], *data = NULL;
	int rc = ERR_NOT_FOUND;

	pthread_mutex_lock(&s->lock);
	if (store_find(s, job, what, number))
		rc = fs_read(store_item_path(s, job, what, number, path), MANIFEST_MAX, &data, len, e);
	pthread_mutex_unlock(&s->lock);
	if (rc == ERR_NOT_FOUND)
		return no_such(job, what, number, e);
	*sealed = (uint8_t *)data;
	return rc;
}

int store_manifest_open(struct store *s, const char *job, Cpa__What what, uint64_t number, struct manifest *m,
                        struct err *e)
{
	scoped_free uint8_t *sealed = NULL;
	size_t len;

	memset(m, 0, sizeof *m);
	int rc = store_manifest_read(s, job, what, number, &sealed, &len, e);
	if (rc < 0)
		return rc;
	return manifest_unpack(what, sealed, len, s->key, m, e);
}

int store_list(struct store *s, const char *job, struct store_item **items, size_t *n, struct err *e)
{
	int rc = 0;

	*n = 0;
	pthread_mutex_lock(&s->lock);
	*items = calloc(s->n_items + 1, sizeof **items);
	for (size_t i = 0; *items && i < s->n_items; i++)
		if (!job || strcmp(s->items[i].job, job) == 0)
			(*items)[(*n)++] = s->items[i];
	if (!*items)
		rc = err_set(e, ERR_FAILED, "out of memory listing what is held");
	pthread_mutex_unlock(&s->lock);
	return rc;
}

bool store_newest(struct store *s, const char *job, Cpa__What what, struct store_item *item)
{
	bool found = false;

	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < s->n_items && !found; i++) {
		found = s->items[i].what == what && strcmp(s->items[i].job, job) == 0;
		if (found)
			*item = s->items[i]; /* the catalog is sorted, the newest first */
	}
	pthread_mutex_unlock(&s->lock);
	return found;
}

/* ---- given up ---- */

int store_drop_locked(struct store *s, const char *job, Cpa__What what, uint64_t number, struct err *e)
{
	char path[FS_PATH_MAX];

	if (!store_find(s, job, what, number))
		return no_such(job, what, number, e);
	store_item_path(s, job, what, number, path);
	uint64_t bytes = file_bytes(path);
	if (unlink(path) < 0 && errno != ENOENT)
		return err_sys(e, ERR_FAILED, "cannot remove %s", path);
	store_uncount(s, bytes);
	store_catalog_del(s, job, what, number);
	return 0;
}

int store_drop(struct store *s, const char *job, Cpa__What what, uint64_t number, struct err *e)
{
	pthread_mutex_lock(&s->lock);
	int rc = store_drop_locked(s, job, what, number, e);
	pthread_mutex_unlock(&s->lock);
	return rc;
}

int store_keep(struct store *s, const char *job, Cpa__What what, size_t n, struct err *e)
{
	int rc = 0;
	size_t seen = 0;

	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < s->n_items && rc == 0;) {
		const struct store_item *it = &s->items[i];
		if (it->what == what && strcmp(it->job, job) == 0 && ++seen > n)
			rc = store_drop_locked(s, job, what, it->number, e); /* the next one moves up to i */
		else
			i++;
	}
	pthread_mutex_unlock(&s->lock);
	return rc;
}

int store_drop_job(struct store *s, const char *job, struct err *e)
{
	char path[FS_PATH_MAX];

	if (!manifest_job_ok(job))
		return err_set(e, ERR_USAGE, "this is no job's id");
	int rc = store_keep(s, job, CPA__WHAT__GENERATION, 0, e);
	if (rc == 0)
		rc = store_keep(s, job, CPA__WHAT__KEYSET, 0, e);
	if (rc < 0)
		return rc;
	pthread_mutex_lock(&s->lock);
	rc = fs_remove_tree(store_job_path(s, job, path), e);
	pthread_mutex_unlock(&s->lock);
	return rc;
}

/* A chunk turned out damaged and is gone: what named it is no longer whole, and no longer held. */
void store_drop_incomplete(struct store *s, uint32_t uid)
{
	for (size_t i = 0; i < s->n_items;) {
		struct store_item it = s->items[i];
		scoped_free char *data = NULL;
		char path[FS_PATH_MAX];
		size_t len;
		struct manifest m = { 0 };
		if (it.uid != uid ||
		    fs_read(store_item_path(s, it.job, it.what, it.number, path), MANIFEST_MAX, &data, &len,
		            NULL) < 0 ||
		    manifest_unpack(it.what, (uint8_t *)data, len, s->key, &m, NULL) < 0 ||
		    store_complete(s, &m) || store_drop_locked(s, it.job, it.what, it.number, NULL) < 0)
			i++;
		manifest_free(&m);
	}
}
