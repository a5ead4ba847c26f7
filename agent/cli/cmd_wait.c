/* cpagent wait: a job's end and status. */
#include "agent/cli/cli.h"

#include "lib/base/clock.h"

#define SLACK_SECONDS 30 /* beyond the agent's own timeout before it counts as not answering */

static const struct cli_option options[] = {
	{ "timeout", 0, "DUR", "give up after this, with exit status 6" },
	{ 0 },
};

static int wait_job(struct cli *c, const struct cli_args *a)
{
	json_t *rq = json_pack("{s:s,s:s}", "verb", "wait", "job", a->pos[0]);
	struct cli_answer answer = { 0 };
	struct err e = { 0 };
	unsigned seconds = 0;
	int64_t ns = -1;
	int status;

	if (cli_opt_duration(a, "timeout", &ns, &e)) {
		json_decref(rq);
		return cli_fail(&e);
	}
	if (ns >= 0) {
		json_object_set_new(rq, "timeout", json_real((double)ns / 1e9));
		seconds = (unsigned)(ns / NS_PER_S) + SLACK_SECONDS;
	}
	if (cli_call_patient(c, rq, seconds, &answer, &e)) {
		status = cli_fail(&e);
	} else {
		status = cli_job_status(answer.json);
		if (c->json)
			cli_print_json(answer.json);
	}
	cli_answer_free(&answer);
	return status;
}

const struct cli_command cli_cmd_wait = {
	.name = "wait",
	.args = "[--timeout DUR] JOB",
	.summary = "wait for a job's end and exit with its status",
	.example = "cpagent wait --timeout 1h heat",
	.options = options,
	.min = 1,
	.max = 1,
	.fn = wait_job,
};
