/* cpagent keys: the keyed checkpoints of a job, or of all. */
#include "agent/cli/cli.h"

static const struct cli_option options[] = {
	{ "all", 'a', NULL, "results that cpa_memo_begin() keeps, too" },
	{ 0 },
};

static int keys(struct cli *c, const struct cli_args *a)
{
	json_t *rq = json_pack("{s:s,s:b}", "verb", "keys", "all", cli_opt(a, "all") != NULL);

	if (a->n)
		json_object_set_new(rq, "job", json_string(a->pos[0]));
	return cli_show(c, rq, CLI_SHOW_SECONDS, cli_render_keys);
}

const struct cli_command cli_cmd_keys = {
	.name = "keys",
	.args = "[-a] [JOB]",
	.summary = "show keyed checkpoints: version, level, variables",
	.example = "cpagent keys heat",
	.options = options,
	.max = 1,
	.fn = keys,
};
