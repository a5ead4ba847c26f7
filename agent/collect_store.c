/* Owns what is done to the store of what children hold, in workers: loaded at the start, saved to disk, swept of
 * chunks that nobody needs and of jobs that have ended. collect.c decides when. */
#include "agent/collect.h"

#include <stdlib.h>

#include "agent/ended.h"
#include "agent/ports/store.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"

#define GC_PAUSE_NS NS_PER_S
#define CLEAN_EVERY_NS (30 * NS_PER_S)

/* ---- to disk ---- */

struct saving {
	struct agent *agent;
	int code;
	struct err err;
	struct store_saved saved;
	void (*done)(void *, const struct err *);
	void *ctx;
};

static void skipped(void *ctx, const char *job, Cpa__What what, uint64_t number, const char *why)
{
	char buf[64];
	log_warn(ctx ? "not_loaded" : "not_saved", "job=%s %s why=\"%s\"", job,
	         manifest_text(what, number, buf, sizeof buf), why);
}

static void run_save(void *ctx)
{
	struct saving *s = ctx;
	char dir[FS_PATH_MAX];
	fs_path(dir, "%s/store", s->agent->cfg.state);
	s->code = store_save(s->agent->store, dir, &s->saved, skipped, NULL, &s->err);
}

static void done_save(void *ctx)
{
	struct saving *s = ctx;
	struct collector *k = s->agent->collector;
	k->saving = false;
	if (s->code < 0)
		log_error("save_failed", "why=\"%s\"", s->err.text);
	else
		k->last_save = clock_real_ns();
	if (s->code == 0 && s->saved.bytes_written)
		log_info("saved", "items=%zu bytes=%llu", s->saved.items,
		         (unsigned long long)s->saved.bytes_written);
	if (s->done)
		s->done(s->ctx, s->code < 0 ? &s->err : NULL);
	free(s);
}

void collect_save(struct agent *a, void (*done)(void *, const struct err *), void *ctx)
{
	struct err busy = { .code = ERR_FAILED, .text = "a save is under way already; try again when it is done" };
	struct saving *s = a->collector->saving ? NULL : calloc(1, sizeof *s);
	if (!s) {
		if (done)
			done(ctx, &busy);
		return;
	}
	*s = (struct saving){ .agent = a, .done = done, .ctx = ctx };
	a->collector->saving = true;
	work_start(&a->loop, run_save, done_save, s);
}

int collect_store_open(struct collector *k, struct err *e)
{
	struct agent *a = k->agent;
	char dir[FS_PATH_MAX];
	struct store_saved loaded = { 0 };
	if (store_open(fs_path(dir, "%s/store", a->cfg.run), a->cfg.memory, a->manifest_key, &a->store, e) < 0)
		return e->code;
	if (store_load(a->store, fs_path(dir, "%s/store", a->cfg.state), &loaded, skipped, k, e) < 0)
		log_error("save_not_loaded", "why=\"%s\"", e->text); /* what children hold will come again */
	if (loaded.items)
		log_info("loaded", "items=%zu skipped=%zu", loaded.items, loaded.skipped);
	return 0;
}

/* ---- chunks that nobody needs any more: not after every round, as each is looked at ---- */

static void run_gc(void *ctx)
{
	struct collector *k = ctx;
	store_gc(k->agent->store, NULL, NULL);
}

static void done_gc(void *ctx)
{
	struct collector *k = ctx;
	k->gc_busy = false;
	k->gc_after = clock_boot_ns() + GC_PAUSE_NS;
}

void collect_gc(struct collector *k, int64_t now)
{
	if (!k->gc_due || k->gc_busy || now < k->gc_after)
		return;
	k->gc_due = false;
	k->gc_busy = true;
	work_start(&k->agent->loop, run_gc, done_gc, k);
}

/* ---- what is held of jobs that have ended ---- */

static void run_clean(void *ctx)
{
	struct collector *k = ctx;
	k->cleaned = ended_clean(k->agent->store, k->clean_budget);
}

static void done_clean(void *ctx)
{
	struct collector *k = ctx;
	k->clean_busy = false;
	k->gc_due |= k->cleaned > 0;
	if (k->cleaned)
		log_info("ended_forgotten", "jobs=%zu", k->cleaned);
}

void collect_clean(struct collector *k, int64_t now)
{
	if (k->clean_busy || now < k->clean_due)
		return;
	k->clean_busy = true;
	k->clean_due = now + CLEAN_EVERY_NS;
	k->clean_budget = k->agent->cfg.memory;
	work_start(&k->agent->loop, run_clean, done_clean, k);
}
