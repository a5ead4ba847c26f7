/* cpagent.h: checkpoints from inside a program. Link with -lcpagent; see cpagent(3).
 *
 *	cpa *cp;
 *	int step = 0;
 *	double u[N];
 *
 *	cpa_open(&cp, NULL);
 *	cpa_restore(cp, "state", 0, CPA_VAR(step), CPA_ARRAY(u, N));
 *	for (; step < STEPS; advance(u), step++)
 *		if (step % 100 == 0)
 *			cpa_checkpoint(cp, "state", 1, CPA_VAR(step), CPA_ARRAY(u, N));
 *	cpa_close(cp);
 *
 * Under `cpagent run` an agent keeps the checkpoints and carries them to other machines; without it they lie in a
 * file of the program's own. Functions return 0 (or a count), or a negative cpa_error. A program may fork(): the
 * children share the handle. Threads may share it too. */
#ifndef CPAGENT_H
#define CPAGENT_H

#include "cpagent/var.h"

#ifdef __cplusplus
extern "C" {
#endif

enum cpa_error {
	CPA_OK = 0,
	CPA_ERR_ARG = -1,      /* an argument is NULL, empty or out of bounds */
	CPA_ERR_KEY = -2,      /* no checkpoint under that key */
	CPA_ERR_VAR = -3,      /* a variable differs in type or count, or is not in the checkpoint */
	CPA_ERR_FULL = -4,     /* the arena's budget, or the memory behind it, is spent; nothing was lost */
	CPA_ERR_CORRUPT = -5,  /* no version of the key is whole */
	CPA_ERR_BROKEN = -6,   /* the arena is damaged, or no arena */
	CPA_ERR_FORMAT = -7,   /* the arena has another format version */
	CPA_ERR_LEVEL = -8,    /* that level does not hold it, or no agent is there to carry it */
	CPA_ERR_TIMEOUT = -9,  /* it did not happen in time */
	CPA_ERR_BUSY = -10,    /* the key is being written by the code that this call interrupted */
	CPA_ERR_DENIED = -11,  /* not permitted: another user's arena, or a read-only one */
	CPA_ERR_MEMORY = -12,  /* out of memory */
	CPA_ERR_SYSTEM = -13,  /* the system refused something; cpa_strerror() says what */
	CPA_ERR_REGION = -14,  /* a protected region was moved or freed, or there is none of that name */
};

/* A sentence for a code. For the code that the calling thread got last, it says what it was about (the key, the
 * variable, the file). Valid until the thread's next call. */
CPA_API const char *cpa_strerror(int code);

typedef struct cpa cpa;

/* Open this job's arena. where: NULL for the one the launcher made ($CPAGENT_ARENA), or without a launcher a
 * private one of this program, which its next run finds again (NAME.arena in $XDG_STATE_HOME/cpagent, else in
 * ~/.local/state/cpagent); a directory, made if need be, for a private arena there; an arena file (no directory is made
 * whose name ends in ".arena"). *cp is owned by the caller. A private arena that another user put there is not used, an
 * arena file only if it is this user's or root's (root: anybody's); one that may only be read can only be restored from.
 * CPA_ERR_DENIED, CPA_ERR_BROKEN, CPA_ERR_FORMAT, CPA_ERR_FULL (no room to make it), CPA_ERR_MEMORY (no address space),
 * CPA_ERR_SYSTEM. */
CPA_API int cpa_open(cpa **cp, const char *where);

/* The same under a name of one's own instead of the program's (an interpreter runs many), and with a budget in bytes
 * (0: half of the machine's memory; 64 KiB to 512 GiB) for an arena that has to be made. Where a launcher made one, both
 * are ignored. name: a file name, at most 200 bytes, without control characters; NULL: the program's. */
CPA_API int cpa_open_named(cpa **cp, const char *where, const char *name, uint64_t budget);

/* Close it; what was checkpointed stays. NULL is allowed. */
CPA_API void cpa_close(cpa *cp);

/* Commit vars as the next version of key: all of them, or on an error none. The version before stays until then,
 * and survives the caller's death at any instruction. key: UTF-8, 1 to 255 bytes.
 * level: 1 returns as soon as this node holds it; n > 1 also asks for it to be carried up to level n (see
 * cpa_wait(); the program may end meanwhile); 0 is 1. Keys that begin with "memo:" are the library's own. Call it through
 * cpa_checkpoint(). */
CPA_API int cpa_checkpoint_vars(cpa *cp, const char *key, int level, const struct cpa_var *vars, size_t n);

/* Copy the newest version of key into vars. They are found by name (else by position) and must agree in type and
 * count; CPA_ERR_VAR: one does not, cpa_strerror() names it, nothing was written. level: 0 for the newest version,
 * from the nearest level that has it; n for the newest that level n holds (1: this node). What is not here the agent
 * brings, within a minute: CPA_ERR_TIMEOUT; CPA_ERR_LEVEL: that level does not hold it, or no agent is there.
 * Returns 0, or how many newer versions were damaged and passed over. CPA_ERR_CORRUPT: every version is damaged; what
 * the variables hold is undefined. */
CPA_API int cpa_restore_vars(cpa *cp, const char *key, int level, const struct cpa_var *vars, size_t n);

/* The same for one version of those that are kept (see cpa_keep()), from this node. CPA_ERR_KEY: it is not there. */
CPA_API int cpa_restore_version(cpa *cp, const char *key, uint64_t version, const struct cpa_var *vars, size_t n);

/* Keep that many versions of key from now on, 1 to 63 (default 1, the last); the key need not exist yet. Fewer than
 * there are forgets the oldest. One more may be found until it is written over. CPA_ERR_FULL. */
CPA_API int cpa_keep(cpa *cp, const char *key, int versions);

/* Wait until the version of key that is the newest now is held by that level or a higher one.
 * timeout_s: seconds, negative for ever. CPA_ERR_TIMEOUT, CPA_ERR_LEVEL (no agent), CPA_ERR_KEY. */
CPA_API int cpa_wait(cpa *cp, const char *key, int level, double timeout_s);

/* What is checkpointed: the newest version of every key. */
struct cpa_entry {
	const char *key;
	uint64_t version; /* grows with each checkpoint of the key: by one, unless ranks went back (cpagent/group.h) */
	int level;        /* highest level that holds this version */
	uint64_t bytes;   /* of data */
	int64_t time_ns;  /* since 1970 */
	size_t n;
	const struct cpa_var *vars; /* names, types and counts; data is NULL */
	const char *how;            /* "" for variables, "whole copy" or "dirty pages" for protected regions */
};

/* All keys of this node, sorted, without memos: returns their number, *list (NULL for none) freed with cpa_list_free(). */
CPA_API int cpa_list(cpa *cp, struct cpa_entry **list);

/* One key, on this node: tells what it holds before it is restored, so that a caller can allocate. *entry freed with
 * cpa_list_free(). CPA_ERR_KEY. */
CPA_API int cpa_query(cpa *cp, const char *key, struct cpa_entry **entry);
CPA_API void cpa_list_free(struct cpa_entry *list);

/* Forget a key; with NULL, every key (but no memo, see cpagent/memo.h). */
CPA_API int cpa_reset(cpa *cp, const char *key);

#define CPA_KEY_MAX 255
/* The work of CPA_KEY(): "FILE_FUNCTION_ARGS" into buf of CPA_KEY_MAX + 1. Returns buf. */
CPA_API const char *cpa_key_join(char *buf, const char *file, const char *function, const char *args);

#if !defined(__cplusplus) && defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L

/* cpa_checkpoint(cp, key, level, CPA_VAR(step), CPA_ARRAY(u, n)), and the same for cpa_restore() */
#define cpa_checkpoint(cp, key, level, ...)                                   \
	cpa_checkpoint_vars(cp, key, level, (const struct cpa_var[]){__VA_ARGS__}, \
			    sizeof((const struct cpa_var[]){__VA_ARGS__}) / sizeof(struct cpa_var))
#define cpa_restore(cp, key, level, ...)                                   \
	cpa_restore_vars(cp, key, level, (const struct cpa_var[]){__VA_ARGS__}, \
			 sizeof((const struct cpa_var[]){__VA_ARGS__}) / sizeof(struct cpa_var))

/* "file_function_a_b_123" for CPA_KEY(a, b, 123): the words as they stand. */
#define CPA_KEY(...) cpa_key_join((char[CPA_KEY_MAX + 1]){0}, __FILE__, __func__, #__VA_ARGS__)

#endif

#ifdef __cplusplus
}
#endif

#include "cpagent/file.h"
#include "cpagent/group.h"
#include "cpagent/job.h"
#include "cpagent/memo.h"
#include "cpagent/protect.h"

#endif
