/* Owns what an agent answers to whoever collects from it or restores from it: what there is, a manifest in slices,
 * one chunk. A node serves from its image directories, an agent above from its store. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/call.h"
#include "agent/job_intervals.h"
#include "agent/keyset.h"
#include "agent/levels.h"
#include "agent/ports/images.h"
#include "agent/ports/store.h"
#include "agent/standing.h"
#include "agent/work.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/scoped.h"
#include "lib/wire/copy.h"

#define SLICE_MAX ((size_t)1 << 20)
#define FETCH_PIN_NS (10 * NS_PER_S)

void levels_offer(struct job *j, uint32_t level, bool asked)
{
	if (level == 1 || (!asked && job_on_demand(j)))
		return;
	j->want_level = level > j->want_level ? level : j->want_level;
	standing_offer(j->agent, j->id, level, asked);
}

void serve_answer(struct bus_request *rq, const Cpa__Answer *answer, const void *data, size_t len)
{
	size_t n;
	void *head = wire_pack(&answer->base, &n);
	if (!head) {
		bus_reply(rq, NULL, 0, NULL, 0);
		return;
	}
	if (n + len > BUS_PAYLOAD_MAX) { /* or its asker would wait in vain */
		log_warn("answer_too_long", "bytes=%zu", n + len);
		serve_fail(rq, ERR_FAILED, "the answer is too long for one message");
	} else {
		bus_reply(rq, head, n, data, len);
	}
	free(head);
}

void serve_fail(struct bus_request *rq, int code, const char *text)
{
	Cpa__Answer answer = CPA__ANSWER__INIT;
	answer.code = code;
	answer.text = (char *)(uintptr_t)text;
	serve_answer(rq, &answer, NULL, 0);
}

/* ---- what is being fetched from the store: its chunks stay, though the store has gone on ---- */

struct fetched {
	struct fetched *next;
	struct store *store;
	struct store_pin *pin;
	char job[64];
	Cpa__What what;
	uint64_t number;
	int64_t until;
};

static struct fetched *fetching; /* one list, one loop */

static bool still_fetched(const char *job, Cpa__What what, uint64_t number)
{
	for (struct fetched *f = fetching; f; f = f->next)
		if (f->what == what && f->number == number && strcmp(f->job, job) == 0) {
			f->until = clock_boot_ns() + FETCH_PIN_NS;
			return true;
		}
	return false;
}

void serve_tick(int64_t now)
{
	for (struct fetched **p = &fetching; *p;) {
		struct fetched *f = *p;
		if (now < f->until) {
			p = &f->next;
			continue;
		}
		*p = f->next;
		store_unpin(f->store, f->pin);
		free(f);
	}
}

/* ---- one manifest slice or one chunk, read in a worker thread ---- */

struct read {
	struct agent *agent;
	struct bus_request *rq;
	char path[FS_PATH_MAX + 300]; /* a file of this node … */
	uint64_t offset;              /* … from here */
	size_t len;                   /* a chunk: its length; a manifest: unused */
	bool chunk;
	bool from_store;
	char job[64];
	Cpa__What what;
	uint64_t number;
	uint32_t uid;
	uint8_t id[CHUNK_ID_BYTES];
	/* a chunk of a keyset: its copies' directory, and the key in the arena that it is of */
	bool of_keys;
	char arena[FS_PATH_MAX], key[ARENA_KEY_MAX + 1];
	uint64_t version;
	/* results */
	int code;
	struct err err;
	struct store_pin *pin; /* owned */
	uint8_t *out;          /* owned */
	size_t out_len, raw_len;
	uint64_t total;
	bool compressed;
};

static int read_image_chunk(struct read *r, uint8_t *raw)
{
	scoped_fd int fd = open(r->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || pread(fd, raw, r->len, (off_t)r->offset) != (ssize_t)r->len)
		return err_sys(&r->err, ERR_FAILED, "cannot read a chunk of %s", r->path);
	struct chunk_id id = chunk_id(raw, r->len);
	return chunk_id_equal(id.b, r->id)
	               ? 0
	               : err_set(&r->err, ERR_FAILED,
	                         "that generation is being replaced by a newer one, or is damaged");
}

