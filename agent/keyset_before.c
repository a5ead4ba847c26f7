/* Owns what of a keyset can be taken over from the one before: which keys are of the same version, and which keep
 * their place. */
#include <stdlib.h>
#include <string.h>

#include "agent/keyset_impl.h"
#include "lib/base/scoped.h"

bool keyset_same_version(const struct arena_key *now, const Cpa__Key *old)
{
	return now->version == old->version && now->incarnation == old->incarnation &&
	       now->time_ns == old->time_ns && now->bytes == old->bytes && now->how == old->how &&
	       now->n == old->n_vars;
}

static bool fits_place(const struct arena_key *now, const Cpa__Key *old)
{
	return keyset_is_large(now->bytes) == keyset_is_large(old->bytes) &&
	       keyset_span(now->bytes) == keyset_span(old->bytes);
}

/* Both lists are in the order of the names. */
int keyset_match(struct build *b, const struct arena_keys *keys, const struct keyset_larges *larges, struct err *e)
{
	size_t n_old = b->old ? b->old->n_keys : 0, at = 0;
	scoped_free struct keyset_large **known = calloc(n_old + 1, sizeof *known);
	b->entry = calloc(keys->n + 1, sizeof *b->entry);
	b->larges.l = calloc(keys->n + 1, sizeof *b->larges.l);
	if (!known || !b->entry || !b->larges.l)
		return err_set(e, ERR_FAILED, "out of memory");
	b->n = keys->n;
	for (size_t i = 0; larges && i < larges->n; i++)
		known[larges->l[i].key] = &larges->l[i];
	for (size_t i = 0; i < keys->n; i++) {
		struct entry *n = &b->entry[i];
		int c = -1;
		n->now = &keys->key[i];
		while (at < n_old && (c = strcmp(b->old->keys[at]->key, n->now->key)) < 0)
			at++;
		if (at == n_old || c != 0)
			continue;
		n->old = b->old->keys[at];
		n->before = known[at];
		n->same = keyset_same_version(n->now, n->old);
		n->placed = !b->afresh && fits_place(n->now, n->old);
	}
	return 0;
}

/* What a seal vouches for was made by this file: but not by every version of it. */
bool keyset_laid_out(const Cpa__Keyset *old)
{
	uint64_t size = old->values ? old->values->size : 0;
	if (size % CHUNK_BYTES)
		return false;
	for (size_t i = 0; i < old->n_keys; i++) {
		const Cpa__Key *k = old->keys[i];
		uint64_t end = k->offset % CHUNK_BYTES + k->bytes;
		if (k->offset % (keyset_is_large(k->bytes) ? CHUNK_BYTES : KEYSET_ALIGN) ||
		    (!keyset_is_large(k->bytes) && end > CHUNK_BYTES) ||
		    k->offset + keyset_span(k->bytes) > size ||
		    (i > 0 && strcmp(old->keys[i - 1]->key, k->key) >= 0))
			return false;
	}
	return true;
}

bool keyset_unchanged(const struct arena_keys *keys, const Cpa__Keyset *old)
{
	if (!old || keys->n != old->n_keys)
		return false;
	for (size_t i = 0; i < keys->n; i++)
		if (strcmp(keys->key[i].key, old->keys[i]->key) != 0 ||
		    !keyset_same_version(&keys->key[i], old->keys[i]))
			return false;
	return true;
}
