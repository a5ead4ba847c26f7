/* Owns the registry's orders to nodes and its questions to other registries, as calls. */
#include <stdlib.h>
#include <string.h>

#include "agent/call.h"
#include "agent/registrar_impl.h"
#include "lib/base/clock.h"
#include "lib/base/scoped.h"

#define ORDER_CALL_NS (2 * NS_PER_S)

static void ignore(void *ctx, const struct call_reply *r)
{
	(void)ctx, (void)r; /* orders are repeated until the node reports */
}

static const char *url_of(struct registrar *g, const char *name)
{
	const struct reg_node *n = registry_node(&g->reg, name);
	return strcmp(name, g->agent->cfg.name) == 0 ? g->agent->url : n ? n->info.url : "";
}

static void fill_sources(struct registrar *g, const struct reg_job *j, Cpa__Holding *v, Cpa__Holding **ptr,
                         size_t *n)
{
	for (size_t i = 0; i < j->held_count; i++) {
		const struct holding *h = &j->held[i];
		Cpa__Holding *m = &v[*n];
		const struct reg_node *at = registry_node(&g->reg, h->holder);
		const char *url = url_of(g, h->holder);
		if (!url[0] || (at && at->state == NODE_DOWN))
			continue;
		cpa__holding__init(m);
		m->what = h->kind == SOURCE_KEYS ? CPA__WHAT__KEYSET : CPA__WHAT__GENERATION;
		m->number = h->number;
		m->level = (uint32_t)h->level;
		m->holder = (char *)(uintptr_t)h->holder;
		m->url = (char *)(uintptr_t)url;
		m->time_ns = h->time;
		m->incarnation = h->incarnation;
		m->bytes = h->bytes;
		m->bad = h->bad || h->crashes >= SOURCE_CRASHES;
		m->by_keys = j->by_keys;
		ptr[(*n)++] = m;
	}
}

void registrar_order_start(struct registrar *g, const struct action *act)
{
	const struct reg_job *j = registry_job(&g->reg, act->job);
	struct known *k = table_get(&g->known, act->job);
	Cpa__Start start = CPA__START__INIT;
	Cpa__Ask ask = CPA__ASK__INIT;
	const char *url = url_of(g, act->node);
	if (!j || !k || !url[0])
		return;
	scoped_free Cpa__Holding *v = calloc(j->held_count + 1, sizeof *v);
	scoped_free Cpa__Holding **ptr = calloc(j->held_count + 1, sizeof(Cpa__Holding *));
	if (!v || !ptr)
		return;
	start.sources = ptr;
	fill_sources(g, j, v, ptr, &start.n_sources);
	start.spec = k->spec;
	start.incarnation = act->incarnation;
	start.term = act->term;
	start.session.data = (uint8_t *)(uintptr_t)act->session;
	start.session.len = sizeof act->session;
	start.anew = act->anew;
	if (k->wished) {
		start.level = (uint32_t)k->wish.level;
		start.generation = k->wish.generation;
	}
	ask.what_case = CPA__ASK__WHAT_START;
	ask.start = &start;
	call_send(g->agent, url, &ask, NULL, 0, ORDER_CALL_NS, ignore, NULL);
}

void registrar_order_stop(struct registrar *g, const struct action *act)
{
	Cpa__Stop stop = CPA__STOP__INIT;
	Cpa__Ask ask = CPA__ASK__INIT;
	const char *url = url_of(g, act->node);
	stop.job = (char *)(uintptr_t)act->job;
	stop.incarnation = act->incarnation;
	ask.what_case = CPA__ASK__WHAT_STOP;
	ask.stop = &stop;
	if (url[0])
		call_send(g->agent, url, &ask, NULL, 0, ORDER_CALL_NS, ignore, NULL);
}

/* ---- another registry ---- */

struct asked {
	struct registrar *g;
	char job[CORE_UUID], url[CORE_URL];
	uint32_t incarnation;
	uint64_t term;
};

static void on_released(void *ctx, const struct call_reply *r)
{
	struct asked *q = ctx;
	if (r->code == 0 && r->answer->what_case == CPA__ANSWER__WHAT_RELEASED) {
		registry_answered_in_term(&q->g->reg, q->job, q->incarnation, q->term, q->url,
		                          r->answer->released->is_free, clock_boot_ns(), &q->g->acts);
		registrar_go_on(q->g);
	}
	free(q);
}

void registrar_ask_other(struct registrar *g, const struct action *act)
{
	Cpa__Release rel = CPA__RELEASE__INIT;
	Cpa__Ask ask = CPA__ASK__INIT;
	struct asked *q = malloc(sizeof *q);
	if (!q)
		return;
	*q = (struct asked){ .g = g, .incarnation = act->incarnation, .term = act->term };
	core_copy(q->job, sizeof q->job, act->job);
	core_copy(q->url, sizeof q->url, act->url);
	rel.job = q->job;
	rel.incarnation = act->incarnation;
	rel.by = g->agent->cfg.name;
	rel.node = (char *)(uintptr_t)act->node;
	rel.term = act->term;
	rel.take = act->take;
	ask.what_case = CPA__ASK__WHAT_RELEASE;
	ask.release = &rel;
	call_send(g->agent, q->url, &ask, NULL, 0, ORDER_CALL_NS, on_released, q);
}
