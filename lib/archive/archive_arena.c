/* Keys out of an arena into an archive, and back. */
#include "lib/archive/archive_arena.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/archive/archive_impl.h"
#include "lib/arena/reader.h"
#include "lib/arena/walk.h"

static int open_reader(struct arena *a, struct arena_reader *r, struct err *e)
{
	int rc;

	*r = (struct arena_reader){.fd = -1, .image = a->base, .image_bytes = a->file_bytes};
	rc = arena_read_open(r);
	return rc ? archive_fail(e, rc, "arena %s: %s", a->path, arena_strerror(rc)) : 0;
}

/* ---- saving ---- */

/* 1: added; 0: it is gone, or damaged and not needed. */
static int save_key(struct arena_reader *r, struct archive_out *o, const char *key, enum archive_wish wish,
		    struct err *e)
{
	struct arena_value v;
	int rc = arena_read_value(r, key, 0, &v, NULL);

	if (!rc) {
		const struct archive_key k = {.key = key, .version = v.info.version, .time_ns = v.info.time_ns,
					      .incarnation = v.info.incarnation, .how = v.info.how};

		rc = archive_out_add(o, &k, v.info.vars, v.info.n, e);
		rc = rc ? rc : 1;
	} else if (rc == -ENOENT || (wish == ARCHIVE_MAY && (rc == -EBADMSG || rc == -EAGAIN))) {
		rc = 0;
	} else {
		archive_fail(e, rc, "key %s: %s", key, arena_strerror(rc));
	}
	arena_value_free(&v);
	return rc;
}

static int save_keys(struct arena *a, struct archive_out *o, archive_wish_fn *wish, void *arg, struct err *e)
{
	struct arena_keys keys = {0};
	struct arena_reader r;
	size_t i;
	int n = 0, rc = open_reader(a, &r, e);

	if (rc)
		return rc;
	rc = arena_read_keys(&r, 0, &keys);
	if (rc)
		archive_fail(e, rc, "arena %s: %s", a->path, arena_strerror(rc));
	for (i = 0; rc >= 0 && i < keys.n; i++) {
		enum archive_wish w = wish ? wish(arg, keys.key[i].key) : ARCHIVE_MUST;

		rc = w == ARCHIVE_NOT ? 0 : save_key(&r, o, keys.key[i].key, w, e);
		n += rc > 0;
	}
	arena_keys_free(&keys);
	return rc < 0 ? rc : n;
}

int archive_save_arena(struct arena *a, const char *path, const char *program, const char *host, const char *job,
		       archive_wish_fn *wish, void *arg, struct err *e)
{
	struct archive_out *o;
	int n, rc = archive_out_open(&o, path, program, host, job, e);

	if (rc)
		return rc;
	n = save_keys(a, o, wish, arg, e);
	rc = n < 0 ? n : archive_out_commit(o, e);
	archive_out_close(o);
	return rc ? rc : n;
}

/* ---- loading ---- */

static int check_all(const char *path, uint64_t max_bytes, struct err *e)
{
	struct archive_in *i;
	int rc = archive_in_open(&i, path, max_bytes, e);

	if (rc)
		return rc;
	while ((rc = archive_in_next(i, NULL, e)) > 0)
		;
	if (rc < 0)
		err_wrap(e, "%s", path);
	archive_in_close(i);
	return rc;
}

/* Does the arena's newest version hold just this? */
static int holds(struct arena *a, const struct archive_key *k, const uint8_t *data)
{
	struct arena_reader r;
	struct arena_value v = {0};
	uint64_t at = 0;
	size_t i;
	int same = open_reader(a, &r, NULL) == 0 && arena_read_value(&r, k->key, 0, &v, NULL) == 0 &&
		   v.info.version == arena_newest(a, k->key, NULL) && v.info.n == k->n;

	for (i = 0; same && i < k->n; i++) {
		const struct archive_var *want = &k->vars[i];
		const struct arena_var *have = &v.info.vars[i];

		at = archive_align(at);
		same = strcmp(have->name, want->name) == 0 && have->type == want->type && have->count == want->count &&
		       (want->bytes == 0 || memcmp(have->data, data + at, want->bytes) == 0);
		at += want->bytes;
	}
	arena_value_free(&v);
	return same;
}

static int put_key(struct arena *a, const struct archive_key *k, uint8_t *data)
{
	struct arena_var *vars = malloc(k->n * sizeof *vars);
	uint64_t at = 0;
	size_t i;
	int rc;

	if (!vars)
		return -ENOMEM;
	for (i = 0; i < k->n; i++) {
		at = archive_align(at);
		vars[i] = (struct arena_var){k->vars[i].name, data + at, k->vars[i].count, k->vars[i].type};
		at += k->vars[i].bytes;
	}
	rc = arena_put(a, k->key, vars, k->n, NULL);
	free(vars);
	return rc;
}

/* 1: it is there now. 0: there are no more keys, or it was not wished for. */
static int load_key(struct arena *a, struct archive_in *i, const struct archive_key *k, archive_wish_fn *wish, void *arg,
		    uint64_t *needs, struct err *e)
{
	void *data;
	int wanted = !wish || wish(arg, k->key) != ARCHIVE_NOT;
	int rc = archive_in_next(i, wanted ? &data : NULL, e);

	if (rc <= 0 || !wanted)
		return rc < 0 ? rc : 0;
	rc = holds(a, k, data) ? 0 : put_key(a, k, data);
	free(data);
	if (rc) {
		*needs = k->bytes;
		return archive_fail(e, rc, "key %s: %s", k->key, arena_strerror(rc));
	}
	(void)arena_use(a, k->key, NULL); /* not the first to go because nobody has used it here */
	return 1;
}

int archive_load_arena(struct arena *a, const char *path, archive_wish_fn *wish, void *arg, uint64_t *needs,
		       struct err *e)
{
	const struct archive_info *info;
	struct archive_in *i;
	size_t k;
	int n = 0, rc = check_all(path, a->heap_bytes, e);

	*needs = 0;
	if (!rc)
		rc = archive_in_open(&i, path, a->heap_bytes, e);
	if (rc)
		return rc;
	info = archive_in_info(i);
	for (k = 0; rc >= 0 && k < info->n; k++) {
		rc = load_key(a, i, &info->keys[k], wish, arg, needs, e);
		n += rc > 0;
	}
	if (rc < 0)
		err_wrap(e, "%s", path);
	archive_in_close(i);
	return rc < 0 ? rc : n;
}
