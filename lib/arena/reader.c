/* The hostile reader: see reader.h. Every number that comes from the file is bounded by the file's length and the
 * format's limits before it is used, and everything that is judged is judged in a private copy. */
#include "lib/arena/reader.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/arena/internal.h"

#define TRIES 20     /* how often a value that moved is read again */
#define PROBES 65536 /* no table that is kept four fifths full has such a chain */

/* length bytes at offset, all or -EPROTO. */
static int read_at(struct arena_reader *r, uint64_t at, void *out, uint64_t length)
{
	uint64_t done = 0;
	ssize_t n;

	if (at > r->file_bytes || length > r->file_bytes - at)
		return -EPROTO;
	if (r->image) {
		memcpy(out, (const uint8_t *)r->image + at, length);
		return 0;
	}
	while (done < length) {
		n = pread(r->fd, (uint8_t *)out + done, length - done, (off_t)(at + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -EIO;
		if (n == 0)
			return -EPROTO; /* cut short since it was opened */
		done += (uint64_t)n;
	}
	return 0;
}

/* The header as it is now: another table of the index may have taken over. */
static int read_head(struct arena_reader *r)
{
	int rc = read_at(r, 0, &r->head, sizeof r->head);

	if (!rc)
		rc = arena_header_check(&r->head);
	if (rc)
		return rc;
	if (arena_file_bytes(r->head.heap_bytes) > r->file_bytes ||
	    r->head.table >= arena_tables(r->head.heap_bytes))
		return -EPROTO;
	return 0;
}

int arena_read_open(struct arena_reader *r)
{
	struct stat st;

	r->file_bytes = r->image_bytes;
	if (!r->image) {
		if (fstat(r->fd, &st) != 0)
			return -EIO;
		if (!S_ISREG(st.st_mode))
			return -EPROTO;
		r->file_bytes = (uint64_t)st.st_size;
	}
	return read_head(r);
}

/* ---- records ---- */

/* A record's copy, with all it can have behind its fixed part. */
struct record {
	struct arena_record fixed;
	struct arena_extent slot[ARENA_SLOTS_MAX];
	char name[ARENA_KEY_MAX + 1];
	uint64_t at; /* in the file */
};

static int read_record(struct arena_reader *r, uint64_t at, struct record *rec)
{
	uint64_t slots_bytes;
	int rc = read_at(r, at, &rec->fixed, sizeof rec->fixed);

	if (rc)
		return rc;
	if (rec->fixed.slots < 2 || rec->fixed.slots > ARENA_SLOTS_MAX || rec->fixed.name_bytes == 0)
		return -EPROTO;
	slots_bytes = rec->fixed.slots * sizeof rec->slot[0];
	rc = read_at(r, at + sizeof rec->fixed, rec->slot, slots_bytes);
	if (!rc)
		rc = read_at(r, at + sizeof rec->fixed + slots_bytes, rec->name, rec->fixed.name_bytes);
	if (rc)
		return rc;
	rec->name[rec->fixed.name_bytes] = '\0';
	rec->at = at;
	if (memchr(rec->name, '\0', rec->fixed.name_bytes) || !arena_utf8(rec->name, rec->fixed.name_bytes))
		return -EPROTO;
	return rec->fixed.hash == arena_hash(rec->name, rec->fixed.name_bytes, 0) ? 0 : -EPROTO;
}

static int by_number(const void *x, const void *y)
{
	uint32_t a = *(const uint32_t *)x, b = *(const uint32_t *)y;

	return (a > b) - (a < b);
}

/* The buckets that name a record, each once. *out owned by the caller, also when there are none. */
static int read_buckets(struct arena_reader *r, uint32_t **out, size_t *n)
{
	uint64_t buckets = table_buckets(r->head.table), units = r->head.heap_bytes / ARENA_UNIT, i;
	uint32_t *b = malloc(buckets * sizeof *b);
	size_t kept = 0, unique = 0;
	int rc;

	*out = b;
	*n = 0;
	if (!b)
		return -ENOMEM;
	rc = read_at(r, arena_table_at(r->head.table), b, buckets * sizeof *b);
	if (rc)
		return rc;
	for (i = 0; i < buckets; i++)
		if (b[i] != ARENA_BUCKET_EMPTY && b[i] != ARENA_BUCKET_GONE && b[i] <= units)
			b[kept++] = b[i];
	qsort(b, kept, sizeof *b, by_number);
	for (i = 0; i < kept; i++)
		if (unique == 0 || b[unique - 1] != b[i])
			b[unique++] = b[i];
	*n = unique;
	return 0;
}

static uint64_t record_at(const struct arena_reader *r, uint32_t bucket)
{
	return arena_heap_at(r->head.heap_bytes) + ((uint64_t)bucket - 1) * ARENA_UNIT;
}

/* The record of a key, by the same probing as the writer's. */
static int find_record(struct arena_reader *r, const char *key, struct record *rec)
{
	size_t length = strnlen(key, ARENA_KEY_MAX + 1);
	uint64_t mask = table_buckets(r->head.table) - 1, hash, b, i;
	uint32_t word;
	int rc;

	if (length == 0 || length > ARENA_KEY_MAX)
		return -ENOENT;
	hash = arena_hash(key, length, 0);
	for (i = 0, b = hash & mask; i <= mask && i < PROBES; i++, b = (b + 1) & mask) {
		rc = read_at(r, arena_table_at(r->head.table) + 4 * b, &word, sizeof word);
		if (rc)
			return rc;
		if (word == ARENA_BUCKET_EMPTY)
			return -ENOENT;
		if (word == ARENA_BUCKET_GONE || word > r->head.heap_bytes / ARENA_UNIT)
			continue;
		if (read_record(r, record_at(r, word), rec) == 0 && strcmp(rec->name, key) == 0)
			return 0;
	}
	return -ENOENT;
}

/* ---- versions ---- */

static uint8_t *scratch_of(uint64_t bytes)
{
	return malloc(bytes ? bytes : 1);
}

/* A copy of a slot's description (all: with its data), checked as far as it can be. *copy owned by the caller. */
static int read_slot(struct arena_reader *r, const struct arena_extent *e, int all, uint8_t **copy,
		     struct slot_plan *p)
{
	uint64_t heap = r->head.heap_bytes, have = e->length < 512 ? e->length : 512;
	uint64_t at = arena_heap_at(heap) + e->at, want;
	int rc = -EAGAIN, rounds;

	*copy = NULL;
	if (e->length < sizeof(struct arena_slot) || e->length > heap || e->at > heap - e->length)
		return -EPROTO;
	for (rounds = 0; rc == -EAGAIN && rounds < 4; rounds++) {
		free(*copy);
		*copy = scratch_of(have);
		if (!*copy)
			return -ENOMEM;
		rc = read_at(r, at, *copy, have);
		if (rc)
			return rc;
		rc = slot_check(*copy, have, e->length, p);
		want = p->total;
		if (rc == 0 && all && want > have) {
			if (r->max_bytes && p->data_bytes > r->max_bytes)
				return -EFBIG;
			rc = -EAGAIN; /* once more, with the data; it may have changed meanwhile */
		}
		have = want < e->length ? want : e->length;
	}
	return rc;
}

/* Names that people are going to read. */
static void copy_name(char *out, const char *name, size_t bytes)
{
	size_t i;

	memcpy(out, name, bytes);
	out[bytes] = '\0';
	if (memchr(out, '\0', bytes) || !arena_utf8(out, bytes))
		for (i = 0; i < bytes; i++)
			if (out[i] < 0x20 || out[i] > 0x7e)
				out[i] = '?';
}

/* The variables that a checked copy describes; vars[] and their names in one allocation. */
static int fill_vars(const uint8_t *copy, struct arena_key *k)
{
	const struct arena_slot *s = (const struct arena_slot *)(const void *)copy;
	const struct arena_desc *d = slot_descs(copy);
	const char *from = slot_names(copy, s->vars);
	size_t bytes = s->vars * sizeof *k->vars, i;
	char *to;

	for (i = 0; i < s->vars; i++)
		bytes += d[i].name_bytes + 1u;
	k->vars = malloc(bytes);
	if (!k->vars)
		return -ENOMEM;
	to = (char *)(k->vars + s->vars);
	k->n = s->vars;
	for (i = 0; i < k->n; i++) {
		copy_name(to, from, d[i].name_bytes);
		k->vars[i] = (struct arena_var){to, NULL, d[i].count, d[i].type};
		from += d[i].name_bytes;
		to += d[i].name_bytes + 1;
	}
	return 0;
}

static void fill_record(const struct record *rec, struct arena_key *k)
{
	memset(k, 0, sizeof *k);
	memcpy(k->key, rec->name, sizeof k->key);
	k->want_version = rec->fixed.want >> 8;
	k->want_level = rec->fixed.want & 0xff;
	k->record = rec->at;
	k->tick = rec->fixed.held_tick;
	memcpy(k->held, rec->fixed.held, sizeof k->held);
}

static int fill_key(const struct record *rec, const uint8_t *copy, struct arena_key *k)
{
	const struct arena_slot *s = (const struct arena_slot *)(const void *)copy;
	uint32_t l;

	fill_record(rec, k);
	k->version = s->version;
	k->bytes = s->bytes;
	k->time_ns = s->time_ns;
	k->incarnation = s->incarnation;
	k->level = 1;
	for (l = 2; l <= ARENA_LEVEL_MAX; l++)
		if (k->held[l - 2] == (uint32_t)k->version)
			k->level = l;
	return fill_vars(copy, k);
}

int arena_read_key_at(struct arena_reader *r, uint64_t record, struct arena_key *out)
{
	struct record rec;
	int rc = read_record(r, record, &rec);

	if (!rc)
		fill_record(&rec, out);
	return rc;
}

/* The slot's copy, if it is that version. verify: with data, and by its checksums. */
static int read_version(struct arena_reader *r, const struct record *rec, uint32_t slot, int verify, uint8_t **copy,
			struct slot_plan *p)
{
	uint64_t version;
	int rc = read_slot(r, &rec->slot[slot], verify, copy, p);

	if (rc)
		return rc;
	version = ((const struct arena_slot *)(const void *)*copy)->version;
	if (version == 0 || version > rec->fixed.commit >> 8)
		return -EPROTO;
	return verify ? slot_verify_all(*copy, p, rec->fixed.hash ^ version) : 0;
}

/* The slot of the newest version below `below`, by the slots' own words; -1 for none. */
static int slot_below(struct arena_reader *r, const struct record *rec, uint64_t below, uint64_t *version)
{
	uint64_t heap = r->head.heap_bytes, v;
	int found = -1;
	uint32_t i;

	*version = 0;
	for (i = 0; i < rec->fixed.slots; i++) {
		const struct arena_extent *e = &rec->slot[i];

		if (e->length < sizeof(struct arena_slot) || e->length > heap || e->at > heap - e->length)
			continue;
		if (read_at(r, arena_heap_at(heap) + e->at, &v, sizeof v) != 0)
			continue;
		if (v && v < below && v > *version) {
			*version = v;
			found = (int)i;
		}
	}
	return found;
}

/* One look at a key: the newest version (or the one wanted) that can be read now. */
static int look(struct arena_reader *r, const struct record *rec, uint64_t wanted, int verify, uint8_t **copy,
		struct slot_plan *p, int *skipped)
{
	uint64_t newest = rec->fixed.commit >> 8, below = (wanted ? wanted : newest) + 1, v;
	int slot, rc, damaged = 0;

	*copy = NULL;
	if (newest == 0 || wanted > newest)
		return -ENOENT;
	for (;; below = v, damaged++) {
		slot = slot_below(r, rec, below, &v);
		if (slot < 0 || (wanted && v != wanted))
			return wanted && !damaged && wanted != newest ? -ENOENT : -EBADMSG;
		if (!wanted && !damaged && v != newest)
			damaged = 1;
		free(*copy);
		rc = read_version(r, rec, (uint32_t)slot, verify, copy, p);
		if (rc == 0) {
			*skipped = damaged;
			return 0;
		}
		if (rc != -EPROTO && rc != -EBADMSG)
			return rc;
	}
}

/* look() again while the writer moves on underneath. */
static int read_key(struct arena_reader *r, struct record *rec, uint64_t wanted, int verify, uint8_t **copy,
		    struct slot_plan *p, int *skipped)
{
	struct record now;
	int rc = 0, tries;

	for (tries = 0; tries < TRIES; tries++) {
		rc = look(r, rec, wanted, verify, copy, p, skipped);
		if (rc == 0 && *skipped == 0)
			return 0;
		if (rc && rc != -EBADMSG)
			return rc;
		if (read_record(r, rec->at, &now) != 0 || strcmp(now.name, rec->name) != 0)
			return rc; /* taken out, or written over */
		if (now.fixed.commit == rec->fixed.commit)
			return rc; /* nobody was writing: it is damaged */
		*rec = now;
		if (tries + 1 < TRIES) {
			free(*copy);
			*copy = NULL;
		}
	}
	return rc ? -EAGAIN : 0;
}

static int by_name(const void *x, const void *y)
{
	return strcmp(((const struct arena_key *)x)->key, ((const struct arena_key *)y)->key);
}

static int list_one(struct arena_reader *r, uint64_t at, int verify, struct arena_keys *out)
{
	struct slot_plan plan;
	struct record rec;
	uint8_t *copy = NULL;
	int skipped, rc = read_record(r, at, &rec);

	if (!rc)
		rc = read_key(r, &rec, 0, verify, &copy, &plan, &skipped);
	if (!rc && plan.data_bytes > r->head.heap_bytes - out->bytes)
		rc = -EPROTO; /* values that lie upon each other: not to be read a thousand times */
	if (!rc)
		rc = fill_key(&rec, copy, &out->key[out->n]);
	free(copy);
	if (!rc)
		out->bytes += out->key[out->n++].bytes;
	else if (rc != -ENOENT)
		out->broken++;
	return rc == -ENOMEM || rc == -EIO ? rc : 0;
}

int arena_read_keys(struct arena_reader *r, int verify, struct arena_keys *out)
{
	uint32_t *buckets = NULL;
	size_t n, i;
	int rc;

	*out = (struct arena_keys){0};
	rc = read_head(r);
	if (!rc)
		rc = read_buckets(r, &buckets, &n);
	if (!rc && n) {
		out->key = malloc(n * sizeof *out->key);
		rc = out->key ? 0 : -ENOMEM;
		for (i = 0; !rc && i < n; i++)
			rc = list_one(r, record_at(r, buckets[i]), verify, out);
		if (out->n)
			qsort(out->key, out->n, sizeof *out->key, by_name);
	}
	free(buckets);
	return rc;
}

void arena_keys_free(struct arena_keys *keys)
{
	size_t i;

	for (i = 0; i < keys->n; i++)
		free(keys->key[i].vars);
	free(keys->key);
	*keys = (struct arena_keys){0};
}

/* Take the pads out: each variable at the next multiple of 8. Returns what is left. */
static uint64_t pack(const uint8_t *copy, uint8_t *data)
{
	const struct arena_slot *s = (const struct arena_slot *)(const void *)copy;
	const struct arena_desc *d = slot_descs(copy);
	uint64_t from = 0, to = 0, bytes;
	size_t i;

	for (i = 0; i < s->vars; i++) {
		bytes = d[i].count * arena_type_size(d[i].type);
		from = round_up(from, 8) + d[i].pad;
		if (round_up(to, 8) != from)
			memmove(data + round_up(to, 8), data + from, bytes);
		memset(data + to, 0, round_up(to, 8) - to);
		to = round_up(to, 8) + bytes;
		from += bytes;
	}
	return to;
}

int arena_read_value(struct arena_reader *r, const char *key, uint64_t version, struct arena_value *out,
		     int *skipped)
{
	struct slot_plan plan;
	struct record rec;
	uint8_t *copy = NULL;
	int damaged = 0, rc;

	*out = (struct arena_value){0};
	rc = read_head(r);
	if (!rc)
		rc = find_record(r, key, &rec);
	if (!rc)
		rc = read_key(r, &rec, version, 1, &copy, &plan, &damaged);
	if (!rc)
		rc = fill_key(&rec, copy, &out->info);
	if (rc) {
		free(copy);
		return rc;
	}
	out->copy = copy;
	out->data = copy + plan.data_at;
	out->info.bytes = pack(copy, out->data);
	if (skipped)
		*skipped = damaged;
	return arena_vars_lay(out->info.vars, out->info.n, out->data, out->info.bytes);
}

void arena_value_free(struct arena_value *v)
{
	free(v->info.vars);
	free(v->copy);
	*v = (struct arena_value){0};
}

int arena_vars_lay(struct arena_var *vars, size_t n, void *data, uint64_t bytes)
{
	uint64_t at = 0, size, length;
	size_t i;

	for (i = 0; i < n; i++) {
		size = arena_type_size(vars[i].type);
		at = round_up(at, 8);
		if (!size || __builtin_mul_overflow(vars[i].count, size, &length) || at > bytes || length > bytes - at)
			return -EPROTO;
		vars[i].data = (uint8_t *)data + at;
		at += length;
	}
	return at == bytes ? 0 : -EPROTO;
}
