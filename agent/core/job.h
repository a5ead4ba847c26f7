/* A job's states and every legal step between them; used by the node that runs it and by the registry.
 * An event that is not legal in a state is refused and changes nothing. */
#ifndef CPA_CORE_JOB_H
#define CPA_CORE_JOB_H

#include "agent/core/words.h"

enum job_state {
	JOB_STARTING,  /* being launched from its command */
	JOB_RUNNING,
	JOB_FROZEN,    /* its node's lease ran out */
	JOB_RESTORING, /* being started again, from a snapshot or from its keys */
	JOB_EXITED,    /* it ended, and that is final */
	JOB_FAILED,    /* it could not be started or was given up */
	JOB_LOST,      /* the registry: its node is gone and no other has it yet; a node: it was taken away */
	JOB_STATES
};

enum job_event {
	EV_LAUNCHED,        /* its command runs */
	EV_LAUNCH_FAILED,
	EV_EXITED,          /* it ended by itself or by a signal, and is not started again */
	EV_FENCED,          /* its node's lease ran out */
	EV_THAWED,          /* the lease is back and the job is still ours */
	EV_RESTORE_STARTED, /* it died, or was assigned here: it is started again with the next incarnation */
	EV_RESTORED,
	EV_RESTORE_FAILED,  /* nothing it could be restored from worked here */
	EV_DISOWNED,        /* someone else owns it now, or will */
	EV_GIVEN_UP,        /* too many restarts, or no way to go on */
	EV_NODE_LOST,       /* the registry: the lease of its node ran out */
	EV_ASSIGNED,        /* the registry: given to a node with the next incarnation */
	JOB_EVENTS
};

enum job_todo {
	DO_NOTHING,
	DO_REPORT,  /* tell the registry the new state */
	DO_FREEZE,
	DO_THAW,
	DO_RESTORE, /* start it again: see source.h */
	DO_KILL,    /* kill what is left of it and forget it; its checkpoints stay */
	DO_PLACE,   /* the registry: find it a node */
};

/* One step. False: not legal here, nothing changed. *state and *todo are written only when legal.
 * todo may be NULL. */
bool job_on(enum job_state *state, enum job_event ev, enum job_todo *todo);

/* Over for good: exited or failed. */
bool job_ended(enum job_state s);
/* A copy may exist on its owner's node: starting, running, frozen or restoring. */
bool job_live(enum job_state s);

const char *job_state_name(enum job_state s); /* the words of `cpagent ps` */
const char *job_event_name(enum job_event ev);
bool job_state_parse(const char *word, enum job_state *out);

#endif
