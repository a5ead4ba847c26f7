/* The registry's life, its tables and its tick. Owns every record. What happens to jobs is in registry_jobs.c and
 * registry_steps.c, to nodes in registry_nodes.c; placement, holdings and other registries have files of their own. */
#include "agent/core/registry_impl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- actions ------------------------------------------------------------------------------------ */
const char *act_name(enum act a)
{
	static const char *const names[] = {
		[ACT_PERSIST_JOB] = "persist-job", [ACT_PERSIST_NODE] = "persist-node", [ACT_FORGET_JOB] = "forget-job",
		[ACT_START] = "start",             [ACT_STOP] = "stop",                 [ACT_ASK] = "ask",
		[ACT_NODE_UP] = "node-up",         [ACT_NODE_DOWN] = "node-down",       [ACT_JOB_CHANGED] = "job-changed",
		[ACT_WAITS] = "waits",
	};
	return (unsigned)a < sizeof names / sizeof *names ? names[a] : "?";
}

struct action *act_add(struct actions *acts, enum act what, const struct reg_job *j, const char *node)
{
	if (acts->n == acts->size) {
		acts->size = acts->size ? acts->size * 2 : 16;
		acts->v = realloc(acts->v, acts->size * sizeof *acts->v);
		if (!acts->v)
			abort();
	}
	struct action *a = &acts->v[acts->n++];
	memset(a, 0, sizeof *a);
	a->what = what;
	if (j) {
		core_copy(a->job, sizeof a->job, j->spec.uuid);
		a->incarnation = j->incarnation;
	}
	if (node)
		core_copy(a->node, sizeof a->node, node);
	return a;
}

void actions_clear(struct actions *a)
{
	a->n = 0;
}

void actions_free(struct actions *a)
{
	free(a->v);
	*a = (struct actions){0};
}

void reg_say(char why[static CORE_WHY], const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(why, CORE_WHY, fmt, ap);
	va_end(ap);
}

/* ---- records ------------------------------------------------------------------------------------ */
static void *zeroed(size_t size)
{
	void *p = calloc(1, size);
	if (!p)
		abort();
	return p;
}

struct reg_node *reg_node_find(const struct registry *r, const char *name)
{
	return table_get(&r->nodes, name);
}

struct reg_node *reg_node_make(struct registry *r, const char *name)
{
	struct reg_node *n = reg_node_find(r, name);
	if (n)
		return n;
	n = zeroed(sizeof *n);
	core_copy(n->info.name, sizeof n->info.name, name);
	n->info.level = 1;
	n->state = NODE_SUSPECT;
	n->lease = r->config.lease;
	n->expires = CORE_NEVER; /* until settled or joined */
	table_put(&r->nodes, n->info.name, n);
	r->places_stale = true;
	return n;
}

struct reg_job *reg_job_find(const struct registry *r, const char *uuid)
{
	return table_get(&r->jobs, uuid);
}

struct reg_job *reg_job_make(struct registry *r, const struct job_spec *spec)
{
	struct reg_job *j = zeroed(sizeof *j);
	j->spec = *spec;
	if (j->spec.spare_count > CORE_SPARES)
		j->spec.spare_count = CORE_SPARES;
	table_put(&r->jobs, j->spec.uuid, j);
	return j;
}

void reg_job_drop(struct registry *r, struct reg_job *j, struct actions *acts)
{
	act_add(acts, ACT_FORGET_JOB, j, NULL);
	job_disown(r, j);
	job_pend(r, j, REG_QUIET, 0);
	table_take(&r->jobs, j->spec.uuid);
	free(j->held);
	free(j);
}

const struct reg_node *registry_node(const struct registry *r, const char *name)
{
	return reg_node_find(r, name);
}

const struct reg_job *registry_job(const struct registry *r, const char *uuid)
{
	return reg_job_find(r, uuid);
}

