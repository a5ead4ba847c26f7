/* Lists of checkpoints, and keys made from where the call stands. A list is one allocation: entries, variables,
 * then their texts. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hooks/restore.h"
#include "lib/arena/reader.h"

static size_t room_for(const struct arena_key *keys, size_t n)
{
	size_t bytes = n * sizeof(struct cpa_entry), i, j;

	for (i = 0; i < n; i++) {
		bytes += keys[i].n * sizeof(struct cpa_var) + strlen(keys[i].key) + 1;
		for (j = 0; j < keys[i].n; j++)
			bytes += strlen(keys[i].vars[j].name) + 1;
	}
	return bytes;
}

static const char *put_text(char **to, const char *text)
{
	size_t bytes = strlen(text) + 1;
	char *at = *to;

	memcpy(at, text, bytes);
	*to += bytes;
	return at;
}

static const char *how_word(uint32_t how)
{
	static const char *const words[] = {
		[ARENA_PLAIN] = "", [ARENA_WHOLE] = "whole copy", [ARENA_DIRTY] = "dirty pages"};

	return how < sizeof words / sizeof *words ? words[how] : "";
}

static struct cpa_entry *list_of(const struct arena_key *keys, size_t n)
{
	struct cpa_entry *list = malloc(room_for(keys, n));
	size_t total = 0, i, j;
	struct cpa_var *vars;
	char *text;

	if (!list)
		return NULL;
	vars = (struct cpa_var *)(void *)(list + n);
	for (i = 0; i < n; i++)
		total += keys[i].n;
	text = (char *)(vars + total);
	for (i = 0; i < n; i++) {
		const struct arena_key *k = &keys[i];

		list[i] = (struct cpa_entry){put_text(&text, k->key), k->version, (int)k->level, k->bytes,
					     k->time_ns, k->n, vars, how_word(k->how)};
		for (j = 0; j < k->n; j++, vars++)
			*vars = (struct cpa_var){put_text(&text, k->vars[j].name), NULL, k->vars[j].count,
						 k->vars[j].type};
	}
	return list;
}

static struct arena_reader reader_of(const cpa *cp)
{
	return (struct arena_reader){.fd = -1, .image = cp->arena->base, .image_bytes = cp->arena->file_bytes};
}

/* Memos stand together, sorted: what comes behind them changes places with them. How many keys are left in front. */
static size_t without_memos(struct arena_keys *keys)
{
	struct arena_key memo;
	size_t n = 0, i;

	for (i = 0; i < keys->n; i++) {
		if (is_memo(keys->key[i].key))
			continue;
		memo = keys->key[n];
		keys->key[n++] = keys->key[i];
		keys->key[i] = memo;
	}
	return n;
}

int cpa_list(cpa *cp, struct cpa_entry **list)
{
	struct arena_reader r;
	struct arena_keys keys = {0};
	size_t n = 0;
	int rc;

	if (!cp || !list)
		return fail(CPA_ERR_ARG, "cpa_list: no handle, or no place for the list");
	*list = NULL;
	notice(cp);
	r = reader_of(cp);
	rc = arena_read_open(&r);
	if (!rc)
		rc = arena_read_keys(&r, 0, &keys);
	if (!rc)
		n = without_memos(&keys);
	if (n && !(*list = list_of(keys.key, n)))
		rc = -ENOMEM;
	if (!rc)
		rc = (int)n;
	arena_keys_free(&keys);
	return fail_arena(rc, "arena", cp->arena->path);
}

struct query_taker {
	struct taker t;
	struct cpa_entry **entry;
};

static int take_entry(struct taker *t, struct arena *a, const char *key, uint64_t version)
{
	struct query_taker *q = (struct query_taker *)(void *)t;
	struct arena_reader r = {.fd = -1, .image = a->base, .image_bytes = a->file_bytes};
	struct arena_key k = {0};
	int rc = arena_read_open(&r);

	(void)version; /* the newest that is whole */
	if (!rc)
		rc = arena_read_key(&r, key, &k);
	if (!rc && !(*q->entry = list_of(&k, 1)))
		rc = -ENOMEM;
	arena_key_free(&k);
	return rc;
}

int cpa_query(cpa *cp, const char *key, struct cpa_entry **entry)
{
	struct query_taker q = {.t = {take_entry}, .entry = entry};
	int rc = bad_call("cpa_query", cp, key, 1);

	if (!rc && !entry)
		rc = fail(CPA_ERR_ARG, "cpa_query: key %s: no place for the entry", key);
	if (rc)
		return rc;
	*entry = NULL;
	notice(cp);
	rc = find_version(cp, key, 0, &q.t);
	return rc < 0 ? rc : 0;
}

void cpa_list_free(struct cpa_entry *list)
{
	free(list);
}

static char *append(char *to, const char *end, const char *from, size_t n)
{
	for (; n && to < end; n--)
		*to++ = *from++;
	return to;
}

/* Cut at the end of a whole character. */
static char *whole(char *buf, char *end)
{
	char *at = end;

	while (at > buf && ((unsigned char)at[-1] & 0xc0) == 0x80)
		at--;
	return at == buf || arena_utf8(at - 1, (size_t)(end - at) + 1) ? end : at - 1;
}

/* The arguments as they stand, without what separates words in C. */
static char *append_args(char *to, const char *end, const char *args)
{
	int word = 0;

	for (; *args && to < end; args++) {
		if (strchr(" \t\n\"'", *args))
			continue;
		if (*args == ',') {
			word = 0;
			continue;
		}
		if (!word)
			*to++ = '_';
		word = 1;
		if (to < end)
			*to++ = *args;
	}
	return to;
}

const char *cpa_key_join(char *buf, const char *file, const char *function, const char *args)
{
	const char *slash = strrchr(file, '/'), *base = slash ? slash + 1 : file, *dot = strrchr(base, '.');
	char *to = buf, *end = buf + CPA_KEY_MAX;

	to = append(to, end, base, dot && dot != base ? (size_t)(dot - base) : strlen(base));
	to = append(to, end, "_", 1);
	to = append(to, end, function, strlen(function));
	to = append_args(to, end, args);
	*(to == end ? whole(buf, end) : to) = '\0';
	return buf;
}
