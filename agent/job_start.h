/* Starting a job on this node: for the first time, or again from the best of what is held of it. */
#ifndef CPA_AGENT_JOB_START_H
#define CPA_AGENT_JOB_START_H

#include "agent/jobs.h"

struct start_source {
	enum source_kind kind;
	bool local; /* in this node's own directories */
	uint64_t number;
	Cpa__Holding *h; /* owned; NULL for local ones and for a start anew */
};

/* What a start is to try, in order. */
struct start_from {
	size_t n;
	struct start_source v[];
};

/* Owned by the caller until job_start() adopts it. NULL and e: out of memory. */
struct start_from *start_from_nothing(struct err *e);
/* From what this node has and knows of: its generations, its arena, and copies that parents said they hold. */
struct start_from *start_from_local(struct job *j, struct err *e);
/* The same, only this generation (0: any) or level (0: any). ERR_NOT_FOUND when there is no such. */
struct start_from *start_from_wish(struct job *j, const struct source_wish *wish, struct err *e);
/* As the registry ordered: its list and what is here. */
struct start_from *start_from_order(struct job *j, const Cpa__Start *order, struct err *e);
void start_from_free(struct start_from *from);

/* Where a worker thread's start stands, and how it came out. */
struct start {
	struct job *job;
	struct start_from *from;
	bool first; /* the job's very first start: a command that cannot be executed is its user's error */
	uint64_t mtbf_ms;
	uint32_t top; /* as asks_top() */
	/* results */
	int code; /* 0 or an error code */
	struct err err;
	enum source_kind used;
	uint64_t number;
	pid_t pid;
	int pidfd, launch_status;
	unsigned slot; /* of a generation that was fetched from elsewhere */
	Cpa__Generation *fetched;
	uint64_t bad[JOBS_KEEP_MAX + 2]; /* own generations found damaged */
	size_t n_bad;
};

/* The straight-line parts, in worker threads. job_launch.c; job_restore.c */
int start_anew(struct start *s, struct err *e);
int start_from_keys(struct start *s, const struct start_source *src, struct err *e);
int start_from_snapshot(struct start *s, const struct start_source *src, struct err *e);
/* The directory in which its program writes checkpoints as files: there, its user's, and empty. */
int start_empty_files(struct job *j, struct err *e);

/* An image directory not used by any generation of j that is worth keeping. */
unsigned job_free_slot(const struct job *j);
/* job_gens.c. What lay in this image directory was overwritten. */
void job_slot_lost(struct job *j, unsigned slot);
/* None of its generations is here any more. */
void job_drop_gens(struct job *j);
/* A generation is complete in slot: list it, drop what is beyond --keep. g is adopted. */
void job_gen_add(struct job *j, Cpa__Generation *g, unsigned slot);

/* Remember that a restore ended in a death at once, so that the generation before it gets its turn. */
void job_note_quick_death(struct job *j);

/* Snapshots: job_snapshot.c. done is called on the loop when the generation is complete, or with why it is not. */
typedef void snapshot_fn(void *ctx, struct job *j, uint64_t generation, int64_t frozen_ns, const struct err *e);
struct wanted {
	struct wanted *next;
	const char *reason; /* for history; a constant */
	snapshot_fn *done;
	void *ctx;
};
void job_snapshot(struct job *j, const char *reason, struct wanted *w); /* w adopted, may be NULL */
void job_snapshot_want(struct job *j, const char *reason, snapshot_fn *done, void *ctx);
void job_snapshot_next(struct job *j);
/* No more snapshots of this job: it ended; who waits is told. */
void job_snapshot_refuse(struct job *j, const char *why);

#endif
