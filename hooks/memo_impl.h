/* What the files of memoization share. Keys in the arena:
 *
 *   memo:NAME:HASH  a result: the outputs, and with CPA_MEMO_COMPARE the inputs as "in:0", "in:1", …
 *   memo:NAME:      hits and misses of a name
 *   memo:           bytes and number of all results, as far as it is known: what a limit is compared with
 *
 * HASH is 32 hexadecimal digits, so a result never ends with ':' and the others do, whatever the name. Numbers are
 * changed by committing the version behind the one that was read, which only one process can do; so they are right
 * with many processes and survive any death. */
#ifndef CPA_HOOKS_MEMO_IMPL_H
#define CPA_HOOKS_MEMO_IMPL_H

#include "hooks/internal.h"
#include "lib/arena/walk.h"

#define MEMO_PREFIX_BYTES (sizeof MEMO_PREFIX - 1)
#define MEMO_NAME_MAX 200
#define MEMO_HASH_BYTES 32
#define MEMO_INPUT "in:"

struct memo_switch;

/* The handle's part: made at the first call, by whichever thread is first. */
struct memos {
	uint64_t limit;              /* CPA_MEMO_LIMIT */
	uint32_t compare;            /* CPA_MEMO_COMPARE */
	uint32_t all;                /* how often all names were switched, << 1 | on */
	struct memo_switch *switches; /* names that were switched by themselves; only ever grows */
};

/* ---- memo_switch.c ---- */

/* The handle's part; NULL: out of memory. */
struct memos *memos_of(cpa *cp);
int memos_on(struct memos *ms, const char *name);

/* ---- memo_key.c ---- */

/* The key of a result into key; and a name's own key. */
void memo_key(char key[CPA_KEY_MAX + 1], const char *name, const struct cpa_var *in, size_t n_in,
	      const struct cpa_var *out, size_t n_out);
void memo_count_key(char key[CPA_KEY_MAX + 1], const char *name);

/* The length of the name in a key: of a result (*result = 1) or of a name's numbers. 0: neither. */
size_t memo_name_in(const char *key, int *result);

/* Two arrays, as far as they are data: x87 numbers have 6 bytes of nothing behind 10. */
int memo_same(uint32_t type, uint64_t count, const void *a, const void *b);

/* ---- memo_count.c ---- */

/* Add to two numbers under a key, never below 0; *now (may be NULL) is what they are then. -ENOENT: they are not
 * there, and were not made, because make is 0. */
int memo_add(cpa *cp, const char *key, int make, const int64_t add[2], uint64_t now[2]);
int memo_numbers(cpa *cp, const char *key, uint64_t now[2]);
void memo_counted(cpa *cp, const char *name, int hit);

/* ---- memo_evict.c ---- */

/* A result was committed: count it in, and keep to the limit. */
void memo_grown(cpa *cp, uint64_t limit, int64_t bytes, int64_t results);

/* Count all results, and forget the least recently used until they fit into limit (0: all fit). */
int memo_fit(cpa *cp, uint64_t limit);

#endif
