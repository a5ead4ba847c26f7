/* Owns carrying out what the registry decided: its records first, then orders to nodes, then the log; and its
 * life. */
#include <stdlib.h>
#include <string.h>

#include "agent/levels.h"
#include "agent/registrar_impl.h"
#include "lib/base/clock.h"
#include "lib/base/fs.h"
#include "lib/base/log.h"
#include "lib/base/scoped.h"

#define SAVE_AGAIN_MS 500
#define FORGET_AFTER_NS (7 * 86400 * NS_PER_S)
#define FORGET_EVERY_NS (60 * NS_PER_S)
#define FORGET_AT_ONCE 256

static void job_changed(struct registrar *g, const struct action *act)
{
	struct known *k = table_get(&g->known, act->job);
	log_info("job", "job=%s name=%s %s --> %s node=%s incarnation=%u%s%s", act->job, k ? k->spec->name : "?",
	         job_state_name(act->old), job_state_name(act->now_is), act->node, act->incarnation,
	         act->why[0] ? " why=" : "", act->why);
	if (!k)
		return;
	if (act->now_is == JOB_RUNNING)
		k->wished = false;
	if (act->now_is == JOB_FAILED) {
		int status = act->old == JOB_STARTING && k->detail && k->detail->exit ? k->detail->exit->code : 0;
		registrar_settle_orders(g, k, UINT32_MAX, ERR_FAILED, act->why, status);
	} else if (act->now_is == JOB_EXITED) { /* before it ran as ordered: stopped, or it ended by itself */
		registrar_settle_orders(g, k, UINT32_MAX, ERR_FAILED, "it has ended meanwhile; see cpagent ps -a",
		                        0);
	}
}

static void perform_one(struct registrar *g, const struct action *act)
{
	switch (act->what) {
	case ACT_START:
		registrar_order_start(g, act);
		break;
	case ACT_STOP:
		registrar_order_stop(g, act);
		break;
	case ACT_ASK:
		registrar_ask_other(g, act);
		break;
	case ACT_FORGET_JOB:
		if (!registry_job(&g->reg,
		                  act->job)) /* else its node brought it back while this could not be written */
			registrar_forget(g, act->job);
		break;
	case ACT_NODE_UP:
		log_info("node_up", "node=%s why=\"%s\"", act->node, act->why);
		break;
	case ACT_NODE_DOWN:
		log_warn("node_down", "node=%s jobs=%zu why=\"%s\"", act->node, act->count, act->why);
		break;
	case ACT_JOB_CHANGED:
		job_changed(g, act);
		break;
	case ACT_WAITS:
		log_warn("job_waits", "job=%s why=\"%s\"", act->job, act->why);
		break;
	case ACT_PERSIST_JOB:
	case ACT_PERSIST_NODE:
		break;
	}
}

static bool add_later(struct registrar *g, const struct action *act)
{
	struct action *v = realloc(g->later.v, (g->later.n + 1) * sizeof *v);
	if (!v)
		return false;
	g->later.v = v;
	g->later.v[g->later.n++] = *act;
	g->later.size = g->later.n;
	return true;
}

static bool can_wait(const struct actions *acts)
{
	for (size_t i = 0; i < acts->n; i++)
		if (acts->v[i].what != ACT_PERSIST_JOB && acts->v[i].what != ACT_JOB_CHANGED)
			return false;
	return true;
}

/* That a job runs, as its node says, need not be on disk before anything else happens: a registry that forgot it
 * hears it again when the node registers. This keeps one fsync out of every launch. */
void registrar_put_off(struct registrar *g)
{
	if (!can_wait(&g->acts) || g->unsaved)
		return;
	for (size_t i = 0; i < g->acts.n; i++) {
		const struct action *act = &g->acts.v[i];
		if (act->what != ACT_PERSIST_JOB)
			perform_one(g, act);
		else if (!add_later(g, act))
			return;
	}
	actions_clear(&g->acts);
}

/* What has to be kept until it can be written: core gives orders again, and a record is written as it is then, so
 * that one note of each is enough. However long the disk is full, this does not grow. */
static struct actions without_orders(struct actions acts)
{
	struct table noted = { 0 };
	bool members = false;
	size_t n = 0;
	for (size_t i = 0; i < acts.n; i++) {
		struct action *act = &acts.v[i];
		bool again = act->what == ACT_START || act->what == ACT_STOP || act->what == ACT_ASK ||
		             (act->what == ACT_PERSIST_NODE && members) ||
		             (act->what == ACT_PERSIST_JOB && table_get(&noted, act->job));
		if (again)
			continue;
		members |= act->what == ACT_PERSIST_NODE;
		acts.v[n] = *act;
		if (act->what == ACT_PERSIST_JOB)
			table_put(&noted, acts.v[n].job, &acts.v[n]);
		n++;
	}
	acts.n = n;
	table_free(&noted);
	return acts;
}

