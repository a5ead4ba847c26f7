/* Owns the parent's side of levels: which children there are, when each is collected from, when the store is
 * saved, and telling the registry what is held here. */
#include "agent/collect.h"

#include <stdlib.h>
#include <string.h>

#include "agent/call.h"
#include "agent/ports/store.h"
#include "agent/registrar.h"
#include "agent/save_job.h"
#include "agent/standing.h"
#include "agent/work.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"

#define TICK_MS 100
#define LEFT_NS (20 * NS_PER_S) /* a child introduces itself every two seconds */
#define ROUNDS_MAX 12           /* children that are collected from at the same time */

static struct child *find_child(struct collector *k, const char *name)
{
	for (struct child *c = k->children; c; c = c->next)
		if (strcmp(c->name, name) == 0)
			return c;
	return NULL;
}

void collect_join(struct agent *a, const Cpa__Agent *info)
{
	struct collector *k = a->collector;
	struct child *c = k ? find_child(k, info->name) : NULL;
	if (!k)
		return;
	if (!c) {
		c = calloc(1, sizeof *c);
		if (!c)
			return;
		c->agent = a;
		core_copy(c->name, sizeof c->name, info->name);
		c->next = k->children;
		k->children = c;
		c->all_due = a->cfg.automatic;
		log_info("child_joined", "name=%s level=%u url=%s", info->name, info->level, info->url);
	}
	c->level = info->level;
	if (c->round && strcmp(c->url, info->url) != 0) {
		/* it was restarted: that round waits for an agent that is no more, as long as for a slow one */
		c->round = NULL;
		c->all_due |= a->cfg.automatic;
	}
	c->not_before = 0;
	c->joined = clock_boot_ns();
	core_copy(c->url, sizeof c->url, info->url);
}

void collect_next(struct child *c)
{
	static const struct err no_memory = { .code = ERR_FAILED, .text = "out of memory" };
	if (c->round || !c->url[0] || c->agent->stopping || clock_boot_ns() < c->not_before)
		return;
	struct offer *o = c->offers;
	if (o) {
		c->offers = o->next;
		collect_from(c, o);
	} else if (c->all_due) {
		struct offer everything = { .job = "" };
		c->all_due = false;
		collect_from(c, &everything);
	}
	if (o) {
		save_job_collected(o->waits, &no_memory, 0); /* unless the round took them */
		free(o);
	}
}

/* The list's entry for a job, made if there is none. */
static struct offer *offer_for(struct child *c, const char *job)
{
	struct offer **p = &c->offers;
	while (*p && strcmp((*p)->job, job) != 0)
		p = &(*p)->next;
	if (!*p && (*p = calloc(1, sizeof **p))) {
		core_copy((*p)->job, sizeof(*p)->job, job);
		(*p)->level = 1;
	}
	return *p;
}

void collect_offer(struct agent *a, const char *name, const Cpa__Offer *offer)
{
	struct child *c = a->collector ? find_child(a->collector, name) : NULL;
	if (!c || (!a->cfg.automatic && !offer->asked))
		return;
	struct offer *o = offer->job[0] ? offer_for(c, offer->job) : NULL;
	if (!offer->job[0])
		c->all_due = true;
	if (o) {
		o->level = offer->level == 0 || o->level == 0 ? 0
		           : offer->level > o->level          ? offer->level
		                                              : o->level;
		o->asked |= offer->asked;
	}
	c->not_before = 0; /* it is there */
	collect_next(c);
}

struct offer *collect_offer_to_save(struct agent *a, const char *name, const char *job)
{
	struct child *c = find_child(a->collector, name);
	struct offer *o = c ? offer_for(c, job) : NULL;
	if (!o)
		return NULL;
	o->asked = true;
	o->level = o->level == 0 || o->level > a->cfg.level ? o->level : a->cfg.level;
	return o;
}

void collect_go_on(struct agent *a, const char *name)
{
	struct child *c = find_child(a->collector, name);
	if (!c)
		return;
	c->not_before = 0; /* it is there */
	collect_next(c);
}

void collect_fill_stock(struct agent *a, Cpa__Stock *s)
{
	struct origin *o = table_get(&a->collector->origins, s->spec->job);
	if (o)
		s->ahead = o->ahead;
	if (o && o->above_generation == s->generation)
		s->generation_level = o->generation_level;
	if (o && o->above_keyset == s->keyset)
		s->keyset_level = o->keyset_level;
}

static struct origin *origin_of(struct collector *k, const char *job)
{
	struct origin *o = table_get(&k->origins, job);
	if (o)
		return o;
	o = calloc(1, sizeof *o);
	if (!o)
		return NULL;
	core_copy(o->job, sizeof o->job, job);
	table_put(&k->origins, o->job, o);
	return o;
}

void collect_remember(struct collector *k, const char *job, const char *url, uint64_t ahead)
{
	struct origin *o = origin_of(k, job);
	if (!o)
		return;
	core_copy(o->url, sizeof o->url, url);
	o->ahead = ahead;
}

