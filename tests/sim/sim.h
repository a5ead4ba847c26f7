/* A simulated cluster in virtual time: nodes, registries and a bad network around the real modules of agent/core.
 * One seed is one history. Everything that happens is an event in one queue; after each the invariants of the
 * design are checked (sim_check.c). What is modelled beside core:
 *   machine   copies of jobs, a cgroup that freezes them all, the fence's deadline; survives its agent
 *   cpfence   freezes at the deadline, agent or no agent, up to 20 ms late
 *   agent     struct node, supervision, reports that are repeated until answered; may crash or stand still
 *   top       struct registry, what it persisted, a durable store of snapshots; may crash between two actions
 *   network   loss, duplicates, delays, cuts in one or both directions; drops what an older life of a sender sent
 *             once a newer was heard, and what was meant for an older life of the receiver, as the bus does
 * Every machine's clock has an offset and a drift of its own. */
#ifndef CPA_TESTS_SIM_H
#define CPA_TESTS_SIM_H

#include "agent/core/interval.h"
#include "agent/core/node.h"
#include "agent/core/registry.h"

#define MS CORE_MS
#define SEC CORE_S

enum { SIM_TOPS = 2, SIM_CANDIDATES = 4 };

struct sim_options {
	uint64_t seed;
	int tops, nodes, jobs;
	int64_t lease;
	double loss, duplicate, slow; /* chances per message; slow: a delay of up to slow_max */
	int64_t slow_max;
	double drift;                 /* clocks run between 1 - drift and 1 + drift */
	double restore_fails;
	int64_t restore_max;          /* a restore takes up to this */
	bool trace;
	/* broken on purpose, to prove that the checker sees it */
	bool no_fence;                /* nodes ignore their deadline */
	double top_fast;              /* the registry's clock runs faster by this: more than its margin allows */
	bool start_before_persist;    /* the registry's orders go out, its records do not */
};

enum msg_kind {
	MSG_HELLO, MSG_REGISTER, MSG_RENEW, MSG_GRANTED, MSG_REGISTERED, MSG_REFUSED, MSG_START, MSG_STOP,
	MSG_REPORT, MSG_ANSWER, MSG_HELD, MSG_ASK, MSG_ASKED
};

struct candidate {
	int holder; /* agent */
	uint32_t incarnation;
	uint64_t generation;
};

struct msg {
	enum msg_kind kind;
	int from, to; /* agents: tops first, then nodes */
	uint32_t from_life, to_life;
	uint64_t term, seq, generation;
	int job, what, node;
	uint32_t incarnation;
	int64_t length;
	bool flag;
	struct ending how;
	size_t n;
	struct job_claim *claims;    /* owned */
	struct job_verdict *verdicts; /* owned */
	struct candidate from_where[SIM_CANDIDATES];
	int candidates;
};

/* A copy of a job on a machine: what cgroup, cpinit and image directory hold. */
struct copy {
	int job;
	uint32_t incarnation;
	enum job_state state;
	bool process;  /* it exists; it runs unless the machine's cgroup is frozen */
	bool unseen;   /* its process died and the agent has not noticed yet */
	bool killed;   /* being killed by its agent */
	uint32_t gone_as; /* the incarnation to report when it is dead */
	struct ending how;
	int64_t started;
	uint64_t token; /* of its pending ready event */
	uint32_t snap_incarnation;
	uint64_t snap_generation;
	struct supervise supervise;
};

struct report_out {
	int job;
	enum report what;
	uint32_t incarnation;
	struct ending how;
};

struct sim_node {
	int id; /* agent number */
	char name[16];
	double rate;
	int64_t offset;
	bool up, agent_up, frozen;
	int64_t stalled_until;
	uint32_t life;
	struct node core;
	int64_t deadline; /* in the fence file, by its own clock */
	struct copy *copies;
	size_t copy_count, copy_size;
	struct report_out *reports;
	size_t report_count, report_size;
	uint32_t heard_life[SIM_TOPS];
	uint64_t tick_token, fence_token;
	unsigned cut_out, cut_in; /* a bit per top: messages to it, from it, are lost */
};

struct stored {
	uint32_t incarnation;
	uint64_t generation;
};

struct sim_top {
	char name[16];
	double rate;
	int64_t offset;
	bool up;
	uint32_t life;
	struct registry core;
	struct reg_job **disk_jobs;   /* per job, NULL: no record */
	struct reg_node **disk_nodes; /* per node */
	struct stored *store;         /* per job: the newest snapshot, durable */
	struct stored *acked;         /* per job: the newest that a node was told is held here */
	uint32_t *heard_life;         /* per agent */
	int crash_after;              /* actions until it crashes; 0: not planned */
	unsigned cut_out, cut_in;     /* from and to other tops */
};

struct sim_job {
	char uuid[CORE_UUID];
	int live;  /* copies that exist and are not frozen */
	bool submitted, done, stopped;
	int top;   /* where it was submitted */
	enum restart_policy policy;
	int64_t running_since;
};

enum mark {
	MARK_FROZEN, MARK_THAWED, MARK_RESTARTED, MARK_KILLED, MARK_NODE_DOWN, MARK_MOVED, MARK_ADOPTED, MARK_FENCED,
	MARK_PARENT_CHANGED, MARK_LOCAL_RESTART, MARK_RESTORE_FAILED, MARK_ASKED, MARK_WAITS, MARK_ELSEWHERE,
	MARK_TOP_CRASH, MARKS
};

