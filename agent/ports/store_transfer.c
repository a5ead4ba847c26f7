/* Owns the copying of what one store holds to another: memory to disk in a save, disk to memory in a load. On disk
 * everything is fsynced before it gets its name. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ports/store_priv.h"
#include "lib/base/scoped.h"

static void skip(struct store_transfer *t, const struct store_item *it, const char *why)
{
	t->sum.skipped++;
	if (t->skipped)
		t->skipped(t->ctx, it->job, it->what, it->number, why);
}

/* ---- chunks to disk ---- */

static const char *aside_path(const struct store *s, uint32_t uid, const uint8_t *id, char *buf)
{
	char hex[CHUNK_HEX_MAX];

	return fs_path(buf, "%s/aside/%" PRIu32 "-%s", s->dir, uid, chunk_hex(id, hex));
}

int store_sync_path(const char *path, int flags, struct err *e)
{
	scoped_fd int fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW);

	return fd >= 0 && fsync(fd) == 0 ? 0 : err_sys(e, ERR_FAILED, "cannot make %s durable", path);
}

/* The directories that lead to the shelves which got something, from the leaves up. */
static int sync_shelves(const struct store *s, uint32_t uid, const struct chunk_id *ids, size_t n, struct err *e)
{
	char path[FS_PATH_MAX];
	int last = -1; /* ids are sorted, so each shelf comes up once */

	for (size_t i = 0; i < n; i++) {
		if (ids[i].b[0] == last)
			continue;
		last = ids[i].b[0];
		if (store_sync_path(fs_path(path, "%s/chunks/%" PRIu32 "/%02x", s->dir, uid, (unsigned)last),
		                    O_RDONLY | O_DIRECTORY, e) < 0)
			return ERR_FAILED;
	}
	if (n == 0)
		return 0;
	if (store_sync_path(fs_path(path, "%s/chunks/%" PRIu32, s->dir, uid), O_RDONLY | O_DIRECTORY, e) < 0 ||
	    store_sync_path(fs_path(path, "%s/chunks", s->dir), O_RDONLY | O_DIRECTORY, e) < 0)
		return ERR_FAILED;
	return 0;
}

/* Write all of them aside, so that the disk works on many at once; then wait for each and give it its name. */
static int chunks_to_disk(struct store_transfer *t, uint32_t uid, const struct chunk_id *ids, size_t n,
                          int *damaged, struct err *e)
{
	char aside[FS_PATH_MAX], path[FS_PATH_MAX];

	for (size_t i = 0; i < n; i++) {
		*damaged = store_chunk_get(t->from, uid, ids[i].b, &t->buf, e) < 0;
		if (*damaged || store_chunk_write(aside_path(t->to, uid, ids[i].b, aside), &t->buf, true, e) < 0)
			return ERR_FAILED;
		t->sum.bytes_written += t->buf.len;
	}
	for (size_t i = 0; i < n; i++) {
		aside_path(t->to, uid, ids[i].b, aside);
		store_chunk_path(t->to, uid, ids[i].b, path);
		if (store_sync_path(aside, O_RDWR, e) < 0 || store_chunk_shelf(t->to, uid, ids[i].b, e) < 0)
			return ERR_FAILED;
		if (rename(aside, path) < 0)
			return err_sys(e, ERR_FAILED, "cannot name the chunk %s", path);
	}
	return sync_shelves(t->to, uid, ids, n, e);
}

/* ---- chunks to memory ---- */

static int chunks_to_memory(struct store_transfer *t, uint32_t uid, const struct chunk_id *ids, size_t n,
                            struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		if (store_chunk_get(t->from, uid, ids[i].b, &t->buf, e) < 0 ||
		    store_put_chunk(t->to, uid, ids[i].b, t->buf.packed, t->buf.len, t->buf.compressed,
		                    t->buf.raw_len, e) < 0)
			return ERR_FAILED;
		t->sum.bytes_written += t->buf.len;
	}
	return 0;
}

/* ---- one item ---- */

static int move_chunks(struct store_transfer *t, const struct manifest *m, struct err *e)
{
	scoped_free struct chunk_id *ids = NULL;
	size_t n;
	int damaged = 0;

	if (store_missing(t->to, m, &ids, &n, e) < 0)
		return ERR_FAILED;
	if (!t->to->durable)
		return chunks_to_memory(t, manifest_uid(m), ids, n, e);
	int rc = chunks_to_disk(t, manifest_uid(m), ids, n, &damaged, e);
	return rc < 0 && damaged ? ERR_NOT_FOUND : rc;
}

