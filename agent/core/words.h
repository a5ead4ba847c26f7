/* What every module of core shares: sizes of names, times, and the choices a user makes for a job.
 * core is pure: no system calls, no clock, no randomness. Time is an argument (int64_t nanoseconds of
 * CLOCK_BOOTTIME unless a comment says otherwise), decisions come back as results and actions. */
#ifndef CPA_CORE_WORDS_H
#define CPA_CORE_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	CORE_NAME = 65,    /* an agent's or job's name, with its NUL */
	CORE_UUID = 37,    /* a job's UUID as text, with its NUL */
	CORE_URL = 129,    /* where an agent is reached, with its NUL */
	CORE_WHY = 192,    /* a sentence for the operator, with its NUL */
	CORE_PARENTS = 8,  /* parents an agent may be configured with */
	CORE_SPARES = 4,   /* --spares a job may name */
	CORE_SESSION = 16, /* random bytes, new with each life of an agent */
};

#define CORE_MS INT64_C(1000000)
#define CORE_S INT64_C(1000000000)
#define CORE_NEVER INT64_MAX

enum restart_policy { RESTART_TRANSIENT, RESTART_PERMANENT, RESTART_TEMPORARY };
enum restart_mode { MODE_AUTO, MODE_PROCESS, MODE_KEYED };
enum files_mode { FILES_TRACK, FILES_SHARED, FILES_CARRY };
enum strategy { ONE_FOR_ONE, ONE_FOR_ALL, REST_FOR_ONE };

/* How a process ended: signal 0 means that it exited with code. */
struct ending {
	int32_t code;
	int32_t signal;
};

/* What a node offers, and what a job (or its images) needs of one. */
struct machine {
	char arch[16];        /* "x86_64"; "" in a need: any */
	uint64_t features[4]; /* CPU features as a bit mask; a node fits when it has all that are needed */
	uint64_t memory;      /* bytes: total of a node, expected use of a job (0: unknown) */
	uint32_t cpus;        /* 0 counts as 1 */
};

/* The words of the user interface for these, and back: false for a word that is none of them. */
const char *restart_policy_name(enum restart_policy p);
const char *restart_mode_name(enum restart_mode m);
const char *files_mode_name(enum files_mode f);
const char *strategy_name(enum strategy s);
bool restart_policy_parse(const char *word, enum restart_policy *out);
bool restart_mode_parse(const char *word, enum restart_mode *out);
bool files_mode_parse(const char *word, enum files_mode *out);
bool strategy_parse(const char *word, enum strategy *out);

/* Copy a name into a field of size bytes, cut to fit, always terminated. */
void core_copy(char *to, size_t size, const char *from);

#endif
