/* The registry's place in the top agent: what other agents ask of it, what it orders them, and its records on
 * disk. The decisions are core/registry's. */
#ifndef CPA_AGENT_REGISTRAR_H
#define CPA_AGENT_REGISTRAR_H

#include <jansson.h>

#include "agent/agent.h"
#include "agent/core/registry.h"
#include "agent/ports/bus.h"
#include "lib/wire/cpagent.pb-c.h"

/* A job's UUID becomes a name on disk: nothing but hexadecimal digits and dashes. */
bool registrar_uuid_ok(const char *uuid);

int registrar_open(struct agent *a, struct err *e);
void registrar_close(struct agent *a);

/* An answer that is being put together: msg points into the rest. */
struct answer {
	Cpa__Answer msg;
	Cpa__Joined joined;
	Cpa__Granted granted;
	Cpa__Told told;
	Cpa__Released released;
	struct job_verdict *verdicts; /* owned, as the next two */
	Cpa__Verdict *verdict_msgs, **verdict_list;
};
void answer_init(struct answer *out);
void answer_free(struct answer *out);

/* Calls of agents: the answer is filled in. */
void registrar_hello(struct agent *a, const Cpa__Hello *q, struct answer *out);
/* bulk: the claims, compressed, where they are too many for the message itself. */
void registrar_register(struct agent *a, const Cpa__Register *q, const void *bulk, size_t len, struct answer *out);
void registrar_renew(struct agent *a, const Cpa__Renew *q, struct answer *out);
void registrar_tell(struct agent *a, const Cpa__Tell *q, struct answer *out);
void registrar_hold(struct agent *a, const Cpa__Hold *q);
void registrar_release(struct agent *a, const Cpa__Release *q, struct answer *out);

/* A new job; done is called on the loop when a node runs it, or when it cannot be started. launch_status: 0, or
 * 125 to 127. */
typedef void registrar_done_fn(void *ctx, int code, const char *text, int launch_status);
void registrar_job_new(struct agent *a, const Cpa__Spec *spec, registrar_done_fn *done, void *ctx);

/* A user's order to restore or move a job (verbs): the same way. wish may name a level or a generation. */
void registrar_move(struct agent *a, const char *uuid, const char *node, const struct source_wish *wish,
                    registrar_done_fn *done, void *ctx);
int registrar_stop(struct agent *a, const char *uuid, struct err *e);

/* Looking. */
struct registry *registrar_registry(struct agent *a);
/* What the owner last said of a job; NULL: nothing yet. */
const Cpa__Report *registrar_detail(struct agent *a, const char *uuid);
const Cpa__Spec *registrar_spec(struct agent *a, const char *uuid);
const Cpa__Agent *registrar_agent(struct agent *a, const char *name);
/* By UUID, unique prefix, or name; among those of uid (root: all). */
int registrar_resolve(struct agent *a, const char *word, uid_t uid, const struct reg_job **out, struct err *e);

#endif
