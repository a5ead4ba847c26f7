/* The embedded registry: which agents there are, whose lease runs, and who owns which job at which incarnation.
 * It lives in the top agent. Inputs are calls, outputs are actions that the caller performs in order and then clears.
 *
 * What keeps a job from running twice:
 * - a job has one owner, and changes it only here, by one step on (owner, incarnation) that is persisted (ACT_PERSIST_JOB)
 *   before the order that follows from it (ACT_START);
 * - the owner changes only when the old one has said that no copy is left there (REPORT_GONE), or its lease has run
 *   out by the registry's longer count (lease.h);
 * - an order to start counts only in the registration it was given for (node.h);
 * - what comes from a node that is not the owner, or carries an older incarnation, is answered ANSWER_KILL;
 * - a registry that restarts takes nothing from anyone for one lease and margin. */
#ifndef CPA_CORE_REGISTRY_H
#define CPA_CORE_REGISTRY_H

#include "agent/core/job.h"
#include "agent/core/node.h"
#include "agent/core/place.h"
#include "agent/core/source.h"
#include "agent/core/supervise.h"
#include "lib/base/err.h"

/* ---- records ------------------------------------------------------------------------------------ */
enum node_state { NODE_UP, NODE_SUSPECT, NODE_DOWN }; /* suspect: half a lease without a word, or not yet heard */
const char *node_state_name(enum node_state s);       /* the words of `cpagent status` */

/* What an agent says of itself when it registers. */
struct node_info {
	char name[CORE_NAME];
	char url[CORE_URL];
	char parent[CORE_NAME]; /* the agent it registered through; "" for this one */
	int level;              /* only level 1 runs jobs */
	uint8_t session[CORE_SESSION];
	uint64_t term;
	int64_t held; /* ns left of the lease it has, from whichever registry, at least 1; 0: not said */
	struct machine has;
	/* Other parents it would turn to. One that is not an agent below this registry has a registry of its own, so
	 * that must be asked before a job of this node is given away (ACT_ASK). */
	char others[CORE_PARENTS][CORE_URL];
	size_t other_count;
};

struct reg_node {
	struct node_info info; /* persisted, with lease */
	enum node_state state;
	bool drained; /* persisted */
	bool joined;  /* it registered in this life of the registry */
	bool answers; /* it renewed since, so it hears us too; before that it gets no jobs */
	int64_t lease; /* the length last granted */
	int64_t heard, expires;
	uint32_t jobs; /* live jobs it owns */
	uint64_t memory_used;
	struct reg_job *first; /* those jobs */
	size_t place; /* its index in registry.places */
};

/* What its submitter chose, and never changes. */
struct job_spec {
	char uuid[CORE_UUID];
	char name[CORE_NAME];
	uint32_t uid;
	enum restart_policy restart;
	uint32_t max_restarts;
	int64_t max_seconds; /* ns */
	enum restart_mode mode;
	enum files_mode files;
	int level; /* snapshots are carried to; 0: the top */
	struct machine needs;
	char wanted[CORE_NAME]; /* --node */
	char spares[CORE_SPARES][CORE_NAME];
	size_t spare_count;
};

enum { REG_TRIED = 4 };

struct reg_job {
	struct job_spec spec;    /* persisted */
	char owner[CORE_NAME];   /* persisted; the last one while LOST */
	uint32_t incarnation;    /* persisted */
	enum job_state state;    /* persisted */
	struct ending ending;    /* persisted; of EXITED and FAILED */
	bool stopped;            /* persisted: its user wants it ended */
	bool by_keys;            /* persisted: the program restores by keys */
	bool elsewhere;          /* persisted: another registry has this job (it went over with its owner), or was
				    promised it up to this incarnation (owner "") */
	int64_t ended_at;
	char why[CORE_WHY];      /* the reason of its last change of state or owner, or why it waits */

	struct holding *held;    /* owned */
	size_t held_count, held_size;

	/* from here on for the registry only */
	enum { REG_QUIET, REG_START, REG_STOP, REG_ASK, REG_WAIT } pending;
	struct reg_node *node;      /* of a live job with a known owner */
	int64_t resend_at, give_up_at;
	char move_to[CORE_NAME], tried[REG_TRIED][CORE_NAME];
	size_t tried_count;
	bool moving;
	uint32_t mark;   /* of the registration that last listed it */
	unsigned rounds; /* how often all nodes were tried in vain */
	unsigned free_answers; /* bit per other parent of the owner that let us have it */
	struct reg_job *node_next, **node_prev, *wait_next, **wait_prev;
};

struct registry_config {
	char id[CORE_NAME];  /* this agent's name */
	int64_t lease;       /* granted to nodes */
	int64_t resend;      /* orders not answered are given again after this; 0: a tenth of the lease */
	int64_t start_bound; /* a start not acknowledged for so long goes to another node; 0: one lease */
};

