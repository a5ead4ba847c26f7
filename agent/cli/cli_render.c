/* Owns how the documents of the agent look as text. They come from another process: a field may be absent. */
#include "agent/cli/cli.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/scoped.h"
#include "lib/base/units.h"

#define TEXT_MAX 256

static const char *str(const json_t *o, const char *field)
{
	const char *s = json_string_value(json_object_get(o, field));

	return s ? s : "";
}

static json_int_t num(const json_t *o, const char *field)
{
	const json_t *v = json_object_get(o, field);

	return json_is_real(v) ? (json_int_t)json_real_value(v) : json_integer_value(v);
}

static const char *size_of(const json_t *o, const char *field, char *buf)
{
	json_int_t n = num(o, field);

	return units_size_text(n > 0 ? (uint64_t)n : 0, buf);
}

static bool has(const json_t *o, const char *field)
{
	const json_t *v = json_object_get(o, field);

	return v && !json_is_null(v);
}

/* "@2", or nothing where no level is said. */
static const char *at_level(const json_t *o, char *buf, size_t size)
{
	*buf = '\0';
	if (has(o, "level"))
		snprintf(buf, size, "@%lld", (long long)num(o, "level"));
	return buf;
}

static void snapshot_cells(struct cli_table *t, const json_t *job)
{
	const json_t *snap = json_object_get(job, "snapshot"), *keys = json_object_get(job, "keys");
	char ago[TEXT_MAX], level[32], size[UNITS_TEXT_MAX];

	if (num(snap, "generation") > 0)
		cli_cell(t, "%lld%s", (long long)num(snap, "generation"), at_level(snap, level, sizeof level));
	else
		cli_cell(t, "-");
	if (num(keys, "count") > 0)
		cli_cell(t, "%lld (%s)%s", (long long)num(keys, "count"), size_of(keys, "bytes", size),
		         at_level(keys, level, sizeof level));
	else
		cli_cell(t, "-");
	cli_cell(t, "%s", num(snap, "generation") > 0 ? cli_ago(str(snap, "time"), ago, sizeof ago) : "-");
}

/* Numbers in names by their value: rank 10 comes after rank 9. */
static int by_name(const void *x, const void *y)
{
	const json_t *a = *(json_t *const *)x, *b = *(json_t *const *)y;
	int names = strverscmp(str(a, "name"), str(b, "name"));

	return names ? names : strcmp(str(a, "job"), str(b, "job"));
}

static json_t *sorted(const json_t *jobs)
{
	size_t n = json_array_size(jobs);
	scoped_free json_t **job = calloc(n + 1, sizeof(json_t *));
	json_t *list = json_array();

	for (size_t i = 0; job && i < n; i++)
		job[i] = json_array_get(jobs, i);
	if (job && n)
		qsort(job, n, sizeof(json_t *), by_name);
	for (size_t i = 0; job && i < n; i++)
		json_array_append(list, job[i]);
	return list;
}

void cli_render_ps(FILE *out, const json_t *doc, bool color)
{
	json_t *jobs = sorted(json_object_get(doc, "jobs")), *job;
	struct cli_table t;
	size_t i;

	if (json_array_size(jobs) == 0) {
		fputs("no jobs\n", out);
		json_decref(jobs);
		return;
	}
	cli_table_begin(&t, "NAME", "JOB", "STATE", "NODE", ">INC", ">PID", "SNAPSHOT", "KEYS", "AGE", NULL);
	json_array_foreach(jobs, i, job)
	{
		cli_cell(&t, "%s", str(job, "name"));
		cli_cell(&t, "%.8s", str(job, "job"));
		cli_cell_state(&t, str(job, "state"));
		cli_cell(&t, "%s", str(job, "node"));
		cli_cell(&t, "%lld", (long long)num(job, "incarnation"));
		if (num(job, "pid") > 0)
			cli_cell(&t, "%lld", (long long)num(job, "pid"));
		else
			cli_cell(&t, "-");
		snapshot_cells(&t, job);
	}
	cli_table_end(&t, out, color);
	json_decref(jobs);
}

/* ---- the tree of agents --------------------------------------------------------------------------- */

struct tree {
	const json_t *agents;
	bool *shown;
	struct cli_table *t;
};

