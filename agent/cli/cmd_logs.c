/* cpagent logs: what a job has written to stdout and stderr. */
#include "agent/cli/cli.h"

static const struct cli_option options[] = {
	{ "follow", 'f', NULL, "go on until the job has ended" },
	{ "stderr", 0, NULL, "its stderr alone, to stdout" },
	{ 0 },
};

static int logs(struct cli *c, const struct cli_args *a)
{
	struct cli_follow f = {
		.job = a->pos[0],
		.to_end = cli_opt(a, "follow") == NULL,
		.only_stderr = cli_opt(a, "stderr") != NULL,
	};
	struct err e = { 0 };
	int status = cli_follow_run(c, &f, &e) ? cli_fail(&e) : 0;

	json_decref(f.last);
	return status;
}

const struct cli_command cli_cmd_logs = {
	.name = "logs",
	.args = "[-f] JOB",
	.summary = "show what a job has written",
	.example = "cpagent logs -f heat",
	.options = options,
	.min = 1,
	.max = 1,
	.fn = logs,
};
