/* Owns registering and the lease: sends what core/node decides, and feeds it the answers. */
#include <stdlib.h>
#include <string.h>

#include "agent/levels.h"
#include "agent/ports/fence.h"
#include "agent/ports/store.h"
#include "agent/register.h"
#include "agent/standing_impl.h"
#include "agent/verbs.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"

#define PULSE_MS 500

static struct asked *new_asked(struct upward *s, const struct node_action *act)
{
	struct asked *q = malloc(sizeof *q);
	if (q)
		*q = (struct asked){ s, act->term, act->seq, act->held, act->todo };
	return q;
}

Cpa__Agent *standing_describe(struct agent *a, struct standing_info *out)
{
	const struct machine m = a->has;
	cpa__agent__init(&out->agent);
	cpa__machine__init(&out->machine);
	memcpy(out->features, m.features, sizeof out->features);
	memcpy(out->arch, m.arch, sizeof out->arch);
	out->machine.arch = out->arch;
	out->machine.features = out->features;
	out->machine.n_features = 4;
	out->machine.memory = m.memory;
	out->machine.cpus = m.cpus;
	out->agent.machine = &out->machine;
	out->agent.name = a->cfg.name;
	out->agent.level = a->cfg.level;
	out->agent.url = a->url;
	out->agent.memory_budget_bytes = a->cfg.memory;
	out->agent.memory_bytes = a->store ? store_used(a->store) : jobs_memory(a);
	out->agent.last_update_ns = collect_last_update(a);
	out->agent.last_save_ns = collect_last_save(a);
	if (a->standing) {
		struct upward *s = a->standing;
		out->agent.parent = s->parent_name;
		out->agent.registry = s->registry_name;
		out->agent.session.data = s->session;
		out->agent.session.len = sizeof s->session;
		/* parents it would turn to instead: their registries must be asked before a job of ours is given
		 * away */
		for (size_t i = 0; i < a->cfg.parents.n && out->agent.n_others < CORE_PARENTS; i++)
			if ((int)i != s->parent)
				out->others[out->agent.n_others++] = a->cfg.parents.item[i];
		out->agent.others = out->others;
	}
	return &out->agent;
}

/* ---- registry ---- */

static void take_grant(struct upward *s, const struct asked *q, const Cpa__Granted *g)
{
	int64_t now = clock_boot_ns();
	if (g->again) {
		node_refused(&s->core, q->term, true, now, &s->acts);
		return;
	}
	if (q->what != NODE_SEND_REGISTER) {
		node_granted(&s->core, q->term, q->seq, (int64_t)g->lease_ns, now, &s->acts);
		return;
	}
	struct job_verdict *v = calloc(g->n_verdicts + 1, sizeof *v);
	size_t n = 0;
	static const enum verdict all[] = { VERDICT_KEEP, VERDICT_ADOPT, VERDICT_KILL, VERDICT_FORGET };
	for (size_t i = 0; v && i < g->n_verdicts; i++)
		for (size_t k = 0; k < sizeof all / sizeof *all; k++)
			if (strcmp(verdict_name(all[k]), g->verdicts[i]->verdict) == 0) {
				core_copy(v[n].job, sizeof v[n].job, g->verdicts[i]->job);
				v[n++].verdict = all[k];
			}
	node_registered(&s->core, q->term, q->seq, (int64_t)g->lease_ns, v, n, now, &s->acts);
	free(v);
	if (s->agent->collector)
		collect_tell_all(s->agent);
	jobs_tell_all(s->agent);
	/* a registry that was restarted knows no pids, snapshots and keys */
	for (struct job *j = s->agent->jobs ? s->agent->jobs->first : NULL; j; j = j->next)
		j->detail_due = true;
}

