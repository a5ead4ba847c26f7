/* Passing a user's request on to the agent that can answer it, and its answer back. */
#ifndef CPA_AGENT_VERBS_FORWARD_H
#define CPA_AGENT_VERBS_FORWARD_H

#include "agent/request.h"

/* What follows when the other agent cannot help; the request is adopted. */
typedef void forward_fn(struct request *rq);

struct forward_how {
	const char *what; /* the other agent, for the error when it does not answer */
	int64_t timeout;  /* for its answer */
	bool until_ended; /* an answer that the job has not ended yet: the request is handled anew, wherever the
	                     job is then */
	bool patient;     /* agents that do not answer may do so in a while: handled anew for a minute */
	forward_fn *unanswered; /* nobody answers; NULL: see patient, else an error */
	forward_fn *unknown;    /* it does not know the job; NULL: its error is passed back */
};

/* rq is adopted: answered sooner or later, once. */
void forward_request(struct request *rq, const char *url, const struct forward_how *how);

/* Handle it anew a little later. False: no memory for that, the request is still the caller's. */
bool forward_handle_later(struct request *rq);

#endif
