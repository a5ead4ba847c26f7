/* Owns what the registry decides about this node's jobs, and what the lease's end means for them. */
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "agent/job_start.h"
#include "agent/ports/fence.h"
#include "agent/registrar.h"
#include "agent/standing_impl.h"
#include "agent/submitter.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/scoped.h"
#include "lib/wire/copy.h"

void standing_job_here(struct agent *a, const char *uuid, uint32_t incarnation)
{
	if (a->standing)
		node_job_here(&a->standing->core, uuid, incarnation);
}

void standing_job_gone(struct agent *a, const char *uuid)
{
	if (a->standing)
		node_job_gone(&a->standing->core, uuid);
}

/* cpfence freezes and thaws the cgroup by the deadline; here the jobs' states follow. An agent without root has no
 * cpfence: it stops its jobs itself, as long as it lives. */
void standing_fence_jobs(struct upward *s, bool frozen)
{
	size_t n = 0;
	for (struct job *j = s->agent->jobs ? s->agent->jobs->first : NULL; j; j = j->next) {
		if (!s->agent->fence)
			job_signal_tree(j, frozen ? SIGSTOP : SIGCONT);
		if (j->state == (frozen ? JOB_RUNNING : JOB_FROZEN) && !j->disowned)
			n += job_move(j, frozen ? EV_FENCED : EV_THAWED,
			              frozen ? "the node's lease ran out" : "the lease is back");
	}
	log_info(frozen ? "jobs_frozen" : "jobs_thawed", "count=%zu", n);
}

void standing_perform_job(struct upward *s, const struct node_action *act)
{
	struct job *j = jobs_find(s->agent, act->job);
	if (!j)
		return;
	if (act->todo == NODE_KILL) {
		job_taken_away(j, "another node has it");
	} else if (job_ended(j->state)) {
		j->tell_due = false; /* the registry knows how it ended */
	}
}

/* ---- the list for a registration ---- */

#define CLAIMS_PLAIN_MAX ((size_t)512 << 10)
#define CLAIMS_LEVEL 1 /* of zstd: environments of one user's jobs are all alike */

static void free_list(Cpa__Register *reg)
{
	for (size_t i = 0; i < reg->n_claims; i++)
		free(reg->claims[i]); /* a block with its exit behind it; the rest is borrowed */
	free(reg->claims);
	reg->claims = NULL;
	reg->n_claims = 0;
}

void standing_claims_free(Cpa__Register *reg, void *bulk)
{
	free_list(reg);
	free(bulk);
}

static bool list_claims(struct upward *s, Cpa__Register *reg)
{
	struct jobs *jobs = s->agent->jobs;
	reg->claims = calloc((jobs ? jobs->count : 0) + 1, sizeof(Cpa__Claim *));
	for (struct job *j = jobs && reg->claims ? jobs->first : NULL; j; j = j->next) {
		if (j->state == JOB_LOST || (job_ended(j->state) && !j->tell_due))
			continue;
		struct {
			Cpa__Claim claim;
			Cpa__Exit ended;
		} *c = calloc(1, sizeof *c);
		if (!c)
			return false;
		cpa__claim__init(&c->claim);
		cpa__exit__init(&c->ended);
		c->ended.code = j->ending.code;
		c->ended.signal = j->ending.signal;
		c->claim.exit = &c->ended;
		c->claim.spec = j->spec;
		c->claim.incarnation = j->incarnation;
		c->claim.state = (char *)(uintptr_t)job_state_name(j->state);
		c->claim.by_keys = j->by_keys;
		c->claim.given = node_job_given(&s->core, j->id);
		reg->claims[reg->n_claims++] = &c->claim;
	}
	return reg->claims != NULL;
}

/* A thousand jobs with their environments do not fit into a message; what they have in common is said once. */
static bool compress_claims(Cpa__Register *reg, void **bulk, size_t *len)
{
	Cpa__Register only = CPA__REGISTER__INIT;
	size_t n, room;
	only.claims = reg->claims;
	only.n_claims = reg->n_claims;
	scoped_free void *plain = wire_pack(&only.base, &n);
	room = plain ? ZSTD_compressBound(n) : 0;
	*bulk = plain ? malloc(room) : NULL;
	*len = *bulk ? ZSTD_compress(*bulk, room, plain, n, CLAIMS_LEVEL) : 0;
	free_list(reg);
	return *bulk && !ZSTD_isError(*len);
}