static int read_key_chunk(struct read *r, uint8_t *raw)
{
	struct keyset_wanted w = { .copies = r->path,
		                   .arena = r->arena,
		                   .id = r->id,
		                   .key = r->key[0] ? r->key : NULL,
		                   .version = r->version,
		                   .offset = r->offset };
	return keyset_read_chunk(&w, raw, &r->err);
}

static int read_own_chunk(struct read *r)
{
	scoped_free uint8_t *raw = malloc(CHUNK_BYTES);
	if (!raw)
		return err_set(&r->err, ERR_FAILED, "out of memory");
	if ((r->of_keys ? read_key_chunk(r, raw) : read_image_chunk(r, raw)) < 0)
		return r->err.code;
	r->raw_len = r->len;
	r->out_len = chunk_pack(raw, r->len, r->out);
	r->compressed = r->out_len > 0;
	if (!r->compressed) {
		memcpy(r->out, raw, r->len);
		r->out_len = r->len;
	}
	return 0;
}

static int read_manifest(struct read *r)
{
	scoped_free char *own = NULL;
	scoped_free uint8_t *stored = NULL;
	size_t len;
	int rc = r->from_store
	                 ? store_manifest_read(r->agent->store, r->job, r->what, r->number, &stored, &len, &r->err)
	                 : fs_read(r->path, MANIFEST_MAX, &own, &len, &r->err);
	if (rc < 0)
		return rc;
	if (r->offset >= len)
		return err_set(&r->err, ERR_FAILED, "the manifest is shorter than that");
	struct manifest m;
	if (r->from_store && r->offset == 0 &&
	    manifest_unpack(r->what, stored, len, r->agent->manifest_key, &m, NULL) == 0) {
		r->pin = store_pin(r->agent->store, &m);
		manifest_free(&m);
	}
	r->total = len;
	r->out_len = len - r->offset < SLICE_MAX ? len - r->offset : SLICE_MAX;
	memcpy(r->out, (r->from_store ? stored : (uint8_t *)own) + r->offset, r->out_len);
	return 0;
}

static void run_read(void *ctx)
{
	struct read *r = ctx;
	r->out = malloc(SLICE_MAX > CHUNK_BYTES ? SLICE_MAX : CHUNK_BYTES);
	if (!r->out)
		r->code = err_set(&r->err, ERR_FAILED, "out of memory");
	else if (!r->chunk)
		r->code = read_manifest(r);
	else if (r->from_store)
		r->code = store_get_packed(r->agent->store, r->uid, r->id, r->out, &r->out_len, &r->compressed,
		                           &r->raw_len, &r->err);
	else
		r->code = read_own_chunk(r);
}

static void keep_pin(struct read *r)
{
	struct fetched *f = r->pin && !still_fetched(r->job, r->what, r->number) ? malloc(sizeof *f) : NULL;
	if (!f) {
		store_unpin(r->agent->store, r->pin);
		return;
	}
	*f = (struct fetched){ .next = fetching,
		               .store = r->agent->store,
		               .pin = r->pin,
		               .what = r->what,
		               .number = r->number,
		               .until = clock_boot_ns() + FETCH_PIN_NS };
	core_copy(f->job, sizeof f->job, r->job);
	fetching = f;
}

/* The job has written over what a parent lacks: with copies of all, the next keyset will be whole for it. */
static void note_in_vain(const struct read *r)
{
	struct job *j = r->of_keys && r->code < 0 ? jobs_find(r->agent, r->job) : NULL;
	if (j)
		j->keyset_whole = true;
}

static void done_read(void *ctx)
{
	struct read *r = ctx;
	keep_pin(r);
	note_in_vain(r);
	Cpa__Answer answer = CPA__ANSWER__INIT;
	Cpa__Slice slice = CPA__SLICE__INIT;
	Cpa__Fetched fetched = CPA__FETCHED__INIT;
	if (r->code < 0) {
		serve_fail(r->rq, r->code, r->err.text);
	} else if (r->chunk) {
		fetched.compressed = r->compressed;
		fetched.bytes = (uint32_t)r->raw_len;
		answer.what_case = CPA__ANSWER__WHAT_FETCHED;
		answer.fetched = &fetched;
		serve_answer(r->rq, &answer, r->out, r->out_len);
	} else {
		slice.total = r->total;
		answer.what_case = CPA__ANSWER__WHAT_SLICE;
		answer.slice = &slice;
		serve_answer(r->rq, &answer, r->out, r->out_len);
	}
	free(r->out);
	free(r);
}

