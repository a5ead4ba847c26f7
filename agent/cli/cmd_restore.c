/* cpagent restore: a job runs again from a checkpoint. */
#include "agent/cli/cli.h"

static const struct cli_option options[] = {
	{ "node", 0, "NODE", "run it there" },
	{ "level", 0, "N", "take what this level holds (the nearest that has the newest)" },
	{ "generation", 0, "G", "this snapshot (the newest)" },
	{ "force", 0, NULL, "stop a running copy first" },
	{ 0 },
};

static json_t *request(const struct cli_args *a, struct err *e)
{
	uint64_t level = 0, generation = 0;
	const char *node = cli_opt(a, "node");
	json_t *rq;

	if (cli_opt_number(a, "level", 1, 100, &level, e) ||
	    cli_opt_number(a, "generation", 1, INT64_MAX, &generation, e))
		return NULL;
	rq = json_pack("{s:s,s:s,s:b}", "verb", "restore", "job", a->pos[0], "force", cli_opt(a, "force") != NULL);
	if (!rq || (node && json_object_set_new(rq, "node", json_string(node)))) {
		err_set(e, ERR_USAGE,
		        "the job's or the node's name is not UTF-8; see cpagent ps and cpagent status");
		json_decref(rq);
		return NULL;
	}
	if (level)
		json_object_set_new(rq, "level", json_integer((json_int_t)level));
	if (generation)
		json_object_set_new(rq, "generation", json_integer((json_int_t)generation));
	return rq;
}

static int restore(struct cli *c, const struct cli_args *a)
{
	struct cli_answer answer = { 0 };
	struct err e = { 0 };
	json_t *rq = request(a, &e);
	int status = 0;

	if (!rq)
		return cli_fail(&e);
	if (cli_call(c, rq, NULL, 0, 0, &answer, &e)) {
		status = cli_fail(&e);
	} else if (c->json) {
		status = cli_print_json(answer.json);
	} else {
		const char *node = json_string_value(json_object_get(answer.json, "node"));

		printf("%s runs on %s, incarnation %lld\n", a->pos[0], node ? node : "?",
		       (long long)json_integer_value(json_object_get(answer.json, "incarnation")));
	}
	cli_answer_free(&answer);
	return status;
}

const struct cli_command cli_cmd_restore = {
	.name = "restore",
	.args = "[options] JOB",
	.summary = "run a job again from a checkpoint",
	.example = "cpagent restore --node n2 --force heat",
	.options = options,
	.min = 1,
	.max = 1,
	.fn = restore,
};