bool standing_claims(struct upward *s, Cpa__Register *reg, void **bulk, size_t *len)
{
	*bulk = NULL;
	*len = 0;
	return list_claims(s, reg) &&
	       (cpa__register__get_packed_size(reg) <= CLAIMS_PLAIN_MAX || compress_claims(reg, bulk, len));
}

/* ---- orders ---- */

/* The job's record, from its first time here or an earlier one, about to live again. */
static struct job *record_for(struct upward *s, const Cpa__Start *order, struct err *e)
{
	struct job *j = jobs_find(s->agent, order->spec->job);
	enum job_state state = order->anew ? JOB_STARTING : JOB_RESTORING;
	if (!j) {
		Cpa__Spec *spec = wire_copy(&order->spec->base);
		if (!spec)
			err_set(e, ERR_FAILED, "out of memory");
		return spec && jobs_add(s->agent, spec, order->incarnation, state, &j, e) == 0 ? j : NULL;
	}
	log_info("job_again", "job=%s name=%s was=%s incarnation=%u", j->id, j->spec->name,
	         job_state_name(j->state), order->incarnation);
	j->state = state;
	j->incarnation = order->incarnation;
	j->disowned = j->stopping = false;
	j->restart_at = j->kill_at = 0;
	j->supervise.count = 0;
	job_touched(j);
	return j;
}

static void take_order(struct upward *s, const Cpa__Start *order)
{
	struct err e = { 0 };
	struct job *j = submitter_may_run_here(s->agent, order->spec, &e) < 0 ? NULL : record_for(s, order, &e);
	struct start_from *from = j ? start_from_order(j, order, &e) : NULL;
	if (from) {
		job_tell(j, REPORT_TAKEN);
		job_start(j, from);
		return;
	}
	log_error("order_not_taken", "job=%s why=\"%s\"", order->spec->job, e.text);
	node_job_gone(&s->core, order->spec->job);
	if (j) {
		job_move(j, order->anew ? EV_LAUNCH_FAILED : EV_RESTORE_FAILED, e.text);
		job_tell(j, REPORT_FAILED_HERE);
	} else {
		standing_tell_once(s, order->spec->job, order->incarnation, REPORT_FAILED_HERE);
	}
}

/* The order was heard before: what became of it? */
static void repeat_report(struct job *j)
{
	if (j->tell_due)
		j->telling = false;
	else if (j->busy)
		job_tell(j, REPORT_TAKEN);
	else if (job_live(j->state))
		job_tell(j, REPORT_RUNNING);
	else
		job_tell(j, j->state == JOB_EXITED ? REPORT_EXITED : REPORT_FAILED);
}

void standing_start(struct agent *a, const Cpa__Start *order, Cpa__Answer *answer)
{
	struct upward *s = a->standing;
	struct job *j;
	if (!s || !a->jobs || !order->spec || !registrar_uuid_ok(order->spec->job) ||
	    order->session.len != sizeof s->session ||
	    memcmp(order->session.data, s->session, sizeof s->session) != 0) {
		answer->code = ERR_FAILED;
		answer->text = "that order is for an earlier life of this agent";
		return;
	}
	enum start_answer what =
	        node_start(&s->core, order->spec->job, order->incarnation, order->term, clock_boot_ns());
	log_debug("start_ordered", "job=%s incarnation=%u term=%llu answer=%d", order->spec->job,
	          order->incarnation, (unsigned long long)order->term, (int)what);
	switch (what) {
	case START_TAKE:
		take_order(s, order);
		break;
	case START_HAVE:
		j = jobs_find(a, order->spec->job);
		if (j && j->incarnation == order->incarnation)
			repeat_report(j);
		break;
	case START_WAIT:
		break;
	case START_REFUSE:
		standing_tell_once(s, order->spec->job, order->incarnation, REPORT_REFUSED);
		break;
	}
}

void standing_stop(struct agent *a, const Cpa__Stop *order, Cpa__Answer *answer)
{
	struct upward *s = a->standing;
	uint32_t last = order->incarnation;
	if (!s || !a->jobs) {
		answer->code = ERR_FAILED;
		answer->text = "this agent runs no jobs";
		return;
	}
	struct job *j = jobs_find(a, order->job);
	if (node_stop(&s->core, order->job, order->incarnation, &last) && j)
		job_taken_away(j, "its registry wants it elsewhere");
	else
		standing_tell_once(s, order->job, last, REPORT_GONE);
}
