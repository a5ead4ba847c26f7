/* Jobs as the registry hears of them: new ones, what nodes report, what operators order. */
#include "agent/core/registry_impl.h"

#include <string.h>

const char *report_name(enum report p)
{
	static const char *const names[] = {
		[REPORT_TAKEN] = "taken",     [REPORT_RUNNING] = "running",     [REPORT_REFUSED] = "refused",
		[REPORT_FAILED_HERE] = "failed-here", [REPORT_RESTARTED] = "restarted", [REPORT_EXITED] = "exited",
		[REPORT_FAILED] = "failed",   [REPORT_GONE] = "gone",
	};
	return (unsigned)p < sizeof names / sizeof *names ? names[p] : "?";
}

static int no_job(struct err *e, const char *what, const char *uuid)
{
	return err_set(e, ERR_NOT_FOUND, "%s %s: the registry knows no such job; see cpagent ps -a", what, uuid);
}

int registry_job_new(struct registry *r, const struct job_spec *spec, int64_t now, struct actions *acts,
		     struct err *e)
{
	char why[CORE_WHY];
	if (reg_job_find(r, spec->uuid))
		return 0;
	const struct reg_job *same = registry_job_named(r, spec->uid, spec->name);
	if (same && !job_ended(same->state))
		return err_set(e, ERR_FAILED, "run %s: a job of this name is %s already; choose another --name",
			       spec->name, job_state_name(same->state));
	struct reg_job probe = {.spec = *spec};
	struct reg_node *n = reg_choose(r, &probe, spec->wanted, *spec->wanted != '\0', NULL, why);
	if (!n)
		return err_set(e, ERR_NOT_FOUND, "run %s: %s", spec->name, why);
	struct reg_job *j = reg_job_make(r, spec);
	j->state = JOB_STARTING;
	reg_say(j->why, "submitted, given to %s", n->info.name);
	reg_assign(r, j, n, now, acts);
	return 0;
}

/* ---- reports -------------------------------------------------------------------------------------- */
static void running(struct registry *r, struct reg_job *j, struct actions *acts)
{
	enum job_state old = j->state;
	reg_say(j->why, "%s runs it", j->owner);
	job_step(r, j, j->state == JOB_STARTING ? EV_LAUNCHED : EV_RESTORED, acts);
	j->tried_count = 0;
	j->rounds = 0;
	if (j->state != old)
		job_persist(j, acts);
}

static void ended(struct registry *r, struct reg_job *j, enum job_event ev, struct ending how, int64_t now,
		  struct actions *acts)
{
	j->ending = how;
	j->ended_at = now;
	j->moving = false;
	job_step(r, j, ev, acts);
	job_pend(r, j, REG_QUIET, 0);
	job_persist(j, acts);
}

static void not_here(struct registry *r, struct reg_job *j, bool tried, int64_t now, struct actions *acts)
{
	if (tried)
		job_tried(j, j->owner);
	job_release(r, j, EV_DISOWNED, now, acts);
	job_service(r, j, now, acts);
}

/* A report by the owner about this incarnation. */
static void apply(struct registry *r, struct reg_job *j, enum report what, bool newer, struct ending how,
		  int64_t now, struct actions *acts)
{
	if (j->pending == REG_START && what != REPORT_REFUSED)
		job_pend(r, j, REG_QUIET, 0);
	switch (what) {
	case REPORT_TAKEN:
		break;
	case REPORT_RUNNING:
		running(r, j, acts);
		break;
	case REPORT_RESTARTED:
		if (newer && job_step(r, j, EV_RESTORE_STARTED, acts))
			job_persist(j, acts);
		break;
	case REPORT_EXITED:
		ended(r, j, EV_EXITED, how, now, acts);
		break;
	case REPORT_FAILED:
		ended(r, j, EV_GIVEN_UP, how, now, acts);
		break;
	case REPORT_REFUSED:
		if (j->pending == REG_START || j->pending == REG_STOP)
			not_here(r, j, true, now, acts);
		break;
	case REPORT_FAILED_HERE:
		not_here(r, j, true, now, acts);
		break;
	case REPORT_GONE:
		not_here(r, j, false, now, acts);
		break;
	}
}

