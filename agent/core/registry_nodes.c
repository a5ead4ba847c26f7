/* Nodes as the registry sees them: registering, renewing, running out, draining. */
#include "agent/core/registry_impl.h"

#include <stdlib.h>
#include <string.h>

/* No lease is longer: what a node says beyond it is not believed. */
#define LONGEST_HELD (24 * 3600 * CORE_S)

const char *node_state_name(enum node_state s)
{
	static const char *const names[] = {[NODE_UP] = "up", [NODE_SUSPECT] = "suspect", [NODE_DOWN] = "down"};
	return (unsigned)s < sizeof names / sizeof *names ? names[s] : "?";
}

const char *reg_answer_name(enum reg_answer a)
{
	static const char *const names[] = {
		[ANSWER_OK] = "ok",
		[ANSWER_KILL] = "kill",
		[ANSWER_UNKNOWN] = "unknown",
		[ANSWER_REFUSED] = "refused",
	};
	return (unsigned)a < sizeof names / sizeof *names ? names[a] : "?";
}

int64_t registry_hello(const struct registry *r)
{
	return r->config.lease;
}

static void hear(struct registry *r, struct reg_node *n, int64_t now)
{
	n->state = NODE_UP;
	n->heard = now;
	n->lease = r->config.lease;
	int64_t end = lease_expiry(now, n->lease);
	if (n->expires == CORE_NEVER || end > n->expires)
		n->expires = end;
}

/* A node that came, or can be spoken to again, may be what waiting jobs wait for. */
static void wake_waiting(struct registry *r, int64_t now)
{
	for (struct reg_job *j = r->waiting; j; j = j->wait_next)
		if ((j->pending == REG_WAIT || j->pending == REG_ASK) && j->resend_at > now)
			j->resend_at = now;
}

enum reg_answer registry_renew(struct registry *r, const char *node, const uint8_t session[CORE_SESSION],
			       uint64_t term, int64_t now, int64_t *lease)
{
	struct reg_node *n = reg_node_find(r, node);
	if (!n || !n->joined || n->state == NODE_DOWN || n->info.term != term ||
	    memcmp(n->info.session, session, CORE_SESSION) != 0)
		return ANSWER_UNKNOWN;
	hear(r, n, now);
	if (!n->answers) {
		n->answers = true;
		r->places_stale = true;
		wake_waiting(r, now);
	}
	*lease = n->lease;
	return ANSWER_OK;
}

/* ---- registering ---------------------------------------------------------------------------------- */
static enum job_state settled_state(enum job_state claimed)
{
	return claimed == JOB_STARTING || claimed == JOB_RESTORING || job_ended(claimed) ? claimed : JOB_RUNNING;
}

/* A job that this registry has never heard of, or has promised away at an older incarnation. */
static enum verdict adopt(struct registry *r, struct reg_job *j, struct reg_node *n, const struct job_claim *c,
			  int64_t now, struct actions *acts)
{
	if (!j)
		j = reg_job_make(r, &c->spec);
	j->spec = c->spec;
	if (j->spec.spare_count > CORE_SPARES)
		j->spec.spare_count = CORE_SPARES;
	/* what was asked of it here before it went elsewhere is answered for there */
	j->elsewhere = j->stopped = j->moving = false;
	j->incarnation = c->incarnation;
	j->state = settled_state(c->state);
	j->ending = c->ending;
	j->by_keys = c->by_keys;
	j->mark = r->mark;
	reg_say(j->why, "%s brought it", n->info.name);
	if (job_ended(j->state)) {
		core_copy(j->owner, sizeof j->owner, n->info.name);
		j->ended_at = now;
	} else {
		job_own(r, j, n);
	}
	job_persist(j, acts);
	return job_ended(j->state) ? VERDICT_FORGET : VERDICT_ADOPT;
}

/* Its owner still has it, or has it again before anyone took it. */
static enum verdict keep(struct registry *r, struct reg_job *j, struct reg_node *n, const struct job_claim *c,
			 int64_t now, struct actions *acts)
{
	j->mark = r->mark;
	j->incarnation = c->incarnation;
	j->by_keys |= c->by_keys;
	j->free_answers = 0;
	reg_say(j->why, "%s still has it", n->info.name);
	if (job_ended(c->state)) {
		j->ending = c->ending;
		j->ended_at = now;
		job_step(r, j, c->state == JOB_EXITED ? EV_EXITED : EV_GIVEN_UP, acts);
		job_pend(r, j, REG_QUIET, 0);
		job_persist(j, acts);
		return VERDICT_FORGET;
	}
	if (j->state == JOB_LOST)
		job_step(r, j, EV_THAWED, acts);
	j->state = settled_state(c->state);
	job_own(r, j, n);
	if (j->stopped || j->moving)
		job_pend(r, j, REG_STOP, now);
	else
		job_pend(r, j, REG_QUIET, 0);
	job_persist(j, acts);
	return VERDICT_KEEP;
}

static enum verdict judge(struct registry *r, struct reg_node *n, const struct job_claim *c, int64_t now,
			  struct actions *acts)
{
	struct reg_job *j = reg_job_find(r, c->spec.uuid);
	bool theirs = j && !strcmp(j->owner, n->info.name) && c->incarnation >= j->incarnation;
	if (!j || (j->elsewhere && (theirs || c->given > j->incarnation)))
		return adopt(r, j, n, c, now, acts);
	if (theirs && !job_ended(j->state) && !j->elsewhere)
		return keep(r, j, n, c, now, acts);
	return job_ended(c->state) ? VERDICT_FORGET : VERDICT_KILL;
}

