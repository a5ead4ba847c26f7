/* The jobs of this node: what is known of each, where it lies on disk, and the one way a state changes.
 *
 * On disk, so that an agent that is killed at any moment finds its jobs again (RUN and STATE as configured):
 *   RUN/jobs/UUID/spec         the packed Spec
 *   RUN/jobs/UUID/local        the packed Local, written aside at every change of state
 *   RUN/jobs/UUID/job/         bound into the job: arena, bell, exit, cpinit
 *   RUN/jobs/UUID/img.K/       image directories, used in turn; one with a `.manifest` is a complete generation
 *   RUN/jobs/UUID/keys/        the newest two keysets' manifests; chunks/: what a parent may still fetch of them
 *   STATE/jobs/UUID/log/       bound into the job: stdout, stderr
 */
#ifndef CPA_AGENT_JOBS_H
#define CPA_AGENT_JOBS_H

#include <stdatomic.h>

#include <uv.h>

#include "agent/agent.h"
#include "agent/core/interval.h"
#include "agent/core/job.h"
#include "agent/core/registry.h"
#include "agent/core/supervise.h"
#include "agent/core/turns.h"
#include "agent/ports/cgroup.h"
#include "lib/arena/format.h"
#include "lib/wire/cpagent.pb-c.h"

enum {
	JOBS_KEEP_MAX = 14,    /* --keep at most */
	JOBS_HISTORY_MAX = 64, /* generations that `history` remembers */
	JOBS_ENDED_MAX = 256,  /* ended jobs that are remembered */
};

/* A complete generation in an image directory of this node. */
struct gen {
	uint64_t number;
	unsigned slot;  /* img.SLOT */
	uint32_t level; /* the highest level known to hold it */
	bool bad;
	int64_t fetched_until; /* a parent was fetching it a moment ago: not to be overwritten before */
	Cpa__Generation *g;    /* owned */
};

/* Something that the job asked for and that its handler has not yet answered; asks.c. */
struct ask_flight {
	bool busy;
	uint32_t asked, incarnation;
};

/* A key of a keyset that has chunks of its own; keyset.c. */
struct arena_pieces;
struct keyset_large {
	uint64_t first, chunks;
	size_t key;                /* which of the keyset's */
	struct arena_pieces *sums; /* owned: its checksums in the arena; NULL: not known */
	struct keyset_large *from; /* while the keyset is made: in the one before, whose sums it takes over */
};
struct keyset_larges {
	struct keyset_large *l; /* owned */
	size_t n;
};

struct job {
	struct job *next;
	struct agent *agent;
	Cpa__Spec *spec; /* owned; constant */
	const char *id;  /* spec->job */
	char dir[FS_PATH_MAX], job_dir[FS_PATH_MAX], log_dir[FS_PATH_MAX];

	enum job_state state;
	uint32_t incarnation;
	struct ending ending;
	char why[CORE_WHY]; /* the reason of the last change; "" */
	pid_t pid;          /* its pid 1; 0: none */
	int pidfd;          /* -1: none */
	uv_poll_t *watch;   /* on pidfd */
	struct bell *bell;  /* bell.c */
	struct ask_flight asking[ARENA_ASKS];
	struct turn shot_turn; /* of snapshots that it asks for itself; ask_snapshot.c */
	uint32_t shot_level;   /* to which it wants that which it waits for to be carried */
	int64_t asks_due;             /* when its mailbox is looked into without a bell */
	enum arena_periodic periodic; /* job_intervals.c */
	struct interval update, save; /* its own; off: as its agents are configured */
	bool saving;                  /* the levels above were asked to */
	uint32_t wish;   /* the highest level its keys are asked for and not yet on; wishes.c; 0: none */
	bool keys_asked; /* its program asked for keys to be carried up: they outlive it there */
	uint64_t wishes; /* which they are, as a digest */
	int64_t wish_due, wish_pause; /* when that is asked for again, and how long after */
	int64_t fetched_until;        /* what it asked for lies beside its arena until then; 0: nothing does */
	uint64_t fetched_bytes;       /* … and takes at most so much */
	int64_t started_ns;           /* CLOCK_BOOTTIME of this incarnation's start */
	bool cgroup_gone;             /* of an ended job: removed */
	bool died;                /* its pid 1 is gone, and that is not yet dealt with: a worker is on the job */
	struct start_from *again; /* owned: what its user ordered it to be run from, once it is dead */
	bool stopping;            /* its user wants it ended */
	int64_t end_asked_ns;     /* when a signal from its terminal asked it to end; 0: none did */
	atomic_bool disowned;     /* kill, and tell nobody */
	int64_t kill_at;          /* when a stop stops being polite; 0: not asked */
	int64_t restart_at;       /* a restart is due; 0: none */

