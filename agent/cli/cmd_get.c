/* cpagent get: the value of a key. */
#include "agent/cli/cli.h"

static const struct cli_option options[] = {
	{ "level", 0, "N", "what this level holds (the nearest that has the newest)" },
	{ "output", 'o', "FILE", "write its bytes there instead of printing it" },
	{ 0 },
};

static int show(struct cli *c, const char *file, const struct cli_answer *answer)
{
	struct err e = { 0 };

	if (file) {
		if (fs_write_aside(file, answer->data, answer->len, 0644, 0, &e))
			return cli_fail(&e);
		return c->json ? cli_print_json(answer->json) : 0;
	}
	if (c->json)
		return cli_print_json(answer->json);
	if (cli_render_values(stdout, json_object_get(answer->json, "vars"), answer->data, answer->len, &e))
		return cli_fail(&e);
	return 0;
}

static int get(struct cli *c, const struct cli_args *a)
{
	json_t *rq = json_pack("{s:s,s:s,s:s}", "verb", "get", "job", a->pos[0], "key", a->pos[1]);
	struct cli_answer answer = { 0 };
	uint64_t level = 0;
	struct err e = { 0 };
	int status;

	if (!rq)
		err_set(&e, ERR_USAGE, "the job's or the key's name is not UTF-8; see cpagent keys");
	if (!rq || cli_opt_number(a, "level", 1, 100, &level, &e)) {
		json_decref(rq);
		return cli_fail(&e);
	}
	if (level)
		json_object_set_new(rq, "level", json_integer((json_int_t)level));
	if (cli_call(c, rq, NULL, 0, CLI_SHOW_SECONDS, &answer, &e))
		status = cli_fail(&e);
	else
		status = show(c, cli_opt(a, "output"), &answer);
	cli_answer_free(&answer);
	return status;
}

const struct cli_command cli_cmd_get = {
	.name = "get",
	.args = "[options] JOB KEY",
	.summary = "print or write the value of a key",
	.example = "cpagent get heat heat.c_main_u -o u.bin",
	.options = options,
	.min = 2,
	.max = 2,
	.fn = get,
};
