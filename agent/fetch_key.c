/* Owns fetching one key out of a keyset that a level above holds, into an arena file of its own. The chunks go
 * straight to where the value lies in that file: however large it is, no second copy of it is made. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/call.h"
#include "agent/fetch.h"
#include "lib/arena/fill.h"
#include "lib/base/clock.h"
#include "lib/base/scoped.h"
#include "lib/base/units.h"

#define ASK_TIMEOUT_NS (20 * NS_PER_S)
#define LOOKS_MAX 3                               /* the holder replaces its keysets while we ask for one */
#define ARENA_SPARE (UINT64_C(1) << 20)           /* for the record, checksums' rounding, growth of the index */
#define VAR_BYTES (UINT64_C(16) + ARENA_NAME_MAX) /* that describe a variable, at most */

/* ---- chunks into a part of memory ---- */

struct into_value {
	uint64_t offset, bytes; /* where the value lies among all values */
	uint64_t size;          /* of these */
	const uint64_t *index;  /* of the chunks that are asked for */
	const struct chunk_id *ids;
	uint8_t *raw; /* CHUNK_BYTES */
	uint8_t *to;
};

static int take_chunk(void *ctx, size_t i, const uint8_t *bytes, size_t len, bool compressed, size_t raw_len,
                      struct err *e)
{
	struct into_value *in = ctx;
	uint64_t start = in->index[i] * CHUNK_BYTES;
	size_t want = chunk_len(in->size, in->index[i]);
	if (raw_len != want)
		return err_set(e, ERR_FAILED, "a chunk of the key has %zu bytes instead of %zu", raw_len, want);
	if (chunk_unpack(bytes, len, compressed, in->raw, want, e) < 0)
		return e->code;
	struct chunk_id id = chunk_id(in->raw, want);
	if (!chunk_id_equal(id.b, in->ids[i].b))
		return err_set(e, ERR_FAILED, "a chunk of the key was altered on its way");
	uint64_t from = in->offset > start ? in->offset : start;
	uint64_t value_end = in->offset + in->bytes, end = start + want < value_end ? start + want : value_end;
	memcpy(in->to + (from - in->offset), in->raw + (from - start), end - from);
	return 0;
}

/* The value's bytes to `to`, which is all zeros. */
static int fetch_value(const struct fetch *f, const Cpa__Keyset *ks, const Cpa__Key *k, uint8_t *to, struct err *e)
{
	uint64_t first = k->offset / CHUNK_BYTES, n = chunk_count(k->offset + k->bytes) - first, wanted = 0;
	if (k->bytes == 0)
		return 0;
	scoped_free uint64_t *index = malloc((n + 1) * sizeof *index);
	scoped_free struct chunk_id *ids = malloc((n + 1) * sizeof *ids);
	scoped_free uint8_t *raw = malloc(CHUNK_BYTES);
	if (!index || !ids || !raw)
		return err_set(e, ERR_FAILED, "out of memory");
	for (uint64_t i = first; i < first + n; i++) {
		const uint8_t *id = ks->values->chunks.data + i * CHUNK_ID_BYTES;
		if (chunk_id_is_zero(id))
			continue;
		index[wanted] = i;
		memcpy(ids[wanted++].b, id, CHUNK_ID_BYTES);
	}
	struct into_value in = { k->offset, k->bytes, ks->values->size, index, ids, raw, to };
	return fetch_chunks(f, ids, wanted, take_chunk, &in, e);
}

/* ---- a keyset's manifest, of which there may be a newer one by now ---- */

/* The newest keyset that the holder has: its number, 0 for none. */
static int ask_newest(const struct fetch *f, uint64_t *number, struct err *e)
{
	Cpa__Collect q = CPA__COLLECT__INIT;
	Cpa__Ask ask = CPA__ASK__INIT;
	struct call_reply r;
	q.job = (char *)(uintptr_t)f->job;
	ask.what_case = CPA__ASK__WHAT_COLLECT;
	ask.collect = &q;
	struct call *c = call_post(f->agent, f->url, &ask, ASK_TIMEOUT_NS);
	int rc = call_wait(c, &r, e);
	const Cpa__Collected *got =
	        rc == 0 && r.answer->what_case == CPA__ANSWER__WHAT_COLLECTED ? r.answer->collected : NULL;
	*number = 0;
	for (size_t i = 0; got && i < got->n_stock; i++)
		if (got->stock[i]->spec && strcmp(got->stock[i]->spec->job, f->job) == 0)
			*number = got->stock[i]->keyset;
	call_free(c);
	return rc;
}

