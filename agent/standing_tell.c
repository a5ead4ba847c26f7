/* Owns telling the registry what becomes of jobs: repeated until it has answered, details along with it. */
#include <stdlib.h>
#include <string.h>

#include "agent/keyset.h"
#include "agent/levels.h"
#include "agent/registrar.h"
#include "agent/standing_impl.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/chunk/manifest.h"

#define TELL_TIMEOUT_NS (2 * NS_PER_S)

/* A telling under way: about which life of the job, and what. */
struct told {
	struct upward *s;
	char job[CORE_UUID];
	uint32_t incarnation;
	enum report what;
	bool event;
};

void job_report(struct job *j, Cpa__Report *r, Cpa__Exit *ended)
{
	struct gen *g = job_gen_find(j, 0);
	cpa__report__init(r);
	cpa__exit__init(ended);
	ended->code = j->ending.code;
	ended->signal = j->ending.signal;
	r->job = j->spec->job;
	r->incarnation = j->incarnation;
	r->state = (char *)(uintptr_t)job_state_name(j->state);
	r->pid = j->pid;
	r->exit = ended;
	r->reason = j->why;
	if (g) {
		r->generation = g->number;
		r->generation_level = g->level;
		r->generation_time_ns = g->g->time_ns;
		r->generation_bytes = manifest_generation_bytes(g->g);
	}
	r->keys = (uint32_t)j->n_keys;
	r->keys_bytes = j->keys_bytes;
	r->keys_level = j->n_keys ? (j->keyset_level ? j->keyset_level : 1) : 0;
}

static void after_gone(struct job *j)
{
	j->tell_due = false;
	if (j->state == JOB_LOST && !j->busy && !j->keyset_busy)
		jobs_remove(j);
}

static void on_told(void *ctx, const struct call_reply *r)
{
	struct told *t = ctx;
	struct upward *s = t->s;
	struct job *j = jobs_find(s->agent, t->job);
	const Cpa__Told *answer =
	        r->code == 0 && r->answer->what_case == CPA__ANSWER__WHAT_TOLD ? r->answer->told : NULL;
	if (j)
		j->telling = false;
	if (answer && answer->again) {
		node_refused(&s->core, s->core.term, true, clock_boot_ns(), &s->acts);
	} else if (answer && answer->kill) {
		uint32_t last = t->incarnation;
		if (node_stop(&s->core, t->job, t->incarnation, &last) && j)
			job_taken_away(j, "the registry has given it to another node");
	} else if (answer && j && t->event && j->tell_what == t->what && j->incarnation == t->incarnation) {
		if (t->what == REPORT_GONE)
			after_gone(j);
		else
			j->tell_due = false;
	} else if (!answer && j && !t->event) {
		j->detail_due = true;
	}
	free(t);
	standing_go_on(s);
}

static void send_tell(struct upward *s, struct job *j, const char *job, uint32_t incarnation, enum report what,
                      bool event)
{
	Cpa__Tell tell = CPA__TELL__INIT;
	Cpa__Report detail;
	Cpa__Exit ended = CPA__EXIT__INIT;
	Cpa__Ask ask = CPA__ASK__INIT;
	struct told *t = malloc(sizeof *t);
	if (!t)
		return;
	*t = (struct told){ .s = s, .incarnation = incarnation, .what = what, .event = event };
	core_copy(t->job, sizeof t->job, job);
	tell.node = s->agent->cfg.name;
	tell.job = t->job;
	tell.incarnation = incarnation;
	tell.report = (char *)(uintptr_t)(event ? report_name(what) : "");
	tell.session.data = s->session;
	tell.session.len = sizeof s->session;
	if (j) {
		job_report(j, &detail, &ended);
		tell.detail = &detail;
		tell.exit = &ended;
		tell.why = j->why;
		tell.by_keys = j->by_keys;
		tell.launch_status = j->launch_status;
		j->telling = true;
		j->detail_due = false;
	}
	ask.what_case = CPA__ASK__WHAT_TELL;
	ask.tell = &tell;
	call_send(s->agent, s->registry_url, &ask, NULL, 0, TELL_TIMEOUT_NS, on_told, t);
}

void standing_tell_once(struct upward *s, const char *job, uint32_t incarnation, enum report what)
{
	if (s->registry_url[0])
		send_tell(s, NULL, job, incarnation, what, true);
}

void standing_tell_due(struct upward *s)
{
	if (s->core.standing != STANDING_LEASED || !s->agent->jobs || s->agent->stopping)
		return;
	for (struct job *j = s->agent->jobs->first; j; j = j->next)
		if ((j->tell_due || j->detail_due) && !j->telling)
			send_tell(s, j, j->id, j->incarnation, j->tell_what, j->tell_due);
}

/* Every copy that this node has, told to a registry that may not know: it keeps no list of them on disk. */
void jobs_tell_all(struct agent *a)
{
	for (struct job *j = a->jobs ? a->jobs->first : NULL; j; j = j->next)
		for (size_t i = 0; i < j->n_gens; i++)
			job_tell_gen(j, &j->gens[i]);
}

void job_tell_gen(struct job *j, const struct gen *g)
{
	Cpa__Holding h = CPA__HOLDING__INIT;
	struct agent *a = j->agent;
	if (!a->standing || g->bad)
		return;
	h.what = CPA__WHAT__GENERATION;
	h.number = g->number;
	h.level = 1;
	h.holder = a->cfg.name;
	h.url = a->url;
	h.time_ns = g->g->time_ns;
	h.incarnation = g->g->incarnation;
	h.bytes = manifest_generation_bytes(g->g);
	levels_tell_hold(a, j->id, &h);
}

/* ---- the parent ---- */

static void ignore(void *ctx, const struct call_reply *r)
{
	(void)ctx, (void)r;
}

void standing_offer(struct agent *a, const char *job, uint32_t level, bool asked)
{
	struct upward *s = a->standing;
	Cpa__Offer offer = CPA__OFFER__INIT;
	Cpa__Ask ask = CPA__ASK__INIT;
	if (!s || !s->joined)
		return;
	offer.job = (char *)(uintptr_t)job;
	offer.level = level;
	offer.asked = asked;
	ask.what_case = CPA__ASK__WHAT_OFFER;
	ask.offer = &offer;
	call_send(a, s->parent_url, &ask, NULL, 0, 5 * NS_PER_S, ignore, NULL);
}
