/* What the parts of libcpagent share: the handle, and how an error becomes a sentence. */
#ifndef CPA_HOOKS_INTERNAL_H
#define CPA_HOOKS_INTERNAL_H

#include "hooks/cpagent.h"
#include "lib/arena/arena.h"

struct cpa {
	struct arena *arena;
};

/* Keep a sentence for cpa_strerror() in this thread; returns code. */
int fail(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The same for what lib/arena returned, about `what` ("key state"). 0 and counts pass. */
int fail_arena(int rc, const char *what, const char *name);

/* ---- place.c: where an arena lies ---- */
#define PLACE_MAX 4096

/* The arena that cpa_open(where) means, made if it is a private one that does not exist yet. */
int place_find(char path[PLACE_MAX], const char *where);

#endif