void registrar_perform(struct registrar *g)
{
	struct err e = { 0 };
	if (g->acts.n == 0 && !g->unsaved)
		return;
	struct actions acts = g->acts;
	g->acts = (struct actions){ 0 };
	if (registrar_save(g, &acts, &e) < 0) {
		/* nothing is ordered that is not on disk; core repeats orders, and the records are tried again */
		if (!g->unsaved)
			log_error("registry_not_saved", "why=\"%s\"", e.text);
		g->unsaved = true;
		g->acts = without_orders(acts);
		return;
	}
	if (g->unsaved)
		log_info("registry_saved_again", "records=%zu", acts.n);
	g->unsaved = false;
	actions_clear(&g->later);
	for (size_t i = 0; i < acts.n; i++)
		perform_one(g, &acts.v[i]);
	actions_free(&acts);
}

/* What was put off is written once a second, if nothing else was. */
static void write_later(struct registrar *g, int64_t now)
{
	struct err e = { 0 };
	struct actions none = { 0 };
	if (g->later.n == 0 || g->unsaved || now < g->later_due)
		return;
	g->later_due = now + NS_PER_S;
	if (registrar_save(g, &none, &e) == 0)
		actions_clear(&g->later);
	else
		log_error("registry_not_saved", "why=\"%s\"", e.text);
}

/* Ended jobs are remembered for a week, so that a node that comes back with a stale copy of one is told. */
static void forget_old(struct registrar *g, int64_t now)
{
	const struct reg_job *j;
	size_t at = 0, n = 0;
	char old[FORGET_AT_ONCE][CORE_UUID];
	/* when they ended is not written down: the week begins anew with each life of this agent */
	if (now < g->forget_due || now - g->opened < FORGET_AFTER_NS)
		return;
	g->forget_due = now + FORGET_EVERY_NS;
	while (n < FORGET_AT_ONCE && (j = registry_each_job(&g->reg, &at)))
		if (job_ended(j->state) && now - j->ended_at > FORGET_AFTER_NS)
			core_copy(old[n++], CORE_UUID, j->spec.uuid);
	for (size_t i = 0; i < n; i++)
		registry_job_forget(&g->reg, old[i], &g->acts, NULL);
}

static void on_timer(uv_timer_t *t)
{
	registrar_go_on(t->data);
}

void registrar_go_on(struct registrar *g)
{
	if (g->agent->stopping)
		return;
	int64_t now = clock_boot_ns();
	registry_tick(&g->reg, now, &g->acts);
	forget_old(g, now);
	registrar_perform(g);
	write_later(g, now);
	registrar_expire_orders(g, now);
	int64_t next = registry_next(&g->reg);
	now = clock_boot_ns();
	int64_t wait = next <= now ? 0 : (next - now) / NS_PER_MS + 1;
	if (g->unsaved)
		wait = SAVE_AGAIN_MS;
	uv_timer_start(&g->timer, on_timer, (uint64_t)(wait > 1000 ? 1000 : wait), 0);
}

int registrar_open(struct agent *a, struct err *e)
{
	char dir[FS_PATH_MAX];
	bool fresh = true;
	struct registrar *g = calloc(1, sizeof *g);
	struct registry_config cfg = { .lease = a->cfg.lease_ns };
	if (!g)
		return err_set(e, ERR_FAILED, "out of memory");
	g->agent = a;
	a->registrar = g;
	core_copy(cfg.id, sizeof cfg.id, a->cfg.name);
	registry_init(&g->reg, &cfg);
	uv_timer_init(&a->loop, &g->timer);
	g->timer.data = g;
	if (records_open(fs_path(dir, "%s/registry", a->cfg.state), &g->db, e) < 0 ||
	    registrar_load(g, &fresh, e) < 0)
		return e->code;
	g->opened = clock_boot_ns();
	registry_settle(&g->reg, fresh, g->opened);
	if (a->collector)
		collect_tell_all(a);
	uv_timer_start(&g->timer, on_timer, 0, 0);
	return 0;
}

void registrar_close(struct agent *a)
{
	struct registrar *g = a->registrar;
	if (!g || uv_is_closing((uv_handle_t *)&g->timer))
		return;
	uv_close((uv_handle_t *)&g->timer, NULL);
	records_close(g->db);
	g->db = NULL;
}
