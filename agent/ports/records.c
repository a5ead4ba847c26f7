/* Owns the LMDB environment of the registry. Small values, few writes, each one synced: LMDB's copy-on-write pages
 * leave the old record readable until the new one's commit is on the disk. */
#include "agent/ports/records.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "lib/base/fs.h"

#define MAP_START ((size_t)64 << 20)
#define MAP_MAX ((size_t)16 << 30)

struct records {
	char dir[FS_PATH_MAX];
	MDB_env *env;
	MDB_dbi jobs, facts;
	int lock_fd;
	/* growing the map needs that no transaction is open: readers share, the grower is alone */
	pthread_rwlock_t use;
};

static int fail(struct err *e, const struct records *r, const char *what, int rc)
{
	if (rc == ENOSPC || rc == MDB_MAP_FULL || rc == EDQUOT)
		return err_set(e, ERR_FAILED,
		               "cannot %s in the registry database %s: the disk is full; free some space", what,
		               r->dir);
	return err_set(e, ERR_FAILED, "cannot %s in the registry database %s: %s", what, r->dir, mdb_strerror(rc));
}

/* LMDB itself lets several processes write; two agents on one registry would be two truths. */
static int lock_dir(struct records *r, struct err *e)
{
	char path[FS_PATH_MAX];

	r->lock_fd = open(fs_path(path, "%s/lock", r->dir), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (r->lock_fd < 0)
		return err_sys(e, ERR_FAILED, "cannot create %s", path);
	if (flock(r->lock_fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK
		               ? err_set(e, ERR_FAILED,
		                         "another agent uses the registry database %s; give each agent its own "
		                         "--state directory",
		                         r->dir)
		               : err_sys(e, ERR_FAILED, "cannot lock %s", path);
	return 0;
}

static int open_tables(struct records *r)
{
	MDB_txn *txn;
	int rc = mdb_txn_begin(r->env, NULL, 0, &txn);

	if (rc)
		return rc;
	rc = mdb_dbi_open(txn, "jobs", MDB_CREATE, &r->jobs);
	if (!rc)
		rc = mdb_dbi_open(txn, "facts", MDB_CREATE, &r->facts);
	if (!rc)
		return mdb_txn_commit(txn);
	mdb_txn_abort(txn);
	return rc;
}

static int open_env(struct records *r)
{
	int rc = mdb_env_create(&r->env);

	if (!rc)
		rc = mdb_env_set_maxdbs(r->env, 4);
	if (!rc)
		rc = mdb_env_set_mapsize(r->env, MAP_START);
	/* no thread-local reader slots: worker threads come and go */
	if (!rc)
		rc = mdb_env_open(r->env, r->dir, MDB_NOTLS, 0600);
	return rc ? rc : open_tables(r);
}

int records_open(const char *dir, struct records **out, struct err *e)
{
	if (fs_mkdirs(dir, 0700, e) < 0)
		return ERR_FAILED;
	struct records *r = calloc(1, sizeof *r);
	if (!r)
		return err_set(e, ERR_FAILED, "out of memory opening the registry database %s", dir);
	fs_path(r->dir, "%s", dir);
	r->lock_fd = -1;
	pthread_rwlock_init(&r->use, NULL);
	int rc = lock_dir(r, e);
	if (rc == 0) {
		int why = open_env(r);
		rc = why ? fail(e, r, "open the tables", why) : 0;
	}
	if (rc < 0) {
		records_close(r);
		return rc;
	}
	*out = r;
	return 0;
}

void records_close(struct records *r)
{
	if (!r)
		return;
	if (r->env)
		mdb_env_close(r->env);
	if (r->lock_fd >= 0)
		close(r->lock_fd);
	pthread_rwlock_destroy(&r->use);
	free(r);
}

/* ---- writing ---- */

static int put_one(struct records *r, MDB_txn *txn, const struct records_change *c)
{
	MDB_val key = { strlen(c->name), (void *)(uintptr_t)c->name };
	MDB_val value = { c->len, (void *)(uintptr_t)c->data };
	MDB_dbi table = c->fact ? r->facts : r->jobs;

	if (c->data)
		return mdb_put(txn, table, &key, &value, 0);
	int rc = mdb_del(txn, table, &key, NULL);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static int write_once(struct records *r, const struct records_change *v, size_t n)
{
	MDB_txn *txn;
	int rc = mdb_txn_begin(r->env, NULL, 0, &txn);

	if (rc)
		return rc;
	for (size_t i = 0; i < n && !rc; i++)
		rc = put_one(r, txn, &v[i]);
	if (!rc)
		return mdb_txn_commit(txn);
	mdb_txn_abort(txn);
	return rc;
}

static int grow(struct records *r)
{
	MDB_envinfo info;

	pthread_rwlock_wrlock(&r->use);
	int rc = mdb_env_info(r->env, &info);
	if (!rc)
		rc = info.me_mapsize < MAP_MAX ? mdb_env_set_mapsize(r->env, info.me_mapsize * 2) : MDB_MAP_FULL;
	pthread_rwlock_unlock(&r->use);
	return rc;
}

int records_write(struct records *r, const struct records_change *v, size_t n, struct err *e)
{
	int rc;

	for (size_t i = 0; i < n; i++) {
		size_t len = strlen(v[i].name);
		if (len == 0 || len > RECORDS_KEY_MAX)
			return err_set(e, ERR_USAGE, "a record's name has 1 to %d bytes, not %zu", RECORDS_KEY_MAX, len);
	}
	do {
		pthread_rwlock_rdlock(&r->use);
		rc = write_once(r, v, n);
		pthread_rwlock_unlock(&r->use);
	} while (rc == MDB_MAP_FULL && (rc = grow(r)) == 0);
	return rc ? fail(e, r, "write a record", rc) : 0;
}

int records_put(struct records *r, const char *uuid, const void *data, size_t len, struct err *e)
{
	return records_write(r, &(struct records_change){ uuid, data, len, 0 }, 1, e);
}

int records_del(struct records *r, const char *uuid, struct err *e)
{
	return records_write(r, &(struct records_change){ uuid, NULL, 0, 0 }, 1, e);
}

int records_put_fact(struct records *r, const char *name, const void *data, size_t len, struct err *e)
{
	return records_write(r, &(struct records_change){ name, data, len, 1 }, 1, e);
}

/* ---- reading ---- */

static int read_fact(struct records *r, const char *name, char **data, size_t *len)
{
	MDB_val key = { strlen(name), (void *)(uintptr_t)name }, value;
	MDB_txn *txn;
	int rc = mdb_txn_begin(r->env, NULL, MDB_RDONLY, &txn);

	if (rc)
		return rc;
	rc = mdb_get(txn, r->facts, &key, &value);
	if (!rc) {
		*data = malloc(value.mv_size + 1);
		if (*data) {
			memcpy(*data, value.mv_data, value.mv_size);
			(*data)[value.mv_size] = '\0';
			*len = value.mv_size;
		}
		rc = *data ? 0 : ENOMEM;
	}
	mdb_txn_abort(txn);
	return rc;
}

int records_get_fact(struct records *r, const char *name, char **data, size_t *len, struct err *e)
{
	if (!*name || strlen(name) > RECORDS_KEY_MAX)
		return err_set(e, ERR_USAGE, "this is no fact's name");
	pthread_rwlock_rdlock(&r->use);
	int rc = read_fact(r, name, data, len);
	pthread_rwlock_unlock(&r->use);
	if (rc == MDB_NOTFOUND)
		return err_set(e, ERR_NOT_FOUND, "the registry database %s has no %s", r->dir, name);
	return rc ? fail(e, r, "read a fact", rc) : 0;
}

static int each(MDB_cursor *cur, records_each_fn *fn, void *ctx, int *answer)
{
	MDB_val key, value;
	int rc;

	while ((rc = mdb_cursor_get(cur, &key, &value, MDB_NEXT)) == 0) {
		char name[RECORDS_KEY_MAX + 1];
		if (key.mv_size > RECORDS_KEY_MAX)
			return MDB_CORRUPTED;
		memcpy(name, key.mv_data, key.mv_size);
		name[key.mv_size] = '\0';
		*answer = fn(ctx, name, value.mv_data, value.mv_size);
		if (*answer)
			return 0;
	}
	return rc == MDB_NOTFOUND ? 0 : rc;
}

int records_each(struct records *r, records_each_fn *fn, void *ctx, struct err *e)
{
	MDB_txn *txn;
	MDB_cursor *cur;
	int answer = 0;

	pthread_rwlock_rdlock(&r->use);
	int rc = mdb_txn_begin(r->env, NULL, MDB_RDONLY, &txn);
	if (!rc) {
		rc = mdb_cursor_open(txn, r->jobs, &cur);
		if (!rc) {
			rc = each(cur, fn, ctx, &answer);
			mdb_cursor_close(cur);
		}
		mdb_txn_abort(txn);
	}
	pthread_rwlock_unlock(&r->use);
	return rc ? fail(e, r, "read the records", rc) : answer;
}
