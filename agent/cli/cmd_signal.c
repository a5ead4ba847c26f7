/* cpagent signal: a signal to a job. */
#include "agent/cli/cli.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* "TERM", "SIGTERM", "sigterm" or "15"; 0: none of them. */
static int signal_number(const char *text)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (end != text && !*end)
		return n >= 1 && n <= SIGRTMAX ? (int)n : 0;
	if (!strncasecmp(text, "SIG", 3))
		text += 3;
	for (int i = 1; i < NSIG; i++) {
		const char *name = sigabbrev_np(i);

		if (name && !strcasecmp(name, text))
			return i;
	}
	return 0;
}

static int send_signal(struct cli *c, const struct cli_args *a)
{
	int signo = signal_number(a->pos[0]);
	struct cli_answer answer = { 0 };
	struct err e = { 0 };
	int status = 0;

	if (!signo) {
		err_set(&e, ERR_USAGE, "'%s' is not a signal; write a name such as TERM or a number", a->pos[0]);
		return cli_fail(&e);
	}
	if (cli_call(c, json_pack("{s:s,s:s,s:i}", "verb", "signal", "job", a->pos[1], "signal", signo), NULL, 0,
	             CLI_SHOW_SECONDS, &answer, &e))
		status = cli_fail(&e);
	cli_answer_free(&answer);
	return status;
}

const struct cli_command cli_cmd_signal = {
	.name = "signal",
	.args = "SIG JOB",
	.summary = "send a job a signal",
	.example = "cpagent signal USR1 heat",
	.min = 2,
	.max = 2,
	.fn = send_signal,
};
