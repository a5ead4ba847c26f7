/* Owns the registry's records on disk: what core marks as persisted, in one transaction per batch of actions. */
#include <stdlib.h>
#include <string.h>

#include "agent/registrar_impl.h"
#include "lib/base/log.h"
#include "lib/base/scoped.h"
#include "lib/wire/copy.h"

/* Changes being put together; their bytes are owned. */
struct batch {
	struct records_change *v;
	size_t n;
};

static int add_packed(struct batch *b, const char *name, const ProtobufCMessage *m, int fact, struct err *e)
{
	size_t len;
	void *buf = wire_pack(m, &len);
	if (!buf)
		return err_set(e, ERR_FAILED, "out of memory");
	b->v[b->n++] = (struct records_change){ name, buf, len, fact };
	return 0;
}

static int add_job(struct registrar *g, struct batch *b, const char *uuid, struct err *e)
{
	const struct reg_job *j = registry_job(&g->reg, uuid);
	struct known *k = table_get(&g->known, uuid);
	Cpa__Record rec = CPA__RECORD__INIT;
	Cpa__Exit ended = CPA__EXIT__INIT;
	if (!j) {
		b->v[b->n++] = (struct records_change){ uuid, NULL, 0, 0 };
		return 0;
	}
	if (!k) { /* never: but one such job must not keep all others from being written */
		log_error("job_without_spec", "job=%s", uuid);
		return 0;
	}
	ended.code = j->ending.code;
	ended.signal = j->ending.signal;
	rec.spec = k->spec;
	rec.owner = (char *)(uintptr_t)j->owner;
	rec.incarnation = j->incarnation;
	rec.state = (char *)(uintptr_t)job_state_name(j->state);
	rec.exit = &ended;
	rec.stopped = j->stopped;
	rec.by_keys = j->by_keys;
	rec.elsewhere = j->elsewhere;
	return add_packed(b, uuid, &rec.base, 0, e);
}

static int add_members(struct registrar *g, struct batch *b, struct err *e)
{
	Cpa__Members all = CPA__MEMBERS__INIT;
	size_t room = g->reg.nodes.used, at = 0;
	scoped_free Cpa__Member **ptr = calloc(room + 1, sizeof(Cpa__Member *));
	scoped_free Cpa__Member *v = calloc(room + 1, sizeof *v);
	const struct reg_node *n;
	if (!ptr || !v)
		return err_set(e, ERR_FAILED, "out of memory");
	all.member = ptr;
	while ((n = registry_each_node(&g->reg, &at)) && all.n_member < room) {
		struct known_agent *k = table_get(&g->agents, n->info.name);
		if (!k)
			continue;
		Cpa__Member *m = &v[all.n_member];
		cpa__member__init(m);
		m->agent = k->agent;
		m->drained = n->drained;
		m->lease_ns = (uint64_t)n->lease;
		ptr[all.n_member++] = m;
	}
	return add_packed(b, "members", &all.base, 1, e);
}

int registrar_save(struct registrar *g, const struct actions *acts, struct err *e)
{
	struct batch b = { calloc(acts->n + g->later.n + 1, sizeof *b.v), 0 };
	bool members = false;
	int rc = b.v ? 0 : err_set(e, ERR_FAILED, "out of memory");
	for (size_t i = 0; i < acts->n && rc == 0; i++) {
		const struct action *a = &acts->v[i];
		if (a->what == ACT_PERSIST_JOB || a->what == ACT_FORGET_JOB)
			rc = add_job(g, &b, a->job, e);
		members |= a->what == ACT_PERSIST_NODE;
	}
	for (size_t i = 0; i < g->later.n && rc == 0; i++)
		rc = add_job(g, &b, g->later.v[i].job, e);
	if (rc == 0 && members)
		rc = add_members(g, &b, e);
	if (rc == 0 && b.n)
		rc = records_write(g->db, b.v, b.n, e);
	for (size_t i = 0; i < b.n; i++)
		free((void *)(uintptr_t)b.v[i].data);
	free(b.v);
	return rc;
}

static int load_job(void *ctx, const char *uuid, const void *data, size_t len)
{
	struct registrar *g = ctx;
	Cpa__Record *rec = cpa__record__unpack(NULL, len, data);
	struct reg_job j = { 0 };
	if (!rec || !rec->spec || !job_state_parse(rec->state, &j.state) || strcmp(rec->spec->job, uuid) != 0) {
		log_error("record_damaged", "job=%s", uuid);
	} else if (registrar_known(g, uuid, rec->spec)) {
		registrar_job_spec(rec->spec, &j.spec);
		core_copy(j.owner, sizeof j.owner, rec->owner);
		j.incarnation = rec->incarnation;
		if (rec->exit)
			j.ending = (struct ending){ rec->exit->code, rec->exit->signal };
		j.stopped = rec->stopped;
		j.by_keys = rec->by_keys;
		j.elsewhere = rec->elsewhere;
		registry_load_job(&g->reg, &j);
	}
	if (rec)
		cpa__record__free_unpacked(rec, NULL);
	return 0;
}

static void load_members(struct registrar *g, const Cpa__Members *all)
{
	for (size_t i = 0; i < all->n_member; i++) {
		const Cpa__Member *m = all->member[i];
		struct reg_node n = { 0 };
		if (!m->agent || !registrar_node_info(m->agent, 0, &n.info))
			continue;
		n.drained = m->drained;
		n.lease = (int64_t)m->lease_ns;
		registrar_note_agent(g, m->agent);
		registry_load_node(&g->reg, &n);
	}
}

int registrar_load(struct registrar *g, bool *fresh, struct err *e)
{
	scoped_free char *data = NULL;
	size_t len;
	int rc = records_get_fact(g->db, "members", &data, &len, e);
	*fresh = rc == ERR_NOT_FOUND;
	if (rc == 0) {
		Cpa__Members *all = cpa__members__unpack(NULL, len, (uint8_t *)data);
		if (!all)
			return err_set(e, ERR_FAILED, "the registry's list of members is damaged");
		load_members(g, all);
		cpa__members__free_unpacked(all, NULL);
	} else if (rc != ERR_NOT_FOUND) {
		return rc;
	}
	return records_each(g->db, load_job, g, e);
}
