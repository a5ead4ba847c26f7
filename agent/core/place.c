/* Choosing a node. Owns nothing; looks at a list of nodes and a wish. */
#include "agent/core/place.h"

#include <stdio.h>
#include <string.h>

static bool is(const char *a, const char *b)
{
	return a && *a && !strcmp(a, b);
}

static bool was_tried(const struct place_want *w, const char *name)
{
	for (size_t i = 0; i < w->tried_count; i++)
		if (!strcmp(w->tried[i], name))
			return true;
	return false;
}

static bool has_features(const struct machine *node, const struct machine *need)
{
	for (size_t i = 0; i < sizeof need->features / sizeof *need->features; i++)
		if (need->features[i] & ~node->features[i])
			return false;
	return true;
}

const char *place_misfit(const struct place_want *want, const struct place_node *node)
{
	const struct machine *need = &want->needs;
	if (!node->up)
		return "is not up";
	if (node->drained)
		return "is drained";
	if (is(want->avoid, node->name))
		return "is the one that failed";
	if (was_tried(want, node->name))
		return "was tried already";
	if (*need->arch && strcmp(need->arch, node->has.arch) != 0)
		return "has another architecture";
	if (!has_features(&node->has, need))
		return "lacks CPU features that the job uses";
	if (need->memory && node->has.memory && node->memory_used + need->memory > node->has.memory)
		return "has not enough memory left";
	return NULL;
}

/* Negative when a is the better choice. */
static int compare(const struct place_node *a, const struct place_node *b)
{
	uint64_t load_a = (uint64_t)a->jobs * (b->has.cpus ? b->has.cpus : 1);
	uint64_t load_b = (uint64_t)b->jobs * (a->has.cpus ? a->has.cpus : 1);
	if (load_a != load_b)
		return load_a < load_b ? -1 : 1;
	return strcmp(a->name, b->name);
}

static void say_why(const struct place_want *want, const struct place_node *nodes, size_t n, char *why)
{
	const char *only = want->only_wanted ? want->wanted : NULL;
	size_t at = (size_t)snprintf(why, CORE_WHY, "no node fits");
	const char *sep = ": ";
	bool any = false;
	for (size_t i = 0; i < n && at < CORE_WHY; i++) {
		if (only && !is(only, nodes[i].name))
			continue;
		int m = snprintf(why + at, CORE_WHY - at, "%s%s %s", sep, nodes[i].name, place_misfit(want, &nodes[i]));
		at += (size_t)m;
		sep = ", ";
		any = true;
	}
	if (!any)
		snprintf(why, CORE_WHY, only ? "there is no node %s" : "no node is registered", only);
	else if (at >= CORE_WHY)
		memcpy(why + CORE_WHY - 4, "...", 4);
}

int place(const struct place_want *want, const struct place_node *nodes, size_t n, char why[static CORE_WHY])
{
	int best = -1, best_rank = 0;
	why[0] = '\0';
	for (size_t i = 0; i < n; i++) {
		int rank = 2 + (int)want->spare_count; /* the smaller the better */
		if (is(want->wanted, nodes[i].name))
			rank = 0;
		for (size_t k = 0; rank && k < want->spare_count; k++)
			if (!strcmp(want->spares[k], nodes[i].name) && rank > 1 + (int)k)
				rank = 1 + (int)k;
		if ((want->only_wanted && rank) || place_misfit(want, &nodes[i]))
			continue;
		if (best < 0 || rank < best_rank || (rank == best_rank && compare(&nodes[i], &nodes[best]) < 0)) {
			best = (int)i;
			best_rank = rank;
		}
	}
	if (best < 0)
		say_why(want, nodes, n, why);
	return best;
}
