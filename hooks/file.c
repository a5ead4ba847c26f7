/* Checkpoints that a program writes as files: cpa_route_file(), cpa_file_done(), cpa_restore_file(). Owns the list of
 * files that this process was given; where they lie is file_place.c's. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hooks/file_content.h"
#include "hooks/own_lock.h"
#include "hooks/restore.h"

struct route {
	struct route *next;
	pid_t pid; /* a fork()ed child inherits the list, not the files */
	int64_t began_ns;
	char *path;
	char key[]; /* empty: a restored file */
};

struct routes {
	pid_t lock; /* own_lock(): the list is whole at every instruction */
	struct route *first;
};

static struct routes *routes_of(cpa *cp)
{
	struct routes *r = __atomic_load_n(&cp->routes, __ATOMIC_ACQUIRE), *none = NULL;

	if (r)
		return r;
	r = calloc(1, sizeof *r);
	if (r && !__atomic_compare_exchange_n(&cp->routes, &none, r, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
		free(r);
		r = none;
	}
	return r;
}

void routes_free(cpa *cp)
{
	struct route *f, *next;

	for (f = cp->routes ? cp->routes->first : NULL; f; f = next) {
		next = f->next;
		if (f->pid == getpid())
			unlink(f->path);
		free(f->path);
		free(f);
	}
	free(cp->routes);
	cp->routes = NULL;
}

/* This process's file for key (and of that path), taken out of the list; NULL: there is none. */
static struct route *take_out(struct routes *r, const char *key, const char *path)
{
	struct route **at, *found;

	own_lock(&r->lock);
	for (at = &r->first; *at && ((*at)->pid != getpid() || strcmp((*at)->key, key) != 0 ||
				     (path && strcmp((*at)->path, path) != 0));)
		at = &(*at)->next;
	found = *at;
	if (found)
		__atomic_store_n(at, found->next, __ATOMIC_RELEASE);
	own_unlock(&r->lock);
	return found;
}

static void put_in(struct routes *r, struct route *f)
{
	own_lock(&r->lock);
	f->next = r->first;
	__atomic_store_n(&r->first, f, __ATOMIC_RELEASE);
	own_unlock(&r->lock);
}

static struct route *route_make(const char *key, const char *path)
{
	struct route *f = calloc(1, sizeof *f + strlen(key) + 1);