	bool keyset_busy;    /* a worker thread copies its keys */
	uint32_t want_level; /* a level above the spec's that somebody asked for */
	bool busy;           /* a worker thread is on it: gens, slots and files are its own until it is done */
	struct gen gens[JOBS_KEEP_MAX + 2];
	size_t n_gens;                        /* oldest first */
	Cpa__Past *history[JOBS_HISTORY_MAX]; /* owned, oldest first */
	size_t n_history;
	uint64_t last_generation;
	uint64_t crashed; /* the generation whose restores died at once, and how often: also of copies elsewhere */
	uint32_t crashes;
	uint64_t restored_from; /* the generation this incarnation goes on from; 0: none */

	uint64_t last_keyset; /* serial of the newest keyset made here */
	unsigned keyset_slot;
	uint64_t keyset_changes; /* digest of the versions in it */
	Cpa__Keyset *keyset;     /* owned; NULL: none made yet */
	struct keyset_larges keyset_larges; /* its large keys */
	bool keyset_whole; /* somebody asked for a chunk in vain: the next one is to have copies of all */
	uint32_t keyset_level;   /* the highest level that holds keyset_held */
	uint64_t keyset_held;
	uint64_t ahead;              /* a keyset above that a process restore fell behind; 0: none */
	uint64_t keyset_base;        /* what was made up to here is of the life before a process restore */
	uint64_t n_keys, keys_bytes; /* as last looked at, for ps */
	bool by_keys;

	struct interval every;
	struct supervise supervise;
	uint32_t failures;     /* of its own, on this node; job_mtbf.c */
	int64_t ran_ns;        /* here, before this incarnation */
	struct wanted *wanted; /* snapshots asked for and not yet taken */
	Cpa__Holding **held;   /* copies elsewhere that its parents told of; owned */
	size_t n_held;

	/* what the registry has not yet acknowledged */
	bool tell_due;
	enum report tell_what;
	bool detail_due;
	bool telling;
	struct running *launching; /* the verb run that waits for its start; verbs_run.c */
	int launch_status;         /* of a first start that failed: 125 to 127; else 0 */
};

struct jobs {
	struct agent *agent;
	struct job *first;
	size_t count;
	uv_timer_t tick;
	int64_t fence_due;
	int fence_trouble; /* what was last logged of cpfence */
};

/* Find the jobs of an earlier life of this agent; what becomes of them is for jobs_adopt(), when everything else
 * is open. */
int jobs_open(struct agent *a, struct err *e);
void jobs_close(struct agent *a);

struct job *jobs_find(struct agent *a, const char *uuid);
/* By UUID, its unique prefix, or name; only those of uid, or all for root. ERR_NOT_FOUND, ERR_DENIED, ERR_FAILED
 * (ambiguous). */
int jobs_resolve(struct agent *a, const char *word, uid_t uid, struct job **out, struct err *e);

/* A record for a job that is about to start here; spec is adopted, even on failure. *out is borrowed from the
 * table. Its directories exist and its spec is on disk when this returns 0. */