static void agent_row(const struct tree *tree, const json_t *agent, const char *branch)
{
	char used[UNITS_TEXT_MAX], budget[UNITS_TEXT_MAX], ago[TEXT_MAX];
	struct cli_table *t = tree->t;

	cli_cell(t, "%s%s", branch, str(agent, "name"));
	cli_cell(t, "%lld", (long long)num(agent, "level"));
	cli_cell_state(t, str(agent, "state"));
	cli_cell(t, "%lld", (long long)num(agent, "jobs"));
	cli_cell(t, "%s of %s", size_of(agent, "memory_bytes", used),
	         size_of(agent, "memory_budget_bytes", budget));
	cli_cell(t, "%s", cli_ago(str(agent, "last_update"), ago, sizeof ago));
	cli_cell(t, "%s", cli_ago(str(agent, "last_save"), ago, sizeof ago));
	if (has(agent, "lag_seconds"))
		cli_cell(t, "%.1f s", json_number_value(json_object_get(agent, "lag_seconds")));
	else
		cli_cell(t, "-");
}

static bool is_child_of(const struct tree *tree, size_t i, const char *parent)
{
	return !tree->shown[i] && !strcmp(str(json_array_get(tree->agents, i), "parent"), parent);
}

/* Each agent is shown once, so that a circle in what agents say of each other ends. */
static void branches(const struct tree *tree, const char *parent, const char *indent)
{
	size_t n = json_array_size(tree->agents);

	for (size_t i = 0; i < n; i++) {
		const json_t *agent = json_array_get(tree->agents, i);
		char branch[TEXT_MAX], deeper[TEXT_MAX];
		bool more = false;

		if (!is_child_of(tree, i, parent))
			continue;
		for (size_t k = i + 1; k < n; k++)
			more |= is_child_of(tree, k, parent);
		tree->shown[i] = true;
		snprintf(branch, sizeof branch, "%s%s", indent, more ? "├─ " : "└─ ");
		snprintf(deeper, sizeof deeper, "%s%s", indent, more ? "│  " : "   ");
		agent_row(tree, agent, branch);
		if (strlen(deeper) + 16 < sizeof deeper)
			branches(tree, str(agent, "name"), deeper);
	}
}

static bool is_listed(const json_t *agents, const char *name)
{
	const json_t *agent;
	size_t i;

	json_array_foreach(agents, i, agent) if (*name && !strcmp(str(agent, "name"), name)) return true;
	return false;
}

void cli_render_status(FILE *out, const json_t *doc, bool color)
{
	const json_t *agents = json_object_get(doc, "agents");
	size_t n = json_array_size(agents);
	struct cli_table t;
	struct tree tree = { agents, calloc(n + 1, sizeof *tree.shown), &t };

	if (!tree.shown)
		return;
	cli_table_begin(&t, "AGENT", ">LEVEL", "STATE", ">JOBS", "MEMORY", "UPDATE", "SAVE", ">LAG", NULL);
	/* first those without a parent among us, then what only a circle keeps from being below one */
	for (int pass = 0; pass < 2; pass++)
		for (size_t i = 0; i < n; i++) {
			const json_t *agent = json_array_get(agents, i);

			if (tree.shown[i] || (pass == 0 && is_listed(agents, str(agent, "parent"))))
				continue;
			tree.shown[i] = true;
			agent_row(&tree, agent, "");
			if (*str(agent, "name"))
				branches(&tree, str(agent, "name"), "");
		}
	cli_table_end(&t, out, color);
	free(tree.shown);
}

/* ---- generations and keys -------------------------------------------------------------------------- */

static const char *levels_text(const json_t *levels, char *buf, size_t size)
{
	const json_t *level;
	size_t i, n = 0;

	*buf = '\0';
	json_array_foreach(levels, i, level)
	{
		int k = snprintf(buf + n, size - n, "%s%lld", i ? "," : "", (long long)json_integer_value(level));

		if (k < 0 || (size_t)k >= size - n)
			break;
		n += (size_t)k;
	}
	return buf;
}

/* Is there one that has something to be said of? */
static bool any_noted(const json_t *list)
{
	const json_t *g;
	size_t i;

	json_array_foreach(list, i, g) if (*str(g, "note")) return true;
	return false;
}

