/* See ahead.h. */
#include "agent/ahead.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/scoped.h"

#define KEEP 2

/* Is there a version in past that the newest has not come to? Both lists are in the order of their names; a key
 * that is gone from the newest may still be committed again. */
static bool any_ahead(const Cpa__Keyset *past, const Cpa__Keyset *newest)
{
	for (size_t i = 0, at = 0; i < past->n_keys; i++) {
		int c = -1;
		while (at < newest->n_keys && (c = strcmp(newest->keys[at]->key, past->keys[i]->key)) < 0)
			at++;
		if (at == newest->n_keys || c != 0 || newest->keys[at]->version < past->keys[i]->version)
			return true;
	}
	return false;
}

static bool still_ahead(struct store *s, const char *job, uint64_t ahead)
{
	struct store_item item;
	struct manifest past, newest;
	if (!store_newest(s, job, CPA__WHAT__KEYSET, &item) || item.number <= ahead ||
	    store_manifest_open(s, job, CPA__WHAT__KEYSET, ahead, &past, NULL) < 0)
		return false;
	bool is = store_manifest_open(s, job, CPA__WHAT__KEYSET, item.number, &newest, NULL) == 0;
	if (is) {
		is = any_ahead(past.keys, newest.keys);
		manifest_free(&newest);
	}
	manifest_free(&past);
	return is;
}

void ahead_keep(struct store *s, const char *job, uint64_t ahead)
{
	scoped_free struct store_item *items = NULL;
	size_t n = 0, keysets = 0;
	if (!ahead || !still_ahead(s, job, ahead)) {
		store_keep(s, job, CPA__WHAT__KEYSET, KEEP, NULL);
		return;
	}
	if (store_list(s, job, &items, &n, NULL) < 0)
		return;
	for (size_t i = 0; i < n; i++) /* the newest first */
		if (items[i].what == CPA__WHAT__KEYSET && ++keysets > KEEP && items[i].number != ahead)
			store_drop(s, job, CPA__WHAT__KEYSET, items[i].number, NULL);
}
