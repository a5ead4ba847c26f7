/* What a job goes through in the registry: steps of its state, changes of its owner, and what is pending for it.
 * Called by the parts of the registry that hear of nodes and jobs. */
#include "agent/core/registry_impl.h"

#include <string.h>

static bool owned(const struct reg_job *j)
{
	return j->node != NULL;
}

void job_own(struct registry *r, struct reg_job *j, struct reg_node *n)
{
	if (j->node == n)
		return;
	job_disown(r, j);
	core_copy(j->owner, sizeof j->owner, n->info.name);
	j->node = n;
	j->node_next = n->first;
	j->node_prev = &n->first;
	if (n->first)
		n->first->node_prev = &j->node_next;
	n->first = j;
	n->jobs++;
	n->memory_used += j->spec.needs.memory;
	reg_places_count(r, n);
}

void job_disown(struct registry *r, struct reg_job *j)
{
	struct reg_node *n = j->node;
	if (!owned(j))
		return;
	*j->node_prev = j->node_next;
	if (j->node_next)
		j->node_next->node_prev = j->node_prev;
	n->jobs--;
	n->memory_used -= j->spec.needs.memory;
	j->node = NULL;
	reg_places_count(r, n);
}

void job_persist(struct reg_job *j, struct actions *acts)
{
	act_add(acts, ACT_PERSIST_JOB, j, j->owner);
}

bool job_step(struct registry *r, struct reg_job *j, enum job_event ev, struct actions *acts)
{
	enum job_state old = j->state;
	if (!job_on(&j->state, ev, NULL))
		return false;
	if (!job_live(j->state))
		job_disown(r, j);
	if (j->state != old) {
		struct action *a = act_add(acts, ACT_JOB_CHANGED, j, j->owner);
		a->old = old;
		a->now_is = j->state;
		core_copy(a->why, sizeof a->why, j->why);
	}
	return true;
}

void job_pend(struct registry *r, struct reg_job *j, int pending, int64_t at)
{
	if (j->pending == REG_QUIET && pending != REG_QUIET) {
		j->wait_next = r->waiting;
		j->wait_prev = &r->waiting;
		if (r->waiting)
			r->waiting->wait_prev = &j->wait_next;
		r->waiting = j;
	} else if (j->pending != REG_QUIET && pending == REG_QUIET) {
		*j->wait_prev = j->wait_next;
		if (j->wait_next)
			j->wait_next->wait_prev = j->wait_prev;
	}
	j->pending = (unsigned)pending;
	j->resend_at = at;
}

void job_tried(struct reg_job *j, const char *node)
{
	core_copy(j->tried[j->tried_count % REG_TRIED], CORE_NAME, node);
	j->tried_count++;
}

void job_free_to_place(struct registry *r, struct reg_job *j, int64_t now)
{
	job_pend(r, j, REG_WAIT, now);
}

/* Its last copy is gone and it does not go on. */
static void end(struct registry *r, struct reg_job *j, enum job_event ev, int64_t now, struct actions *acts)
{
	job_step(r, j, ev, acts);
	j->ended_at = now;
	job_pend(r, j, REG_QUIET, 0);
}

void job_release(struct registry *r, struct reg_job *j, enum job_event ev, int64_t now, struct actions *acts)
{
	bool node_lost = ev == EV_NODE_LOST;
	job_step(r, j, ev, acts);
	j->free_answers = 0;
	if (node_lost)
		r->lost++;
	if (j->stopped) {
		if (!j->ending.code && !j->ending.signal)
			j->ending.signal = 15; /* it was stopped, and nobody could say how it took it: SIGTERM */
		end(r, j, EV_EXITED, now, acts);
	} else if (node_lost && j->spec.restart == RESTART_TEMPORARY && !j->moving) {
		end(r, j, EV_GIVEN_UP, now, acts);
	} else if (reg_peers_of(r, j)) {
		job_pend(r, j, REG_ASK, now);
	} else {
		job_free_to_place(r, j, now);
	}
	job_persist(j, acts);
}

/* Orders are repeated until they are answered. */
static void order(struct registry *r, struct reg_job *j, enum act what, int64_t now, struct actions *acts)
{
	job_pend(r, j, (int)j->pending, now + r->config.resend);
	if (!j->node || !j->node->joined || j->node->state == NODE_DOWN)
		return;
	struct action *a = act_add(acts, what, j, j->owner);
	a->term = j->node->info.term;
	memcpy(a->session, j->node->info.session, sizeof a->session);
	a->anew = j->incarnation == 0;
	core_copy(a->why, sizeof a->why, j->why);
}

static void service_start(struct registry *r, struct reg_job *j, int64_t now, struct actions *acts)
{
	if (now >= j->give_up_at) {
		/* the order may still be on its way, or the job half started: it is taken back first */
		reg_say(j->why, "%s did not answer the order to start it", j->owner);
		job_tried(j, j->owner);
		job_pend(r, j, REG_STOP, now);
		order(r, j, ACT_STOP, now, acts);
		return;
	}
	order(r, j, ACT_START, now, acts);
}

static void service_ask(struct registry *r, struct reg_job *j, int64_t now, struct actions *acts)
{
	unsigned peers = reg_peers_of(r, j) & ~j->free_answers;
	if (!peers) {
		reg_place_job(r, j, now, acts);
	} else if (now < r->settled) {
		job_pend(r, j, REG_ASK, r->settled);
	} else {
		reg_ask_peers(r, j, peers, !reg_fits_somewhere(r, j), acts);
		job_pend(r, j, REG_ASK, now + r->config.resend);
	}
}

void job_service(struct registry *r, struct reg_job *j, int64_t now, struct actions *acts)
{
	if (now < j->resend_at)
		return;
	switch (j->pending) {
	case REG_QUIET:
		break;
	case REG_START:
		service_start(r, j, now, acts);
		break;
	case REG_STOP:
		order(r, j, ACT_STOP, now, acts);
		break;
	case REG_ASK:
		service_ask(r, j, now, acts);
		break;
	case REG_WAIT:
		reg_place_job(r, j, now, acts);
		break;
	}
}
