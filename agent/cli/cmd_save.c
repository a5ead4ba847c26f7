/* cpagent save: what the agent holds goes to its store on disk now. */
#include "agent/cli/cli.h"

static int save(struct cli *c, const struct cli_args *a)
{
	struct cli_answer answer = { 0 };
	struct err e = { 0 };
	int status = 0;

	if (a->n)
		err_set(&e, ERR_USAGE,
		        "save FILE: it is not available in this version; a program writes its own archive with "
		        "cpa_save(), and without FILE the agent writes its store");
	if (a->n || cli_call(c, json_pack("{s:s}", "verb", "save"), NULL, 0, 0, &answer, &e))
		status = cli_fail(&e);
	else if (c->json)
		status = cli_print_json(answer.json);
	cli_answer_free(&answer);
	return status;
}

const struct cli_command cli_cmd_save = {
	.name = "save",
	.args = "",
	.summary = "write what the agent holds to its disk now",
	.example = "cpagent save",
	.max = 1,
	.fn = save,
};
