/* The hash table: open addressing with linear probing; a removal moves later entries back, so that there are no
 * tombstones. Memory that cannot be had ends the program: there is no half a registry. */
#include "agent/core/table.h"

#include <stdlib.h>
#include <string.h>

static size_t hash(const char *key)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);
	for (; *key; key++)
		h = (h ^ (unsigned char)*key) * UINT64_C(0x100000001b3);
	return (size_t)(h ^ (h >> 29));
}

static size_t find(const struct table *t, const char *key)
{
	size_t i = hash(key) & (t->size - 1);
	while (t->slots[i].key && strcmp(t->slots[i].key, key) != 0)
		i = (i + 1) & (t->size - 1);
	return i;
}

static void grow(struct table *t)
{
	struct table old = *t;
	t->size = old.size ? old.size * 2 : 16;
	t->slots = calloc(t->size, sizeof *t->slots);
	if (!t->slots)
		abort();
	for (size_t i = 0; i < old.size; i++)
		if (old.slots[i].key)
			t->slots[find(t, old.slots[i].key)] = old.slots[i];
	free(old.slots);
}

void *table_get(const struct table *t, const char *key)
{
	return t->size ? t->slots[find(t, key)].value : NULL;
}

void table_put(struct table *t, const char *key, void *value)
{
	if (t->used * 2 >= t->size)
		grow(t);
	struct table_slot *s = &t->slots[find(t, key)];
	if (!s->key)
		t->used++;
	s->key = key;
	s->value = value;
}

void *table_take(struct table *t, const char *key)
{
	if (!t->size)
		return NULL;
	size_t hole = find(t, key);
	void *value = t->slots[hole].value;
	if (!t->slots[hole].key)
		return NULL;
	t->used--;
	for (size_t i = hole;;) {
		i = (i + 1) & (t->size - 1);
		if (!t->slots[i].key)
			break;
		/* an entry may move back into the hole unless its home lies between the hole and itself */
		size_t home = hash(t->slots[i].key) & (t->size - 1);
		if (((i - home) & (t->size - 1)) < ((i - hole) & (t->size - 1)))
			continue;
		t->slots[hole] = t->slots[i];
		hole = i;
	}
	t->slots[hole] = (struct table_slot){NULL, NULL};
	return value;
}

void *table_each(const struct table *t, size_t *at)
{
	while (*at < t->size) {
		struct table_slot *s = &t->slots[(*at)++];
		if (s->key)
			return s->value;
	}
	return NULL;
}

void table_free(struct table *t)
{
	free(t->slots);
	*t = (struct table){0};
}