const struct reg_job *registry_job_named(const struct registry *r, uint32_t uid, const char *name)
{
	const struct reg_job *best = NULL;
	size_t at = 0;
	for (const struct reg_job *j; (j = table_each(&r->jobs, &at));) {
		if (j->spec.uid != uid || j->elsewhere || strcmp(j->spec.name, name) != 0)
			continue;
		if (!job_ended(j->state))
			return j;
		if (!best || j->ended_at > best->ended_at)
			best = j;
	}
	return best;
}

const struct reg_node *registry_each_node(const struct registry *r, size_t *at)
{
	return table_each(&r->nodes, at);
}

const struct reg_job *registry_each_job(const struct registry *r, size_t *at)
{
	return table_each(&r->jobs, at);
}

/* ---- life --------------------------------------------------------------------------------------- */
void registry_init(struct registry *r, const struct registry_config *config)
{
	*r = (struct registry){.config = *config, .settled = CORE_NEVER};
	if (r->config.lease <= 0)
		r->config.lease = 10 * CORE_S;
	if (r->config.resend <= 0)
		r->config.resend = r->config.lease / 10;
	if (r->config.start_bound <= 0)
		r->config.start_bound = r->config.lease;
	r->longest_lease = r->config.lease;
}

void registry_free(struct registry *r)
{
	size_t at = 0;
	for (struct reg_job *j; (j = table_each(&r->jobs, &at));) {
		free(j->held);
		free(j);
	}
	at = 0;
	for (struct reg_node *n; (n = table_each(&r->nodes, &at));)
		free(n);
	table_free(&r->jobs);
	table_free(&r->nodes);
	free(r->places);
	*r = (struct registry){0};
}

void registry_load_node(struct registry *r, const struct reg_node *record)
{
	struct reg_node *n = reg_node_make(r, record->info.name);
	n->info = record->info;
	n->drained = record->drained;
	n->lease = record->lease;
	if (n->lease > r->longest_lease)
		r->longest_lease = n->lease;
}

void registry_load_job(struct registry *r, const struct reg_job *record)
{
	if (reg_job_find(r, record->spec.uuid))
		return;
	struct reg_job *j = reg_job_make(r, &record->spec);
	core_copy(j->owner, sizeof j->owner, record->owner);
	j->incarnation = record->incarnation;
	j->state = record->state;
	j->ending = record->ending;
	j->stopped = record->stopped;
	j->by_keys = record->by_keys;
	j->elsewhere = record->elsewhere;
	if (job_live(j->state))
		job_own(r, j, reg_node_make(r, j->owner));
	else if (j->state == JOB_LOST && !j->elsewhere)
		job_pend(r, j, REG_ASK, 0); /* another registry may have it by now */
}

void registry_settle(struct registry *r, bool fresh, int64_t now)
{
	r->started = now;
	r->settled = fresh ? now : lease_expiry(now, r->longest_lease);
	size_t at = 0;
	for (struct reg_node *n; (n = table_each(&r->nodes, &at));) {
		n->heard = now;
		n->expires = r->settled;
	}
}

/* ---- time --------------------------------------------------------------------------------------- */
void registry_tick(struct registry *r, int64_t now, struct actions *acts)
{
	reg_expire_nodes(r, now, acts);
	for (struct reg_job *j = r->waiting, *next; j; j = next) {
		next = j->wait_next; /* a service changes no other job's place in the list */
		job_service(r, j, now, acts);
	}
}

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

int64_t registry_next(const struct registry *r)
{
	int64_t t = CORE_NEVER;
	size_t at = 0;
	for (const struct reg_node *n; (n = table_each(&r->nodes, &at));) {
		if (n->state == NODE_UP)
			t = earlier(t, n->heard + n->lease / 2);
		if (n->state != NODE_DOWN)
			t = earlier(t, n->expires);
	}
	for (const struct reg_job *j = r->waiting; j; j = j->wait_next)
		t = earlier(t, j->resend_at);
	return t;
}
