/* What a restart uses: from everything that is held of a job, the order in which to try.
 * Newest first (incarnation, then time), nearest level on ties; a broken copy never; a generation whose restore
 * crashed twice only after the ones before it; a start anew when nothing else is left. */
#ifndef CPA_CORE_SOURCE_H
#define CPA_CORE_SOURCE_H

#include "agent/core/words.h"

enum source_kind { SOURCE_SNAPSHOT, SOURCE_KEYS, SOURCE_ANEW };
const char *source_kind_name(enum source_kind k);

enum { SOURCE_CRASHES = 2 };

/* One copy of one generation, or of a job's keyed checkpoints as of some version, at one agent. */
struct holding {
	enum source_kind kind;
	int level;
	char holder[CORE_NAME];
	uint64_t number;      /* generation, or the newest key version in it */
	uint32_t incarnation; /* that made it */
	int64_t time;         /* CLOCK_REALTIME ns when it was taken */
	uint64_t bytes;
	bool reachable, bad;  /* bad: its checksums were checked and do not fit */
	uint32_t crashes;     /* restores of this generation that ended in a crash at once */
};

struct source {
	enum source_kind kind;
	const struct holding *from; /* NULL for SOURCE_ANEW */
};

struct source_wish {
	enum restart_mode mode;
	bool by_keys;        /* the program has said that it restores by keys */
	int level;           /* only from this level; 0: any */
	uint64_t generation; /* only this snapshot; 0: any */
};

/* Fills out (room for n + 1) and returns how many. The last is SOURCE_ANEW unless a level or a generation was named. */
size_t source_order(const struct source_wish *wish, const struct holding *h, size_t n, struct source *out);

#endif
