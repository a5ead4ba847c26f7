/* The manifest of an archive, to and from JSON. Reading trusts nothing: names, types, sizes and places must agree with
 * each other before anything is made of them. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "lib/archive/archive_impl.h"
#include "lib/base/clock.h"

#define KIND "cpagent archive"
#define TEXT_MAX 255

static const char *const how_words[] = {[ARENA_PLAIN] = "plain", [ARENA_WHOLE] = "whole", [ARENA_DIRTY] = "dirty"};

static const char *byte_order(int other)
{
	const uint16_t one = 1;
	int little = *(const uint8_t *)&one == 1;

	return little != other ? "little" : "big";
}

/* ---- writing ---- */

/* Names of variables are any bytes in an arena; JSON wants UTF-8. */
static json_t *text_of(const char *text)
{
	json_t *j = json_string(text);

	return j ? j : json_string("?");
}

static json_t *var_json(const struct archive_var *v, size_t k, size_t i)
{
	char name[MEMBER_MAX], sum[40];

	snprintf(sum, sizeof sum, "%016" PRIx64 "%016" PRIx64, v->sum[1], v->sum[0]);
	return json_pack("{s:o,s:s,s:I,s:s,s:I,s:s}", "name", text_of(v->name), "type", arena_type_name(v->type), "count",
			 (json_int_t)v->count, "file", archive_member(name, k, i, v->name), "bytes", (json_int_t)v->bytes,
			 "xxh128", sum);
}

static json_t *key_json(const struct archive_key *k, size_t at)
{
	json_t *vars = json_array();
	char when[CLOCK_TEXT_MAX];
	size_t i;

	for (i = 0; vars && i < k->n; i++)
		if (json_array_append_new(vars, var_json(&k->vars[i], at, i)) != 0) {
			json_decref(vars);
			return NULL;
		}
	return json_pack("{s:s,s:I,s:s,s:I,s:I,s:s,s:I,s:o}", "key", k->key, "version", (json_int_t)k->version, "time",
			 clock_text(k->time_ns, when), "time_ns", (json_int_t)k->time_ns, "incarnation",
			 (json_int_t)k->incarnation, "how", how_words[k->how], "bytes", (json_int_t)k->bytes, "vars", vars);
}

int archive_json_write(const struct archive_info *info, char **text, size_t *bytes, struct err *e)
{
	json_t *keys = json_array(), *doc = NULL;
	char when[CLOCK_TEXT_MAX];
	size_t i;
	int bad = !keys;

	for (i = 0; !bad && i < info->n; i++)
		bad = json_array_append_new(keys, key_json(&info->keys[i], i)) != 0;
	if (bad)
		json_decref(keys);
	else
		doc = json_pack("{s:s,s:i,s:s,s:I,s:s,s:o,s:o,s:o,s:I,s:o}", "kind", KIND, "format", ARCHIVE_FILE_FORMAT,
				"time", clock_text(info->time_ns, when), "time_ns", (json_int_t)info->time_ns,
				"byte_order", byte_order(info->swapped), "program", text_of(info->program), "host",
				text_of(info->host), "job", text_of(info->job), "bytes", (json_int_t)info->bytes, "keys",
				keys);
	*text = doc ? json_dumps(doc, JSON_INDENT(1)) : NULL;
	json_decref(doc);
	if (!*text)
		return archive_fail(e, -ENOMEM, "cannot write the manifest: out of memory");
	*bytes = strlen(*text);
	return 0;
}

/* ---- reading ---- */

static int number(const json_t *o, const char *field, uint64_t max, uint64_t *n)
{
	const json_t *j = json_object_get(o, field);

	if (!json_is_integer(j) || json_integer_value(j) < 0 || (uint64_t)json_integer_value(j) > max)
		return -1;
	*n = (uint64_t)json_integer_value(j);
	return 0;
}

static int same(const json_t *o, const char *field, const char *text)
{
	const char *s = json_string_value(json_object_get(o, field));

	return s && strcmp(s, text) == 0;
}

/* A copy of a text of at most TEXT_MAX bytes; a missing one is "" where it may be. */
static char *copy_text(const json_t *o, const char *field, int needed)
{
	const char *s = json_string_value(json_object_get(o, field));

	if (s ? strlen(s) > TEXT_MAX : needed)
		return NULL;
	return strdup(s ? s : "");
}

static int read_sum(const json_t *o, uint64_t sum[2])
{
	const char *s = json_string_value(json_object_get(o, "xxh128"));
	char half[17] = "";

	if (!s || strlen(s) != 32 || strspn(s, "0123456789abcdef") != 32)
		return -1;
	memcpy(half, s, 16);
	sum[1] = strtoull(half, NULL, 16);
	sum[0] = strtoull(s + 16, NULL, 16);
	return 0;
}

static int read_var(const json_t *o, size_t k, size_t i, struct archive_var *v)
{
	char member[MEMBER_MAX];

	v->type = archive_type(json_string_value(json_object_get(o, "type")));
	v->name = copy_text(o, "name", 1);
	if (!v->type || !v->name || number(o, "count", ARENA_HEAP_MAX, &v->count) != 0 ||
	    number(o, "bytes", ARENA_HEAP_MAX, &v->bytes) != 0)
		return -1;
	if (v->count * arena_type_size(v->type) != v->bytes || read_sum(o, v->sum) != 0)
		return -1;
	return same(o, "file", archive_member(member, k, i, v->name)) ? 0 : -1;
}

