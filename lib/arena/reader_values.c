/* What the hostile reader's callers get: keys with their variables, and values packed without pads. */
#include <errno.h>
#include <stdlib.h>

#include "lib/arena/reader_internal.h"

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
		k->bytes = round_up(k->bytes, 8) + d[i].count * arena_type_size(d[i].type);
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

int read_info(const struct record *rec, const uint8_t *copy, struct arena_key *k)
{
	const struct arena_slot *s = (const struct arena_slot *)(const void *)copy;
	uint32_t l;

	fill_record(rec, k);
	k->version = s->version;
	k->time_ns = s->time_ns;
	k->incarnation = s->incarnation;
	k->how = s->how;
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

int arena_read_key(struct arena_reader *r, const char *key, struct arena_key *out)
{
	struct slot_plan plan;
	struct record rec;
	uint8_t *copy = NULL;
	int skipped, rc = read_head(r);

	memset(out, 0, sizeof *out);
	if (!rc)
		rc = find_record(r, key, &rec);
	if (!rc)
		rc = read_version(r, &rec, 0, 0, &copy, &plan, &skipped);
	if (!rc)
		rc = read_info(&rec, copy, out);
	free(copy);
	return rc;
}

void arena_key_free(struct arena_key *key)
{
	free(key->vars);
	key->vars = NULL;
	key->n = 0;
}

/* ---- all of them ---- */

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
		rc = read_version(r, &rec, 0, verify, &copy, &plan, &skipped);
	if (!rc && plan.data_bytes > r->head.heap_bytes - out->bytes)
		rc = -EPROTO; /* values that lie upon each other: not to be read a thousand times */
	if (!rc)
		rc = read_info(&rec, copy, &out->key[out->n]);
	free(copy);
	if (!rc)
		out->bytes += out->key[out->n++].bytes;
	else if (rc != -ENOENT)
		out->broken++;
	return rc == -ENOMEM || rc == -EIO ? rc : 0;
}

int arena_read_keys(struct arena_reader *r, int verify, struct arena_keys *out)
{
	uint64_t *records = NULL;
	size_t n, i;
	int rc;

	*out = (struct arena_keys){0};
	rc = read_head(r);
	if (!rc)
		rc = read_records(r, &records, &n);
	if (!rc && n) {
		out->key = malloc(n * sizeof *out->key);
		rc = out->key ? 0 : -ENOMEM;
		for (i = 0; !rc && i < n; i++)
			rc = list_one(r, records[i], verify, out);
		if (out->n)
			qsort(out->key, out->n, sizeof *out->key, by_name);
	}
	free(records);
	return rc;
}

void arena_keys_free(struct arena_keys *keys)
{
	size_t i;

	for (i = 0; i < keys->n; i++)
		arena_key_free(&keys->key[i]);
	free(keys->key);
	*keys = (struct arena_keys){0};
}

/* ---- one with its data ---- */

/* Take the pads out: each variable at the next multiple of 8. */
static void pack(const uint8_t *copy, uint8_t *data)
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
		rc = read_version(r, &rec, version, 1, &copy, &plan, &damaged);
	if (!rc)
		rc = read_info(&rec, copy, &out->info);
	if (rc) {
		free(copy);
		return rc;
	}
	out->copy = copy;
	out->data = copy + plan.data_at;
	pack(copy, out->data);
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
