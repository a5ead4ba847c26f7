/* Walking the arena's keys without the cost of the hostile reader, and marking them as used: see walk.h. */
#include "lib/arena/walk.h"

#include <errno.h>

#include "lib/arena/internal.h"
#include "lib/arena/scratch.h"

static int key_of(struct key *k, const char *name)
{
	size_t length = name ? strnlen(name, ARENA_KEY_MAX + 1) : 0;

	if (length == 0 || length > ARENA_KEY_MAX)
		return -EINVAL;
	*k = (struct key){name, (uint8_t)length, arena_hash(name, length, 0)};
	return 0;
}

static struct arena_slot *newest_slot(struct arena *a, struct arena_record *r, uint64_t *most)
{
	uint64_t commit = load_acquire(&r->commit);

	if (!commit || (commit & 0xff) >= r->slots)
		return NULL;
	*most = record_slots(r)[commit & 0xff].length;
	return slot_of(a, r, (uint32_t)(commit & 0xff));
}

static void look(struct arena *a, struct arena_record *r, struct arena_found *out)
{
	uint64_t most;
	struct arena_slot *s = newest_slot(a, r, &most);
	uint32_t i;

	out->version = load_acquire(&r->commit) >> 8;
	out->used = load_relaxed(&r->used);
	out->bytes = s ? s->bytes : 0;
	out->takes = arena_record_bytes(r->slots, r->name_bytes);
	for (i = 0; i < r->slots; i++)
		if (record_slots(r)[i].length <= a->heap_bytes)
			out->takes += record_slots(r)[i].length;
}

/* With the key's lock, where this process may take it. */
static int look_up(struct arena *a, const struct key *k, int use, struct arena_found *out)
{
	struct arena_record *r;
	int rc = a->read_only ? 0 : lock_take(a, lock_of(k->hash));

	if (rc)
		return rc;
	r = index_find(a, k);
	if (r && use && !a->read_only)
		store_relaxed(&r->used, __atomic_add_fetch(&a->head->uses, 1, __ATOMIC_RELAXED));
	if (r)
		look(a, r, out);
	if (!a->read_only)
		lock_give(a, lock_of(k->hash));
	return r ? 0 : -ENOENT;
}

int arena_use(struct arena *a, const char *key, struct arena_found *out)
{
	struct arena_found found;
	struct key k;
	int rc = key_of(&k, key);

	if (!rc)
		rc = look_up(a, &k, 1, &found);
	if (!rc && out) {
		found.key = NULL;
		*out = found;
	}
	return rc;
}

/* ---- the walk ---- */

/* What has been found: entries and their names grow apart, names are offsets until the end. */
struct walk {
	const char *prefix;
	size_t prefix_bytes, n, room, text, text_room;
	struct arena_found *list;
	char *names;
};

/* p with room for `need` things of a size; NULL: out of memory, p is as it was. */
static void *grown(void *p, size_t *room, size_t need, size_t size)
{
	size_t more = *room ? *room : 64;
	void *q;

	while (more < need)
		more *= 2;
	if (more == *room)
		return p;
	q = scratch_more(p, more * size);
	if (q)
		*room = more;
	return q;
}

static int keep(struct walk *w, const struct key *k, const struct arena_found *found)
{
	struct arena_found *list = grown(w->list, &w->room, w->n + 1, sizeof *list);
	char *names = list ? grown(w->names, &w->text_room, w->text + k->bytes + 1, 1) : NULL;

	w->list = list ? list : w->list;
	if (!names)
		return -ENOMEM;
	w->names = names;
	w->list[w->n] = *found;
	w->list[w->n++].key = (const char *)(uintptr_t)w->text;
	memcpy(w->names + w->text, k->name, k->bytes);
	w->names[w->text + k->bytes] = '\0';
	w->text += k->bytes + 1u;
	return 0;
}