static bool same_there(struct store *to, const struct store_item *it, const uint8_t *sealed, size_t len)
{
	scoped_free uint8_t *there = NULL;
	size_t there_len;

	return store_manifest_read(to, it->job, it->what, it->number, &there, &there_len, NULL) == 0 &&
	       there_len == len && memcmp(there, sealed, len) == 0;
}

/* ERR_NOT_FOUND: it cannot be taken, but the others can; ERR_FAILED: the disk does not go on. */
static int move_item(struct store_transfer *t, const struct store_item *it, struct err *e)
{
	scoped_free uint8_t *sealed = NULL;
	size_t len;
	struct manifest m;

	/* dropped by now, or damaged: the others can still be taken */
	if (store_manifest_read(t->from, it->job, it->what, it->number, &sealed, &len, e) < 0 ||
	    manifest_unpack(it->what, sealed, len, t->from->key, &m, e) < 0)
		return ERR_NOT_FOUND;
	struct store_pin *keep = store_pin(t->from, &m), *want = store_pin(t->to, &m);
	int rc = keep && want ? move_chunks(t, &m, e) : err_set(e, ERR_FAILED, "out of memory");
	if (rc == 0 && !same_there(t->to, it, sealed, len))
		rc = store_put_manifest(t->to, it->what, sealed, len, e);
	if (rc < 0 && !t->to->durable)
		rc = ERR_NOT_FOUND;
	store_unpin(t->from, keep);
	store_unpin(t->to, want);
	manifest_free(&m);
	return rc;
}

/* The newest of each job first, so that a budget which is spent costs the older ones. */
static int move_items(struct store_transfer *t, struct err *e)
{
	scoped_free struct store_item *items = NULL;
	size_t n;

	if (store_list(t->from, NULL, &items, &n, e) < 0)
		return ERR_FAILED;
	for (int older = 0; older < 2; older++)
		for (size_t i = 0; i < n; i++) {
			struct err why = { 0 };
			int newest = i == 0 || items[i - 1].what != items[i].what ||
			             strcmp(items[i - 1].job, items[i].job) != 0;
			int rc = newest == older ? 0 : move_item(t, &items[i], &why);
			if (rc == ERR_NOT_FOUND)
				skip(t, &items[i], why.text);
			else if (rc < 0)
				return err_set(e, rc, "%s", why.text);
		}
	return 0;
}

/* Notes are small and change: copied when they differ. A job's directory is made even when it has none, so that
 * a job whose checkpoints could not be taken over is still known here, and the next save does not drop it. */
static int move_notes(struct store_transfer *t, const char *job, struct err *e)
{
	scoped_free void *list = NULL;
	char(*names)[STORE_JOB_MAX];
	size_t n;

	pthread_mutex_lock(&t->to->lock);
	int rc = store_make_job(t->to, job, e);
	pthread_mutex_unlock(&t->to->lock);
	if (rc < 0 || store_note_names(t->from, job, &names, &n, e) < 0)
		return ERR_FAILED;
	list = names;
	for (size_t i = 0; i < n; i++) {
		scoped_free uint8_t *data = NULL, *there = NULL;
		size_t len, there_len;
		if (store_get_note(t->from, job, names[i], &data, &len, NULL) < 0)
			continue; /* damaged or gone: what the other side has is better */
		if (store_get_note(t->to, job, names[i], &there, &there_len, NULL) == 0 && there_len == len &&
		    memcmp(there, data, len) == 0)
			continue;
		if (store_put_note(t->to, job, names[i], data, len, e) < 0)
			return ERR_FAILED;
	}
	return 0;
}

static int move_jobs(struct store_transfer *t, struct err *e)
{
	scoped_free void *list = NULL;
	char(*jobs)[STORE_JOB_MAX];
	size_t n;

	if (store_jobs(t->from, &jobs, &n, e) < 0)
		return ERR_FAILED;
	list = jobs;
	for (size_t i = 0; i < n; i++)
		if (move_notes(t, jobs[i], e) < 0)
			return ERR_FAILED;
	return 0;
}

int store_transfer(struct store_transfer *t, struct store_saved *saved, struct err *e)
{
	if (store_chunk_buffers(&t->buf, e) < 0)
		return ERR_FAILED;
	int rc = move_jobs(t, e);
	if (rc == 0)
		rc = move_items(t, e);
	store_chunk_free(&t->buf);
	pthread_mutex_lock(&t->to->lock);
	t->sum.items = t->to->n_items;
	pthread_mutex_unlock(&t->to->lock);
	if (saved)
		*saved = t->sum;
	return rc;
}
