/* Owns the table of subcommands and the way to one of them. */
#include "agent/cli/cli.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/version.h"

const struct cli_command *const cli_commands[] = {
	&cli_cmd_run,      &cli_cmd_ps,       &cli_cmd_status,     &cli_cmd_logs,    &cli_cmd_wait,
	&cli_cmd_signal,   &cli_cmd_stop,     &cli_cmd_checkpoint, &cli_cmd_restore, &cli_cmd_history,
	&cli_cmd_keys,     &cli_cmd_get,      &cli_cmd_save,       &cli_cmd_show,    &cli_cmd_verify,
	&cli_cmd_interval, &cli_cmd_register, &cli_cmd_keygen,     &cli_cmd_doctor,  NULL,
};

/* Promised for later: named, so that nobody looks for a spelling error. */
static const char *const later[] = { "top", "migrate", "put", "delete", "load", "drain" };

static void usage(void)
{
	puts("Usage: cpagent [--run DIR] [--json] COMMAND [options]\n"
	     "Start jobs that outlive their machine, look at them, checkpoint and restore them.\n");
	for (size_t i = 0; cli_commands[i]; i++) {
		char left[64];

		snprintf(left, sizeof left, "%s %s", cli_commands[i]->name, cli_commands[i]->args);
		printf("  %-32s %s\n", left, cli_commands[i]->summary);
	}
	puts("\n      --run DIR                    the agent's runtime directory ($CPAGENT_RUN, "
	     "else " CLI_DEFAULT_RUN ")\n"
	     "      --json                       one JSON document instead of text\n"
	     "  -h, --help                       this text; cpagent COMMAND --help for a command's\n"
	     "  -V, --version                    the version\n\n"
	     "Exit status: 0 done, 1 it failed, 2 wrong usage, 3 no such job, key, node or file, 4 no agent "
	     "answers,\n"
	     "5 not permitted, 6 it timed out. `run` and `wait` exit with the job's own.\n\n"
	     "Example:\n  cpagent run --every 10s -- ./solver input.dat");
}

static const struct cli_command *find(const char *name, struct err *e)
{
	for (size_t i = 0; cli_commands[i]; i++)
		if (!strcmp(cli_commands[i]->name, name))
			return cli_commands[i];
	for (size_t i = 0; i < sizeof later / sizeof *later; i++)
		if (!strcmp(later[i], name)) {
			err_set(e, ERR_USAGE,
			        "%s: it is not available in this version; see cpagent --help for what is", name);
			return NULL;
		}
	err_set(e, ERR_USAGE, "%s: there is no such command; see cpagent --help", name);
	return NULL;
}

/* Options before the command. *i: the command's place. 0; 1: done; ERR_USAGE. */
static int read_global(struct cli *c, int argc, char **argv, int *i, struct err *e)
{
	for (*i = 1; *i < argc && argv[*i][0] == '-'; ++*i) {
		const char *o = argv[*i];

		if (!strcmp(o, "--help") || !strcmp(o, "-h")) {
			usage();
			return 1;
		} else if (!strcmp(o, "--version") || !strcmp(o, "-V")) {
			puts("cpagent " CPAGENT_VERSION);
			return 1;
		} else if (!strcmp(o, "--json")) {
			c->json = true;
		} else if (!strncmp(o, "--run=", 6)) {
			fs_path(c->run, "%s", o + 6);
		} else if (!strcmp(o, "--run") && *i + 1 < argc) {
			fs_path(c->run, "%s", argv[++*i]);
		} else {
			return err_set(e, ERR_USAGE,
			               "%s: no such option, or without its value; see cpagent --help", o);
		}
	}
	if (*i == argc)
		return err_set(e, ERR_USAGE, "no command is given; see cpagent --help");
	return 0;
}

static int run_command(struct cli *c, int argc, char **argv, struct err *e)
{
	const struct cli_command *cmd;
	struct cli_args a = { 0 };
	int i, r = read_global(c, argc, argv, &i, e);

	if (r)
		return r == 1 ? 0 : cli_fail(e);
	cmd = find(argv[i], e);
	if (!cmd)
		return cli_fail(e);
	r = cli_args_read(c, cmd, argc - i, argv + i, &a, e);
	if (r)
		r = r == 1 ? 0 : cli_fail(e);
	else
		r = cmd->fn(c, &a);
	cli_args_free(&a);
	return r;
}

int cli_main(int argc, char **argv)
{
	const char *run = getenv("CPAGENT_RUN"), *plain = getenv("NO_COLOR");
	struct cli c = { .fd = -1, .signal_fd = -1, .color = isatty(STDOUT_FILENO) && !(plain && *plain) };
	struct err e = { 0 };
	int status;

	fs_path(c.run, "%s", run && *run ? run : CLI_DEFAULT_RUN);
	status = run_command(&c, argc, argv, &e);
	cli_disconnect(&c);
	if (fflush(stdout) && !status) {
		err_sys(&e, ERR_FAILED, "stdout: cannot write");
		status = cli_fail(&e);
	}
	return status;
}
