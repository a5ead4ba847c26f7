/* cpagent checkpoint: a snapshot now. */
#include "agent/cli/cli.h"

static const struct cli_option options[] = {
	{ "level", 0, "N", "return when this level holds it (1)" },
	{ 0 },
};

static int checkpoint(struct cli *c, const struct cli_args *a)
{
	struct cli_answer answer = { 0 };
	struct err e = { 0 };
	uint64_t level = 1;
	int status = 0;

	if (cli_opt_number(a, "level", 1, 100, &level, &e))
		return cli_fail(&e);
	if (cli_call(
	            c,
	            json_pack("{s:s,s:s,s:I}", "verb", "checkpoint", "job", a->pos[0], "level", (json_int_t)level),
	            NULL, 0, 0, &answer, &e))
		status = cli_fail(&e);
	else if (c->json)
		status = cli_print_json(answer.json);
	else
		printf("%lld\n", (long long)json_integer_value(json_object_get(answer.json, "generation")));
	cli_answer_free(&answer);
	return status;
}

const struct cli_command cli_cmd_checkpoint = {
	.name = "checkpoint",
	.args = "[--level N] JOB",
	.summary = "take a snapshot and print its generation",
	.example = "cpagent checkpoint --level 2 heat",
	.options = options,
	.min = 1,
	.max = 1,
	.fn = checkpoint,
};