void cli_render_history(FILE *out, const json_t *doc, bool color)
{
	const json_t *list = json_object_get(doc, "generations"), *g;
	char text[TEXT_MAX], size[UNITS_TEXT_MAX];
	bool noted = any_noted(list);
	struct cli_table t;
	size_t i;

	if (json_array_size(list) == 0) {
		fputs("no snapshots\n", out);
		return;
	}
	cli_table_begin(&t, ">GENERATION", "TIME", "REASON", ">SIZE", ">STORED", ">FROZEN", "LEVELS", "RESTORABLE",
	                noted ? "NOTE" : NULL, NULL);
	json_array_foreach(list, i, g)
	{
		cli_cell(&t, "%lld", (long long)num(g, "generation"));
		cli_cell(&t, "%s", str(g, "time"));
		cli_cell(&t, "%s", str(g, "reason"));
		cli_cell(&t, "%s", size_of(g, "size_bytes", size));
		cli_cell(&t, "%s", has(g, "stored_bytes") ? size_of(g, "stored_bytes", size) : "-");
		cli_cell(&t, "%.1f ms", 1e3 * json_number_value(json_object_get(g, "frozen_seconds")));
		cli_cell(&t, "%s", levels_text(json_object_get(g, "levels"), text, sizeof text));
		cli_cell(&t, "%s", json_is_true(json_object_get(g, "restorable")) ? "yes" : "no");
		if (noted)
			cli_cell(&t, "%s", str(g, "note"));
	}
	cli_table_end(&t, out, color);
}

static const char *vars_text(const json_t *vars, char *buf, size_t size)
{
	const json_t *v;
	size_t i, n = 0;

	*buf = '\0';
	json_array_foreach(vars, i, v)
	{
		json_int_t count = num(v, "count");
		int k = count == 1 ? snprintf(buf + n, size - n, "%s%s %s", i ? ", " : "", str(v, "type"),
		                              str(v, "name"))
		                   : snprintf(buf + n, size - n, "%s%s %s[%lld]", i ? ", " : "", str(v, "type"),
		                              str(v, "name"), (long long)count);

		if (k < 0 || (size_t)k >= size - n)
			break;
		n += (size_t)k;
	}
	return buf;
}

/* Is one of them made of protected regions? */
static bool any_gathered(const json_t *keys)
{
	const json_t *k;
	size_t i;

	json_array_foreach(keys, i, k) if (*str(k, "how") && strcmp(str(k, "how"), "plain") != 0) return true;
	return false;
}

void cli_render_keys(FILE *out, const json_t *doc, bool color)
{
	const json_t *list = json_object_get(doc, "keys"), *k;
	bool jobs = has(json_array_get(list, 0), "job"); /* asked about all jobs */
	bool how = any_gathered(list);
	char text[TEXT_MAX], size[UNITS_TEXT_MAX];
	struct cli_table t;
	size_t i;

	if (json_array_size(list) == 0) {
		fputs("no keys\n", out);
		return;
	}
	if (jobs)
		cli_table_begin(&t, "JOB", "KEY", ">VERSION", ">LEVEL", ">BYTES", "AGE", NULL);
	else
		cli_table_begin(&t, "KEY", ">VERSION", ">LEVEL", ">BYTES", "AGE", NULL);
	if (how)
		cli_table_column(&t, "HOW");
	cli_table_column(&t, "VARIABLES");
	json_array_foreach(list, i, k)
	{
		if (jobs)
			cli_cell(&t, "%s", *str(k, "name") ? str(k, "name") : str(k, "job"));
		cli_cell(&t, "%s", str(k, "key"));
		cli_cell(&t, "%lld", (long long)num(k, "version"));
		cli_cell(&t, "%lld", (long long)num(k, "level"));
		cli_cell(&t, "%s", size_of(k, "bytes", size));
		cli_cell(&t, "%s", cli_ago(str(k, "time"), text, sizeof text));
		if (how)
			cli_cell(&t, "%s", str(k, "how"));
		cli_cell(&t, "%s", vars_text(json_object_get(k, "vars"), text, sizeof text));
	}
	cli_table_end(&t, out, color);
}
