/* cpagent keys: the keyed checkpoints of a job, or of all. */
#include "agent/cli/cli.h"

static int keys(struct cli *c, const struct cli_args *a)
{
	json_t *rq = a->n ? json_pack("{s:s,s:s}", "verb", "keys", "job", a->pos[0])
	                  : json_pack("{s:s}", "verb", "keys");

	return cli_show(c, rq, CLI_SHOW_SECONDS, cli_render_keys);
}

const struct cli_command cli_cmd_keys = {
	.name = "keys",
	.args = "[JOB]",
	.summary = "show keyed checkpoints: version, level, variables",
	.example = "cpagent keys heat",
	.max = 1,
	.fn = keys,
};