static struct read *new_read(struct agent *a, struct bus_request *rq, const char *job, Cpa__What what,
                             uint64_t number)
{
	struct read *r = calloc(1, sizeof *r);
	if (!r) {
		serve_fail(rq, ERR_FAILED, "out of memory");
		return NULL;
	}
	*r = (struct read){ .agent = a, .rq = rq, .what = what, .number = number, .from_store = a->store != NULL };
	core_copy(r->job, sizeof r->job, job);
	return r;
}

static void refuse_read(struct read *r, const char *why)
{
	serve_fail(r->rq, ERR_NOT_FOUND, why);
	free(r);
}

/* The generation of that number in this node's directories. */
static struct gen *find_gen(struct agent *a, const char *job, Cpa__What what, uint64_t number)
{
	struct job *j = what == CPA__WHAT__GENERATION && number ? jobs_find(a, job) : NULL;
	struct gen *g = j ? job_gen_find(j, number) : NULL;
	if (g)
		g->fetched_until = clock_boot_ns() + FETCH_PIN_NS;
	return g;
}

static struct job *find_keyset(struct agent *a, const char *job, Cpa__What what, uint64_t number)
{
	struct job *j = what == CPA__WHAT__KEYSET ? jobs_find(a, job) : NULL;
	return j && j->keyset && j->keyset->serial == number ? j : NULL;
}

void serve_manifest(struct agent *a, struct bus_request *rq, const Cpa__Manifest *q)
{
	struct read *r = new_read(a, rq, q->job, q->what, q->number);
	char dir[FS_PATH_MAX];
	if (!r)
		return;
	r->offset = q->offset;
	struct gen *g = r->from_store ? NULL : find_gen(a, q->job, q->what, q->number);
	struct job *j = r->from_store ? NULL : find_keyset(a, q->job, q->what, q->number);
	if (g)
		snprintf(r->path, sizeof r->path, "%s/.manifest", job_img_dir(jobs_find(a, q->job), g->slot, dir));
	else if (j)
		keyset_manifest_path(j, j->keyset_slot, r->path);
	else if (!r->from_store) {
		refuse_read(r, "not held here any more");
		return;
	}
	work_start(&a->loop, run_read, done_read, r);
}

static bool locate_in_gen(struct agent *a, struct read *r, const struct gen *g)
{
	char dir[FS_PATH_MAX];
	size_t file;
	if (images_find(g->g, r->id, &file, &r->offset, &r->len) < 0)
		return false;
	snprintf(r->path, sizeof r->path, "%s/%s", job_img_dir(jobs_find(a, r->job), g->slot, dir),
	         g->g->files[file]->name);
	return true;
}

/* Copies are looked for whichever keyset it is; the arena, for the newest one. */
static void locate_in_keys(struct read *r, const struct job *j)
{
	const Cpa__Key *k = j->keyset->serial == r->number ? keyset_find_chunk(j, r->id, &r->offset) : NULL;
	r->of_keys = true;
	r->len = CHUNK_BYTES;
	keyset_copies_dir(j, r->path);
	job_arena(j, r->arena);
	core_copy(r->key, sizeof r->key, k ? k->key : "");
	r->version = k ? k->version : 0;
}

void serve_fetch(struct agent *a, struct bus_request *rq, const Cpa__Fetch *q)
{
	struct read *r = new_read(a, rq, q->job, q->what, q->number);
	if (!r)
		return;
	r->chunk = true;
	if (q->chunk.len != CHUNK_ID_BYTES) {
		refuse_read(r, "that is no chunk");
		return;
	}
	memcpy(r->id, q->chunk.data, CHUNK_ID_BYTES);
	struct gen *g = r->from_store ? NULL : find_gen(a, q->job, q->what, q->number);
	struct job *j = r->from_store || q->what != CPA__WHAT__KEYSET ? NULL : jobs_find(a, q->job);
	if (r->from_store) {
		r->uid = q->uid;
		still_fetched(q->job, q->what, q->number);
	} else if (j && j->keyset) {
		locate_in_keys(r, j);
	} else if (!g) {
		refuse_read(r, "not held here any more");
		return;
	} else if (!locate_in_gen(a, r, g)) {
		refuse_read(r, "that generation has no such chunk");
		return;
	}
	work_start(&a->loop, run_read, done_read, r);
}
