/* Owns what the registrar knows of jobs besides who owns them: their specs, what their nodes last said, and which
 * user's orders wait for them; and of agents what they say of themselves. */
#include <stdlib.h>
#include <string.h>

#include "agent/levels.h"
#include "agent/registrar_impl.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/wire/copy.h"

struct known *registrar_known(struct registrar *g, const char *uuid, const Cpa__Spec *spec)
{
	struct known *k = table_get(&g->known, uuid);
	if (k || !spec)
		return k;
	k = calloc(1, sizeof *k);
	if (!k)
		return NULL;
	core_copy(k->uuid, sizeof k->uuid, uuid);
	k->spec = wire_copy(&spec->base);
	if (!k->spec) {
		free(k);
		return NULL;
	}
	table_put(&g->known, k->uuid, k);
	return k;
}

void registrar_forget(struct registrar *g, const char *uuid)
{
	struct known *k = table_take(&g->known, uuid);
	if (!k)
		return;
	registrar_settle_orders(g, k, UINT32_MAX, ERR_FAILED, "the job was forgotten", 0);
	collect_drop(g->agent, uuid);
	cpa__spec__free_unpacked(k->spec, NULL);
	if (k->detail)
		cpa__report__free_unpacked(k->detail, NULL);
	free(k);
}

void registrar_job_spec(const Cpa__Spec *spec, struct job_spec *out)
{
	*out = (struct job_spec){ .uid = spec->uid,
		                  .restart = (enum restart_policy)spec->restart,
		                  .max_restarts = spec->max_restarts,
		                  .max_seconds = (int64_t)spec->max_seconds_ns,
		                  .mode = (enum restart_mode)spec->mode,
		                  .files = (enum files_mode)spec->files,
		                  .level = (int)spec->level };
	core_copy(out->uuid, sizeof out->uuid, spec->job);
	core_copy(out->name, sizeof out->name, spec->name);
	core_copy(out->wanted, sizeof out->wanted, spec->node);
	for (size_t i = 0; i < spec->n_spares && i < CORE_SPARES; i++)
		core_copy(out->spares[out->spare_count++], CORE_NAME, spec->spares[i]);
}

static void answer_all(struct registrar *g, struct order *due, int code, const char *text, int launch_status)
{
	while (due) {
		struct order *o = due;
		due = o->next;
		g->n_orders--;
		o->done(o->ctx, code, text, launch_status);
		free(o);
	}
}

void registrar_settle_orders(struct registrar *g, struct known *k, uint32_t incarnation, int code,
                             const char *text, int launch_status)
{
	struct order *due = NULL;
	for (struct order **p = &k->orders, *o; (o = *p);) {
		if (incarnation < o->after) {
			p = &o->next;
			continue;
		}
		*p = o->next;
		o->next = due;
		due = o;
	}
	answer_all(g, due, code, text, launch_status);
}

void registrar_expire_orders(struct registrar *g, int64_t now)
{
	size_t at = 0;
	struct known *k;
	while (g->n_orders && (k = table_each(&g->known, &at))) {
		struct order *due = NULL;
		for (struct order **p = &k->orders, *o; (o = *p);) {
			if (now < o->give_up) {
				p = &o->next;
				continue;
			}
			*p = o->next;
			o->next = due;
			due = o;
		}
		if (due)
			k->wished = false; /* it goes on from whatever can be had */
		answer_all(g, due, ERR_TIMEOUT, "no node has reported that it runs; see cpagent ps", 0);
	}
}

bool registrar_uuid_ok(const char *uuid)
{
	return strlen(uuid) == CORE_UUID - 1 && strspn(uuid, "0123456789abcdef-") == CORE_UUID - 1;
}

void registrar_note_agent(struct registrar *g, const Cpa__Agent *agent)
{
	struct known_agent *k = table_get(&g->agents, agent->name);
	Cpa__Agent *copy = wire_copy(&agent->base);
	if (!copy)
		return;
	if (!k) {
		k = calloc(1, sizeof *k);
		if (!k) {
			cpa__agent__free_unpacked(copy, NULL);
			return;
		}
		core_copy(k->name, sizeof k->name, agent->name);
		table_put(&g->agents, k->name, k);
	}
	if (k->agent)
		cpa__agent__free_unpacked(k->agent, NULL);
	k->agent = copy;
}

bool registrar_node_info(const Cpa__Agent *a, uint64_t term, struct node_info *out)
{
	*out = (struct node_info){ .level = (int)a->level, .term = term };
	if (!seal_name_ok(a->name) || a->session.len != CORE_SESSION)
		return false;
	core_copy(out->name, sizeof out->name, a->name);
	core_copy(out->url, sizeof out->url, a->url);
	core_copy(out->parent, sizeof out->parent, a->parent);
	memcpy(out->session, a->session.data, CORE_SESSION);
	for (size_t i = 0; i < a->n_others && i < CORE_PARENTS; i++)
		core_copy(out->others[out->other_count++], CORE_URL, a->others[i]);
	if (a->machine) {
		core_copy(out->has.arch, sizeof out->has.arch, a->machine->arch);
		out->has.memory = a->machine->memory;
		out->has.cpus = a->machine->cpus;
		for (size_t i = 0; i < a->machine->n_features && i < 4; i++)
			out->has.features[i] = a->machine->features[i];
	}
	return true;
}

const Cpa__Report *registrar_detail(struct agent *a, const char *uuid)
{
	struct known *k = table_get(&a->registrar->known, uuid);
	return k ? k->detail : NULL;
}

const Cpa__Spec *registrar_spec(struct agent *a, const char *uuid)
{
	struct known *k = table_get(&a->registrar->known, uuid);
	return k ? k->spec : NULL;
}

const Cpa__Agent *registrar_agent(struct agent *a, const char *name)
{
	struct known_agent *k = table_get(&a->registrar->agents, name);
	return k ? k->agent : NULL;
}

int registrar_resolve(struct agent *a, const char *word, uid_t uid, const struct reg_job **out, struct err *e)
{
	const struct reg_job *j, *mine = NULL, *other = NULL;
	size_t at = 0, len = strlen(word);
	int live = 0;
	while ((j = registry_each_job(&a->registrar->reg, &at))) {
		if (strcmp(j->spec.name, word) != 0 && !(len >= 8 && strncmp(j->spec.uuid, word, len) == 0))
			continue;
		if (uid != 0 && uid != j->spec.uid) {
			other = j;
			continue;
		}
		live += !job_ended(j->state);
		if (!mine || (job_ended(mine->state) && (!job_ended(j->state) || j->ended_at > mine->ended_at)))
			mine = j;
	}
	if (live > 1)
		return err_set(e, ERR_FAILED,
		               "%s: several jobs have that name; say which by its UUID (cpagent ps --json)", word);
	if (!mine && other)
		return err_set(e, ERR_DENIED,
		               "%s: this job belongs to another user; only that user and root may use it", word);
	if (!mine)
		return err_set(e, ERR_NOT_FOUND, "%s: no such job; `cpagent ps -a` lists those there are", word);
	*out = mine;
	return 0;
}