static int fetch_newest(struct fetch *f, struct manifest *m, struct err *e)
{
	int rc = ERR_NOT_FOUND;
	for (int look = 0; look < LOOKS_MAX && rc == ERR_NOT_FOUND; look++) {
		scoped_free uint8_t *sealed = NULL;
		size_t len;
		if (look > 0 || f->number == 0) {
			rc = ask_newest(f, &f->number, e);
			if (rc == 0 && f->number == 0)
				rc = err_set(e, ERR_NOT_FOUND, "it holds no keys of this job");
			if (rc < 0)
				return rc;
		}
		rc = fetch_manifest(f, &sealed, &len, m, e);
	}
	return rc;
}

/* ---- one key into an arena of its own ---- */

static int fill(const struct fetch *f, const Cpa__Keyset *ks, const Cpa__Key *k, struct arena *a, struct err *e)
{
	scoped_free struct arena_var *vars = calloc(k->n_vars + 1, sizeof *vars);
	uint8_t *data;
	uint64_t bytes;
	if (!vars)
		return err_set(e, ERR_FAILED, "out of memory");
	for (size_t i = 0; i < k->n_vars; i++)
		vars[i] = (struct arena_var){ .name = k->vars[i]->name,
			                      .count = k->vars[i]->count,
			                      .type = k->vars[i]->type };
	int rc =
	        arena_fill_open(a, k->key, vars, k->n_vars, k->version, k->incarnation, k->time_ns, &data, &bytes);
	if (rc == 0 && bytes != k->bytes)
		rc = -EPROTO;
	if (rc == 0 && fetch_value(f, ks, k, data, e) < 0)
		return e->code;
	if (rc == 0)
		rc = arena_fill_close(a, k->key);
	return rc == 0 ? 0 : err_set(e, ERR_FAILED, "key %s does not go into a file: %s", k->key, strerror(-rc));
}

static int write_arena(const struct fetch *f, const Cpa__Keyset *ks, const Cpa__Key *k, uint64_t budget,
                       const char *path, struct err *e)
{
	struct arena *a;
	unlink(path);
	int rc = arena_create(path, budget, 0600);
	if (rc == 0)
		rc = arena_map(&a, path);
	if (rc < 0)
		return err_set(e, ERR_FAILED, "cannot make %s: %s", path, strerror(-rc));
	rc = fill(f, ks, k, a, e);
	arena_unmap(a);
	return rc;
}

static const Cpa__Key *find_key(const Cpa__Keyset *ks, const char *key, uint64_t version)
{
	for (size_t i = 0; i < ks->n_keys; i++)
		if (strcmp(ks->keys[i]->key, key) == 0)
			return version == 0 || ks->keys[i]->version == version ? ks->keys[i] : NULL;
	return NULL;
}

static int write_found(const struct fetch *f, const struct manifest *m, const Cpa__Key *k,
                       const struct fetch_wish *w, const char *path, struct fetched_key *out, struct err *e)
{
	char need[UNITS_TEXT_MAX], room[UNITS_TEXT_MAX];
	uint64_t budget = k->bytes + k->bytes / 256 + k->n_vars * VAR_BYTES + ARENA_SPARE;
	if (budget > w->room)
		return err_set(e, ERR_FAILED,
		               "key %s takes %s and this node has %s left for checkpoints (--memory)", w->key,
		               units_size_text(k->bytes, need), units_size_text(w->room, room));
	*out = (struct fetched_key){ k->version, budget };
	return write_arena(f, m->keys, k, budget, path, e);
}

/* The later version of the two; what comes from before a restore counts only if it is later. */
static int fetch_later(struct fetch *newest, const struct manifest *m, const struct fetch_wish *w,
                       const char *path, struct fetched_key *out, struct err *e)
{
	const Cpa__Key *k = find_key(m->keys, w->key, w->version), *old = NULL;
	struct fetch before = *newest;
	struct manifest past = { 0 };
	scoped_free uint8_t *sealed = NULL;
	size_t len;
	before.number = w->ahead;
	if (w->ahead && w->ahead < newest->number && fetch_manifest(&before, &sealed, &len, &past, NULL) == 0)
		old = find_key(past.keys, w->key, w->version);
	int rc;
	if (old && (!k || old->version > k->version))
		rc = write_found(&before, &past, old, w, path, out, e);
	else if (k)
		rc = write_found(newest, m, k, w, path, out, e);
	else
		rc = err_set(e, ERR_NOT_FOUND, "key %s is not among those it holds", w->key);
	if (past.keys)
		manifest_free(&past);
	return rc;
}

int fetch_key(struct agent *a, const Cpa__Holding *h, const char *job, const struct fetch_wish *w,
              const char *path, struct fetched_key *out, struct err *e)
{
	struct fetch f = { a, h->url, job, CPA__WHAT__KEYSET, h->number, 0 };
	struct manifest m;
	int rc = fetch_newest(&f, &m, e);
	if (rc < 0)
		return rc;
	rc = fetch_later(&f, &m, w, path, out, e);
	if (rc < 0)
		unlink(path);
	manifest_free(&m);
	return rc;
}
