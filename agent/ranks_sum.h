/* What ranks have, added up: whole versions of keys, as the verb `versions` tells of them. */
#ifndef CPA_AGENT_RANKS_SUM_H
#define CPA_AGENT_RANKS_SUM_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct arena_has;

struct ranks_sum {
	json_t *keys;          /* owned: a key's name -> its number */
	struct arena_has *has; /* owned */
	uint64_t n, size;
	uint64_t newest; /* that any rank has committed, whole or not; 0: none */
};

bool ranks_sum_open(struct ranks_sum *s); /* false: out of memory */
void ranks_sum_free(struct ranks_sum *s);
void ranks_sum_clear(struct ranks_sum *s);

/* One rank's keys: [{"key","versions":[],"newest"}]. They come from another agent: what makes no sense is left
 * out. False: it is too much. */
bool ranks_sum_add(struct ranks_sum *s, uint32_t rank, const json_t *keys);

/* The newest version that all ranks have of all keys, 0: none. It takes a while: for a worker. */
uint64_t ranks_sum_common(struct ranks_sum *s, uint32_t ranks);

#endif