static void on_granted(void *ctx, const struct call_reply *r)
{
	struct asked *q = ctx;
	struct upward *s = q->s;
	if (r->code == 0 && r->answer->what_case == CPA__ANSWER__WHAT_GRANTED) {
		take_grant(s, q, r->answer->granted);
	} else {
		standing_say_why(s, "registry", r);
		/* a renewal that got no answer is simply followed by the next one */
		if (q->what != NODE_SEND_RENEWAL) {
			s->joined = false;
			node_refused(&s->core, q->term, false, clock_boot_ns(), &s->acts);
		}
	}
	free(q);
	standing_go_on(s);
}

void standing_ask_registry(struct upward *s, struct asked *q)
{
	struct standing_info info;
	Cpa__Ask ask = CPA__ASK__INIT;
	Cpa__Hello hello = CPA__HELLO__INIT;
	Cpa__Register reg = CPA__REGISTER__INIT;
	Cpa__Renew renew = CPA__RENEW__INIT;
	int64_t timeout = s->core.lease.length / 2 > NS_PER_S / 2 ? s->core.lease.length / 2 : NS_PER_S / 2;
	Cpa__Agent *me = standing_describe(s->agent, &info);
	void *bulk = NULL;
	size_t len = 0;
	switch (q->what) {
	case NODE_SEND_HELLO:
		hello.agent = me;
		hello.term = q->term;
		hello.seq = q->seq;
		ask.what_case = CPA__ASK__WHAT_HELLO;
		ask.hello = &hello;
		break;
	case NODE_SEND_REGISTER:
		reg.agent = me;
		reg.term = q->term;
		reg.seq = q->seq;
		reg.held_ns = q->held;
		if (!standing_claims(s, &reg, &bulk, &len)) {
			standing_claims_free(&reg, bulk);
			free(q); /* core asks again when nobody answers */
			return;
		}
		ask.what_case = CPA__ASK__WHAT_REGISTER;
		ask.register_ = &reg;
		break;
	default:
		renew.agent = me;
		renew.term = q->term;
		renew.seq = q->seq;
		ask.what_case = CPA__ASK__WHAT_RENEW;
		ask.renew = &renew;
		break;
	}
	call_send(s->agent, s->registry_url, &ask, bulk, len, timeout, on_granted, q);
	standing_claims_free(&reg, bulk);
}

static void send_what(struct upward *s, const struct node_action *act)
{
	struct asked *q = new_asked(s, act);
	if (!q)
		return;
	if (act->parent != s->parent) {
		s->parent = act->parent;
		s->joined = false;
	}
	if (s->joined)
		standing_ask_registry(s, q);
	else
		standing_join(s, q);
}

static void perform(struct upward *s, const struct node_action *act)
{
	struct agent *a = s->agent;
	switch (act->todo) {
	case NODE_SEND_HELLO:
	case NODE_SEND_REGISTER:
	case NODE_SEND_RENEWAL:
		send_what(s, act);
		break;
	case NODE_SET_DEADLINE:
		if (a->fence)
			fence_set_deadline(a->fence, act->deadline);
		break;
	case NODE_FREEZE_ALL:
		standing_fence_jobs(s, true);
		break;
	case NODE_THAW_ALL:
		standing_fence_jobs(s, false);
		break;
	case NODE_KILL:
	case NODE_FORGET:
		standing_perform_job(s, act);
		break;
	case NODE_STANDING:
		if (act->now_is == STANDING_FENCED) /* until then it may be back: it hears the call again */
			verbs_run_registry_lost(a);
		log_info("standing", "%s --> %s parent=%s registry=%s%s%s", standing_name(act->old),
		         standing_name(act->now_is), a->cfg.parents.item[s->parent], s->registry_name,
		         s->why[0] && act->now_is != STANDING_LEASED ? " why=" : "",
		         act->now_is != STANDING_LEASED ? s->why : "");
		break;
	}
}

static void on_timer(uv_timer_t *t)
{
	standing_go_on(t->data);
}

