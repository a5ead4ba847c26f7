/* Owns what agents and users ask of the registry: translated for core, answered when its records are on disk. */
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "agent/levels.h"
#include "agent/registrar_impl.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/scoped.h"
#include "lib/wire/copy.h"

#define ORDER_TIMEOUT_NS (60 * NS_PER_S)
#define CLAIMS_MAX (UINT64_C(256) << 20)

void answer_init(struct answer *out)
{
	memset(out, 0, sizeof *out);
	cpa__answer__init(&out->msg);
	cpa__joined__init(&out->joined);
	cpa__granted__init(&out->granted);
	cpa__told__init(&out->told);
	cpa__released__init(&out->released);
}

void answer_free(struct answer *out)
{
	free(out->verdicts);
	free(out->verdict_msgs);
	free(out->verdict_list);
}

static void fail(struct answer *out, int code, const char *text)
{
	out->msg.code = code;
	out->msg.text = (char *)(uintptr_t)text;
}

static void grant(struct answer *out, uint64_t term, uint64_t seq)
{
	out->granted.term = term;
	out->granted.seq = seq;
	out->msg.what_case = CPA__ANSWER__WHAT_GRANTED;
	out->msg.granted = &out->granted;
}

/* ---- the lease ---- */

void registrar_hello(struct agent *a, const Cpa__Hello *q, struct answer *out)
{
	grant(out, q->term, q->seq);
	out->granted.lease_ns = (uint64_t)registry_hello(&a->registrar->reg);
}

void registrar_renew(struct agent *a, const Cpa__Renew *q, struct answer *out)
{
	struct registrar *g = a->registrar;
	int64_t lease = 0;
	grant(out, q->term, q->seq);
	if (!q->agent || q->agent->session.len != CORE_SESSION) {
		fail(out, ERR_FAILED, "no session");
		return;
	}
	out->granted.again = registry_renew(&g->reg, q->agent->name, q->agent->session.data, q->term,
	                                    clock_boot_ns(), &lease) != ANSWER_OK;
	out->granted.lease_ns = (uint64_t)lease;
	if (!out->granted.again)
		registrar_note_agent(g, q->agent);
	registrar_go_on(g);
}

/* ---- registration ---- */

static bool fill_claims(struct registrar *g, const Cpa__Register *q, struct job_claim *claims)
{
	for (size_t i = 0; i < q->n_claims; i++) {
		const Cpa__Claim *c = q->claims[i];
		registrar_job_spec(c->spec, &claims[i].spec);
		if (!registrar_known(g, c->spec->job, c->spec))
			return false; /* out of memory: a job without its spec could never be written down */
		claims[i].incarnation = c->incarnation;
		claims[i].by_keys = c->by_keys;
		claims[i].given = c->given;
		if (!job_state_parse(c->state, &claims[i].state))
			claims[i].state = JOB_FAILED;
		if (c->exit)
			claims[i].ending = (struct ending){ c->exit->code, c->exit->signal };
	}
	return true;
}

static bool claims_ok(const Cpa__Register *q)
{
	for (size_t i = 0; i < q->n_claims; i++)
		if (!q->claims[i]->spec || !registrar_uuid_ok(q->claims[i]->spec->job))
			return false;
	return true;
}

static bool make_room(struct answer *out, size_t n)
{
	out->verdicts = calloc(n + 1, sizeof *out->verdicts);
	out->verdict_msgs = calloc(n + 1, sizeof *out->verdict_msgs);
	out->verdict_list = calloc(n + 1, sizeof *out->verdict_list);
	return out->verdicts && out->verdict_msgs && out->verdict_list;
}

static void list_verdicts(struct answer *out, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		Cpa__Verdict *m = out->verdict_list[i] = &out->verdict_msgs[i];
		cpa__verdict__init(m);
		m->job = out->verdicts[i].job;
		m->verdict = (char *)(uintptr_t)verdict_name(out->verdicts[i].verdict);
	}
	out->granted.verdicts = out->verdict_list;
	out->granted.n_verdicts = n;
}

static void take_registration(struct registrar *g, const Cpa__Register *q, struct answer *out)
{
	struct node_info info;
	int64_t lease = 0;
	scoped_free struct job_claim *claims = calloc(q->n_claims + 1, sizeof *claims);
	if (!claims || !make_room(out, q->n_claims) || !q->agent ||
	    !registrar_node_info(q->agent, q->term, &info) || !claims_ok(q) || !fill_claims(g, q, claims)) {
		fail(out, ERR_FAILED, "that registration makes no sense");
		return;
	}
	info.held = q->held_ns;
	registrar_note_agent(g, q->agent);
	enum reg_answer r = registry_register(&g->reg, &info, claims, q->n_claims, clock_boot_ns(), out->verdicts,
	                                      &lease, &g->acts);
	registrar_perform(g);
	if (r != ANSWER_OK || g->unsaved) {
		fail(out, ERR_FAILED,
		     g->unsaved ? "the registry cannot write its records" : "an old registration");
		return;
	}
	grant(out, q->term, q->seq);
	out->granted.lease_ns = (uint64_t)lease;
	list_verdicts(out, q->n_claims);
	registrar_go_on(g); /* orders that follow; they wait at the node until this answer is there */
}

