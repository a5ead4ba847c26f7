/* Asking other agents: Ask out, Answer back, with bulk bytes behind each. From the loop with a callback, from a
 * worker thread as a plain blocking call. Every ask is idempotent: it may be delivered more than once. */
#ifndef CPA_AGENT_CALL_H
#define CPA_AGENT_CALL_H

#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/wire/cpagent.pb-c.h"

struct agent;

/* What came back. answer and data are borrowed during a callback; after call_wait() they are owned. */
struct call_reply {
	int code; /* 0, or why there is no answer or what it says; then text says it in a sentence */
	const char *text;
	const Cpa__Answer *answer;
	const uint8_t *data;
	size_t len;
};

typedef void call_fn(void *ctx, const struct call_reply *reply);

/* From the loop only. fn is called exactly once, and not before this returns (unless this agent is stopping or
 * memory is out). url is where the other listens. */
void call_send(struct agent *a, const char *url, const Cpa__Ask *ask, const void *data, size_t len,
               int64_t timeout_ns, call_fn *fn, void *ctx);

/* From worker threads only. One call in flight; several may be posted before the first is waited for. */
struct call;
struct call *call_post(struct agent *a, const char *url, const Cpa__Ask *ask, int64_t timeout_ns);
/* Waits; *out stays valid until call_free(c). c NULL (out of memory) is an error like any other. */
int call_wait(struct call *c, struct call_reply *out, struct err *e);
void call_free(struct call *c);

int call_open(struct agent *a, struct err *e);
void call_close(struct agent *a);

#endif
