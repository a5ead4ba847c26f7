/* Owns the store as a whole: its directories, what a start finds in them, and the catalog of what is held. */
#include "agent/ports/store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/ports/store_priv.h"
#include "lib/base/scoped.h"

const char *store_job_path(const struct store *s, const char *job, char *buf)
{
	return fs_path(buf, "%s/jobs/%s", s->dir, job);
}

const char *store_item_path(const struct store *s, const char *job, Cpa__What what, uint64_t number, char *buf)
{
	return fs_path(buf, "%s/jobs/%s/%c-%" PRIu64, s->dir, job, what == CPA__WHAT__GENERATION ? 'g' : 'k',
	               number);
}

/* ---- the catalog ---- */

/* By job and kind, the newest first: a later incarnation is newer, whatever its numbers. */
int store_item_order(const void *a, const void *b)
{
	const struct store_item *x = a, *y = b;
	int c = strcmp(x->job, y->job);

	if (c == 0)
		c = (x->what > y->what) - (x->what < y->what);
	if (c == 0)
		c = (x->incarnation < y->incarnation) - (x->incarnation > y->incarnation);
	return c ? c : (x->number < y->number) - (x->number > y->number);
}

const struct store_item *store_find(const struct store *s, const char *job, Cpa__What what, uint64_t number)
{
	for (size_t i = 0; i < s->n_items; i++)
		if (s->items[i].number == number && s->items[i].what == what && strcmp(s->items[i].job, job) == 0)
			return &s->items[i];
	return NULL;
}

void store_catalog_del(struct store *s, const char *job, Cpa__What what, uint64_t number)
{
	const struct store_item *it = store_find(s, job, what, number);

	if (!it)
		return;
	size_t at = (size_t)(it - s->items);
	memmove(&s->items[at], &s->items[at + 1], (s->n_items - at - 1) * sizeof *s->items);
	s->n_items--;
	s->garbage = true;
}

int store_catalog_add(struct store *s, const struct manifest *m)
{
	struct store_item it = { .what = m->what,
		                 .number = manifest_number(m),
		                 .incarnation = manifest_incarnation(m),
		                 .uid = manifest_uid(m),
		                 .time_ns = manifest_time_ns(m),
		                 .bytes = manifest_bytes(m),
		                 .by_keys = m->keys && m->keys->by_keys };

	memccpy(it.job, manifest_job(m), '\0', sizeof it.job);
	if (s->n_items == s->room) {
		size_t room = s->room ? 2 * s->room : 64;
		struct store_item *items = realloc(s->items, room * sizeof *items);
		if (!items)
			return -1;
		s->items = items;
		s->room = room;
	}
	store_catalog_del(s, it.job, it.what, it.number);
	size_t at = 0;
	while (at < s->n_items && store_item_order(&s->items[at], &it) < 0)
		at++;
	memmove(&s->items[at + 1], &s->items[at], (s->n_items - at) * sizeof *s->items);
	s->items[at] = it;
	s->n_items++;
	return 0;
}

void store_uncount(struct store *s, uint64_t bytes)
{
	s->used -= bytes < s->used ? bytes : s->used;
}

/* ---- what a start finds ---- */

struct scan {
	struct store *s;
	const char *job;
	store_skipped_fn *skipped;
	void *ctx;
};

static void pass_over(const struct scan *sc, const char *path, Cpa__What what, uint64_t number, const char *why)
{
	if (sc->skipped)
		sc->skipped(sc->ctx, sc->job, what, number, why);
	if (!sc->s->durable)
		unlink(path);
}

static int scan_manifest(const struct scan *sc, const char *path, Cpa__What what, uint64_t number)
{
	scoped_free char *data = NULL;
	size_t len;
	struct err why = { 0 };
	struct manifest m = { 0 };

	if (fs_read(path, MANIFEST_MAX, &data, &len, &why) < 0 ||
	    manifest_unpack(what, (const uint8_t *)data, len, sc->s->key, &m, &why) < 0) {
		pass_over(sc, path, what, number, why.text);
		return 0;
	}
	int rc = 0;
	if (strcmp(manifest_job(&m), sc->job) != 0 || manifest_number(&m) != number)
		pass_over(sc, path, what, number, "it lies under another job's or another number's name");
	else if (!store_complete(sc->s, &m))
		pass_over(sc, path, what, number, "not all of its chunks are there");
	else if ((rc = store_catalog_add(sc->s, &m)) == 0)
		sc->s->used += len;
	manifest_free(&m);
	return rc;
}

