/* Forgetting: keys, and versions beyond those that a key keeps. */
#include <errno.h>

#include "lib/arena/internal.h"

static int reset(struct arena *a, const struct key *k)
{
	int rc = lock_take(a, lock_of(k->hash));

	if (rc)
		return rc;
	rc = index_remove(a, k);
	lock_give(a, lock_of(k->hash));
	return rc;
}

int arena_reset(struct arena *a, const char *key)
{
	struct key k;
	int rc = a->read_only ? -EACCES : key_make(&k, key);

	return rc ? rc : reset(a, &k);
}

/* Key by key, so that other processes go on with theirs; table by table, if one takes over meanwhile. */
int arena_reset_all(struct arena *a)
{
	char name[ARENA_KEY_MAX];
	struct arena_record *r;
	uint32_t table, moves;
	uint64_t b;
	int rc;

	if (a->read_only)
		return -EACCES;
	do {
		moves = load_acquire(&a->head->moves);
		table = index_table(a);
		for (b = 0; b < table_buckets(table); b++) {
			r = index_at(a, table, b);
			if (!r)
				continue;
			struct key k = {name, r->name_bytes, r->hash};

			memcpy(name, record_name(r), r->name_bytes);
			rc = reset(a, &k);
			if (rc && rc != -ENOENT)
				return rc;
		}
	} while (moves != load_acquire(&a->head->moves));
	return 0;
}
