/* Owns saving and loading as a whole. The save is a store of its own with the same layout, where nothing is
 * removed before what replaces it is there. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "agent/ports/store_priv.h"

/* The names of new jobs' directories, and of the directories themselves in a first save. */
static int sync_top(const struct store *disk, struct err *e)
{
	char path[FS_PATH_MAX];

	if (store_sync_path(fs_path(path, "%s/jobs", disk->dir), O_RDONLY | O_DIRECTORY, e) < 0)
		return ERR_FAILED;
	return store_sync_path(disk->dir, O_RDONLY | O_DIRECTORY, e);
}

int store_save(struct store *s, const char *durable_dir, struct store_saved *saved, store_skipped_fn *skipped,
               void *ctx, struct err *e)
{
	struct store *disk;
	char aside[FS_PATH_MAX];

	pthread_mutex_lock(&s->saving);
	int rc = store_open_as(durable_dir, 0, s->key, true, NULL, NULL, &disk, e);
	if (rc == 0) {
		struct store_transfer t = { .from = s, .to = disk, .skipped = skipped, .ctx = ctx };
		rc = store_transfer(&t, saved, e);
		if (rc == 0)
			rc = sync_top(disk, e);
		if (rc == 0)
			rc = store_prune(disk, s, e);
		if (saved)
			saved->items = disk->n_items;
		if (rc < 0) /* what is half-written must not fill the disk until the next save */
			(void)fs_remove_tree(fs_path(aside, "%s/aside", disk->dir), NULL);
		store_close(disk);
	}
	pthread_mutex_unlock(&s->saving);
	return rc < 0 ? err_wrap(e, "the save to %s failed, the one before it stands", durable_dir) : 0;
}

/* Memory that lived through a restart of the agent is newer than the disk: what it has given up must not come
 * back. The mark tells it from memory that a killed agent had only begun to fill. */
static int load(struct store *s, const char *durable_dir, struct store_saved *loaded, store_skipped_fn *skipped,
                void *ctx, struct err *e)
{
	struct store *disk;
	char mark[FS_PATH_MAX];

	if (access(fs_path(mark, "%s/loaded", s->dir), F_OK) == 0)
		return 0;
	if (access(durable_dir, F_OK) == 0 || errno != ENOENT) {
		if (store_open_as(durable_dir, 0, s->key, true, skipped, ctx, &disk, e) < 0)
			return ERR_FAILED;
		struct store_transfer t = { .from = disk, .to = s, .skipped = skipped, .ctx = ctx };
		int rc = store_transfer(&t, loaded, e);
		store_close(disk);
		if (rc < 0)
			return rc;
	}
	return fs_write_aside(mark, "", 0, 0600, 0, e);
}

int store_load(struct store *s, const char *durable_dir, struct store_saved *loaded, store_skipped_fn *skipped,
               void *ctx, struct err *e)
{
	if (loaded)
		memset(loaded, 0, sizeof *loaded);
	pthread_mutex_lock(&s->saving);
	int rc = load(s, durable_dir, loaded, skipped, ctx, e);
	pthread_mutex_unlock(&s->saving);
	return rc < 0 ? err_wrap(e, "cannot take back the save in %s", durable_dir) : 0;
}