static int scan_job(struct scan *sc, struct err *e)
{
	char path[FS_PATH_MAX];
	scoped_dir DIR *d = opendir(store_job_path(sc->s, sc->job, path));
	if (!d)
		return err_sys(e, ERR_FAILED, "cannot list %s", path);
	for (const struct dirent *ent; (ent = readdir(d));) {
		Cpa__What what;
		uint64_t number;
		if (ent->d_name[0] == '.')
			continue;
		fs_path(path, "%s/jobs/%s/%s", sc->s->dir, sc->job, ent->d_name);
		if (strchr(ent->d_name, '.'))
			unlink(path); /* half-written beside its name when an agent was killed */
		else if (store_item_name(ent->d_name, &what, &number) && scan_manifest(sc, path, what, number) < 0)
			return err_set(e, ERR_FAILED, "out of memory reading the store %s", sc->s->dir);
	}
	return 0;
}

static int scan_jobs(struct store *s, store_skipped_fn *skipped, void *ctx, struct err *e)
{
	char(*jobs)[STORE_JOB_MAX];
	size_t n;

	if (store_jobs(s, &jobs, &n, e) < 0)
		return ERR_FAILED;
	int rc = 0;
	for (size_t i = 0; i < n && rc == 0; i++) {
		struct scan sc = { .s = s, .job = jobs[i], .skipped = skipped, .ctx = ctx };
		rc = scan_job(&sc, e);
	}
	free(jobs);
	return rc;
}

/* Bytes of every plain file below path, three levels deep as chunks are. */
static uint64_t count_bytes(const char *path, int depth)
{
	uint64_t sum = 0;
	scoped_dir DIR *d = opendir(path);

	for (const struct dirent *ent; d && (ent = readdir(d));) {
		char sub[FS_PATH_MAX];
		struct stat st;
		if (ent->d_name[0] == '.')
			continue;
		if (depth > 0)
			sum += count_bytes(fs_path(sub, "%s/%s", path, ent->d_name), depth - 1);
		else if (fstatat(dirfd(d), ent->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			sum += (uint64_t)st.st_size;
	}
	return sum;
}

static int make_dirs(const struct store *s, struct err *e)
{
	static const char *const subs[] = { "chunks", "jobs", "aside" };
	char path[FS_PATH_MAX];

	/* what lies aside was on its way when an agent was killed */
	if (fs_remove_tree(fs_path(path, "%s/aside", s->dir), e) < 0)
		return ERR_FAILED;
	for (size_t i = 0; i < sizeof subs / sizeof *subs; i++)
		if (fs_mkdirs(fs_path(path, "%s/%s", s->dir, subs[i]), 0700, e) < 0)
			return ERR_FAILED;
	return 0;
}

int store_open_as(const char *dir, uint64_t budget, const uint8_t *key, bool durable, store_skipped_fn *skipped,
                  void *ctx, struct store **out, struct err *e)
{
	struct store *s = calloc(1, sizeof *s);
	char path[FS_PATH_MAX];

	if (!s)
		return err_set(e, ERR_FAILED, "out of memory opening the store %s", dir);
	pthread_mutex_init(&s->lock, NULL);
	pthread_mutex_init(&s->saving, NULL);
	fs_path(s->dir, "%s", dir);
	memcpy(s->key, key, sizeof s->key);
	s->budget = budget;
	s->durable = durable;
	s->garbage = true;
	if (make_dirs(s, e) < 0 || scan_jobs(s, skipped, ctx, e) < 0) {
		store_close(s);
		return err_wrap(e, "cannot open the store %s", dir);
	}
	s->used += count_bytes(fs_path(path, "%s/chunks", dir), 2);
	*out = s;
	return 0;
}

int store_open(const char *dir, uint64_t budget, const uint8_t key[MANIFEST_KEY_BYTES], struct store **s,
               struct err *e)
{
	return store_open_as(dir, budget, key, false, NULL, NULL, s, e);
}

void store_close(struct store *s)
{
	if (!s)
		return;
	while (s->pins)
		store_unpin(s, s->pins);
	pthread_mutex_destroy(&s->lock);
	pthread_mutex_destroy(&s->saving);
	free(s->items);
	explicit_bzero(s->key, sizeof s->key);
	free(s);
}

uint64_t store_used(struct store *s)
{
	pthread_mutex_lock(&s->lock);
	uint64_t used = s->used;
	pthread_mutex_unlock(&s->lock);
	return used;
}

void store_set_budget(struct store *s, uint64_t budget)
{
	pthread_mutex_lock(&s->lock);
	s->budget = budget;
	pthread_mutex_unlock(&s->lock);
}
