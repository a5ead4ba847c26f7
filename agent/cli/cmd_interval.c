/* cpagent interval: how often an agent or a job is updated and saved, shown and set. */
#include "agent/cli/cli.h"

#include <string.h>

static const struct cli_option options[] = {
	{ "job", 'j', "JOB", "of this job; without it: of the agent" },
	{ "update", 0, "DUR", "to the level above this often; 0: as configured (a job), off (an agent)" },
	{ "save", 0, "DUR", "and saved to disk there this often" },
	{ "auto", 0, "on|off", "by itself, or only when somebody asks for it" },
	{ 0 },
};

static int add_duration(json_t *request, const struct cli_args *a, const char *name, struct err *e)
{
	int64_t ns = -1;

	if (cli_opt_duration(a, name, &ns, e))
		return e->code;
	if (ns >= 0)
		json_object_set_new(request, name, json_real((double)ns / 1e9));
	return 0;
}

static void show_one(FILE *out, const json_t *doc, const char *name, const char *label, const char *zero)
{
	double s = json_number_value(json_object_get(doc, name));

	if (s > 0)
		fprintf(out, "%s %gs\n", label, s);
	else
		fprintf(out, "%s %s\n", label, zero);
}

static void render(FILE *out, const json_t *doc, bool color)
{
	const json_t *by_itself = json_object_get(doc, "auto");
	bool job = json_object_get(doc, "job") != NULL;
	const char *zero = job ? "as configured" : "off";

	(void)color;
	show_one(out, doc, "update_seconds", "update", zero);
	show_one(out, doc, "save_seconds", "save  ", zero);
	if (job)
		fprintf(out, "auto   %s\n",
		        strcmp(json_string_value(by_itself), "default") ? json_string_value(by_itself) : zero);
	else
		fprintf(out, "auto   %s\n", json_is_true(by_itself) ? "on" : "off");
}

static int interval(struct cli *c, const struct cli_args *a)
{
	json_t *request = json_pack("{s:s}", "verb", "interval");
	const char *job = cli_opt(a, "job"), *word = cli_opt(a, "auto");
	struct err e = { 0 };

	if (job)
		json_object_set_new(request, "job", json_string(job));
	if (word)
		json_object_set_new(request, "auto", json_string(word));
	if (add_duration(request, a, "update", &e) || add_duration(request, a, "save", &e)) {
		json_decref(request);
		return cli_fail(&e);
	}
	return cli_show(c, request, CLI_SHOW_SECONDS, render);
}

const struct cli_command cli_cmd_interval = {
	.name = "interval",
	.args = "[--job JOB]",
	.summary = "show or set how often updates and saves happen",
	.example = "cpagent interval --job heat --update 2s --save 1m",
	.options = options,
	.fn = interval,
};
