/* cpagent run: start a job, and in the foreground be it to the shell: its output, its signals, its status. */
#include "agent/cli/cli.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

static const struct cli_option options[] = {
	{ "name", 0, "NAME", "the job's name (made from the command)" },
	{ "detach", 'd', NULL, "print the job's name and return" },
	{ "node", 0, "NODE", "start it on this node instead of here; ranks: on each of NODE,... in turn" },
	{ "every", 0, "DUR", "take a snapshot this often (only on demand)" },
	{ "level", 0, "N", "the level snapshots are carried to (the top)" },
	{ "keep", 0, "N", "generations kept (2)" },
	{ "mode", 0, "auto|process|keyed", "what a restart uses: the snapshot, the keys, the newer (auto)" },
	{ "restart", 0, "POLICY", "permanent, transient (after a failure only) or temporary (transient)" },
	{ "max-restarts", 0, "N", "give up after more restarts than this (0 to 64) in --max-seconds (3)" },
	{ "max-seconds", 0, "DUR", "the time --max-restarts counts in (5s)" },
	{ "spares", 0, "NODE,...", "nodes to be preferred when its own is lost" },
	{ "files", 0, "track|shared|carry",
	  "files it writes: roll them back, leave them to you, take them along (track)" },
	{ "tcp", 0, "close|established", "TCP connections in a snapshot (close)" },
	{ "env", 0, "K=V", "set a variable for the job; may repeat" },
	{ "cwd", 0, "DIR", "the directory it starts in (this one)" },
	{ "stdin", 0, "FILE", "what it reads (/dev/null)" },
	{ "arena", 0, "SIZE", "budget for its keyed checkpoints, 64K to 512G (4G)" },
	{ "group", 0, "G", "start several jobs that know of each other: the ranks of group G" },
	{ "ranks", 0, "N", "so many of them, 1 to 4096: all are started, or none" },
	{ "strategy", 0, "one_for_one", "which ranks are restarted when one fails: that one (one_for_one)" },
	{ 0 },
};

/* Terminal signals go to the job; what it makes of them, we then follow. If it ends, it is not started again. */
static void forward(struct cli *c, int signo)
{
	struct cli other = { .fd = -1, .signal_fd = -1 };
	struct cli_answer a;
	struct err e = { 0 };

	if (c->fd < 0) { /* waiting for an agent that has gone: nobody can pass it on, and the user wants an end */
		fprintf(stderr,
		        "cpagent: %s: the agent is away, so the signal did not reach the job; "
		        "repeat it with `cpagent signal` when the agent is back\n",
		        c->job);
		exit(128 + signo);
	}
	fs_path(other.run, "%s", c->run);
	if (cli_call(&other,
	             json_pack("{s:s,s:s,s:i,s:b}", "verb", "signal", "job", c->job, "signal", signo, "end", 1),
	             NULL, 0, CLI_SHOW_SECONDS, &a, &e) &&
	    e.code != ERR_NOT_FOUND)
		cli_fail(&e);
	cli_answer_free(&a);
	cli_disconnect(&other);
}

static void hear_signals(struct cli *c, sigset_t *old)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGQUIT);
	sigprocmask(SIG_BLOCK, &set, old);
	c->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	c->on_signal = forward;
}

static int follow(struct cli *c, const char *job)
{
	struct cli_follow f = { .job = job };
	const char *state, *reason;
	struct err e = { 0 };
	int status;

	c->job = job;
	if (cli_follow_run(c, &f, &e)) {
		json_decref(f.last);
		return cli_fail(&e);
	}
	status = cli_job_status(f.last);
	if (!json_is_object(json_object_get(f.last, "exit"))) {
		state = json_string_value(json_object_get(f.last, "state"));
		reason = json_string_value(json_object_get(f.last, "reason"));
		err_set(&e, ERR_FAILED, "%s: the job is %s%s%s; see cpagent ps -a", job, state ? state : "gone",
		        reason && *reason ? ": " : "", reason ? reason : "");
		status = cli_fail(&e);
	}
	json_decref(f.last);
	return status;
}

static int start(struct cli *c, const struct cli_args *a, struct cli_answer *answer, struct err *e)
{
	uint8_t *spec;
	size_t len;
	int r = cli_spec_pack(a, &(struct cli_rank){ 0 }, &spec, &len, e);

	*answer = (struct cli_answer){ 0 };
	if (r)
		return r;
	r = cli_call(c, json_pack("{s:s}", "verb", "run"), spec, len, 0, answer, e);
	free(spec);
	return r;
}

static int check_strategy(const struct cli_args *a, struct err *e)
{
	const char *strategy = cli_opt(a, "strategy");

	if (!strategy || strcmp(strategy, "one_for_one") == 0)
		return 0;
	return err_set(e, ERR_USAGE,
	               "--strategy: '%s' is not available in this version; ranks are restarted one by one, "
	               "leave it out",
	               strategy);
}

static int run(struct cli *c, const struct cli_args *a)
{
	bool detach = cli_opt(a, "detach") != NULL;
	struct cli_answer answer;
	const char *job, *name;
	struct err e = { 0 };
	sigset_t old;
	int status;

	if (check_strategy(a, &e))
		return cli_fail(&e);
	if (cli_opt(a, "group") || cli_opt(a, "ranks"))
		return cli_ranks_run(c, a);
	if (start(c, a, &answer, &e)) {
		status = cli_fail(&e);
		if (answer.launch_status >= 125 && answer.launch_status <= 127)
			status = answer.launch_status;
		cli_answer_free(&answer);
		return status;
	}
	job = json_string_value(json_object_get(answer.json, "job"));
	name = json_string_value(json_object_get(answer.json, "name"));
	if (!job || !name) {
		err_set(&e, ERR_FAILED, "the agent's answer names no job; look at its log");
		status = cli_fail(&e);
	} else if (detach && c->json) {
		status = cli_print_json(answer.json);
	} else if (detach) {
		status = puts(name) == EOF;
	} else {
		hear_signals(c, &old);
		status = follow(c, job);
		close(c->signal_fd);
		c->signal_fd = -1;
		sigprocmask(SIG_SETMASK, &old, NULL);
	}
	cli_answer_free(&answer);
	return status;
}

const struct cli_command cli_cmd_run = {
	.name = "run",
	.args = "[options] -- CMD [ARG...]",
	.summary = "start a job and follow it",
	.example = "cpagent run --name heat --every 30s -- ./solver input.dat",
	.options = options,
	.min = 1,
	.max = -1,
	.stops = true,
	.fn = run,
};