/* Also of a job that no child lists any more: what is held of it is carried up all the same. */
void collect_held_above(struct agent *a, const char *job, const Cpa__Holding *h)
{
	struct origin *o = origin_of(a->collector, job);
	if (!o)
		return;
	*(h->what == CPA__WHAT__KEYSET ? &o->above_keyset : &o->above_generation) = h->number;
	*(h->what == CPA__WHAT__KEYSET ? &o->keyset_level : &o->generation_level) = h->level;
}

const char *collect_source(struct agent *a, const char *job)
{
	struct origin *o = table_get(&a->collector->origins, job);
	return o && o->url[0] ? o->url : NULL;
}

void collect_forget(struct collector *k, const char *job)
{
	free(table_take(&k->origins, job));
}

struct dropping {
	struct agent *agent;
	char job[STORE_JOB_MAX];
};

static void run_drop(void *ctx)
{
	struct dropping *d = ctx;
	struct err e = { 0 };
	if (store_drop_job(d->agent->store, d->job, &e) < 0)
		log_warn("not_dropped", "job=%s why=\"%s\"", d->job, e.text);
}

static void done_drop(void *ctx)
{
	struct dropping *d = ctx;
	d->agent->collector->gc_due = true;
	free(d);
}

void collect_drop(struct agent *a, const char *job)
{
	struct dropping *d = a->store ? malloc(sizeof *d) : NULL;
	if (!d)
		return;
	collect_forget(a->collector, job);
	d->agent = a;
	core_copy(d->job, sizeof d->job, job);
	work_start(&a->loop, run_drop, done_drop, d);
}

static void ignore(void *ctx, const struct call_reply *r)
{
	(void)ctx, (void)r;
}

void levels_tell_hold(struct agent *a, const char *job, const Cpa__Holding *h)
{
	Cpa__Hold hold = CPA__HOLD__INIT;
	Cpa__Ask ask = CPA__ASK__INIT;
	hold.job = (char *)(uintptr_t)job;
	hold.holding = (Cpa__Holding *)(uintptr_t)h;
	if (a->registrar) {
		registrar_hold(a, &hold);
		return;
	}
	const char *url = standing_registry_url(a);
	ask.what_case = CPA__ASK__WHAT_HOLD;
	ask.hold = &hold;
	if (url)
		call_send(a, url, &ask, NULL, 0, 10 * NS_PER_S, ignore, NULL);
}

void collect_tell_all(struct agent *a)
{
	struct store_item *items = NULL;
	size_t n = 0;
	struct err e = { 0 };
	if (!a->store)
		return;
	if (store_list(a->store, NULL, &items, &n, &e) < 0)
		log_warn("store_not_listed", "why=\"%s\"", e.text);
	for (size_t i = 0; i < n; i++) {
		Cpa__Holding h = CPA__HOLDING__INIT;
		h.what = items[i].what;
		h.number = items[i].number;
		h.level = a->cfg.level;
		h.holder = a->cfg.name;
		h.url = a->url;
		h.time_ns = items[i].time_ns;
		h.incarnation = items[i].incarnation;
		h.bytes = items[i].bytes;
		h.by_keys = items[i].by_keys;
		levels_tell_hold(a, items[i].job, &h);
	}
	free(items);
}

int64_t collect_last_update(const struct agent *a)
{
	return a->collector ? a->collector->last_update : 0;
}

int64_t collect_last_save(const struct agent *a)
{
	return a->collector ? a->collector->last_save : 0;
}

static void on_tick(uv_timer_t *t)
{
	struct collector *k = t->data;
	int64_t now = clock_boot_ns();
	if (interval_due(&k->update, now))
		for (struct child *c = k->children; c; c = c->next) {
			if (now - c->joined > LEFT_NS)
				continue; /* it has another parent, or is gone; it introduces itself again */
			c->all_due = true;
			collect_next(c);
		}
	if (interval_due(&k->save, now))
		collect_save(k->agent, NULL, NULL);
	save_job_tick(k->agent);
	collect_clean(k, now);
	collect_gc(k, now);
	serve_tick(now);
}

void collect_reload(struct agent *a)
{
	struct collector *k = a->collector;
	int64_t now = clock_boot_ns();
	interval_set(&k->update, a->cfg.update_ns, a->cfg.automatic && a->cfg.update_ns > 0, now);
	interval_set(&k->save, a->cfg.save_ns, a->cfg.automatic && a->cfg.save_ns > 0, now);
}

int collect_open(struct agent *a, struct err *e)
{
	struct collector *k = calloc(1, sizeof *k);
	if (!k)
		return err_set(e, ERR_FAILED, "out of memory");
	k->agent = a;
	k->rounds.limit = ROUNDS_MAX;
	a->collector = k;
	uv_timer_init(&a->loop, &k->tick);
	k->tick.data = k;
	if (collect_store_open(k, e) < 0)
		return e->code;
	collect_reload(a);
	uv_timer_start(&k->tick, on_tick, TICK_MS, TICK_MS);
	return 0;
}

void collect_close(struct agent *a)
{
	if (a->collector && !uv_is_closing((uv_handle_t *)&a->collector->tick))
		uv_close((uv_handle_t *)&a->collector->tick, NULL);
}
