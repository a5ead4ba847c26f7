/* Owns the verbs that act on one job: signal, stop, restore, history. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "agent/job_start.h"
#include "agent/registrar.h"
#include "agent/standing.h"
#include "agent/verbs.h"
#include "lib/base/clock.h"

#define STOP_GRACE_NS (10 * NS_PER_S)

bool verbs_refuse_ended(struct request *rq, const struct job *j)
{
	if (!job_ended(j->state))
		return false;
	request_fail(rq, ERR_FAILED, "%s: it is %s already", j->spec->name, job_state_name(j->state));
	return true;
}

void verb_signal(struct request *rq, struct job *j)
{
	int64_t signo = request_number(rq, "signal", 0);
	if (signo < 1 || signo >= NSIG) {
		request_fail(rq, ERR_USAGE, "no such signal");
	} else if (verbs_refuse_ended(rq, j)) {
		return;
	} else if ((request_flag(rq, "end") ? job_ask_to_end : job_signal)(j, (int)signo) < 0) {
		request_fail(rq, ERR_FAILED, "%s: it is %s: %s; try again in a moment", j->spec->name,
		             job_state_name(j->state), strerror(errno));
	} else {
		request_reply(rq, NULL, NULL, 0);
	}
}

void verb_stop(struct request *rq, struct job *j)
{
	int64_t grace = request_duration(rq, "grace", STOP_GRACE_NS);
	bool again = request_flag(rq, "again"); /* it was passed on, and the job had not ended after a while */
	if (!again && verbs_refuse_ended(rq, j))
		return;
	json_object_set_new(rq->json, "job", json_string(j->id));
	/* asked once more, it may be in more of a hurry, but does not begin anew */
	if (!job_ended(j->state) && (!j->stopping || !j->kill_at || clock_boot_ns() + grace < j->kill_at))
		job_stop(j, grace);
	verb_wait(rq, j);
}

/* ---- restore ---- */

static bool want_force(struct request *rq, const char *name, enum job_state state)
{
	if (!job_live(state) || request_flag(rq, "force"))
		return true;
	request_fail(rq, ERR_FAILED, "%s: it is %s; --force stops that copy first", name, job_state_name(state));
	return false;
}

static struct source_wish wish_of(const struct request *rq, enum restart_mode mode)
{
	struct source_wish w = { .mode = mode,
		                 .level = (int)request_number(rq, "level", 0),
		                 .generation = (uint64_t)request_number(rq, "generation", 0) };
	if (w.generation) /* a snapshot was named */
		w.mode = MODE_PROCESS;
	return w;
}

/* A node on its own: from what is here. */
void verb_restore(struct request *rq, struct job *j)
{
	struct err e = { 0 };
	const char *node = request_text(rq, "node");
	struct source_wish wish = wish_of(rq, (enum restart_mode)j->spec->mode);
	if (node && strcmp(node, j->agent->cfg.name) != 0) {
		request_fail(rq, ERR_NOT_FOUND, "%s: no such node: this agent has no registry that knows others",
		             node);
		return;
	}
	if (!want_force(rq, j->spec->name, j->state))
		return;
	if (j->busy) {
		request_fail(rq, ERR_FAILED,
		             "%s: it is being checkpointed or restored right now; try again in a moment",
		             j->spec->name);
		return;
	}
	struct start_from *from = start_from_wish(j, &wish, &e);
	if (!from) {
		request_fail_err(rq, &e);
		return;
	}
	if (!verbs_answer_when_started(rq, j)) {
		start_from_free(from);
		request_fail(rq, ERR_FAILED, "%s: it is being restored already", j->spec->name);
		return;
	}
	job_again(j, from);
}

struct moving {
	struct request *rq;
	char job[CORE_UUID];
};

static void on_moved(void *ctx, int code, const char *text, int launch_status)
{
	struct moving *m = ctx;
	(void)launch_status;
	const struct reg_job *j = registry_job(registrar_registry(m->rq->agent), m->job);
	if (code < 0 || !j)
		request_fail(m->rq, code < 0 ? code : ERR_FAILED, "%s", text ? text : "the job is gone");
	else
		request_reply(m->rq,
		              json_pack("{s:s,s:s,s:i}", "job", m->job, "node", j->owner, "incarnation",
		                        (int)j->incarnation),
		              NULL, 0);
	free(m);
}

void verb_registry_restore(struct request *rq, const struct reg_job *j)
{
	const char *node = request_text(rq, "node");
	struct source_wish wish = wish_of(rq, j->spec.mode);
	struct moving *m;
	if (!want_force(rq, j->spec.name, j->state))
		return;
	m = calloc(1, sizeof *m);
	if (!m) {
		request_fail(rq, ERR_FAILED, "out of memory");
		return;
	}
	m->rq = rq;
	core_copy(m->job, sizeof m->job, j->spec.uuid);
	registrar_move(rq->agent, m->job, node ? node : "", &wish, on_moved, m);
}

/* ---- history ---- */

/* Can it be restored: it is whole on this node, or it is among the newest that a level above keeps. Nobody keeps
 * those of a job that ended well. */
static bool restorable(struct job *j, size_t at)
{
	if (job_finished(j))
		return false;
	const Cpa__Past *p = j->history[at];
	struct gen *g = job_gen_find(j, p->generation);
	size_t newer = 0;
	for (size_t i = at + 1; i < j->n_history; i++)
		newer += j->history[i]->n_levels > 1;
	return (g && !g->bad) || (p->n_levels > 1 && newer < j->spec->keep);
}

static json_t *doc_past(const Cpa__Past *p, bool can_restore)
{
	json_t *levels = json_array();
	for (size_t i = 0; i < p->n_levels; i++)
		json_array_append_new(levels, json_integer(p->levels[i]));
	json_t *doc = json_pack("{s:I,s:o,s:o,s:I,s:I,s:f,s:o,s:b}", "generation", (json_int_t)p->generation,
	                        "time", doc_time(p->time_ns), "reason", doc_text(p->reason), "size_bytes",
	                        (json_int_t)p->size, "stored_bytes", (json_int_t)p->stored, "frozen_seconds",
	                        (double)p->frozen_ns / 1e9, "levels", levels, "restorable", can_restore);
	json_object_set_new(doc, "incarnation", json_integer(p->incarnation));
	json_object_set_new(doc, "node", json_string(p->node));
	json_object_set_new(doc, "note", p->note[0] ? doc_text(p->note) : json_null());
	return doc;
}

void verb_history(struct request *rq, struct job *j)
{
	json_t *list = json_array();
	for (size_t i = 0; i < j->n_history; i++)
		json_array_append_new(list, doc_past(j->history[i], restorable(j, i)));
	request_reply(rq, json_pack("{s:s,s:s,s:o}", "job", j->id, "name", j->spec->name, "generations", list),
	              NULL, 0);
}