struct registry {
	struct registry_config config;
	int64_t started, settled; /* nothing is given away before settled */
	int64_t longest_lease;
	struct table nodes, jobs;
	struct reg_job *waiting; /* jobs with something pending */
	struct place_node *places; /* the nodes as placement sees them; rebuilt when stale */
	size_t place_count;
	bool places_stale;
	uint32_t mark;
	uint64_t moved, lost;    /* counters for metrics */
};

/* ---- actions ------------------------------------------------------------------------------------ */
enum act {
	ACT_PERSIST_JOB,  /* write the record of job, as it is now, durably before any action after this one */
	ACT_PERSIST_NODE, /* the same for the record of node */
	ACT_FORGET_JOB,   /* remove the record of job */
	ACT_START,        /* order node: start job as incarnation, in its registration `term` and session; what from:
			     registry_sources(). anew: its first start. Answers: registry_report(). May come again */
	ACT_STOP,         /* order node: no copy of job up to incarnation may be left; answer REPORT_GONE. May come again */
	ACT_ASK,          /* ask the registry at url: may I give job (up to incarnation; node had it here in its
			     registration term) away? there registry_asked(), here registry_answered(). May come again.
			     take: no node here fits; then there registry_offered() */
	ACT_NODE_UP,      /* for the log and status: a node registered (why: new, back, agent restarted) */
	ACT_NODE_DOWN,    /* its lease ran out; count: live jobs it had. One event, however many jobs */
	ACT_JOB_CHANGED,  /* job went from old to now_is on node at incarnation, why */
	ACT_WAITS,        /* no node fits job, why; tried again when one registers */
};
const char *act_name(enum act a);

struct action {
	enum act what;
	char job[CORE_UUID];
	char node[CORE_NAME];
	uint32_t incarnation;
	uint64_t term;
	uint8_t session[CORE_SESSION];
	bool anew, take;
	enum job_state old, now_is;
	size_t count;
	char url[CORE_URL];
	char why[CORE_WHY];
};

struct actions {
	struct action *v;
	size_t n, size;
};
void actions_clear(struct actions *a); /* keeps the memory */
void actions_free(struct actions *a);

/* ---- life --------------------------------------------------------------------------------------- */
/* Then load what was persisted, then registry_settle(). */
void registry_init(struct registry *r, const struct registry_config *config);
void registry_free(struct registry *r);
/* Records from before a restart: only the fields marked persisted are read, and copied (held is not taken). */
void registry_load_node(struct registry *r, const struct reg_node *record);
void registry_load_job(struct registry *r, const struct reg_job *record);
/* Loading is over. fresh: no record was found at all, so nobody holds a lease from before and nothing is waited for. */
void registry_settle(struct registry *r, bool fresh, int64_t now);

/* Leases that run out, orders to repeat, jobs to place. Call at least when registry_next() says. */
void registry_tick(struct registry *r, int64_t now, struct actions *acts);
int64_t registry_next(const struct registry *r);

/* ---- nodes -------------------------------------------------------------------------------------- */
enum reg_answer {
	ANSWER_OK,
	ANSWER_KILL,     /* not yours: kill that copy */
	ANSWER_UNKNOWN,  /* unknown node, session, term or job: register again */
	ANSWER_REFUSED,  /* not in this way; see err */
};
const char *reg_answer_name(enum reg_answer a);

/* A node that has no deadline yet: how long would a lease be? Changes nothing. */
int64_t registry_hello(const struct registry *r);

/* A job as a node that registers lists it. */
struct job_claim {
	struct job_spec spec;
	uint32_t incarnation;
	uint32_t given; /* node_job_given() */
	enum job_state state;
	struct ending ending;
	bool by_keys;
};

/* Registration. One that comes again without a renewal in between is from a node that does not hear us: it gets what
 * is left of its lease, and nothing when that is little, so that it runs out and its jobs go on elsewhere. (Only if
 * it says what it holds: else it may hold more, from another registry, than this one knows of.)
 * verdicts: room for count, filled in the order of claims; *lease: the length granted. Jobs that the
 * registry thinks are there and that are not listed are gone from that node. A term that is not newer than the last
 * of the same session: ANSWER_REFUSED (an old message; no reply needed). acts holds only records to persist and notes: perform
 * them, then answer, then call registry_tick(), which gives the orders that follow. */
enum reg_answer registry_register(struct registry *r, const struct node_info *info, const struct job_claim *claims,
				  size_t count, int64_t now, struct job_verdict *verdicts, int64_t *lease,
				  struct actions *acts);
/* ANSWER_OK and the length granted, or ANSWER_UNKNOWN. */
enum reg_answer registry_renew(struct registry *r, const char *node, const uint8_t session[CORE_SESSION],
			       uint64_t term, int64_t now, int64_t *lease);
/* No job is placed there and those that are there move, one order each; off: usable again. */
int registry_drain(struct registry *r, const char *node, bool on, int64_t now, struct actions *acts, struct err *e);

/* ---- jobs --------------------------------------------------------------------------------------- */
/* A new job: placed at once (ACT_START with anew; spec->wanted is an order: that node or none). The same uuid again is
 * answered 0 and changes nothing. ERR_FAILED: a live job of this uid has the name; ERR_NOT_FOUND: the wanted node is not
 * there or no node fits, in e why. */