struct event;
struct sim {
	struct sim_options opt;
	uint64_t random;
	int64_t now;
	struct event *heap;
	size_t events, event_size;
	uint64_t next_event, next_token, steps;
	struct sim_top tops[SIM_TOPS];
	struct sim_node *nodes;
	struct sim_job *jobs;
	int64_t faults_until;
	int64_t first[MARKS], last[MARKS]; /* when; -1: never */
	uint64_t count[MARKS];
	uint64_t messages;
	bool failed;
	char what[256]; /* the invariant that was broken */
};

/* ---- running one (sim.c) --------------------------------------------------------------------------- */
struct sim_options sim_calm(int nodes, int jobs, uint64_t seed); /* no faults; lease 2 s */
struct sim *sim_new(const struct sim_options *opt);
void sim_free(struct sim *s);
void sim_run(struct sim *s, int64_t duration);
/* Until mark is made after now; false when it was not within bound. */
bool sim_until(struct sim *s, enum mark m, int64_t bound);
void sim_submit(struct sim *s, int job, const char *node, enum restart_policy policy);
/* Started by a node's own user before its agent has found a parent. */
void sim_start_alone(struct sim *s, int job, int node);
void sim_move(struct sim *s, int job, const char *to);
void sim_stop_job(struct sim *s, int job);
void sim_drain(struct sim *s, int node, bool on);

/* ---- faults, by hand (sim_faults.c) ------------------------------------------------------------------- */
void sim_cut(struct sim *s, int node, int top, bool out, bool in);
void sim_heal(struct sim *s, int node);
void sim_cut_tops(struct sim *s, bool cut);
void sim_crash_machine(struct sim *s, int node, int64_t back_after); /* 0: for good */
void sim_crash_agent(struct sim *s, int node, int64_t back_after);
void sim_stall_agent(struct sim *s, int node, int64_t duration);
void sim_crash_top(struct sim *s, int top, int64_t back_after);
void sim_kill_process(struct sim *s, int job, struct ending how);
void sim_random_faults(struct sim *s, int64_t duration); /* then everything heals */
void sim_heal_all(struct sim *s);
/* ---- looking (sim_check.c) ----------------------------------------------------------------------------- */
int sim_live_copies(const struct sim *s, int job);
int sim_where(const struct sim *s, int job); /* the node with its running, unfrozen copy, or -1 */
bool sim_all_well(struct sim *s, char *why, size_t size); /* every job that should run does, exactly once */
void sim_fail(struct sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- inside -------------------------------------------------------------------------------------------- */
enum event_kind {
	EV_MSG, EV_NODE_TICK, EV_FENCE, EV_READY, EV_KILLED, EV_SNAPSHOT, EV_REPORTS, EV_TOP_TICK,
	EV_AGENT_BACK, EV_MACHINE_BACK, EV_TOP_BACK, EV_FAULT
};
struct event {
	int64_t at;
	uint64_t order;
	enum event_kind kind;
	int who, job;
	uint64_t token;
	struct msg *msg; /* owned */
};

uint64_t sim_random(struct sim *s, uint64_t below);
bool sim_chance(struct sim *s, double p);
uint64_t sim_at(struct sim *s, int64_t when, enum event_kind kind, int who, int job); /* returns a token */
void sim_push(struct sim *s, struct event e);
void sim_mark(struct sim *s, enum mark m);
void sim_trace(struct sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int sim_job_index(const char *uuid);
/* A machine's own clock, and back. */
int64_t clock_of(double rate, int64_t offset, int64_t now);
int64_t true_time(double rate, int64_t offset, int64_t local);

void sim_send(struct sim *s, struct msg m); /* takes claims and verdicts */
void sim_deliver(struct sim *s, struct msg *m);
void msg_free(struct msg *m);

struct sim_node *node_of(struct sim *s, int agent);
int64_t node_clock(const struct sim *s, const struct sim_node *n);
void node_boot(struct sim *s, struct sim_node *n);
void node_run_ticks(struct sim *s, struct sim_node *n);
void node_message(struct sim *s, struct sim_node *n, struct msg *m);
void node_perform(struct sim *s, struct sim_node *n, struct node_actions *acts);
void node_report(struct sim *s, struct sim_node *n, int job, enum report what, uint32_t inc, struct ending how);
void node_send_reports(struct sim *s, struct sim_node *n);
void node_drop_report(struct sim_node *n, int job);
bool node_awake(const struct sim *s, const struct sim_node *n);

struct copy *copy_find(struct sim_node *n, int job);
struct copy *copy_start(struct sim *s, struct sim_node *n, int job, uint32_t inc, const struct msg *order);
void copy_ready(struct sim *s, struct sim_node *n, struct copy *c);
void copy_end(struct sim *s, struct sim_node *n, struct copy *c); /* no process any more */
void copy_drop(struct sim *s, struct sim_node *n, struct copy *c);
void copy_noticed_dead(struct sim *s, struct sim_node *n, struct copy *c);
void copy_snapshot(struct sim *s, struct sim_node *n, struct copy *c);
void node_freeze(struct sim *s, struct sim_node *n, bool frozen);

int64_t top_clock(const struct sim *s, const struct sim_top *t);
void top_boot(struct sim *s, int top, bool fresh);
void top_down(struct sim *s, int top);
void top_tick(struct sim *s, int top);
void top_message(struct sim *s, int top, struct msg *m);
void top_perform(struct sim *s, int top, struct actions *acts);

void sim_fault(struct sim *s, int what, int which);
void check_live(struct sim *s, int job);
void check_source(struct sim *s, int top, int job, const struct candidate *c, int n);
void check_recount(struct sim *s);

#endif
