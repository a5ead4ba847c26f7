/* cpagent history: a job's generations. */
#include "agent/cli/cli.h"

static int history(struct cli *c, const struct cli_args *a)
{
	return cli_show(c, json_pack("{s:s,s:s}", "verb", "history", "job", a->pos[0]), CLI_SHOW_SECONDS,
	                cli_render_history);
}

const struct cli_command cli_cmd_history = {
	.name = "history",
	.args = "JOB",
	.summary = "show a job's snapshots: when, where, how large",
	.example = "cpagent history heat",
	.min = 1,
	.max = 1,
	.fn = history,
};
