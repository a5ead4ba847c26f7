/* cpagent status: the tree of agents. */
#include "agent/cli/cli.h"

static int status(struct cli *c, const struct cli_args *a)
{
	(void)a;
	return cli_show(c, json_pack("{s:s}", "verb", "status"), CLI_SHOW_SECONDS, cli_render_status);
}

const struct cli_command cli_cmd_status = {
	.name = "status",
	.args = "",
	.summary = "show the tree of agents",
	.example = "cpagent status --json",
	.fn = status,
};