/* What the node should have had and did not list. */
static void release_unlisted(struct registry *r, struct reg_node *n, int64_t now, struct actions *acts)
{
	for (struct reg_job *j = n->first, *next; j; j = next) {
		next = j->node_next;
		if (j->mark == r->mark)
			continue;
		reg_say(j->why, "%s registered without it", n->info.name);
		job_release(r, j, EV_NODE_LOST, now, acts);
	}
}

static void note_up(struct reg_node *n, bool known, bool same_life, struct actions *acts)
{
	struct action *a = act_add(acts, ACT_NODE_UP, NULL, n->info.name);
	reg_say(a->why, !known			 ? "new"
			: n->state == NODE_DOWN ? "back after its lease ran out"
			: same_life		 ? "registered again"
						 : "its agent or this one was restarted");
	act_add(acts, ACT_PERSIST_NODE, NULL, n->info.name);
}

/* All of it, or what is left of the one before for a node that has not answered since; 0: not worth granting. */
static int64_t lease_to_grant(const struct registry *r, struct reg_node *n, int64_t held, bool same_life, int64_t now)
{
	int64_t full = r->config.lease;
	if (n->expires != CORE_NEVER && held && lease_expiry(now, held) > n->expires)
		n->expires = lease_expiry(now, held);
	if (!held || !same_life || n->answers || n->state == NODE_DOWN)
		return full;
	int64_t left = n->expires - now - lease_margin(full);
	if (left >= full)
		return full;
	return left >= full / 4 ? left : 0;
}

enum reg_answer registry_register(struct registry *r, const struct node_info *info, const struct job_claim *claims,
				  size_t count, int64_t now, struct job_verdict *verdicts, int64_t *lease,
				  struct actions *acts)
{
	struct reg_node *n = reg_node_find(r, info->name);
	bool known = n != NULL;
	if (!known)
		n = reg_node_make(r, info->name);
	bool same_life = n->joined && !memcmp(n->info.session, info->session, CORE_SESSION);
	if (same_life && info->term <= n->info.term)
		return ANSWER_REFUSED;
	int64_t held = info->held > 0 && info->held < LONGEST_HELD ? info->held : 0;
	int64_t length = lease_to_grant(r, n, held, same_life, now);
	if (!length)
		return ANSWER_REFUSED;
	note_up(n, known, same_life, acts);
	n->info = *info;
	if (n->info.other_count > CORE_PARENTS)
		n->info.other_count = CORE_PARENTS;
	r->places_stale = true;
	if (length == r->config.lease)
		hear(r, n, now);
	if (lease_expiry(now, held) > n->expires)
		n->expires = lease_expiry(now, held);
	n->joined = true;
	n->answers = false;
	r->mark++;
	for (size_t i = 0; i < count; i++) {
		core_copy(verdicts[i].job, CORE_UUID, claims[i].spec.uuid);
		verdicts[i].verdict = judge(r, n, &claims[i], now, acts);
	}
	release_unlisted(r, n, now, acts);
	*lease = length;
	return ANSWER_OK;
}

/* ---- running out, draining ---------------------------------------------------------------------------- */
static void expire(struct registry *r, struct reg_node *n, int64_t now, struct actions *acts)
{
	n->state = NODE_DOWN;
	r->places_stale = true;
	struct action *a = act_add(acts, ACT_NODE_DOWN, NULL, n->info.name);
	a->count = n->jobs;
	reg_say(a->why, n->joined ? "its lease ran out" : "not heard since this registry started");
	while (n->first) {
		reg_say(n->first->why, "the lease of %s ran out", n->info.name);
		job_release(r, n->first, EV_NODE_LOST, now, acts);
	}
}

void reg_expire_nodes(struct registry *r, int64_t now, struct actions *acts)
{
	size_t at = 0;
	for (struct reg_node *n; (n = table_each(&r->nodes, &at));) {
		if (n->state != NODE_DOWN && now >= n->expires)
			expire(r, n, now, acts);
		else if (n->state == NODE_UP && now - n->heard >= n->lease / 2)
			n->state = NODE_SUSPECT;
	}
}

int registry_drain(struct registry *r, const char *node, bool on, int64_t now, struct actions *acts, struct err *e)
{
	struct reg_node *n = reg_node_find(r, node);
	if (!n)
		return err_set(e, ERR_NOT_FOUND, "drain %s: no node of this name is registered; see cpagent status",
			       node);
	n->drained = on;
	r->places_stale = true;
	act_add(acts, ACT_PERSIST_NODE, NULL, n->info.name);
	for (struct reg_job *j = n->first; on && j; j = j->node_next) {
		if (j->pending == REG_STOP)
			continue;
		j->moving = true;
		j->move_to[0] = '\0';
		reg_say(j->why, "%s is drained", n->info.name);
		job_pend(r, j, REG_STOP, now);
		job_service(r, j, now, acts);
	}
	if (!on)
		wake_waiting(r, now);
	return 0;
}
