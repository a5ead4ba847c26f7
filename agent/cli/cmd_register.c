/* cpagent register: this agent gets another parent, until its restart. */
#include "agent/cli/cli.h"

static void render(FILE *out, const json_t *doc, bool color)
{
	char parent[128];

	(void)color;
	fprintf(out, "%s\n", cli_safe(json_string_value(json_object_get(doc, "parent")), parent, sizeof parent));
}

static int register_agent(struct cli *c, const struct cli_args *a)
{
	return cli_show(c, json_pack("{s:s,s:s}", "verb", "register", "url", a->pos[0]), CLI_SHOW_SECONDS, render);
}

const struct cli_command cli_cmd_register = {
	.name = "register",
	.args = "URL",
	.summary = "register this agent with a parent; prints the parent's name",
	.example = "cpagent register tcp://10.0.0.1:7400",
	.min = 1,
	.max = 1,
	.fn = register_agent,
};
