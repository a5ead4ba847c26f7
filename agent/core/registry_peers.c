/* Other registries. A node with several top parents may turn from one to another while the first cannot hear it, so
 * neither may give that node's jobs away without asking the other: the other then either has the job, or promises not
 * to take that incarnation up. An other parent that is an agent below this registry has no registry of its own. */
#include "agent/core/registry_impl.h"

#include <string.h>

static bool is_below(const struct registry *r, const char *url)
{
	size_t at = 0;
	for (const struct reg_node *n; (n = table_each(&r->nodes, &at));)
		if (n->info.level > 1 && !strcmp(n->info.url, url))
			return true;
	return false;
}

unsigned reg_peers_of(const struct registry *r, const struct reg_job *j)
{
	const struct reg_node *n = reg_node_find(r, j->owner);
	unsigned peers = 0;
	for (size_t i = 0; n && i < n->info.other_count; i++)
		if (!is_below(r, n->info.others[i]))
			peers |= 1U << i;
	return peers;
}

void reg_ask_peers(struct registry *r, struct reg_job *j, unsigned peers, bool take, struct actions *acts)
{
	const struct reg_node *n = reg_node_find(r, j->owner);
	for (size_t i = 0; n && i < n->info.other_count; i++) {
		if (!(peers & 1U << i))
			continue;
		struct action *a = act_add(acts, ACT_ASK, j, n->info.name);
		a->term = n->info.term;
		a->take = take;
		core_copy(a->url, sizeof a->url, n->info.others[i]);
	}
}

/* Does this registry's word on the job come after that of one that had it at incarnation, on node in term? */
static bool ours_is_newer(const struct registry *r, const struct reg_job *j, uint32_t incarnation,
			  const char *node, uint64_t term)
{
	if (j->elsewhere)
		return false;
	const struct reg_node *n = reg_node_find(r, j->owner);
	bool same_node = n && !strcmp(j->owner, node);
	/* what runs here is not let go; but whoever its node registered with last knows what that has */
	if (job_live(j->state))
		return !same_node || n->info.term > term;
	if (j->incarnation != incarnation)
		return j->incarnation > incarnation;
	return !same_node || n->info.term > term;
}

bool registry_asked(struct registry *r, const char *uuid, uint32_t incarnation, const char *node, uint64_t term,
		    const char *by, int64_t now, struct actions *acts)
{
	(void)now;
	struct reg_job *j = reg_job_find(r, uuid);
	if (j && ours_is_newer(r, j, incarnation, node, term))
		return false;
	if (!j) {
		struct job_spec spec = {0};
		core_copy(spec.uuid, sizeof spec.uuid, uuid);
		j = reg_job_make(r, &spec);
	}
	if (j->incarnation < incarnation)
		j->incarnation = incarnation;
	job_disown(r, j);
	job_pend(r, j, REG_QUIET, 0);
	j->owner[0] = '\0';
	j->state = JOB_LOST;
	j->elsewhere = true;
	reg_say(j->why, "promised to %s", by);
	job_persist(j, acts);
	return true;
}

bool registry_offered(struct registry *r, const char *uuid, uint32_t incarnation, const char *node, uint64_t term,
		      const char *by, int64_t now, struct actions *acts)
{
	if (!registry_asked(r, uuid, incarnation, node, term, by, now, acts))
		return false;
	struct reg_job *j = reg_job_find(r, uuid);
	char why[CORE_WHY];
	if (!*j->spec.name || !reg_node_find(r, node) || !reg_choose(r, j, j->spec.wanted, false, node, why))
		return true;
	/* The one that offered it is asked in turn before it is given to anyone: with the next incarnation, so that it
	 * yields also when our answer to its question is still on its way. */
	j->incarnation++;
	core_copy(j->owner, sizeof j->owner, node);
	j->elsewhere = false;
	j->free_answers = 0;
	reg_say(j->why, "taken over from %s", by);
	job_pend(r, j, REG_ASK, now);
	job_persist(j, acts);
	return false;
}

void registry_answered(struct registry *r, const char *uuid, uint32_t incarnation, const char *url, bool is_free,
		       int64_t now, struct actions *acts)
{
	struct reg_job *j = reg_job_find(r, uuid);
	const struct reg_node *n = j ? reg_node_find(r, j->owner) : NULL;
	if (!n || j->pending != REG_ASK || j->incarnation != incarnation)
		return;
	for (size_t i = 0; i < n->info.other_count; i++)
		if (!strcmp(n->info.others[i], url))
			j->free_answers |= 1U << i;
	if (!is_free) {
		/* its owner may bring it back; what others have of it is stale */
		j->elsewhere = true;
		job_pend(r, j, REG_QUIET, 0);
		reg_say(j->why, "went over to %s with %s", url, j->owner);
		job_persist(j, acts);
		return;
	}
	j->resend_at = now;
	job_service(r, j, now, acts);
}

void registry_answered_in_term(struct registry *r, const char *uuid, uint32_t incarnation, uint64_t term,
			       const char *url, bool is_free, int64_t now, struct actions *acts)
{
	const struct reg_job *j = reg_job_find(r, uuid);
	const struct reg_node *n = j ? reg_node_find(r, j->owner) : NULL;
	if (n && n->info.term == term)
		registry_answered(r, uuid, incarnation, url, is_free, now, acts);
}
