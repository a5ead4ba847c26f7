/* Which memos there are, and forgetting them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hooks/memo_impl.h"

/* A name's line is under way: the name is a part of one of the keys that were found. */
struct line {
	const char *name;
	size_t length;
	struct cpa_memo_stats stats;
};

static int by_name(const void *x, const void *y)
{
	const struct line *a = x, *b = y;
	int order = memcmp(a->name, b->name, a->length < b->length ? a->length : b->length);

	return order ? order : (a->length > b->length) - (a->length < b->length);
}

/* What one key says. 0: nothing. */
static int read_line(cpa *cp, const struct arena_found *f, struct line *l)
{
	uint64_t numbers[2];
	int result;

	*l = (struct line){.name = f->key + MEMO_PREFIX_BYTES, .length = memo_name_in(f->key, &result)};
	if (!l->length || !f->version)
		return 0;
	if (result) {
		l->stats.results = 1;
		l->stats.bytes = f->bytes;
	} else if (memo_numbers(cp, f->key, numbers) == 0) {
		l->stats.hits = numbers[0];
		l->stats.misses = numbers[1];
	}
	return 1;
}

/* Sorted lines, those of one name together: how many are left. */
static size_t join(struct line *l, size_t n)
{
	size_t i, once = 0;

	qsort(l, n, sizeof *l, by_name);
	for (i = 0; i < n; i++) {
		if (once == 0 || by_name(&l[once - 1], &l[i]) != 0) {
			l[once++] = l[i];
			continue;
		}
		l[once - 1].stats.hits += l[i].stats.hits;
		l[once - 1].stats.misses += l[i].stats.misses;
		l[once - 1].stats.results += l[i].stats.results;
		l[once - 1].stats.bytes += l[i].stats.bytes;
	}
	return once;
}

/* One allocation: the entries, then their names. */
static struct cpa_memo_stats *as_list(const struct line *l, size_t n)
{
	struct cpa_memo_stats *list;
	size_t bytes = n * sizeof *list, i;
	char *text;

	for (i = 0; i < n; i++)
		bytes += l[i].length + 1;
	list = malloc(bytes);
	text = list ? (char *)(list + n) : NULL;
	for (i = 0; list && i < n; i++) {
		list[i] = l[i].stats;
		list[i].name = text;
		memcpy(text, l[i].name, l[i].length);
		text[l[i].length] = '\0';
		text += l[i].length + 1;
	}
	return list;
}

int cpa_memo_list(cpa *cp, struct cpa_memo_stats **list)
{
	struct arena_found *found = NULL;
	struct line *lines = NULL;
	size_t n = 0, kept = 0, i;
	int rc;

	if (list)
		*list = NULL;
	if (!cp || !list)
		return fail(CPA_ERR_ARG, "cpa_memo_list: no handle, or no place for the list");
	notice(cp);
	rc = arena_find(cp->arena, MEMO_PREFIX, &found, &n);
	if (!rc && n && !(lines = malloc(n * sizeof *lines)))
		rc = -ENOMEM;
	for (i = 0; !rc && i < n; i++)
		kept += (size_t)read_line(cp, &found[i], &lines[kept]);
	if (!rc && kept) {
		kept = join(lines, kept);
		*list = as_list(lines, kept);
		rc = *list ? (int)kept : -ENOMEM;
	}
	free(lines);
	arena_found_free(found);
	return fail_arena(rc, "memos", "(all)");
}

void cpa_memo_list_free(struct cpa_memo_stats *list)
{
	free(list);
}

static int is_of(const struct arena_found *f, const char *name)
{
	int result;
	size_t length = memo_name_in(f->key, &result);

	return !name || (length && length == strlen(name) && memcmp(f->key + MEMO_PREFIX_BYTES, name, length) == 0);
}

int cpa_memo_reset(cpa *cp, const char *name)
{
	struct arena_found *found;
	size_t n, i;
	int rc;

	if (!cp)
		return fail(CPA_ERR_ARG, "cpa_memo_reset: no handle; has cpa_open() failed, or is it closed?");
	notice(cp);
	if (cp->arena->read_only)
		return fail_arena(-EACCES, "memo", name ? name : "(all)");
	rc = arena_find(cp->arena, MEMO_PREFIX, &found, &n);
	if (rc)
		return fail_arena(rc, "memo", name ? name : "(all)");
	for (i = 0; i < n && !rc; i++) {
		rc = is_of(&found[i], name) ? arena_reset(cp->arena, found[i].key) : 0;
		rc = rc == -ENOENT ? 0 : rc;
	}
	arena_found_free(found);
	if (!rc)
		rc = memo_fit(cp, 0); /* the count of what is left */
	return fail_arena(rc, "memo", name ? name : "(all)");
}
