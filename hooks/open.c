/* The handle's life: cpa_open(), cpa_close(). */
#include <errno.h>
#include <stdlib.h>

#include "hooks/internal.h"
#include "lib/arena/reader.h"

/* Without an agent nobody counts lives, but a private arena that holds keys tells that there was one before. */
static uint32_t private_began(struct arena *a)
{
	struct arena_reader r = {.fd = -1, .image = a->base, .image_bytes = a->file_bytes};
	struct arena_keys keys = {0};
	uint32_t began = CPA_FRESH;
	size_t i;

	if (!__atomic_load_n(&a->head->keys, __ATOMIC_RELAXED) ||
	    __atomic_load_n(&a->head->agent_flags, __ATOMIC_RELAXED) & ARENA_SERVED)
		return began;
	if (arena_read_open(&r) == 0 && arena_read_keys(&r, 0, &keys) == 0)
		for (i = 0; i < keys.n && began == CPA_FRESH; i++)
			if (!is_memo(keys.key[i].key))
				began = CPA_FROM_KEYS;
	arena_keys_free(&keys);
	return began;
}

int cpa_open_named(cpa **cp, const char *where, const char *name, uint64_t budget)
{
	struct place p;
	struct arena *a;
	int rc;

	if (!cp)
		return fail(CPA_ERR_ARG, "cpa_open: no place for the handle");
	*cp = NULL;
	rc = place_find(&p, where, name ? name : program_invocation_short_name, budget);
	if (!rc)
		rc = place_map(&p, &a);
	if (rc)
		return rc;
	*cp = calloc(1, sizeof **cp);
	if (!*cp) {
		arena_unmap(a);
		return fail(CPA_ERR_MEMORY, "cpa_open: out of memory");
	}
	(*cp)->arena = a;
	(*cp)->incarnation = __atomic_load_n(&a->head->incarnation, __ATOMIC_ACQUIRE);
	(*cp)->began = private_began(a);
	return 0;
}

int cpa_open(cpa **cp, const char *where)
{
	return cpa_open_named(cp, where, NULL, 0);
}

void cpa_close(cpa *cp)
{
	if (!cp)
		return;
	regions_free(cp);
	routes_free(cp);
	memos_free(cp);
	life_free(cp);
	arena_unmap(cp->arena);
	free(cp);
}
