/* Owns the sum of what the ranks of a group have: see ranks_sum.h. */
#include "agent/ranks_sum.h"

#include <stdlib.h>

#include "lib/arena/common.h"

#define HAS_MAX (UINT64_C(1) << 22) /* rank, key and version: what is looked through */

bool ranks_sum_open(struct ranks_sum *s)
{
	*s = (struct ranks_sum){ .keys = json_object() };
	return s->keys != NULL;
}

void ranks_sum_free(struct ranks_sum *s)
{
	json_decref(s->keys);
	free(s->has);
	*s = (struct ranks_sum){ 0 };
}

void ranks_sum_clear(struct ranks_sum *s)
{
	json_object_clear(s->keys);
	s->n = s->newest = 0;
}

static bool add(struct ranks_sum *s, uint32_t rank, uint32_t key, uint64_t version)
{
	if (s->n == s->size) {
		uint64_t size = s->size ? 2 * s->size : 256;
		struct arena_has *more = size <= HAS_MAX ? realloc(s->has, size * sizeof *more) : NULL;
		if (!more)
			return false;
		s->has = more;
		s->size = size;
	}
	s->has[s->n++] = (struct arena_has){ version, rank, key };
	return true;
}

static bool add_key(struct ranks_sum *s, uint32_t rank, const json_t *doc)
{
	const char *name = json_string_value(json_object_get(doc, "key"));
	json_int_t newest = json_integer_value(json_object_get(doc, "newest"));
	const json_t *versions = json_object_get(doc, "versions"), *v;
	json_t *number = name ? json_object_get(s->keys, name) : NULL;
	size_t i;
	if (!name)
		return true;
	if (!number) {
		number = json_integer((json_int_t)json_object_size(s->keys));
		if (json_object_set_new(s->keys, name, number) < 0)
			return false;
	}
	if (newest > 0 && (uint64_t)newest > s->newest)
		s->newest = (uint64_t)newest;
	json_array_foreach(versions, i, v)
	{
		json_int_t version = json_integer_value(v);
		if (version > 0 && !add(s, rank, (uint32_t)json_integer_value(number), (uint64_t)version))
			return false;
	}
	return true;
}

bool ranks_sum_add(struct ranks_sum *s, uint32_t rank, const json_t *keys)
{
	const json_t *doc;
	size_t i;
	json_array_foreach(keys, i, doc)
	{
		if (!add_key(s, rank, doc))
			return false;
	}
	return true;
}

uint64_t ranks_sum_common(struct ranks_sum *s, uint32_t ranks)
{
	return arena_common(s->has, s->n, ranks, (uint32_t)json_object_size(s->keys));
}
