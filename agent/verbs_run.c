/* Owns the verb run: a checked spec, a UUID and a name, and then either this node alone or the registry. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/call.h"
#include "agent/core/group.h"
#include "agent/job_start.h"
#include "agent/registrar.h"
#include "agent/standing.h"
#include "agent/submitter.h"
#include "agent/verbs.h"
#include "lib/base/clock.h"
#include "lib/base/fs.h"
#include "lib/base/scoped.h"
#include "lib/wire/copy.h"

#define JOB_NEW_TIMEOUT_NS (70 * NS_PER_S)

struct running {
	struct running *next; /* of those that wait for the registry */
	struct request *rq;
	Cpa__Spec *spec; /* owned */
	bool given_up;   /* its user has been told that the registry is gone */
	bool restored;   /* not run for the first time: a restore waits */
};

static void replace(char **field, const char *text)
{
	if (*field != (char *)&protobuf_c_empty_string)
		free(*field);
	*field = strdup(text);
}

/* "solver-3fa85f64": the command's last part and the beginning of the UUID. */
static void make_name(Cpa__Spec *spec)
{
	char name[CORE_NAME];
	const char *cmd = (const char *)spec->argv[0].data;
	size_t len = spec->argv[0].len, at = len;
	while (at > 0 && cmd[at - 1] != '/')
		at--;
	size_t n = 0;
	for (size_t i = at; i < len && n < 40; i++)
		if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", cmd[i]) && cmd[i])
			name[n++] = cmd[i];
	snprintf(name + n, sizeof name - n, "%s%.8s", n ? "-" : "job-", spec->job);
	replace(&spec->name, name);
}

static bool has_nul(const ProtobufCBinaryData *b)
{
	return b->len && memchr(b->data, '\0', b->len) != NULL;
}

/* Numbers that mean something, or an amount of time that fits. */
static bool known_words(const Cpa__Spec *spec)
{
	return spec->mode <= CPA__MODE__KEYED && spec->restart <= CPA__RESTART__TEMPORARY &&
	       spec->files <= CPA__FILES__CARRY && spec->tcp <= CPA__TCP__ESTABLISHED &&
	       spec->every_ns <= INT64_MAX / 2 && spec->max_seconds_ns <= INT64_MAX / 2 && spec->level <= 99;
}

static int check_spec(Cpa__Spec *spec, struct err *e)
{
	const char *unfit = group_unfit(spec->group, spec->rank, spec->ranks, spec->launch);
	if (spec->n_argv == 0 || spec->argv[0].len == 0)
		return err_set(e, ERR_USAGE, "no command; say what to run: cpagent run -- CMD ARG…");
	for (size_t i = 0; i < spec->n_argv; i++)
		if (has_nul(&spec->argv[i]))
			return err_set(e, ERR_USAGE, "an argument holds a zero byte");
	for (size_t i = 0; i < spec->n_env; i++)
		if (has_nul(&spec->env[i]) || !spec->env[i].len ||
		    !memchr(spec->env[i].data, '=', spec->env[i].len))
			return err_set(e, ERR_USAGE, "an environment variable is not of the form NAME=VALUE");
	if (spec->name[0] && !seal_name_ok(spec->name))
		return err_set(e, ERR_USAGE,
		               "%s: not a job's name; use letters, digits, '.', '_' and '-', at most 64",
		               spec->name);
	if (unfit)
		return err_set(e, ERR_USAGE, "%s", unfit);
	if (!known_words(spec))
		return err_set(
		        e, ERR_USAGE,
		        "the request asks for something unknown here; is the cpagent command of another version?");
	if (spec->keep > JOBS_KEEP_MAX)
		return err_set(e, ERR_USAGE, "--keep: at most %d generations can be kept", JOBS_KEEP_MAX);
	if (spec->keep == 0)
		spec->keep = 2;
	return 0;
}

static Cpa__Spec *take_spec(struct request *rq, struct err *e)
{
	scoped_free char *uuid = NULL;
	size_t n;
	Cpa__Spec *spec = cpa__spec__unpack(NULL, rq->len, rq->data);
	if (!spec) {
		err_set(e, ERR_USAGE, "the request holds no job; is the cpagent command of another version?");
		return NULL;
	}
	if (check_spec(spec, e) < 0 || submitter_check(rq, spec, e) < 0 ||
	    fs_read("/proc/sys/kernel/random/uuid", 64, &uuid, &n, e) < 0) {
		cpa__spec__free_unpacked(spec, NULL);
		return NULL;
	}
	uuid[strcspn(uuid, "\n")] = '\0';
	replace(&spec->job, uuid);
	if (!spec->name[0])
		make_name(spec);
	return spec;
}

static void answer_run(struct request *rq, const Cpa__Spec *spec, const char *node)
{
	request_reply(rq, json_pack("{s:s,s:s,s:s}", "job", spec->job, "name", spec->name, "node", node), NULL, 0);
}

static struct running *asking; /* one loop, one list */

static void free_running(struct running *r)
{
	if (r->spec)
		cpa__spec__free_unpacked(r->spec, NULL);
	free(r);
}

static void settled(struct running *r, int code, const char *text, int launch_status)
{
	struct err e = { 0 };
	if (code == 0) {
		answer_run(r->rq, r->spec, r->spec->node);
	} else {
		err_set(&e, code, "%s", text && *text ? text : "it could not be started");
		if (code == ERR_FAILED && !launch_status)
			launch_status = 125;
		request_fail_launch(r->rq, launch_status, &e);
	}
	free_running(r);
}

/* ---- through the registry ---- */