/* Claims behind the message: owned. NULL: they cannot be read. */
static Cpa__Register *unpack_claims(const void *bulk, size_t len)
{
	unsigned long long n = ZSTD_getFrameContentSize(bulk, len);
	scoped_free uint8_t *plain = n <= CLAIMS_MAX ? malloc((size_t)n + 1) : NULL;
	bool ok = plain && ZSTD_decompress(plain, (size_t)n, bulk, len) == n;
	return ok ? cpa__register__unpack(NULL, (size_t)n, plain) : NULL;
}

void registrar_register(struct agent *a, const Cpa__Register *q, const void *bulk, size_t len, struct answer *out)
{
	Cpa__Register whole = *q, *claims = len ? unpack_claims(bulk, len) : NULL;
	if (len && !claims) {
		fail(out, ERR_FAILED, "the jobs of that registration cannot be read");
		return;
	}
	if (claims) {
		whole.claims = claims->claims;
		whole.n_claims = claims->n_claims;
	}
	take_registration(a->registrar, &whole, out);
	if (claims)
		cpa__register__free_unpacked(claims, NULL);
}

/* ---- what becomes of jobs ---- */

static bool parse_report(const char *word, enum report *out)
{
	for (int p = REPORT_TAKEN; p <= REPORT_GONE; p++)
		if (strcmp(report_name((enum report)p), word) == 0) {
			*out = (enum report)p;
			return true;
		}
	return false;
}

static void take_detail(struct known *k, const Cpa__Tell *q)
{
	Cpa__Report *copy = wire_copy(&q->detail->base);
	if (copy && k->detail)
		cpa__report__free_unpacked(k->detail, NULL);
	if (copy)
		k->detail = copy;
}

static void answer_orders(struct registrar *g, struct known *k, const Cpa__Tell *q, enum report what)
{
	if (what == REPORT_RUNNING || what == REPORT_EXITED)
		registrar_settle_orders(g, k, q->incarnation, 0, NULL, 0);
	else if (what == REPORT_FAILED)
		registrar_settle_orders(g, k, q->incarnation, q->launch_status == 127 ? ERR_NOT_FOUND : ERR_FAILED,
		                        q->why, q->launch_status);
	else if (what == REPORT_FAILED_HERE && k->wished) {
		/* what its user named cannot be restored; the job goes on from whatever can */
		k->wished = false;
		registrar_settle_orders(g, k, q->incarnation, ERR_FAILED, q->why, 0);
	}
}

void registrar_tell(struct agent *a, const Cpa__Tell *q, struct answer *out)
{
	struct registrar *g = a->registrar;
	struct known *k = table_get(&g->known, q->job);
	const struct reg_job *j = registry_job(&g->reg, q->job);
	bool owner = j && strcmp(j->owner, q->node) == 0 && q->incarnation >= j->incarnation;
	enum report what = REPORT_TAKEN;
	out->msg.what_case = CPA__ANSWER__WHAT_TOLD;
	out->msg.told = &out->told;
	if (k && owner && q->detail)
		take_detail(k, q);
	if (q->by_keys && j && !j->by_keys)
		registry_by_keys(&g->reg, q->job, &g->acts);
	if (q->report[0] && parse_report(q->report, &what)) {
		struct ending ended = { q->exit ? q->exit->code : 0, q->exit ? q->exit->signal : 0 };
		enum reg_answer r = registry_report(&g->reg, q->node, q->job, q->incarnation, what, ended, q->why,
		                                    clock_boot_ns(), &g->acts);
		out->told.kill = r == ANSWER_KILL;
		out->told.again = r == ANSWER_UNKNOWN && what != REPORT_GONE && what != REPORT_REFUSED;
		if (k && r == ANSWER_OK)
			answer_orders(g, k, q, what);
	}
	if (what == REPORT_TAKEN || what == REPORT_RUNNING)
		registrar_put_off(g);
	registrar_perform(g);
	if (g->unsaved)
		fail(out, ERR_FAILED, "the registry cannot write its records");
	registrar_go_on(g);
}

void registrar_hold(struct agent *a, const Cpa__Hold *q)
{
	const Cpa__Holding *m = q->holding;
	if (!m)
		return;
	struct holding h = { .kind = m->what == CPA__WHAT__KEYSET ? SOURCE_KEYS : SOURCE_SNAPSHOT,
		             .level = (int)m->level,
		             .number = m->number,
		             .incarnation = m->incarnation,
		             .time = m->time_ns,
		             .bytes = m->bytes,
		             .bad = m->bad };
	core_copy(h.holder, sizeof h.holder, m->holder);
	registry_held(&a->registrar->reg, q->job, &h);
	if (m->by_keys)
		registry_by_keys(&a->registrar->reg, q->job, &a->registrar->acts);
	registrar_go_on(a->registrar);
}

