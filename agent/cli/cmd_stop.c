/* cpagent stop: end a job, and keep it ended. */
#include "agent/cli/cli.h"

#include <string.h>

static const struct cli_option options[] = {
	{ "grace", 0, "DUR", "time between the term and the kill signal (10s)" },
	{ 0 },
};

#define AT_ONCE 32 /* ranks that are stopped together: the agent lets a user have 128 connections */

static json_t *request(const char *job, int64_t grace_ns)
{
	json_t *rq = json_pack("{s:s,s:s}", "verb", "stop", "job", job);

	if (grace_ns >= 0)
		json_object_set_new(rq, "grace", json_real((double)grace_ns / 1e9));
	return rq;
}

static bool has_ended(const json_t *job)
{
	const char *state = json_string_value(json_object_get(job, "state"));

	return state && (strcmp(state, "exited") == 0 || strcmp(state, "failed") == 0);
}

/* Some of a group's ranks, all at once: so the last one's grace is no later than the first one's. */
static void stop_some(struct cli *c, const json_t *ranks, size_t from, int64_t grace_ns, struct err *e)
{
	struct cli conn[AT_ONCE];
	size_t n = 0;

	for (size_t i = from; i < json_array_size(ranks) && i < from + AT_ONCE; i++) {
		const json_t *job = json_array_get(ranks, i);
		json_t *rq = request(json_string_value(json_object_get(job, "job")), grace_ns);

		conn[n] = (struct cli){ .fd = -1, .signal_fd = -1 };
		fs_path(conn[n].run, "%s", c->run);
		if (!has_ended(job) && cli_send(&conn[n], rq, e) == 0)
			n++;
		json_decref(rq);
	}
	for (size_t i = 0; i < n; i++) {
		struct cli_answer answer;

		cli_receive(&conn[i], 0, &answer, e);
		cli_answer_free(&answer);
		cli_disconnect(&conn[i]);
	}
}

static void stop_ranks(struct cli *c, const json_t *ranks, int64_t grace_ns, struct err *e)
{
	for (size_t i = 0; i < json_array_size(ranks); i += AT_ONCE)
		stop_some(c, ranks, i, grace_ns, e);
}

/* Not a job: a group, perhaps, and all of its ranks are meant. */
static void stop_group(struct cli *c, const char *word, int64_t grace_ns, struct err *e)
{
	json_t *ranks;

	e->code = 0;
	if (cli_ranks_of(c, word, &ranks, e) == 0) {
		stop_ranks(c, ranks, grace_ns, e);
		if (!cli_ranks_live(ranks))
			err_set(e, ERR_FAILED, "%s: all of its ranks have ended already", word);
	}
	json_decref(ranks);
}

static bool job_has_ended(struct cli *c, const char *word)
{
	struct cli_answer answer;
	struct err e = { 0 };
	json_t *rq = json_pack("{s:s,s:s,s:f}", "verb", "wait", "job", word, "timeout", 0.0);
	bool ended = cli_call(c, rq, NULL, 0, CLI_SHOW_SECONDS, &answer, &e) == 0;

	cli_answer_free(&answer);
	return ended;
}

/* A job of that name has ended, before a group was given the name: the group's ranks are meant. */
static void stop_later_group(struct cli *c, const char *word, int64_t grace_ns, struct err *e)
{
	struct err own = { 0 };
	json_t *ranks = NULL;

	if (job_has_ended(c, word) && cli_ranks_of(c, word, &ranks, &own) == 0 && cli_ranks_live(ranks)) {
		e->code = 0;
		stop_ranks(c, ranks, grace_ns, e);
	}
	json_decref(ranks);
}

static int stop(struct cli *c, const struct cli_args *a)
{
	struct cli_answer answer = { 0 };
	struct err e = { 0 };
	int64_t ns = -1;
	int status = 0;

	if (cli_opt_duration(a, "grace", &ns, &e))
		return cli_fail(&e);
	switch (cli_call(c, request(a->pos[0], ns), NULL, 0, 0, &answer, &e)) {
	case ERR_NOT_FOUND:
		stop_group(c, a->pos[0], ns, &e);
		break;
	case ERR_FAILED:
		stop_later_group(c, a->pos[0], ns, &e);
		break;
	default:
		break;
	}
	if (e.code)
		status = cli_fail(&e);
	cli_answer_free(&answer);
	return status;
}

const struct cli_command cli_cmd_stop = {
	.name = "stop",
	.args = "[--grace DUR] JOB|GROUP",
	.summary = "end a job: term, then kill",
	.example = "cpagent stop heat",
	.options = options,
	.min = 1,
	.max = 1,
	.fn = stop,
};