	if (!f)
		return NULL;
	memcpy(f->key, key, strlen(key) + 1);
	f->pid = getpid();
	f->path = strdup(path);
	if (!f->path) {
		free(f);
		return NULL;
	}
	return f;
}

static void route_free(struct route *f)
{
	if (f)
		free(f->path);
	free(f);
}

static int give_path(const char *call, const char *key, const char *path, char *out, size_t size)
{
	size_t bytes = strlen(path) + 1;

	if (bytes > size)
		return fail(CPA_ERR_ARG, "%s: key %s: the path takes %zu bytes, not %zu", call, key, bytes, size);
	memcpy(out, path, bytes);
	return 0;
}

int cpa_route_file(cpa *cp, const char *key, char *path, size_t size)
{
	char place[FILE_PATH_MAX];
	struct routes *r;
	struct route *f;
	int rc = bad_call("cpa_route_file", cp, key, 1);

	if (!rc && !path)
		rc = fail(CPA_ERR_ARG, "cpa_route_file: key %s: no place for the path", key);
	if (rc)
		return rc;
	notice(cp);
	rc = file_place(cp, key, "part", place);
	if (!rc)
		rc = give_path("cpa_route_file", key, place, path, size);
	if (rc)
		return rc;
	r = routes_of(cp);
	f = r ? take_out(r, key, NULL) : NULL;
	if (f)
		unlink(f->path);
	route_free(f);
	f = r ? route_make(key, place) : NULL;
	if (!f)
		return fail(CPA_ERR_MEMORY, "cpa_route_file: out of memory");
	unlink(place);
	f->began_ns = life_clock(cp);
	put_in(r, f);
	return 0;
}

/* ---- the file becomes a version ---- */

static int commit_file(cpa *cp, const char *key, int level, const char *path)
{
	struct content c = {0};
	int rc = content_read(path, &c);

	if (!rc) {
		const struct arena_var v = {"file", c.data, c.bytes, ARENA_BYTES};

		rc = memos_put(cp, key, &v, 1);
		rc = rc ? fail_arena(rc, "key", key) : carry(cp, key, level);
	} else if (rc == -ENOENT) {
		rc = fail(CPA_ERR_KEY, "cpa_file_done: key %s: nothing was written to %s", key, path);
	} else if (rc == -EBUSY) {
		rc = fail(CPA_ERR_SYSTEM, "cpa_file_done: key %s: %s is still open for writing; close it first", key,
			  path);
	} else if (rc == -ESTALE) {
		rc = fail(CPA_ERR_SYSTEM, "cpa_file_done: key %s: %s changed while it was read; finish it first", key,
			  path);
	} else {
		rc = fail_arena(rc, "cpa_file_done: file", path);
	}
	content_free(&c);
	return rc;
}

int cpa_file_done(cpa *cp, const char *key, int level)
{
	struct route *f = NULL;
	int rc = bad_call("cpa_file_done", cp, key, level);

	if (rc)
		return rc;
	notice(cp);
	if (cp->routes)
		f = take_out(cp->routes, key, NULL);
	if (!f)
		return fail(CPA_ERR_KEY, "cpa_file_done: key %s: this process has no file for it; call cpa_route_file()",
			    key);
	rc = commit_file(cp, key, level, f->path);
	if (rc) {
		put_in(cp->routes, f);
		return rc;
	}
	if (f->began_ns) /* its writing is what it cost */
		life_cost(cp, life_clock(cp) - f->began_ns);
	unlink(f->path);
	route_free(f);
	return 0;
}

/* ---- a version becomes a file ---- */

struct file_taker {
	struct taker t;
	struct content c;
	struct arena_misfit misfit;
};

/* How long it is, is learned from the misfit; it may be another version by then. */
static int take_content(struct taker *t, struct arena *a, const char *key, uint64_t version)
{
	struct file_taker *f = (struct file_taker *)(void *)t;
	struct arena_var v = {"file", NULL, 0, ARENA_BYTES};
	int rc;

	for (;;) {
		rc = content_room(&f->c, v.count);
		if (rc)
			return rc;
		v.data = f->c.data;
		rc = arena_get(a, key, &v, 1, version, NULL, &f->misfit);
		if (rc != -EMEDIUMTYPE || f->misfit.absent || f->misfit.type != ARENA_BYTES ||
		    f->misfit.count == v.count)
			return rc;
		v.count = f->misfit.count;
	}
}

/* Remember a restored file, once. */
static int remember(cpa *cp, const char *path)
{
	struct routes *r = routes_of(cp);
	struct route *f = r ? take_out(r, "", path) : NULL;

	if (!f && r)
		f = route_make("", path);
	if (!f)
		return -ENOMEM;
	put_in(r, f);
	return 0;
}

int cpa_restore_file(cpa *cp, const char *key, int level, char *path, size_t size)
{
	struct file_taker f = {.t = {take_content}};
	char place[FILE_PATH_MAX];
	int rc = bad_call("cpa_restore_file", cp, key, level), skipped = 0, made;

	if (!rc && !path)
		rc = fail(CPA_ERR_ARG, "cpa_restore_file: key %s: no place for the path", key);
	if (!rc)
		rc = restore_with(cp, key, level, &f.t);
	if (rc == CPA_ERR_VAR)
		rc = fail(CPA_ERR_VAR, "key %s: it holds no file: it was not written by cpa_file_done()", key);
	if (rc > 0)
		skipped = rc;
	if (rc >= 0)
		rc = file_place(cp, key, "restored", place);
	if (!rc)
		rc = give_path("cpa_restore_file", key, place, path, size);
	if (!rc) {
		made = content_write(place, &f.c);
		if (!made)
			made = remember(cp, place);
		rc = fail_arena(made, "cpa_restore_file: file", place);
	}
	content_free(&f.c);
	return rc ? rc : skipped;
}