void registrar_release(struct agent *a, const Cpa__Release *q, struct answer *out)
{
	struct registrar *g = a->registrar;
	out->released.is_free = (q->take ? registry_offered : registry_asked)(
	        &g->reg, q->job, q->incarnation, q->node, q->term, q->by, clock_boot_ns(), &g->acts);
	registrar_perform(g);
	if (g->unsaved)
		fail(out, ERR_FAILED, "the registry cannot write its records");
	out->msg.what_case = CPA__ANSWER__WHAT_RELEASED;
	out->msg.released = &out->released;
	registrar_go_on(g);
}

/* ---- users' orders ---- */

static bool add_order(struct registrar *g, struct known *k, uint32_t after, registrar_done_fn *done, void *ctx)
{
	struct order *o = k ? malloc(sizeof *o) : NULL;
	if (!o)
		return false;
	*o = (struct order){ k->orders, done, ctx, after, clock_boot_ns() + ORDER_TIMEOUT_NS };
	k->orders = o;
	g->n_orders++;
	return true;
}

void registrar_job_new(struct agent *a, const Cpa__Spec *spec, registrar_done_fn *done, void *ctx)
{
	struct registrar *g = a->registrar;
	struct job_spec js;
	struct err e = { 0 };
	const struct reg_job *had = registry_job(&g->reg, spec->job);
	struct known *k;
	if (had && had->state != JOB_STARTING) { /* it was asked for before, and the answer got lost */
		bool failed = had->state == JOB_FAILED && had->incarnation == 0;
		done(ctx, failed ? ERR_FAILED : 0, failed ? had->why : NULL, failed ? had->ending.code : 0);
		return;
	}
	if (g->unsaved) {
		done(ctx, ERR_FAILED,
		     "the registry cannot write its records and takes no new jobs; look at its log", 0);
		return;
	}
	k = registrar_known(g, spec->job, spec);
	registrar_job_spec(spec, &js);
	if (!k || registry_job_new(&g->reg, &js, clock_boot_ns(), &g->acts, &e) < 0) {
		if (k && !had)
			registrar_forget(g, spec->job);
		done(ctx, e.code ? e.code : ERR_FAILED, e.code ? e.text : "out of memory", 0);
		return;
	}
	if (!add_order(g, k, 0, done, ctx))
		done(ctx, ERR_FAILED, "out of memory", 0);
	registrar_go_on(g);
}

/* Not if it goes with the copy that is running now, which its node forgets. */
static bool outlives_copy(const struct reg_job *j, const struct source *s)
{
	return !job_live(j->state) || !s->from || s->from->level > 1 || strcmp(s->from->holder, j->owner) != 0;
}

/* Before a running copy is stopped for it: is there what its user names? */
static bool is_held(struct registrar *g, const char *uuid, const struct source_wish *wish, struct err *e)
{
	struct source *found;
	if (!wish->level && !wish->generation)
		return true;
	struct source_wish w = *wish;
	const struct reg_job *j = registry_job(&g->reg, uuid);
	w.by_keys = j && j->by_keys;
	size_t n = registry_sources(&g->reg, uuid, &w, &found), left = 0;
	for (size_t i = 0; i < n; i++)
		left += outlives_copy(j, &found[i]);
	free(found);
	if (n == 0)
		err_set(e, ERR_NOT_FOUND,
		        "nothing of that generation or level can be had now; see cpagent history");
	else if (left == 0)
		err_set(e, ERR_FAILED,
		        "only node %s holds that so far, and gives it up with the copy that runs there; take one that "
		        "can be moved (cpagent checkpoint --level 2 %s) and restore that",
		        j->owner, j->spec.name);
	return left > 0;
}

void registrar_move(struct agent *a, const char *uuid, const char *node, const struct source_wish *wish,
                    registrar_done_fn *done, void *ctx)
{
	struct registrar *g = a->registrar;
	struct err e = { 0 };
	struct known *k = table_get(&g->known, uuid);
	const struct reg_job *j = registry_job(&g->reg, uuid);
	uint32_t after = j ? j->incarnation + 1 : 0;
	if (!k || !is_held(g, uuid, wish, &e) ||
	    registry_move(&g->reg, uuid, node, clock_boot_ns(), &g->acts, &e) < 0) {
		done(ctx, e.code ? e.code : ERR_NOT_FOUND, e.code ? e.text : "no such job", 0);
		return;
	}
	k->wish = *wish;
	k->wished = wish->level || wish->generation;
	if (!add_order(g, k, after, done, ctx))
		done(ctx, ERR_FAILED, "out of memory", 0);
	registrar_go_on(g);
}

int registrar_stop(struct agent *a, const char *uuid, struct err *e)
{
	int rc = registry_stop(&a->registrar->reg, uuid, clock_boot_ns(), &a->registrar->acts, e);
	registrar_go_on(a->registrar);
	return rc;
}

struct registry *registrar_registry(struct agent *a)
{
	return &a->registrar->reg;
}
