/* See register.h. Owns the one registration under way, a step at a time:
 *
 *   PROBING  is an agent there that can be our parent? Nothing changes if not.
 *   TELLING  our registry hears of the other parent: it must ask there before it gives a job of ours away
 *   MOVING   the new parent's turn
 */
#include "agent/register.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/setup.h"
#include "agent/standing_impl.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"

#define PROBE_NS (5 * NS_PER_S)
#define STEP_NS (10 * NS_PER_S)

enum step { PROBING, TELLING, MOVING };

static struct registering {
	enum step step;
	char url[CORE_URL];
	int index; /* among the parents */
	int64_t give_up;
	register_fn *done;
	void *ctx;
} * under_way; /* one agent, one loop */

bool register_permitted(uid_t uid)
{
	return uid == 0 || uid == geteuid();
}

static void finish(struct registering *r, const struct err *e)
{
	under_way = NULL;
	if (e)
		log_warn("not_registered", "url=%s why=\"%s\"", r->url, e->text);
	else
		log_info("registered", "url=%s", r->url);
	r->done(r->ctx, e);
	free(r);
}

static int find_parent(const struct agent *a, const char *url)
{
	for (size_t i = 0; i < a->cfg.parents.n; i++)
		if (strcmp(a->cfg.parents.item[i], url) == 0)
			return (int)i;
	return -1;
}

/* ---- the last step ---- */

static void next_step(struct agent *a, struct registering *r, enum step step, int parents, int first)
{
	struct upward *s = a->standing;
	r->step = step;
	r->give_up = clock_boot_ns() + STEP_NS;
	node_parents(&s->core, parents, first, clock_boot_ns(), &s->acts);
	standing_go_on(s);
}

static void too_late(struct agent *a, struct registering *r)
{
	struct err e = { 0 };
	if (r->step == MOVING)
		err_set(&e, ERR_TIMEOUT, "the agent at %s has not taken this one: %s", r->url, standing_why(a));
	else
		err_set(&e, ERR_FAILED,
		        "this agent's own registry does not answer (%s), and has to know of %s first",
		        standing_why(a), r->url);
	if (r->step == TELLING)
		config_drop_parent(&a->cfg);
	finish(r, &e);
}

void register_look(struct agent *a)
{
	struct registering *r = under_way;
	struct upward *s = a->standing;
	if (!r || r->step == PROBING || !s)
		return;
	bool leased = s->core.standing == STANDING_LEASED && s->joined;
	if (r->step == TELLING && leased)
		next_step(a, r, MOVING, (int)a->cfg.parents.n, r->index);
	else if (r->step == MOVING && leased && s->parent == r->index)
		finish(r, NULL);
	else if (clock_boot_ns() >= r->give_up)
		too_late(a, r);
}

/* ---- an agent is there ---- */

static void begin(struct agent *a, struct registering *r)
{
	struct err e = { 0 };
	bool listed = find_parent(a, r->url) >= 0;
	if (!listed && config_add_parent(&a->cfg, r->url, &e) < 0) {
		finish(r, &e);
		return;
	}
	r->index = find_parent(a, r->url);
	if (!a->standing && standing_open(a, &e) < 0) {
		finish(r, &e);
		return;
	}
	struct upward *s = a->standing;
	if (!listed && s->core.lease.deadline) /* the new one is not to be turned to before the registry knows */
		next_step(a, r, TELLING, (int)a->cfg.parents.n - 1, s->parent);
	else
		next_step(a, r, MOVING, (int)a->cfg.parents.n, r->index);
}

static void on_probed(void *ctx, const struct call_reply *reply)
{
	struct agent *a = ctx;
	struct registering *r = under_way;
	struct err e = { 0 };
	const Cpa__Joined *j = reply->code == 0 && reply->answer->what_case == CPA__ANSWER__WHAT_JOINED
	                               ? reply->answer->joined
	                               : NULL;
	if (reply->code < 0)
		err_set(&e, reply->code == ERR_TIMEOUT ? ERR_TIMEOUT : ERR_FAILED,
		        "%s: no agent there takes this one: %s; has it the same cluster key?", r->url,
		        reply->text ? reply->text : "no answer");
	else if (!j)
		err_set(&e, ERR_FAILED, "%s: what answers there is no agent of this version", r->url);
	else if (j->level <= a->cfg.level)
		err_set(&e, ERR_FAILED, "%s: %s is of level %u and cannot be the parent of level %u", r->url,
		        j->name, j->level, a->cfg.level);
	if (e.code < 0)
		finish(r, &e);
	else
		begin(a, r);
}

static void probe(struct agent *a, const char *url)
{
	struct standing_info info;
	Cpa__Join join = CPA__JOIN__INIT;
	Cpa__Ask ask = CPA__ASK__INIT;
	join.agent = standing_describe(a, &info);
	ask.what_case = CPA__ASK__WHAT_JOIN;
	ask.join = &join;
	call_send(a, url, &ask, NULL, 0, PROBE_NS, on_probed, a);
}

/* ---- may it be at all? ---- */

static int check(struct agent *a, const char *url, struct err *e)
{
	const struct upward *s = a->standing;
	if (config_check_url(url, e) < 0)
		return e->code;
	if (under_way)
		return err_set(e, ERR_FAILED, "this agent is being registered with %s; try again in a moment",
		               under_way->url);
	if (a->registrar)
		return err_set(e, ERR_FAILED,
		               "this agent holds a registry of its own; start it with --parent %s instead", url);
	if (!a->cfg.key)
		return err_set(e, ERR_FAILED,
		               "this agent was started without --key, and other agents do not speak to it");
	/* a registry that we have lost cannot be told that we go elsewhere, and may be about to give our jobs away
	 */
	if (s && s->core.lease.deadline && s->core.standing != STANDING_LEASED && find_parent(a, url) < 0)
		return err_set(e, ERR_FAILED,
		               "this agent has lost its registry (%s), and only a parent that it has named there "
		               "can take "
		               "its jobs over",
		               standing_why(a));
	return a->bus ? 0 : setup_open_bus(a, url, e);
}

void register_with(struct agent *a, const char *url, register_fn *done, void *ctx)
{
	struct err e = { 0 };
	const struct upward *s = a->standing;
	struct registering *r = check(a, url, &e) == 0 ? calloc(1, sizeof *r) : NULL;
	if (!r) {
		if (e.code == 0)
			err_set(&e, ERR_FAILED, "out of memory");
		done(ctx, &e);
		return;
	}
	if (s && s->core.standing == STANDING_LEASED && s->joined && strcmp(s->parent_url, url) == 0) {
		free(r);
		done(ctx, NULL); /* so it is */
		return;
	}
	*r = (struct registering){ .step = PROBING, .done = done, .ctx = ctx };
	core_copy(r->url, sizeof r->url, url);
	under_way = r;
	probe(a, r->url);
}
