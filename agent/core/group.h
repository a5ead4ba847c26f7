/* Groups of ranks: what a job asks about one, and how the ranks of one are named. */
#ifndef CPA_CORE_GROUP_H
#define CPA_CORE_GROUP_H

#include "agent/core/words.h"

enum { GROUP_RANKS_MAX = 4096, GROUP_KEY = 256 /* a key, with its NUL */ };

struct group_question {
	char group[CORE_NAME]; /* "": the job's own */
	char key[GROUP_KEY];   /* "": every key */
};

/* "GROUP\nKEY" as a job left it: any bytes, terminated. False: that is no question. */
bool group_parse(const char *text, struct group_question *out);

/* What of a job's choices makes it a rank: all four, or none of them. NULL: it is all right; else a sentence. */
const char *group_unfit(const char *group, uint32_t rank, uint32_t ranks, const char *launch);

#endif
