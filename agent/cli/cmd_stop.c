/* cpagent stop: end a job, and keep it ended. */
#include "agent/cli/cli.h"

static const struct cli_option options[] = {
	{ "grace", 0, "DUR", "time between the term and the kill signal (10s)" },
	{ 0 },
};

static int stop(struct cli *c, const struct cli_args *a)
{
	json_t *rq = json_pack("{s:s,s:s}", "verb", "stop", "job", a->pos[0]);
	struct cli_answer answer = { 0 };
	struct err e = { 0 };
	int64_t ns = -1;
	int status = 0;

	if (cli_opt_duration(a, "grace", &ns, &e)) {
		json_decref(rq);
		return cli_fail(&e);
	}
	if (ns >= 0)
		json_object_set_new(rq, "grace", json_real((double)ns / 1e9));
	if (cli_call(c, rq, NULL, 0, 0, &answer, &e))
		status = cli_fail(&e);
	cli_answer_free(&answer);
	return status;
}

const struct cli_command cli_cmd_stop = {
	.name = "stop",
	.args = "[--grace DUR] JOB",
	.summary = "end a job: term, then kill",
	.example = "cpagent stop heat",
	.options = options,
	.min = 1,
	.max = 1,
	.fn = stop,
};
