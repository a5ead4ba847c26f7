/* Owns the way to a parent: introducing ourselves, learning where the registry is, and noticing that the parent is
 * gone though the registry is not. */
#include <stdlib.h>
#include <string.h>

#include "agent/standing_impl.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"

#define JOIN_EVERY_NS (2 * NS_PER_S)
#define JOIN_TIMEOUT_NS (1 * NS_PER_S)
#define JOIN_FAILURES 3

void standing_say_why(struct upward *s, const char *what, const struct call_reply *r)
{
	snprintf(s->why, sizeof s->why, "%s at %s: %s", what,
	         strcmp(what, "parent") == 0 ? s->agent->cfg.parents.item[s->parent] : s->registry_url,
	         r->text ? r->text : "no answer");
}

static bool take_join(struct upward *s, const Cpa__Joined *j)
{
	if (j->level <= s->agent->cfg.level) {
		snprintf(s->why, sizeof s->why, "%s is of level %u and cannot be the parent of level %u", j->name,
		         j->level, s->agent->cfg.level);
		return false;
	}
	core_copy(s->parent_name, sizeof s->parent_name, j->name);
	core_copy(s->parent_url, sizeof s->parent_url, s->agent->cfg.parents.item[s->parent]);
	core_copy(s->registry_name, sizeof s->registry_name, j->registry);
	core_copy(s->registry_url, sizeof s->registry_url, j->registry_url[0] ? j->registry_url : s->parent_url);
	s->top = j->top;
	s->joined = true;
	s->join_failures = 0;
	return true;
}

static void on_joined(void *ctx, const struct call_reply *r)
{
	struct asked *q = ctx;
	struct upward *s = q->s;
	bool ok = r->code == 0 && r->answer->what_case == CPA__ANSWER__WHAT_JOINED &&
	          take_join(s, r->answer->joined);
	s->joining = false;
	if (!ok) {
		if (r->code < 0)
			standing_say_why(s, "parent", r);
		bool hello = q->what == NODE_SEND_HELLO || q->what == NODE_SEND_REGISTER;
		if (hello || ++s->join_failures >= JOIN_FAILURES) {
			s->joined = false;
			node_refused(&s->core, hello ? q->term : s->core.term, false, clock_boot_ns(), &s->acts);
		}
		free(q);
	} else if (q->what == NODE_STANDING) {
		free(q); /* only to be remembered as a child */
	} else {
		standing_ask_registry(s, q);
	}
	standing_go_on(s);
}

/* Introduce ourselves to the parent; what follows when it answers is in q. */
void standing_join(struct upward *s, struct asked *q)
{
	struct standing_info info;
	Cpa__Join join = CPA__JOIN__INIT;
	Cpa__Ask ask = CPA__ASK__INIT;
	join.agent = standing_describe(s->agent, &info);
	ask.what_case = CPA__ASK__WHAT_JOIN;
	ask.join = &join;
	s->joining = true;
	s->join_due = clock_boot_ns() + JOIN_EVERY_NS;
	call_send(s->agent, s->agent->cfg.parents.item[s->parent], &ask, NULL, 0, JOIN_TIMEOUT_NS, on_joined, q);
}
