/* Owns one round of collecting from one child: straight-line code in a worker thread, one child at a time each,
 * its results told on the loop. What fails is tried again at the next update. */
#include <stdlib.h>
#include <string.h>

#include "agent/call.h"
#include "agent/collect_round.h"
#include "agent/ports/store.h"
#include "agent/save_job.h"
#include "agent/standing.h"
#include "agent/work.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"

#define COLLECT_TIMEOUT_NS (30 * NS_PER_S)
#define KNOCK_TIMEOUT_NS (2 * NS_PER_S) /* of a child that was not there the last time */

static int make_room(struct round *r, size_t n)
{
	void *got = realloc(r->got, (r->n_got + 2 * n + 1) * sizeof *r->got);
	r->got = got ? got : r->got;
	void *gone = realloc(r->gone, (r->n_gone + n + 1) * sizeof *r->gone);
	r->gone = gone ? gone : r->gone;
	void *heard = realloc(r->heard, (r->n_heard + n + 1) * sizeof *r->heard);
	r->heard = heard ? heard : r->heard;
	void *seen = realloc(r->seen, (r->n_seen + n + 1) * sizeof *r->seen);
	r->seen = seen ? seen : r->seen;
	return got && gone && heard && seen ? 0 : err_set(&r->err, ERR_FAILED, "out of memory");
}

/* One message of what there is. True: there is more, and the child is still there. */
static bool run_page(struct round *r)
{
	Cpa__Collect q = CPA__COLLECT__INIT;
	Cpa__Ask ask = CPA__ASK__INIT;
	struct call_reply reply;
	int last = 0;
	q.job = r->only;
	q.after = r->after;
	ask.what_case = CPA__ASK__WHAT_COLLECT;
	ask.collect = &q;
	struct call *c = call_post(r->agent, r->url, &ask, r->timeout);
	int rc = call_wait(c, &reply, &r->err);
	const Cpa__Collected *all =
	        rc == 0 && reply.answer->what_case == CPA__ANSWER__WHAT_COLLECTED ? reply.answer->collected : NULL;
	size_t n = all ? all->n_stock : 0;
	if (rc == 0)
		rc = make_room(r, n);
	for (size_t i = 0; rc == 0 && i < n && !round_unreachable(last); i++)
		if (all->stock[i]->spec && manifest_job_ok(all->stock[i]->spec->job))
			last = collect_take(r, all->stock[i]);
	if (rc < 0)
		r->code = rc;
	bool more = rc == 0 && all && !round_unreachable(last) && strcmp(all->more, r->after) > 0;
	if (more)
		core_copy(r->after, sizeof r->after, all->more);
	call_free(c);
	return more;
}

static void run_round(void *ctx)
{
	struct round *r = ctx;
	struct store_item newest;
	while (run_page(r)) {
		/* every page is told from after the one before */
	}
	if (r->waits && store_newest(r->agent->store, r->only, CPA__WHAT__KEYSET, &newest))
		r->keyset = newest.number;
}

static void ignore(void *ctx, const struct call_reply *r)
{
	(void)ctx, (void)r;
}

static void tell(struct round *r, const struct got *g)
{
	struct agent *a = r->agent;
	Cpa__Holding h = CPA__HOLDING__INIT;
	Cpa__Held held = CPA__HELD__INIT;
	Cpa__Ask ask = CPA__ASK__INIT;
	h.what = g->what;
	h.number = g->number;
	h.level = a->cfg.level;
	h.holder = a->cfg.name;
	h.url = a->url;
	h.time_ns = g->time_ns;
	h.incarnation = g->incarnation;
	h.bytes = g->bytes;
	h.by_keys = g->by_keys;
	char buf[64];
	log_info("held", "job=%s %s level=%u bytes=%llu", g->job,
	         manifest_text(g->what, g->number, buf, sizeof buf), h.level, (unsigned long long)g->bytes);
	levels_tell_hold(a, g->job, &h);
	held.job = (char *)(uintptr_t)g->job;
	held.holding = &h;
	ask.what_case = CPA__ASK__WHAT_HELD;
	ask.held = &held;
	call_send(a, r->child->url, &ask, NULL, 0, 10 * NS_PER_S, ignore, NULL);
}

/* A node remembers its jobs for other reasons; a level between us and it, only until we have heard. */
static void tell_heard(const struct round *r, const char *job)
{
	Cpa__Held held = CPA__HELD__INIT;
	Cpa__Ask ask = CPA__ASK__INIT;
	held.job = (char *)(uintptr_t)job;
	held.gone = true;
	ask.what_case = CPA__ASK__WHAT_HELD;
	ask.held = &held;
	if (r->child->level > 1)
		call_send(r->agent, r->child->url, &ask, NULL, 0, 10 * NS_PER_S, ignore, NULL);
}

/* A child that is not there is asked again later and later, unless it shows up by itself. */
static void note_absence(struct round *r)
{
	struct child *c = r->child;
	if (!round_unreachable(r->code)) {
		c->absent = 0;
		c->not_before = 0;
		return;
	}
	c->absent += c->absent < 5;
	c->not_before = clock_boot_ns() + (NS_PER_S << c->absent) / 2;
}

static void done_round(void *ctx)
{
	struct round *r = ctx;
	struct child *c = r->child;
	struct collector *k = r->agent->collector;
	if (r->code < 0 && r->code != ERR_NO_AGENT)
		log_warn("update_incomplete", "child=%s why=\"%s\"", c->name, r->err.text);
	for (size_t i = 0; i < r->n_seen; i++)
		collect_remember(k, r->seen[i].job, c->url, r->seen[i].ahead);
	for (size_t i = 0; i < r->n_got; i++)
		tell(r, &r->got[i]);
	for (size_t i = 0; i < r->n_gone; i++)
		collect_forget(k, r->gone[i]);
	for (size_t i = 0; i < r->n_heard; i++)
		tell_heard(r, r->heard[i]);
	if (r->code == 0)
		k->last_update = clock_real_ns();
	/* the level above may want it at once, too; nobody waits for that there if it was asked for up to here */
	if (r->n_got)
		standing_offer(r->agent, r->only, r->level,
		               r->asked && (r->level == 0 || r->level > r->agent->cfg.level));
	save_job_collected(r->waits, r->code < 0 ? &r->err : NULL, r->keyset);
	/* what came of a generation that does not fit is in the way of the next one */
	k->gc_due |= r->n_got || r->n_gone || r->code == ERR_FAILED;
	bool mine = c->round == r; /* and not one that its child has left behind */
	if (mine)
		note_absence(r);
	free(r->got);
	free(r->gone);
	free(r->heard);
	free(r->seen);
	free(r);
	if (!mine)
		return;
	c->round = NULL;
	collect_next(c);
}

void collect_from(struct child *c, struct offer *o)
{
	struct round *r = calloc(1, sizeof *r);
	if (!r)
		return;
	*r = (struct round){ .child = c,
		             .agent = c->agent,
		             .level = o->level,
		             .offered = o->job[0] != '\0',
		             .asked = o->asked,
		             .waits = o->waits,
		             .timeout = c->absent ? KNOCK_TIMEOUT_NS : COLLECT_TIMEOUT_NS };
	core_copy(r->url, sizeof r->url, c->url);
	core_copy(r->only, sizeof r->only, o->job);
	o->waits = NULL;
	c->round = r;
	work_start_in(&c->agent->collector->rounds, &c->agent->loop, run_round, done_round, r);
}