/* The record may be taken out while its name is copied: the hash tells, and then the key is looked up anew. */
static int visit(struct arena *a, struct arena_record *r, struct walk *w)
{
	char name[ARENA_KEY_MAX];
	struct key k = {name, r->name_bytes, load_relaxed(&r->hash)};
	struct arena_found found;
	int rc;

	if (k.bytes < w->prefix_bytes || memcmp(record_name(r), w->prefix, w->prefix_bytes) != 0)
		return 0;
	memcpy(name, record_name(r), k.bytes);
	if (k.bytes == 0 || arena_hash(name, k.bytes, 0) != k.hash || memchr(name, '\0', k.bytes))
		return 0;
	rc = look_up(a, &k, 0, &found);
	if (rc)
		return rc == -ENOENT ? 0 : rc;
	return keep(w, &k, &found);
}

static int by_key(const void *x, const void *y, void *with)
{
	(void)with;
	return strcmp(((const struct arena_found *)x)->key, ((const struct arena_found *)y)->key);
}

/* A key that was found in two tables, once. */
static size_t once(struct arena_found *list, size_t n)
{
	size_t i, kept = 0;

	scratch_sort(list, n, sizeof *list, by_key, NULL);
	for (i = 0; i < n; i++)
		if (kept == 0 || strcmp(list[kept - 1].key, list[i].key) != 0)
			list[kept++] = list[i];
	return kept;
}

/* One allocation. */
static int finish(struct walk *w, int moved)
{
	size_t bytes = w->n * sizeof *w->list, i;
	struct arena_found *list;
	char *names;

	if (w->n == 0)
		return 0;
	list = scratch_more(w->list, bytes + w->text);
	if (!list)
		return -ENOMEM;
	w->list = list;
	names = (char *)list + bytes;
	memcpy(names, w->names, w->text);
	for (i = 0; i < w->n; i++)
		list[i].key = names + (uintptr_t)list[i].key;
	if (moved)
		w->n = once(list, w->n);
	return 0;
}

int arena_find(struct arena *a, const char *prefix, struct arena_found **list, size_t *n)
{
	struct walk w = {.prefix = prefix, .prefix_bytes = strlen(prefix)};
	struct arena_record *r;
	uint32_t table, moves;
	uint64_t b;
	int rc = 0, rounds = 0;

	do {
		moves = load_acquire(&a->head->moves);
		table = index_table(a);
		for (b = 0; !rc && b < table_buckets(table); b++)
			if ((r = index_at(a, table, b)))
				rc = visit(a, r, &w);
		rounds++;
	} while (!rc && moves != load_acquire(&a->head->moves));
	if (!rc)
		rc = finish(&w, rounds > 1);
	scratch_free(w.names);
	if (rc) {
		scratch_free(w.list);
		w = (struct walk){0};
	}
	*list = w.list;
	*n = w.n;
	return rc;
}

void arena_found_free(struct arena_found *list)
{
	scratch_free(list);
}

/* ---- whole or not ---- */

static int verify(struct arena *a, struct arena_record *r, uint64_t version)
{
	uint64_t most;
	const uint8_t *slot = (const uint8_t *)newest_slot(a, r, &most);
	struct slot_plan p;

	if (load_acquire(&r->commit) >> 8 != version)
		return -ENOENT;
	if (!slot || slot_check(slot, most, most, &p) != 0)
		return -EBADMSG;
	return slot_verify_all(slot, &p, r->hash ^ version);
}

int arena_whole(struct arena *a, const char *key, uint64_t version)
{
	struct arena_record *r;
	struct key k;
	int rc = key_of(&k, key);

	if (!rc && !a->read_only)
		rc = lock_take(a, lock_of(k.hash));
	if (rc)
		return rc;
	r = index_find(a, &k);
	rc = r ? verify(a, r, version) : -ENOENT;
	if (!a->read_only)
		lock_give(a, lock_of(k.hash));
	return rc;
}