static int read_vars(const json_t *list, size_t k, struct archive_key *key)
{
	size_t n = json_array_size(list), i;

	if (n == 0 || n > ARENA_VARS_MAX)
		return -1;
	key->vars = calloc(n, sizeof *key->vars);
	if (!key->vars)
		return -1;
	key->n = n;
	for (i = 0; i < n; i++) {
		if (read_var(json_array_get(list, i), k, i, &key->vars[i]) != 0)
			return -1;
		key->bytes = archive_align(key->bytes) + key->vars[i].bytes;
		if (key->bytes > ARENA_HEAP_MAX)
			return -1;
	}
	return 0;
}

static int read_key(const json_t *o, size_t at, struct archive_key *k)
{
	uint64_t time_ns, incarnation, bytes, how;
	size_t length;

	k->key = copy_text(o, "key", 1);
	length = k->key ? strlen(k->key) : 0;
	if (length == 0 || length > ARENA_KEY_MAX || !arena_utf8(k->key, length))
		return -1;
	if (number(o, "version", (UINT64_C(1) << 56) - 1, &k->version) != 0 || k->version == 0 ||
	    number(o, "time_ns", INT64_MAX, &time_ns) != 0 || number(o, "incarnation", UINT32_MAX, &incarnation) != 0 ||
	    number(o, "bytes", ARENA_HEAP_MAX, &bytes) != 0)
		return -1;
	for (how = 0; how < sizeof how_words / sizeof *how_words && !same(o, "how", how_words[how]); how++)
		;
	if (how == sizeof how_words / sizeof *how_words || read_vars(json_object_get(o, "vars"), at, k) != 0)
		return -1;
	k->time_ns = (int64_t)time_ns;
	k->incarnation = (uint32_t)incarnation;
	k->how = (uint32_t)how;
	return bytes == k->bytes ? 0 : -1;
}

static int read_keys(const json_t *list, struct archive_info *info)
{
	size_t n = json_array_size(list), i;

	if (!json_is_array(list))
		return -1;
	info->keys = calloc(n ? n : 1, sizeof *info->keys);
	if (!info->keys)
		return -1;
	info->n = n;
	for (i = 0; i < n; i++) {
		if (read_key(json_array_get(list, i), i, &info->keys[i]) != 0)
			return -1;
		if (__builtin_add_overflow(info->bytes, info->keys[i].bytes, &info->bytes) || info->bytes > INT64_MAX)
			return -1;
	}
	return 0;
}

static int read_doc(const json_t *doc, struct archive_info *info)
{
	uint64_t time_ns, bytes;

	info->program = copy_text(doc, "program", 0);
	info->host = copy_text(doc, "host", 0);
	info->job = copy_text(doc, "job", 0);
	info->swapped = same(doc, "byte_order", byte_order(1));
	if (!info->program || !info->host || !info->job || (!info->swapped && !same(doc, "byte_order", byte_order(0))) ||
	    number(doc, "time_ns", INT64_MAX, &time_ns) != 0 || number(doc, "bytes", INT64_MAX, &bytes) != 0)
		return -1;
	info->time_ns = (int64_t)time_ns;
	return read_keys(json_object_get(doc, "keys"), info) == 0 && bytes == info->bytes ? 0 : -1;
}

int archive_json_read(const char *text, size_t bytes, struct archive_info *info, struct err *e)
{
	json_error_t why;
	json_t *doc = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &why);
	uint64_t format;
	int rc = 0;

	*info = (struct archive_info){0};
	if (!doc)
		rc = archive_fail(e, -EBADMSG, "its manifest is no JSON (line %d)", why.line);
	else if (!same(doc, "kind", KIND) || number(doc, "format", UINT32_MAX, &format) != 0)
		rc = archive_fail(e, -EBADMSG, "it is no archive of cpagent's");
	else if (format != ARCHIVE_FILE_FORMAT)
		rc = archive_fail(e, -EPROTONOSUPPORT, "it has format %" PRIu64 ", and this program reads format %d", format,
				  ARCHIVE_FILE_FORMAT);
	else if (read_doc(doc, info) != 0)
		rc = archive_fail(e, -EBADMSG, "its manifest makes no sense");
	json_decref(doc);
	if (rc)
		archive_info_free(info);
	return rc;
}

static void drop(const char *text)
{
	free((char *)(uintptr_t)text);
}

void archive_info_free(struct archive_info *info)
{
	size_t k, v;

	for (k = 0; info->keys && k < info->n; k++) {
		for (v = 0; info->keys[k].vars && v < info->keys[k].n; v++)
			drop(info->keys[k].vars[v].name);
		free(info->keys[k].vars);
		drop(info->keys[k].key);
	}
	free(info->keys);
	drop(info->program);
	drop(info->host);
	drop(info->job);
	*info = (struct archive_info){0};
}
