/* cpagent ps: the jobs. */
#include "agent/cli/cli.h"

static const struct cli_option options[] = {
	{ "all", 'a', NULL, "those that have ended, too" },
	{ 0 },
};

static int ps(struct cli *c, const struct cli_args *a)
{
	bool all = cli_opt(a, "all") != NULL;

	return cli_show(c, json_pack("{s:s,s:b}", "verb", "ps", "all", all), CLI_SHOW_SECONDS, cli_render_ps);
}

const struct cli_command cli_cmd_ps = {
	.name = "ps",
	.args = "[-a]",
	.summary = "show jobs: state, node, newest checkpoints",
	.example = "cpagent ps -a",
	.options = options,
	.fn = ps,
};
