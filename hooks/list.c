/* Lists of checkpoints, and keys made from where the call stands. A list is one allocation: entries, variables,
 * then their texts. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hooks/internal.h"
#include "lib/arena/reader.h"

static size_t room_for(const struct arena_keys *keys)
{
	size_t bytes = keys->n * sizeof(struct cpa_entry), i, j;

	for (i = 0; i < keys->n; i++) {
		bytes += keys->key[i].n * sizeof(struct cpa_var) + strlen(keys->key[i].key) + 1;
		for (j = 0; j < keys->key[i].n; j++)
			bytes += strlen(keys->key[i].vars[j].name) + 1;
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

static void fill(const struct arena_keys *keys, struct cpa_entry *list)
{
	struct cpa_var *vars = (struct cpa_var *)(void *)(list + keys->n);
	size_t total = 0, i, j;
	char *text;

	for (i = 0; i < keys->n; i++)
		total += keys->key[i].n;
	text = (char *)(vars + total);
	for (i = 0; i < keys->n; i++) {
		const struct arena_key *k = &keys->key[i];

		list[i] = (struct cpa_entry){put_text(&text, k->key), k->version, (int)k->level, k->bytes,
					     k->time_ns, k->n, vars, ""};
		for (j = 0; j < k->n; j++, vars++)
			*vars = (struct cpa_var){put_text(&text, k->vars[j].name), NULL, k->vars[j].count,
						 k->vars[j].type};
	}
}

int cpa_list(cpa *cp, struct cpa_entry **list)
{
	struct arena_reader r = {.fd = -1};
	struct arena_keys keys = {0};
	int rc;

	if (!cp || !list)
		return fail(CPA_ERR_ARG, "cpa_list: no handle, or no place for the list");
	*list = NULL;
	r.image = cp->arena->base;
	r.image_bytes = cp->arena->file_bytes;
	rc = arena_read_open(&r);
	if (!rc)
		rc = arena_read_keys(&r, 0, &keys);
	if (!rc && keys.n) {
		*list = malloc(room_for(&keys));
		rc = *list ? 0 : -ENOMEM;
	}
	if (!rc && keys.n)
		fill(&keys, *list);
	if (!rc)
		rc = (int)keys.n;
	arena_keys_free(&keys);
	return fail_arena(rc, "arena", cp->arena->path);
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
	*to = '\0';
	return buf;
}
