/* A user's request, whether it came over this agent's own socket or was passed on by another agent. */
#ifndef CPA_AGENT_REQUEST_H
#define CPA_AGENT_REQUEST_H

#include <jansson.h>

#include "agent/agent.h"
#include "agent/control.h"
#include "agent/ports/bus.h"

#define REQUEST_HOPS_MAX 4

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
	int64_t deadline; /* CLOCK_BOOTTIME: patience with a job on its way to another node ends; 0: not yet asked
	                     for */
	int64_t wait_until; /* the user's own timeout, on CLOCK_BOOTTIME; 0: none */
};

/* From the control socket; from another agent. Hands it to verbs_handle(). */
void request_from_control(void *agent, struct control_request *rq);
void request_from_bus(struct agent *a, struct bus_request *rq, const char *json, size_t json_len, uid_t uid,
                      unsigned hops, const uint8_t *data, size_t len);

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
