/* A node agent's standing towards its registry: which parent to speak to, when to renew, when its jobs must
 * stand still, and which orders to start or stop a job still count.
 *
 * The caller keeps one struct node, feeds it what happens and performs the actions in the order given.
 * How a node joins, and why in two steps: a registration that lists jobs may arrive while its answer is lost; from
 * then on the registry may give those jobs away. So a node that has no deadline yet first says hello (which
 * promises nothing and lists nothing), sets a deadline from the answer, and only then lists its jobs.
 * Every registration has a number, its term. An order counts only in the term (and agent session) it was given in,
 * and a job's incarnation is taken at most once: an order that was long on its way starts nothing. */
#ifndef CPA_CORE_NODE_H
#define CPA_CORE_NODE_H

#include "agent/core/lease.h"
#include "agent/core/table.h"

enum standing {
	STANDING_ALONE,   /* no parent configured: jobs run without a lease */
	STANDING_SEEKING, /* looking for a parent that answers; an old deadline, if any, still counts */
	STANDING_LEASED,
	STANDING_FENCED, /* the lease ran out: jobs stand still until a registry says what becomes of them */
};
const char *standing_name(enum standing s);

enum node_do {
	NODE_SEND_HELLO,    /* to parents[parent], with seq; answer: node_granted() or node_refused() */
	NODE_SEND_REGISTER, /* to parents[parent]: term, seq, held, and all jobs here: live ones, also those that are being
			       killed, and ended ones that the registry has not acknowledged; answer: node_registered() or node_refused() */
	NODE_SEND_RENEWAL,  /* to parents[parent]: term, seq; answer: node_granted() or node_refused() */
	NODE_SET_DEADLINE,  /* write deadline where cpfence reads it; 0: no deadline */
	NODE_FREEZE_ALL,    /* freeze the cgroup of the node's jobs; every running job takes EV_FENCED */
	NODE_THAW_ALL,      /* comes after NODE_SET_DEADLINE; do nothing if the deadline has passed meanwhile */
	NODE_KILL,          /* job: EV_DISOWNED; nothing of it may run again here, so it is killed before a thaw */
	NODE_FORGET,        /* job: it ended and the registry knows: its record may go */
	NODE_STANDING,      /* standing changed from old to now_is: log it */
};

struct node_action {
	enum node_do todo;
	int parent;
	uint64_t term, seq;
	int64_t deadline;
	int64_t held; /* goes into node_info */
	enum standing old, now_is;
	char job[CORE_UUID];
};

struct node_actions {
	struct node_action *v;
	size_t n, size;
};

struct node {
	enum standing standing;
	bool run_isolated; /* on_isolation = run: no deadline, no freeze */
	int parents, parent;
	struct lease lease;
	uint64_t term;     /* of the last registration sent */
	uint64_t asked_seq; /* of the hello or registration that is not answered yet; 0: none */
	int64_t try_at, answer_by;
	unsigned tries, jitter;
	struct table jobs; /* uuid -> struct node_job: highest incarnation seen here, is it live */
};

/* parents: how many URLs are configured (0: ALONE). guess: a lease length to pace the first messages by.
 * deadline: what the fence file of an earlier life of this agent says, 0 if none. first_term: grows from one life of
 * the agent to the next (CLOCK_REALTIME in ms). jitter: any number that differs between nodes, so that they do not
 * all knock at once. */
void node_init(struct node *n, int parents, int64_t guess, int64_t deadline, uint64_t first_term,
	       bool run_isolated, unsigned jitter);
void node_free(struct node *n);

/* Call at least when node_next() says, and after each input. Appends to acts; the caller performs and clears. */
void node_tick(struct node *n, int64_t now, struct node_actions *acts);
int64_t node_next(const struct node *n);
void node_actions_clear(struct node_actions *acts);
void node_actions_free(struct node_actions *acts);

/* An answer to a hello or a renewal. An answer to something else than the newest term is ignored. */
void node_granted(struct node *n, uint64_t term, uint64_t seq, int64_t length, int64_t now, struct node_actions *acts);

enum verdict {
	VERDICT_KEEP,   /* the job is yours */
	VERDICT_ADOPT,  /* the registry did not know it: it is yours, and registered now */
	VERDICT_KILL,   /* someone else has it, or nobody shall */
	VERDICT_FORGET, /* it ended, and the registry knows */
};
const char *verdict_name(enum verdict v);

struct job_verdict {
	char job[CORE_UUID];
	enum verdict verdict;
};

/* The answer to a registration. Jobs that are here but were not in the list are not touched. */
void node_registered(struct node *n, uint64_t term, uint64_t seq, int64_t length, const struct job_verdict *v,
		     size_t count, int64_t now, struct node_actions *acts);
/* "Unknown: register again", or a registration refused, for the term and seq it answers. again: the parent
 * speaks to us, so try it again soon; else the next parent's turn comes. */
void node_refused(struct node *n, uint64_t term, bool again, int64_t now, struct node_actions *acts);
/* Parents changed while running (cpagent register, SIGHUP): how many there are now, and which to try first. */
void node_parents(struct node *n, int parents, int first, int64_t now, struct node_actions *acts);

/* A job is here with this incarnation: found after an agent's restart, started while alone, or started
 * again here with its next incarnation. */
void node_job_here(struct node *n, const char *uuid, uint32_t incarnation);
/* The incarnation that a registry last ordered this node to start; 0 if none did, or if that was before this agent's
 * start. Those above it were started here by the node itself. */
uint32_t node_job_given(const struct node *n, const char *uuid);
/* It ended here, or is killed: no live copy is left on this node. */
void node_job_gone(struct node *n, const char *uuid);

enum start_answer {
	START_TAKE,   /* ours: acknowledge (REPORT_TAKEN), then start it */
	START_HAVE,   /* an order that was heard before: acknowledge again, with the state it has now */
	START_WAIT,   /* not now (our registration is not answered yet, the lease is over, an older copy is still
			 dying): say nothing, the order comes again */
	START_REFUSE, /* from another term, or too old an incarnation: answer REPORT_REFUSED */
};
/* An order to start uuid as incarnation, given for our registration term. On START_TAKE the incarnation
 * counts as here. The caller drops orders made for another session of this agent. */
enum start_answer node_start(struct node *n, const char *uuid, uint32_t incarnation, uint64_t term, int64_t now);
/* An order to stop uuid up to incarnation (ACT_STOP, or ANSWER_KILL for the incarnation that was reported): from now
 * on no such incarnation is taken, and what this node has started again from it by itself goes with it. True: a
 * copy lives here, kill it and report REPORT_GONE with *last when it is dead; false: there is none (a newer one that
 * we were ordered to start is left alone), report REPORT_GONE with *last now. */
bool node_stop(struct node *n, const char *uuid, uint32_t incarnation, uint32_t *last);
/* May a job be started or started again here by the node's own decision? (Alone, never registered, or leased.) */
bool node_may_run(const struct node *n, int64_t now);

#endif
