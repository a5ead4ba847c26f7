/* A hash table from text to pointers: uuid or name to a record that its owner allocated. */
#ifndef CPA_CORE_TABLE_H
#define CPA_CORE_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct table_slot {
	const char *key; /* borrowed: lies in the record */
	void *value;
};

struct table {
	struct table_slot *slots;
	size_t size, used; /* size: a power of two or 0 */
};

void *table_get(const struct table *t, const char *key);
/* key must live as long as the entry. Replaces an entry of the same key. */
void table_put(struct table *t, const char *key, void *value);
/* The value that was there, or NULL. */
void *table_take(struct table *t, const char *key);
/* The next value at or after *at, or NULL; start with *at = 0. Not across changes of the table. */
void *table_each(const struct table *t, size_t *at);
void table_free(struct table *t);

#endif
