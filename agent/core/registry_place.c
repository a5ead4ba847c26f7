/* Giving a job to a node: the choice, the change of owner, the order. The only place where an owner changes. */
#include "agent/core/registry_impl.h"

#include <stdlib.h>
#include <string.h>

static void fill(struct place_node *p, const struct reg_node *n)
{
	*p = (struct place_node){
		.name = n->info.name,
		.up = n->joined && n->answers && n->state != NODE_DOWN,
		.drained = n->drained,
		.jobs = n->jobs,
		.memory_used = n->memory_used,
		.has = n->info.has,
	};
}

void reg_places_count(struct registry *r, const struct reg_node *n)
{
	if (r->places_stale || n->place >= r->place_count || r->places[n->place].name != n->info.name)
		return;
	r->places[n->place].jobs = n->jobs;
	r->places[n->place].memory_used = n->memory_used;
}

static void refresh(struct registry *r)
{
	if (!r->places_stale)
		return;
	r->places_stale = false;
	free(r->places);
	r->places = calloc(r->nodes.used ? r->nodes.used : 1, sizeof *r->places);
	if (!r->places)
		abort();
	r->place_count = 0;
	size_t at = 0;
	for (struct reg_node *n; (n = table_each(&r->nodes, &at));) {
		n->place = SIZE_MAX;
		if (n->info.level != 1)
			continue;
		n->place = r->place_count++;
		fill(&r->places[n->place], n);
	}
}

struct reg_node *reg_choose(struct registry *r, const struct reg_job *j, const char *wanted, bool only,
			    const char *avoid, char why[static CORE_WHY])
{
	refresh(r);
	struct place_want want = {
		.needs = j->spec.needs,
		.wanted = wanted,
		.only_wanted = only,
		.spares = j->spec.spares,
		.spare_count = j->spec.spare_count,
		.avoid = avoid,
		.tried = j->tried,
		.tried_count = j->tried_count < REG_TRIED ? j->tried_count : REG_TRIED,
	};
	int i = place(&want, r->places, r->place_count, why);
	return i < 0 ? NULL : reg_node_find(r, r->places[i].name);
}

/* Above every incarnation that was heard of, also of a restart whose report got lost with its node. */
static uint32_t next_incarnation(const struct reg_job *j)
{
	uint32_t last = j->incarnation;
	for (size_t i = 0; i < j->held_count; i++)
		if (j->held[i].incarnation > last)
			last = j->held[i].incarnation;
	return last + 1;
}

void reg_assign(struct registry *r, struct reg_job *j, struct reg_node *n, int64_t now, struct actions *acts)
{
	if (j->state != JOB_STARTING) {
		j->incarnation = next_incarnation(j);
		core_copy(j->owner, sizeof j->owner, n->info.name);
		job_step(r, j, EV_ASSIGNED, acts);
		r->moved++;
	}
	job_own(r, j, n);
	j->moving = false;
	j->move_to[0] = '\0';
	j->ended_at = 0;
	j->ending = (struct ending){0, 0};
	job_persist(j, acts);
	j->give_up_at = now + r->config.start_bound;
	job_pend(r, j, REG_START, now);
	job_service(r, j, now, acts);
}

/* An operator's wish first, as far as it can be had. */
static struct reg_node *choose_for(struct registry *r, struct reg_job *j, char why[static CORE_WHY])
{
	struct reg_node *n = NULL;
	if (j->moving && *j->move_to)
		n = reg_choose(r, j, j->move_to, true, NULL, why);
	else if (j->moving)
		n = reg_choose(r, j, NULL, false, j->owner, why);
	return n ? n : reg_choose(r, j, j->spec.wanted, false, NULL, why);
}

bool reg_fits_somewhere(struct registry *r, struct reg_job *j)
{
	char why[CORE_WHY];
	return choose_for(r, j, why) != NULL;
}

/* Tried again when a node registers, and from time to time; nodes where it failed get another chance then, each round
 * after a longer pause. */
static void wait_a_while(struct registry *r, struct reg_job *j, const char *why, int64_t now, struct actions *acts)
{
	unsigned shift = 0;
	if (j->tried_count) {
		shift = j->rounds < 4 ? j->rounds : 4;
		j->rounds++;
		j->tried_count = 0;
	}
	/* what the other registries said holds no longer when we come back to it */
	j->free_answers = 0;
	job_pend(r, j, reg_peers_of(r, j) ? REG_ASK : REG_WAIT, now + (r->config.lease << shift));
	if (!strcmp(why, j->why))
		return;
	core_copy(j->why, sizeof j->why, why);
	core_copy(act_add(acts, ACT_WAITS, j, NULL)->why, CORE_WHY, why);
}

void reg_place_job(struct registry *r, struct reg_job *j, int64_t now, struct actions *acts)
{
	char why[CORE_WHY];
	if (now < r->settled) {
		job_pend(r, j, REG_ASK, r->settled);
		return;
	}
	if (j->tried_count >= REG_TRIED) {
		reg_say(why, "it could not be started on %zu nodes, last on %.64s", j->tried_count, j->owner);
		wait_a_while(r, j, why, now, acts);
		return;
	}
	struct reg_node *n = choose_for(r, j, why);
	if (!n) {
		wait_a_while(r, j, why, now, acts);
		return;
	}
	reg_say(j->why, "given to %s", n->info.name);
	reg_assign(r, j, n, now, acts);
}