int registry_job_new(struct registry *r, const struct job_spec *spec, int64_t now, struct actions *acts,
		     struct err *e);

enum report {
	REPORT_TAKEN,     /* an order to start was heard and is being carried out */
	REPORT_RUNNING,   /* started or restored */
	REPORT_REFUSED,   /* an order to start was refused (node_start) */
	REPORT_FAILED_HERE, /* it could not be started or restored on this node; no copy is left: try another */
	REPORT_RESTARTED, /* its process died and the node starts it again; incarnation: the new one */
	REPORT_EXITED,    /* ended for good, with ending */
	REPORT_FAILED,    /* given up for good, with ending */
	REPORT_GONE,      /* no copy up to incarnation is left here, and none will come */
};
const char *report_name(enum report p);

/* What node says of a job. Idempotent: the node repeats it until it is answered. */
enum reg_answer registry_report(struct registry *r, const char *node, const char *uuid, uint32_t incarnation,
				enum report what, struct ending ending, const char *why, int64_t now,
				struct actions *acts);

/* Run it on another node ("" : any that fits), or run an ended or lost job again. A running copy is stopped first, and
 * only when that is certain the other starts. ERR_NOT_FOUND: no such job or node; ERR_FAILED: that node does not fit. */
int registry_move(struct registry *r, const char *uuid, const char *to, int64_t now, struct actions *acts,
		  struct err *e);
/* Its user wants it ended. A live copy: the node is told (ACT_STOP; a node that ends it in its own way reports
 * REPORT_EXITED before REPORT_GONE); a lost job becomes FAILED and stays so. */
int registry_stop(struct registry *r, const char *uuid, int64_t now, struct actions *acts, struct err *e);
/* Forget an ended job. Not before its nodes are surely back or gone for good (a week, say): a stale frozen copy of a
 * job that is not known any more would be adopted. ERR_FAILED: it is not ended. */
int registry_job_forget(struct registry *r, const char *uuid, struct actions *acts, struct err *e);
/* The program has said that it restores by keys. */
void registry_by_keys(struct registry *r, const char *uuid, struct actions *acts);

/* ---- what is held ------------------------------------------------------------------------------- */
/* An agent (h->holder at h->level) holds this. Snapshots: an entry per generation; keys: the newest version
 * replaces the older of the same holder. reachable and crashes are not read. Not persisted: agents say it again. */
int registry_held(struct registry *r, const char *uuid, const struct holding *h);
void registry_dropped(struct registry *r, const char *uuid, const char *holder, enum source_kind kind,
		      uint64_t number);
/* A copy failed its checksums; or a restore of this generation ended in a crash at once. */
void registry_held_bad(struct registry *r, const char *uuid, const char *holder, uint64_t number);
void registry_held_crashed(struct registry *r, const char *uuid, uint64_t number);
/* What to try for a restart of job, in order; reachable is worked out from the state of the holders (an agent
 * that is unknown or this one itself counts as reachable). wish NULL: by the job's own mode. *out is owned by the caller
 * (free), its `from` borrowed until the next call that changes the job. Returns how many. */
size_t registry_sources(struct registry *r, const char *uuid, const struct source_wish *wish, struct source **out);

/* ---- other registries (nodes with several top parents) ---------------------------------------------- */
/* Another registry, `by`, wants to give job away, up to incarnation. True: it may, and this one will not take
 * such a copy up any more (persisted: perform acts before answering); false: the job lives here. */
bool registry_asked(struct registry *r, const char *uuid, uint32_t incarnation, const char *node, uint64_t term,
		    const char *by, int64_t now, struct actions *acts);
/* The same, when the one that asks has no node that fits: the job is rather taken over (false), if it was known here
 * and a node fits. */
bool registry_offered(struct registry *r, const char *uuid, uint32_t incarnation, const char *node, uint64_t term,
		      const char *by, int64_t now, struct actions *acts);
/* The answer of the registry at url. Not free: the job went over to it with its node. */
void registry_answered(struct registry *r, const char *uuid, uint32_t incarnation, const char *url, bool is_free,
		       int64_t now, struct actions *acts);
/* The same for an answer that may come so late that the node was back meanwhile: it counts only while the node's
 * registration is the one of the question. */
void registry_answered_in_term(struct registry *r, const char *uuid, uint32_t incarnation, uint64_t term,
			       const char *url, bool is_free, int64_t now, struct actions *acts);

/* ---- looking ------------------------------------------------------------------------------------ */
const struct reg_node *registry_node(const struct registry *r, const char *name);
const struct reg_job *registry_job(const struct registry *r, const char *uuid);
/* By name among the live jobs of uid, else the one that ended last. */
const struct reg_job *registry_job_named(const struct registry *r, uint32_t uid, const char *name);
const struct reg_node *registry_each_node(const struct registry *r, size_t *at); /* start with *at = 0 */
const struct reg_job *registry_each_job(const struct registry *r, size_t *at);

#endif
