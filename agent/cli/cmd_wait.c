/* cpagent wait: a job's end and status. */
#include "agent/cli/cli.h"

#include "lib/base/clock.h"

#define SLACK_SECONDS 30 /* beyond the agent's own timeout before it counts as not answering */

static const struct cli_option options[] = {
	{ "timeout", 0, "DUR", "give up after this, with exit status 6" },
	{ 0 },
};

/* Until this moment (0: for ever). */
static int wait_one(struct cli *c, const char *job, int64_t until, struct cli_answer *answer, struct err *e)
{
	json_t *rq = json_pack("{s:s,s:s}", "verb", "wait", "job", job);
	int64_t left = until - clock_boot_ns();
	unsigned seconds = 0;

	if (until) {
		left = left > 0 ? left : 0;
		json_object_set_new(rq, "timeout", json_real((double)left / 1e9));
		seconds = (unsigned)(left / NS_PER_S) + SLACK_SECONDS;
	}
	return cli_call_patient(c, rq, seconds, answer, e);
}

/* A job of that name has ended, and ranks of a group of that name have not: they are meant. */
static bool is_later_group(struct cli *c, const char *word)
{
	struct cli_answer answer = { 0 };
	struct err e = { 0 };
	json_t *ranks = NULL;
	bool is = wait_one(c, word, 1, &answer, &e) == 0 && cli_ranks_of(c, word, &ranks, &e) == 0 &&
	          cli_ranks_live(ranks);

	json_decref(ranks);
	cli_answer_free(&answer);
	return is;
}

/* Not a job: a group, perhaps. Its status is the first rank's that is not 0. */
static int wait_group(struct cli *c, const char *word, int64_t until, int *status, struct err *e)
{
	json_t *ranks, *ends = json_array();
	size_t i;
	const json_t *job;

	e->code = 0;
	cli_ranks_of(c, word, &ranks, e);
	json_array_foreach(ranks, i, job)
	{
		struct cli_answer answer = { 0 };

		if (!e->code &&
		    wait_one(c, json_string_value(json_object_get(job, "job")), until, &answer, e) == 0) {
			*status = *status ? *status : cli_job_status(answer.json);
			json_object_set(answer.json, "name", json_object_get(job, "name"));
			json_array_append(ends, answer.json);
		}
		cli_answer_free(&answer);
	}
	if (!e->code && c->json) {
		json_t *doc = json_pack("{s:O}", "jobs", ends);

		cli_print_json(doc);
		json_decref(doc);
	}
	json_decref(ends);
	json_decref(ranks);
	return e->code;
}

static int wait_job(struct cli *c, const struct cli_args *a)
{
	struct cli_answer answer = { 0 };
	struct err e = { 0 };
	int64_t ns = -1, until = 0;
	int status = 0;

	if (cli_opt_duration(a, "timeout", &ns, &e))
		return cli_fail(&e);
	if (ns >= 0)
		until = clock_boot_ns() + (ns < INT64_MAX / 2 ? ns : INT64_MAX / 2) + 1;
	if (is_later_group(c, a->pos[0])) {
		wait_group(c, a->pos[0], until, &status, &e);
	} else if (wait_one(c, a->pos[0], until, &answer, &e) == 0) {
		status = cli_job_status(answer.json);
		if (c->json)
			cli_print_json(answer.json);
	} else if (e.code == ERR_NOT_FOUND) {
		wait_group(c, a->pos[0], until, &status, &e);
	}
	if (e.code)
		status = cli_fail(&e);
	cli_answer_free(&answer);
	return status;
}

const struct cli_command cli_cmd_wait = {
	.name = "wait",
	.args = "[--timeout DUR] JOB|GROUP",
	.summary = "wait for a job's end, or all ranks', and exit with its status",
	.example = "cpagent wait --timeout 1h heat",
	.options = options,
	.min = 1,
	.max = 1,
	.fn = wait_job,
};