void standing_go_on(struct upward *s)
{
	if (s->performing || s->agent->stopping)
		return;
	s->performing = true;
	int64_t now = clock_boot_ns();
	node_tick(&s->core, now, &s->acts);
	for (size_t i = 0; i < s->acts.n; i++) { /* performing one may add more */
		struct node_action act = s->acts.v[i];
		perform(s, &act);
	}
	node_actions_clear(&s->acts);
	s->performing = false;
	standing_tell_due(s);
	int64_t next = node_next(&s->core);
	now = clock_boot_ns();
	int64_t wait = next <= now ? 0 : (next - now) / NS_PER_MS + 1;
	uv_timer_start(&s->timer, on_timer, (uint64_t)(wait > 60000 ? 60000 : wait), 0);
	register_look(s->agent);
}

static void on_pulse(uv_timer_t *t)
{
	struct upward *s = t->data;
	if (s->joined && !s->joining && clock_boot_ns() >= s->join_due) {
		struct asked *q = new_asked(s, &(struct node_action){ .todo = NODE_STANDING });
		if (q)
			standing_join(s, q);
	}
	standing_tell_due(s);
	register_look(s->agent);
}

static void on_poked(uv_prepare_t *p)
{
	uv_prepare_stop(p);
	standing_tell_due(p->data);
}

void standing_poke(struct agent *a)
{
	if (a->standing && !a->stopping)
		uv_prepare_start(&a->standing->poked, on_poked);
}

int standing_open(struct agent *a, struct err *e)
{
	struct upward *s = calloc(1, sizeof *s);
	uint32_t jitter;
	if (!s)
		return err_set(e, ERR_FAILED, "out of memory");
	s->agent = a;
	a->standing = s;
	seal_random(s->session, sizeof s->session);
	seal_random(&jitter, sizeof jitter);
	node_init(&s->core, (int)a->cfg.parents.n, a->cfg.lease_ns, a->fence ? fence_deadline(a->fence) : 0,
	          (uint64_t)(clock_real_ns() / NS_PER_MS), a->cfg.on_isolation == ISOLATION_RUN, jitter);
	uv_timer_init(&a->loop, &s->timer);
	uv_timer_init(&a->loop, &s->pulse);
	uv_prepare_init(&a->loop, &s->poked);
	s->timer.data = s->pulse.data = s->poked.data = s;
	for (struct job *j = a->jobs ? a->jobs->first : NULL; j; j = j->next)
		if (job_live(j->state))
			node_job_here(&s->core, j->id, j->incarnation);
	uv_timer_start(&s->timer, on_timer, 0, 0);
	uv_timer_start(&s->pulse, on_pulse, PULSE_MS, PULSE_MS);
	return 0;
}

void standing_close(struct agent *a)
{
	struct upward *s = a->standing;
	if (!s || uv_is_closing((uv_handle_t *)&s->timer))
		return;
	uv_close((uv_handle_t *)&s->timer, NULL);
	uv_close((uv_handle_t *)&s->pulse, NULL);
	uv_close((uv_handle_t *)&s->poked, NULL);
}

/* ---- looking ---- */

bool standing_may_run(struct agent *a)
{
	return !a->standing || node_may_run(&a->standing->core, clock_boot_ns());
}

bool standing_has_registry(const struct agent *a)
{
	return a->standing && a->standing->core.standing == STANDING_LEASED;
}

const char *standing_registry_url(const struct agent *a)
{
	return a->standing && a->standing->registry_url[0] ? a->standing->registry_url : NULL;
}

const char *standing_registry_name(const struct agent *a)
{
	return a->standing ? a->standing->registry_name : "";
}

const char *standing_parent_name(const struct agent *a)
{
	return a->standing ? a->standing->parent_name : "";
}

const char *standing_parent_url(const struct agent *a)
{
	return a->standing && a->standing->joined ? a->standing->parent_url : NULL;
}

uint32_t standing_top(const struct agent *a)
{
	return a->standing ? a->standing->top : 0;
}

const char *standing_why(const struct agent *a)
{
	return a->standing && a->standing->why[0] ? a->standing->why : "it has not answered yet";
}
