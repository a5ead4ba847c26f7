/* Owns what a save removes from the disk once everything new is there. */
#include <stdlib.h>
#include <string.h>

#include "agent/ports/store_priv.h"
#include "lib/base/scoped.h"

static bool has_any(struct store *s, const char *job, Cpa__What what)
{
	struct store_item it;

	return store_newest(s, job, what, &it);
}

static bool job_known(const struct store *s, const char *job)
{
	char path[FS_PATH_MAX];

	return access(store_job_path(s, job, path), F_OK) == 0;
}

/* What memory no longer holds, provided that it holds another of the kind: a job whose checkpoints could not be
 * loaded (damaged here, too large for the budget) keeps what it has on disk. */
static int prune_items(struct store *disk, struct store *live, struct err *e)
{
	scoped_free struct store_item *items = NULL;
	size_t n;

	if (store_list(disk, NULL, &items, &n, e) < 0)
		return ERR_FAILED;
	for (size_t i = 0; i < n; i++) {
		const struct store_item *it = &items[i];
		pthread_mutex_lock(&live->lock);
		bool held = store_find(live, it->job, it->what, it->number);
		pthread_mutex_unlock(&live->lock);
		if (!held && has_any(live, it->job, it->what) &&
		    store_drop(disk, it->job, it->what, it->number, e) < 0)
			return ERR_FAILED;
	}
	return 0;
}

/* Manifests that could not be read when the disk was opened: gone as soon as there is a better one, else left for
 * somebody with the right key. Returns how many are left. */
static size_t prune_unreadable(struct store *disk, const char *job)
{
	char path[FS_PATH_MAX];
	size_t left = 0;
	scoped_dir DIR *d = opendir(store_job_path(disk, job, path));

	for (const struct dirent *ent; d && (ent = readdir(d));) {
		Cpa__What what;
		uint64_t number;
		if (!store_item_name(ent->d_name, &what, &number) || store_find(disk, job, what, number))
			continue;
		if (!has_any(disk, job, what) || unlinkat(dirfd(d), ent->d_name, 0) < 0)
			left++;
	}
	return left;
}

int store_prune(struct store *disk, struct store *live, struct err *e)
{
	scoped_free void *list = NULL;
	char(*jobs)[STORE_JOB_MAX];
	size_t n, left = 0;

	if (prune_items(disk, live, e) < 0 || store_jobs(disk, &jobs, &n, e) < 0)
		return ERR_FAILED;
	list = jobs;
	for (size_t i = 0; i < n; i++) {
		if (!job_known(live, jobs[i]) && store_drop_job(disk, jobs[i], e) < 0)
			return ERR_FAILED;
		left += prune_unreadable(disk, jobs[i]);
	}
	/* nobody knows which chunks an unreadable manifest needs */
	return left ? 0 : store_gc(disk, NULL, e);
}
