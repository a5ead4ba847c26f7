/* A user's request, whether it came over this agent's own socket, was passed on by another agent, or is made by this
 * agent itself on behalf of a job. */
#ifndef CPA_AGENT_REQUEST_H
#define CPA_AGENT_REQUEST_H

#include <jansson.h>

#include "agent/agent.h"
#include "agent/control.h"
#include "agent/ports/bus.h"

#define REQUEST_HOPS_MAX 4

/* The answer to a request of our own: reply (borrowed) with code 0, else text says why not. */
typedef void request_inside_fn(void *ctx, int code, const char *text, const json_t *reply);

/* Owned by whoever is to answer, until request_reply() or request_fail(). A client that goes away leaves it
 * standing: `gone` is set, and the answer goes nowhere. */
struct request {
	struct agent *agent;
	uid_t uid;    /* who asks, by the kernel's word on the node where it was asked */
	json_t *json; /* an object; owned */
	const char *verb;
	uint8_t *data; /* owned */
	size_t len;
	unsigned hops; /* how often it was passed on */
	bool gone;
	struct control_request *local;
	struct bus_request *remote;
	request_inside_fn *inside; /* with its ctx */
	void *ctx;
	int64_t deadline; /* CLOCK_BOOTTIME: patience with a job on its way to another node ends; 0: not yet asked
	                     for */
	int64_t wait_until; /* the user's own timeout, on CLOCK_BOOTTIME; 0: none */
};

/* From the control socket; from another agent. Hands it to verbs_handle(). */
void request_from_control(void *agent, struct control_request *rq);
void request_from_bus(struct agent *a, struct bus_request *rq, const char *json, size_t json_len, uid_t uid,
                      unsigned hops, const uint8_t *data, size_t len);

/* One of our own, as if that user had asked here; json is adopted. fn is called exactly once: perhaps before this
 * returns. */
void request_inside(struct agent *a, uid_t uid, json_t *json, request_inside_fn *fn, void *ctx);

/* reply is adopted, NULL for none; data is copied. */
void request_reply(struct request *rq, json_t *reply, const void *data, size_t len);
void request_fail(struct request *rq, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void request_fail_err(struct request *rq, const struct err *e);
void request_fail_launch(struct request *rq, int launch_status, const struct err *e);

/* Its arguments: NULL or the default when absent or of another type. */
const char *request_text(const struct request *rq, const char *name);
int64_t request_number(const struct request *rq, const char *name, int64_t otherwise);
/* A duration in seconds, in ns; never negative, and short enough to be added to a clock. */
int64_t request_duration(const struct request *rq, const char *name, int64_t otherwise);
bool request_flag(const struct request *rq, const char *name);

/* verbs.c */
void verbs_handle(struct request *rq);

#endif