int jobs_add(struct agent *a, Cpa__Spec *spec, uint32_t incarnation, enum job_state state, struct job **out,
             struct err *e);
/* Forget it: processes must be gone. Removes its directories. */
void jobs_remove(struct job *j);

/* The one way a state changes: legal or refused and logged; persisted; everyone who waits is told. */
bool job_move(struct job *j, enum job_event ev, const char *why);
/* Something that is shown or persisted has changed, but not the state. */
void job_touched(struct job *j);
int job_save(struct job *j, struct err *e);

/* Something for the registry, repeated until it is acknowledged (standing.c); nothing when there is none. */
void job_tell(struct job *j, enum report what);

/* The job as others are told of it; strings are borrowed. */
void job_report(struct job *j, Cpa__Report *r, Cpa__Exit *ended);
/* Tell the registry of a generation that is here; of all of them. */
void job_tell_gen(struct job *j, const struct gen *g);
void jobs_tell_all(struct agent *a);
/* It went to another node, the registry knows, and nobody works on it: its record may go. */
bool job_forgettable(const struct job *j);
/* It ended as it should and not on its user's order: nothing of it will be restored. */
bool job_finished(const struct job *j);
/* job_mtbf.c. It has ended, as j->ending says: was that a failure? */
void job_count_end(struct job *j);
/* Its mean time between failures in milliseconds: as this node saw it, else as its history tells of other nodes.
 * 0: none is known. */
uint64_t job_mtbf_ms(const struct job *j);

/* Bytes that the images of all jobs, and what they asked for, take on this node. */
uint64_t jobs_memory(const struct agent *a);

/* A note in its history; the past is adopted. */
void job_history_add(struct job *j, Cpa__Past *past);
Cpa__Past *job_history_find(struct job *j, uint64_t generation);
struct gen *job_gen_find(struct job *j, uint64_t generation);
/* A copy that somebody else has; and what follows when it is told by the holder itself. */
void job_remember_held(struct job *j, const Cpa__Holding *h);
void job_held(struct job *j, const Cpa__Holding *h);

/* Paths: img.SLOT, keys; into buf of FS_PATH_MAX. */
const char *job_img_dir(const struct job *j, unsigned slot, char *buf);
const char *job_keys_dir(const struct job *j, char *buf);
const char *job_arena(const struct job *j, char *buf);

/* The same for a job that was here before: from its own directories. */
int jobs_load(struct agent *a, Cpa__Spec *spec, struct job **out, struct err *e);

/* job_adopt.c: the jobs of the agent's earlier life. */
int jobs_find_all(struct agent *a, struct err *e);
void jobs_adopt(struct agent *a);

/* job_start.c: launch or restore from what sources say, newest first. */
struct start_from;
void job_start(struct job *j, struct start_from *from);

/* job_end.c */
int job_watch(struct job *j, int pidfd); /* takes pidfd over */
void job_unwatch(struct job *j);
void job_died(struct job *j); /* its pid 1 is gone */
void job_stop(struct job *j, int64_t grace_ns);
void job_forget_images(struct job *j);               /* of one that ended well */
void job_taken_away(struct job *j, const char *why); /* kill what is here; it is someone else's now */
void job_kill(struct job *j);
/* To every process of it, where there is no cgroup. */
void job_signal_tree(struct job *j, int signo);
/* To its main process (SIGKILL: to all of it). 0 or -1 with errno. */
int job_signal(struct job *j, int signo);
/* The same from its user's terminal: what ends because of it, however, is not started again. */
int job_ask_to_end(struct job *j, int signo);
/* An order to run it again from this, by its user on a node alone: a live copy is killed first. from is adopted.
 */
void job_again(struct job *j, struct start_from *from);
void job_tick(struct job *j, int64_t now);

/* verbs_run.c: whoever asked for it to be started here hears how that went. */
void job_launch_answer(struct job *j);

/* follow.c: those who wait for this job look at it. */
void follow_wake(struct job *j);

#endif
