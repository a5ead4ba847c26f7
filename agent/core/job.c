/* The table of a job's steps. Owns no job: a state goes in, the next one comes out. */
#include "agent/core/job.h"

#include <string.h>

#define TO(state, action) {true, JOB_##state, DO_##action}

static const struct step {
	bool legal;
	enum job_state next;
	enum job_todo todo;
} steps[JOB_STATES][JOB_EVENTS] = {
	[JOB_STARTING] = {
		[EV_LAUNCHED] = TO(RUNNING, REPORT),
		[EV_LAUNCH_FAILED] = TO(FAILED, REPORT),
		[EV_EXITED] = TO(EXITED, REPORT),
		[EV_FENCED] = TO(FROZEN, FREEZE),
		[EV_RESTORE_STARTED] = TO(RESTORING, RESTORE),
		[EV_DISOWNED] = TO(LOST, KILL),
		[EV_GIVEN_UP] = TO(FAILED, REPORT),
		[EV_NODE_LOST] = TO(LOST, PLACE),
	},
	[JOB_RUNNING] = {
		/* a launch or restore that ends after a fence came and went */
		[EV_LAUNCHED] = TO(RUNNING, REPORT),
		[EV_LAUNCH_FAILED] = TO(FAILED, REPORT),
		[EV_RESTORED] = TO(RUNNING, REPORT),
		[EV_RESTORE_FAILED] = TO(FAILED, REPORT),
		[EV_EXITED] = TO(EXITED, REPORT),
		[EV_FENCED] = TO(FROZEN, FREEZE),
		[EV_RESTORE_STARTED] = TO(RESTORING, RESTORE),
		[EV_DISOWNED] = TO(LOST, KILL),
		[EV_GIVEN_UP] = TO(FAILED, REPORT),
		[EV_NODE_LOST] = TO(LOST, PLACE),
	},
	[JOB_FROZEN] = {
		/* its launch or restore ends while the node stands still: it is frozen from its first instruction */
		[EV_LAUNCHED] = TO(FROZEN, FREEZE),
		[EV_LAUNCH_FAILED] = TO(FAILED, REPORT),
		[EV_RESTORED] = TO(FROZEN, FREEZE),
		[EV_RESTORE_FAILED] = TO(FAILED, REPORT),
		[EV_EXITED] = TO(EXITED, REPORT),
		[EV_FENCED] = TO(FROZEN, NOTHING),
		[EV_THAWED] = TO(RUNNING, THAW),
		[EV_DISOWNED] = TO(LOST, KILL),
		[EV_GIVEN_UP] = TO(FAILED, REPORT),
		[EV_NODE_LOST] = TO(LOST, PLACE),
	},
	[JOB_RESTORING] = {
		[EV_LAUNCHED] = TO(RUNNING, REPORT), /* restored by starting its command anew */
		[EV_RESTORED] = TO(RUNNING, REPORT),
		[EV_RESTORE_FAILED] = TO(FAILED, REPORT),
		[EV_LAUNCH_FAILED] = TO(FAILED, REPORT),
		[EV_RESTORE_STARTED] = TO(RESTORING, RESTORE),
		[EV_EXITED] = TO(EXITED, REPORT),
		[EV_FENCED] = TO(FROZEN, FREEZE),
		[EV_DISOWNED] = TO(LOST, KILL),
		[EV_GIVEN_UP] = TO(FAILED, REPORT),
		[EV_NODE_LOST] = TO(LOST, PLACE),
	},
	[JOB_EXITED] = {
		[EV_DISOWNED] = TO(LOST, KILL),
		[EV_ASSIGNED] = TO(RESTORING, RESTORE),
	},
	[JOB_FAILED] = {
		[EV_DISOWNED] = TO(LOST, KILL),
		[EV_ASSIGNED] = TO(RESTORING, RESTORE),
	},
	[JOB_LOST] = {
		[EV_THAWED] = TO(RUNNING, THAW), /* its node came back before anyone took it */
		[EV_EXITED] = TO(EXITED, REPORT),
		[EV_GIVEN_UP] = TO(FAILED, REPORT),
		[EV_ASSIGNED] = TO(RESTORING, RESTORE),
		[EV_DISOWNED] = TO(LOST, NOTHING),
		[EV_NODE_LOST] = TO(LOST, NOTHING),
	},
};

static const char *const state_names[JOB_STATES] = {
	[JOB_STARTING] = "starting",   [JOB_RUNNING] = "running", [JOB_FROZEN] = "frozen",
	[JOB_RESTORING] = "restoring", [JOB_EXITED] = "exited",   [JOB_FAILED] = "failed",
	[JOB_LOST] = "lost",
};

static const char *const event_names[JOB_EVENTS] = {
	[EV_LAUNCHED] = "launched",
	[EV_LAUNCH_FAILED] = "launch-failed",
	[EV_EXITED] = "exited",
	[EV_FENCED] = "fenced",
	[EV_THAWED] = "thawed",
	[EV_RESTORE_STARTED] = "restore-started",
	[EV_RESTORED] = "restored",
	[EV_RESTORE_FAILED] = "restore-failed",
	[EV_DISOWNED] = "disowned",
	[EV_GIVEN_UP] = "given-up",
	[EV_NODE_LOST] = "node-lost",
	[EV_ASSIGNED] = "assigned",
};

bool job_on(enum job_state *state, enum job_event ev, enum job_todo *todo)
{
	if ((unsigned)*state >= JOB_STATES || (unsigned)ev >= JOB_EVENTS || !steps[*state][ev].legal)
		return false;
	const struct step *s = &steps[*state][ev];
	*state = s->next;
	if (todo)
		*todo = s->todo;
	return true;
}

bool job_ended(enum job_state s)
{
	return s == JOB_EXITED || s == JOB_FAILED;
}

bool job_live(enum job_state s)
{
	return s == JOB_STARTING || s == JOB_RUNNING || s == JOB_FROZEN || s == JOB_RESTORING;
}

const char *job_state_name(enum job_state s)
{
	return (unsigned)s < JOB_STATES ? state_names[s] : "?";
}

const char *job_event_name(enum job_event ev)
{
	return (unsigned)ev < JOB_EVENTS ? event_names[ev] : "?";
}

bool job_state_parse(const char *word, enum job_state *out)
{
	for (unsigned i = 0; i < JOB_STATES; i++)
		if (!strcmp(word, state_names[i])) {
			*out = (enum job_state)i;
			return true;
		}
	return false;
}