/* The registry has the word no more: its lease ran out meanwhile. Whether it got the job is not known. */
void verbs_run_registry_lost(struct agent *a)
{
	while (asking) {
		struct running *r = asking;
		struct err e = { 0 };
		asking = r->next;
		r->given_up = true;
		err_set(&e, ERR_FAILED,
		        "the registry does not answer (%s), and whether it took job %s is not known; see cpagent "
		        "ps when it is back",
		        standing_why(a), r->spec->name);
		request_fail_launch(r->rq, 125, &e);
		r->rq = NULL;
	}
}

static void forget_asking(struct running *r)
{
	for (struct running **p = &asking; *p; p = &(*p)->next)
		if (*p == r) {
			*p = r->next;
			return;
		}
}

static void on_job_new(void *ctx, const struct call_reply *rep)
{
	struct running *r = ctx;
	if (r->given_up) {
		free_running(r);
		return;
	}
	forget_asking(r);
	settled(ctx, rep->code, rep->text, rep->answer ? rep->answer->launch_status : 0);
}

static void on_registered(void *ctx, int code, const char *text, int launch_status)
{
	settled(ctx, code, text, launch_status);
}

static void ask_registry(struct running *r)
{
	struct agent *a = r->rq->agent;
	Cpa__JobNew q = CPA__JOB_NEW__INIT;
	Cpa__Ask ask = CPA__ASK__INIT;
	if (a->registrar) {
		registrar_job_new(a, r->spec, on_registered, r);
		return;
	}
	r->next = asking;
	asking = r;
	q.spec = r->spec;
	ask.what_case = CPA__ASK__WHAT_JOB_NEW;
	ask.job_new = &q;
	call_send(a, standing_registry_url(a), &ask, NULL, 0, JOB_NEW_TIMEOUT_NS, on_job_new, r);
}

/* ---- here, on our own ---- */

static void answer_restored(struct running *r, const struct job *j)
{
	if (job_live(j->state))
		request_reply(r->rq,
		              json_pack("{s:s,s:s,s:i}", "job", j->id, "node", j->agent->cfg.name, "incarnation",
		                        (int)j->incarnation),
		              NULL, 0);
	else
		request_fail(r->rq, ERR_FAILED, "%s: it could not be restored: %s", j->spec->name, j->why);
	free_running(r);
}

bool verbs_answer_when_started(struct request *rq, struct job *j)
{
	struct running *r = j->launching ? NULL : calloc(1, sizeof *r);
	if (!r)
		return false;
	*r = (struct running){ .rq = rq, .restored = true };
	j->launching = r;
	return true;
}

void job_launch_answer(struct job *j)
{
	struct running *r = j->launching;
	j->launching = NULL;
	if (!r)
		return;
	if (r->restored) {
		answer_restored(r, j);
		return;
	}
	bool failed = j->state == JOB_FAILED;
	int code = !failed ? 0 : j->launch_status == 127 ? ERR_NOT_FOUND : ERR_FAILED;
	settled(r, code, j->why, failed ? j->launch_status : 0);
}

static int name_is_free(struct agent *a, const Cpa__Spec *spec, struct err *e)
{
	for (struct job *j = a->jobs->first; j; j = j->next)
		if (!job_ended(j->state) && j->spec->uid == spec->uid && strcmp(j->spec->name, spec->name) == 0)
			return err_set(e, ERR_FAILED, "%s: a job of that name is running; choose another --name",
			               spec->name);
	return 0;
}

static void start_here(struct running *r)
{
	struct err e = { 0 };
	struct job *j = NULL;
	struct agent *a = r->rq->agent;
	struct start_from *from = submitter_may_run_here(a, r->spec, &e) == 0 ? start_from_nothing(&e) : NULL;
	Cpa__Spec *copy = from ? wire_copy(&r->spec->base) : NULL;
	if (!copy && !e.code)
		err_set(&e, ERR_FAILED, "out of memory");
	if (copy && name_is_free(a, copy, &e) < 0) {
		cpa__spec__free_unpacked(copy, NULL);
		copy = NULL;
	}
	if (!copy || jobs_add(a, copy, 0, JOB_STARTING, &j, &e) < 0) {
		start_from_free(from);
		settled(r, e.code, e.text, 0);
		return;
	}
	j->launching = r;
	standing_job_here(a, j->id, 0);
	job_start(j, from);
}

void verb_run(struct request *rq)
{
	struct agent *a = rq->agent;
	struct err e = { 0 };
	struct running *r = calloc(1, sizeof *r);
	Cpa__Spec *spec = r ? take_spec(rq, &e) : NULL;
	if (!spec) {
		free(r);
		request_fail(rq, e.code ? e.code : ERR_FAILED, "%s", e.code ? e.text : "out of memory");
		return;
	}
	if (!spec->node[0] && a->jobs)
		replace(&spec->node, a->cfg.name);
	*r = (struct running){ .rq = rq, .spec = spec };
	if (a->registrar || standing_has_registry(a)) {
		ask_registry(r);
	} else if (!a->jobs) {
		settled(r, ERR_FAILED,
		        "this agent is not of level 1 and runs no jobs, and its registry does not answer", 0);
	} else if (strcmp(spec->node, a->cfg.name) != 0) {
		err_set(&e, ERR_NOT_FOUND, "%s: no such node: this agent has no registry that knows others%s%s",
		        spec->node, a->standing ? "; " : "", a->standing ? standing_why(a) : "");
		settled(r, e.code, e.text, 0);
	} else if (!standing_may_run(a)) {
		err_set(&e, ERR_FAILED,
		        "no job can be started here: this node's lease has run out and its registry does not "
		        "answer (%s); "
		        "look at the network and at the agent above",
		        standing_why(a));
		settled(r, e.code, e.text, 0);
	} else {
		start_here(r);
	}
}