/* The copy that the node speaks of, whatever becomes of the job, is not there or not to be there. */
static enum reg_answer answer_stale(enum report what)
{
	switch (what) {
	case REPORT_TAKEN:
	case REPORT_RUNNING:
	case REPORT_RESTARTED:
		return ANSWER_KILL;
	case REPORT_REFUSED:
	case REPORT_FAILED_HERE:
	case REPORT_EXITED:
	case REPORT_FAILED:
	case REPORT_GONE:
		break;
	}
	return ANSWER_OK;
}

enum reg_answer registry_report(struct registry *r, const char *node, const char *uuid, uint32_t incarnation,
				enum report what, struct ending ending, const char *why, int64_t now,
				struct actions *acts)
{
	struct reg_node *n = reg_node_find(r, node);
	struct reg_job *j = reg_job_find(r, uuid);
	if (!n || !n->joined || n->state == NODE_DOWN || !j)
		return ANSWER_UNKNOWN;
	if (strcmp(j->owner, node) != 0 || j->elsewhere)
		return answer_stale(what);
	if (incarnation < j->incarnation)
		return ANSWER_OK; /* old news of its owner; what it may keep was settled when it registered */
	if (job_ended(j->state))
		return incarnation == j->incarnation ? ANSWER_OK : answer_stale(what);
	if (!job_live(j->state)) {
		/* its node lost it and nobody has it yet; that it has ended is still true */
		if (what != REPORT_EXITED && what != REPORT_FAILED)
			return answer_stale(what);
	}
	bool newer = incarnation > j->incarnation;
	if (newer) {
		/* the node started it again by itself, and that report is late or lost */
		j->incarnation = incarnation;
		job_persist(j, acts);
	}
	if (why && *why)
		core_copy(j->why, sizeof j->why, why);
	apply(r, j, what, newer, ending, now, acts);
	return ANSWER_OK;
}

/* ---- orders --------------------------------------------------------------------------------------- */
int registry_move(struct registry *r, const char *uuid, const char *to, int64_t now, struct actions *acts,
		  struct err *e)
{
	char why[CORE_WHY];
	struct reg_job *j = reg_job_find(r, uuid);
	if (!j || j->elsewhere)
		return no_job(e, "restore", uuid);
	if (*to && !reg_node_find(r, to))
		return err_set(e, ERR_NOT_FOUND, "restore %s: there is no node %s; see cpagent status", j->spec.name, to);
	if (j->pending == REG_ASK)
		return err_set(e, ERR_FAILED, "restore %s: another registry may have it and does not answer yet",
			       j->spec.name);
	j->tried_count = 0;
	if (!reg_choose(r, j, to, *to != '\0', NULL, why))
		return err_set(e, ERR_FAILED, "restore %s: %s", j->spec.name, why);
	j->stopped = false;
	j->moving = job_live(j->state) || *to;
	core_copy(j->move_to, sizeof j->move_to, to);
	reg_say(j->why, "an operator moves it");
	job_pend(r, j, job_live(j->state) ? REG_STOP : REG_WAIT, now);
	job_service(r, j, now, acts);
	return 0;
}

int registry_stop(struct registry *r, const char *uuid, int64_t now, struct actions *acts, struct err *e)
{
	struct reg_job *j = reg_job_find(r, uuid);
	if (!j || j->elsewhere)
		return no_job(e, "stop", uuid);
	if (job_ended(j->state))
		return 0;
	j->stopped = true;
	j->moving = false;
	reg_say(j->why, "stopped by its user");
	job_persist(j, acts);
	if (job_live(j->state)) {
		job_pend(r, j, REG_STOP, now);
		job_service(r, j, now, acts);
	} else {
		ended(r, j, EV_GIVEN_UP, j->ending, now, acts);
	}
	return 0;
}

int registry_job_forget(struct registry *r, const char *uuid, struct actions *acts, struct err *e)
{
	struct reg_job *j = reg_job_find(r, uuid);
	if (!j)
		return no_job(e, "forget", uuid);
	if (!job_ended(j->state))
		return err_set(e, ERR_FAILED, "forget %s: it is %s; stop it first", j->spec.name,
			       job_state_name(j->state));
	reg_job_drop(r, j, acts);
	return 0;
}

void registry_by_keys(struct registry *r, const char *uuid, struct actions *acts)
{
	struct reg_job *j = reg_job_find(r, uuid);
	if (!j || j->by_keys)
		return;
	j->by_keys = true;
	job_persist(j, acts);
}
