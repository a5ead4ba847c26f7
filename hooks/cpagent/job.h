/* cpagent/job.h: a program and its agent: callbacks, when to checkpoint, snapshots of itself, intervals, archives.
 * Included by cpagent.h. */
#ifndef CPAGENT_JOB_H
#define CPAGENT_JOB_H

#ifdef __cplusplus
extern "C" {
#endif

/* How this life of the program began. */
enum cpa_began {
	CPA_FRESH = 0,         /* the first start, or nothing to restore from */
	CPA_FROM_SNAPSHOT = 1, /* the process itself came back */
	CPA_FROM_KEYS = 2,     /* started anew; its keys are there */
};

/* 0 on the first start; grows by one with each restart or restore. *how (may be NULL) is this one's cpa_began. Without an
 * agent nobody counts: always 0, and CPA_FROM_KEYS when the private arena held keys as it was opened. */
CPA_API int cpa_incarnation(cpa *cp, enum cpa_began *how);

/* Call fn at once, and say that this program can go on from its keys: its job may be restarted by starting the command
 * anew. fn learns how this life began; CPA_FROM_KEYS: restore. Returns what fn returns (0 or a cpa_error). */
typedef int cpa_init_fn(cpa *cp, enum cpa_began how, void *arg);
CPA_API int cpa_on_init(cpa *cp, cpa_init_fn *fn, void *arg);

/* Call fn before this process ends, once: at exit() or return from main (signal 0), on SIGTERM, and on SIGSEGV, SIGBUS,
 * SIGFPE, SIGILL and SIGABRT, after which the signal does what it did before: a handler that was installed earlier
 * runs, else the process ends by the signal. (SIGTERM that was ignored stays so; a handler that the program installs
 * later replaces this.) SIGKILL, _exit() and exec call nothing. Later calls add: the last one registered runs first. At most
 * 16 in a process; a handle's go with cpa_close(); a fork()ed child has none.
 *
 * On a signal fn runs in its handler, in whichever thread got it, while the others go on. Safe there: cpa_checkpoint() with
 * level 1 of keys that the interrupted code was not in the middle of writing (CPA_ERR_BUSY then, and rarely for another
 * key, when it was making room), of data that it was not in the middle of changing. Not safe: malloc(), stdio, locks,
 * and everything else that signal-safety(7) does not list; cpa_checkpoint_protected(), memos and files, which allocate.
 * After a fatal signal the data may be wrong: use a key of its own for them, so that the good version before stands.
 * The thread that registers gets a signal stack if it has none, so that fn runs when the stack is full; in other threads
 * only if they made one (sigaltstack(2)). */
typedef void cpa_term_fn(cpa *cp, int signal, void *arg);
CPA_API int cpa_on_term(cpa *cp, cpa_term_fn *fn, void *arg);

/* Call fn after this process was restored from a snapshot, from within the first call of this library that notices
 * (in the thread that makes it). At most 16. Each process of a restored job is told by itself; a fork()ed child calls its
 * parent's, too. */
typedef void cpa_restart_fn(cpa *cp, int incarnation, void *arg);
CPA_API int cpa_on_restart(cpa *cp, cpa_restart_fn *fn, void *arg);

/* Is a checkpoint due? 1 yes, 0 no. Due by cpa_set_due(); without it by the cost of the checkpoints that this handle has
 * taken and the mean time between failures (Young's interval with Daly's correction). The first one is due at once, and so is
 * one after a restore from a snapshot. All that is checkpointed between two that are due counts as one. Of several
 * threads that ask at once, one is told yes; forked processes reckon each for itself. A few nanoseconds: call it in every
 * iteration. */
CPA_API int cpa_should_checkpoint(cpa *cp);

/* every_s: seconds from one checkpoint to the next; 0: by cost and failure rate. mtbf_s: mean seconds between failures; 0:
 * what the agent has seen, else $CPAGENT_MTBF ("6h"), else a day. Counts from the checkpoint that was announced last. */
CPA_API int cpa_set_due(cpa *cp, double every_s, double mtbf_s);

/* The interval that cpa_should_checkpoint() goes by now, in seconds. */
CPA_API double cpa_get_due(cpa *cp);

/* Ask the agent for a process snapshot of this job, and wait for it. Returns twice, like fork(): CPA_TAKEN in the process
 * that asked, *generation (may be NULL) being the snapshot's number; CPA_RESTORED in the one that came back from it.
 * CPA_ERR_LEVEL (no agent), CPA_ERR_TIMEOUT, CPA_ERR_SYSTEM (it failed; cpa_strerror() says why). */
enum { CPA_TAKEN = 0, CPA_RESTORED = 1 };
CPA_API int cpa_snapshot(cpa *cp, uint64_t *generation, double timeout_s);

/* This job's own intervals of updates (to the level above) and saves (to disk there), in seconds; 0: as the agents are
 * configured. Without an agent they are kept and do nothing. */
CPA_API int cpa_set_interval(cpa *cp, double update_s, double save_s);
CPA_API int cpa_get_interval(cpa *cp, double *update_s, double *save_s);

/* Periodic updates and saves of this job on, or off: then only what is asked for is carried up. */
CPA_API int cpa_start(cpa *cp);
CPA_API int cpa_stop(cpa *cp);

/* Register this job's agent with a higher one (tcp://HOST:PORT). Only the superuser and the agent's own user may.
 * CPA_ERR_LEVEL (no agent), CPA_ERR_DENIED, CPA_ERR_TIMEOUT, CPA_ERR_SYSTEM. */
CPA_API int cpa_register(cpa *cp, const char *url, double timeout_s);

/* Write every key (and memo) into one archive, a .tar.zst that standard tools open; complete or not at all. Take the
 * keys of an archive: each becomes the next version of its key, if it has not that content already. Both return the number of
 * keys. They need libarchive on the machine, loaded when they are called. CPA_ERR_SYSTEM, CPA_ERR_CORRUPT, CPA_ERR_FULL. */
CPA_API int cpa_save(cpa *cp, const char *file);
CPA_API int cpa_load(cpa *cp, const char *file);

#ifdef __cplusplus
}
#endif

#endif
