/* Where a restore finds a version: here, or with a level above. restore.c decides, its callers copy. */
#ifndef CPA_HOOKS_RESTORE_H
#define CPA_HOOKS_RESTORE_H

#include "hooks/internal.h"

/* How a version is copied out of whichever arena has it. take() returns what arena_get() does; version 0: the
 * newest. */
struct taker {
	int (*take)(struct taker *t, struct arena *a, const char *key, uint64_t version);
};

/* Find key's version for level and let t take it. As cpa_restore_vars(); after CPA_ERR_VAR take() knows better why: it
 * returned -EMEDIUMTYPE. */
int find_version(cpa *cp, const char *key, int level, struct taker *t);

/* The same for a program that restores: it can be started anew from its keys. */
int restore_with(cpa *cp, const char *key, int level, struct taker *t);

/* The same from the agent: the newest version that level (0: the nearest) has. -ENOENT: none does; -EBADE: *answer says
 * why not; else as arena_ask() and take(). */
struct arena_ask;
int fetch(cpa *cp, uint32_t level, const char *key, struct taker *t, uint64_t *version, struct arena_ask *answer);

#endif
