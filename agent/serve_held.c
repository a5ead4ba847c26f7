/* Owns what follows when a parent says that it holds what it collected, or has heard that a job is gone: the job's
 * arena and whoever waits hear it, and what is here only for the parent goes. */
#include <stdlib.h>

#include "agent/call.h"
#include "agent/ended.h"
#include "agent/keyset.h"
#include "agent/levels.h"
#include "agent/wishes.h"
#include "agent/work.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"

void serve_let_go(struct job *j)
{
	if (j->state == JOB_LOST && !j->busy && !j->keyset_busy && !j->tell_due)
		jobs_remove(j);
	else if (job_ended(j->state))
		job_forget_images(j);
}

static void no_answer(void *ctx, const struct call_reply *r)
{
	(void)ctx, (void)r;
}

static void run_drop_copies(void *ctx)
{
	keyset_drop_copies(ctx);
}

static void done_drop_copies(void *ctx)
{
	struct job *j = ctx;
	j->keyset_busy = false;
	serve_let_go(j);
}

/* The newest keyset is on a level above: what copies of it lie in the arena too may go. */
static void drop_copies(struct job *j, const Cpa__Holding *h)
{
	if (!j->keyset || j->keyset->serial != h->number || h->level < 2 || j->keyset_busy)
		return;
	j->keyset_busy = true;
	work_start(&j->agent->loop, run_drop_copies, done_drop_copies, j);
}

/* A wish may be fulfilled by it, or go on: to a level further up, or for a version that came meanwhile. */
static void keys_held(struct job *j, const Cpa__Holding *h)
{
	keyset_held(j, h->number, h->level);
	if (j->wish) {
		wishes_look(j);
		if (!wishes_open(j))
			job_forget_images(j);
	}
	drop_copies(j, h);
}

struct heard {
	struct agent *agent;
	char job[CORE_UUID];
};

static void run_heard(void *ctx)
{
	struct heard *h = ctx;
	struct err e = { 0 };
	if (ended_heard(h->agent->store, h->job, &e) < 0)
		log_warn("not_dropped", "job=%s why=\"%s\"", h->job, e.text);
}

/* The level above knows that this job ended well. */
static void heard_gone(struct agent *a, const char *job)
{
	struct heard *h = a->store && manifest_job_ok(job) ? calloc(1, sizeof *h) : NULL;
	if (!h)
		return;
	h->agent = a;
	core_copy(h->job, sizeof h->job, job);
	work_start(&a->loop, run_heard, free, h);
}

/* A parent holds it. Whoever gave it to us hears it too, down to the job's node. */
void serve_held(struct agent *a, const Cpa__Held *q)
{
	struct job *j = jobs_find(a, q->job);
	if (q->gone)
		heard_gone(a, q->job);
	if (!q->holding)
		return;
	if (j) {
		job_held(j, q->holding);
		if (q->holding->what == CPA__WHAT__KEYSET)
			keys_held(j, q->holding);
		return;
	}
	if (a->collector)
		collect_held_above(a, q->job, q->holding);
	const char *from = a->collector ? collect_source(a, q->job) : NULL;
	if (!from)
		return;
	Cpa__Ask ask = CPA__ASK__INIT;
	ask.what_case = CPA__ASK__WHAT_HELD;
	ask.held = (Cpa__Held *)(uintptr_t)q;
	call_send(a, from, &ask, NULL, 0, 5 * NS_PER_S, no_answer, NULL);
}
