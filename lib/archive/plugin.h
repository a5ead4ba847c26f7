/* libcpagent-archive.so: archives for libcpagent, which loads it at the call because it depends on nothing but libc
 * itself. Both are of one build: abi says so. */
#ifndef CPA_ARCHIVE_PLUGIN_H
#define CPA_ARCHIVE_PLUGIN_H

#include <stddef.h>

#include "lib/arena/arena.h"

#define ARCHIVE_PLUGIN "libcpagent-archive.so.1"
#define ARCHIVE_PLUGIN_SYMBOL "cpagent_archive"
#define ARCHIVE_PLUGIN_ABI (1u << 24 | ARENA_FORMAT << 16 | (unsigned)sizeof(struct arena))
#define ARCHIVE_WHY_MAX 480

/* What is wanted of it. wish: as enum archive_wish: 0 not this key, 1 it must, 2 unless it is damaged. */
struct archive_job {
	struct arena *arena;
	const char *file, *program, *host, *job;
	int (*wish)(const char *key);
	unsigned long long needs;   /* out: as archive_load_arena() says */
	char why[ARCHIVE_WHY_MAX];  /* out */
};

/* Both return a number of keys, or a negative errno value as archive_arena.h says. */
struct archive_plugin {
	unsigned abi;
	int (*save)(struct archive_job *job);
	int (*load)(struct archive_job *job);
};

#endif
