/* Owns the command line's grammar: options of a subcommand with the global ones, help, values with their bounds.
 */
#include "agent/cli/cli.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/units.h"

#define OPTIONS_MAX 40

static const struct cli_option global[] = {
	{ "run", 0, "DIR", "the agent's runtime directory ($CPAGENT_RUN, else " CLI_DEFAULT_RUN ")" },
	{ "json", 0, NULL, "one JSON document instead of text" },
	{ "help", 'h', NULL, "this text" },
	{ 0 },
};
enum { GLOBAL_RUN, GLOBAL_JSON, GLOBAL_HELP, GLOBALS, OWN };

static void help_options(const struct cli_option *o)
{
	for (; o && o->name; o++) {
		char left[48], letter[8] = "    ";

		if (o->letter)
			snprintf(letter, sizeof letter, "-%c, ", o->letter);
		snprintf(left, sizeof left, "%s--%s%s%s", letter, o->name, o->arg ? " " : "",
		         o->arg ? o->arg : "");
		printf("  %-34s %s\n", left, o->help);
	}
}

void cli_help(const struct cli_command *cmd)
{
	printf("Usage: cpagent %s%s%s\n%s\n\n", cmd->name, *cmd->args ? " " : "", cmd->args, cmd->summary);
	help_options(cmd->options);
	help_options(global);
	printf("\nExample:\n  %s\n", cmd->example);
}

/* getopt's tables from ours. Own options are OWN + their place. */
static void tables(const struct cli_command *cmd, struct option *longs, char *shorts)
{
	size_t n = 0, s = 0;

	shorts[s++] = cmd->stops ? '+' : ':';
	if (cmd->stops)
		shorts[s++] = ':';
	for (int i = 0; i < GLOBALS; i++)
		longs[n++] = (struct option){ global[i].name, global[i].arg ? required_argument : no_argument,
			                      NULL, i };
	for (int i = 0; cmd->options && cmd->options[i].name; i++) {
		const struct cli_option *o = &cmd->options[i];

		longs[n++] = (struct option){ o->name, o->arg ? required_argument : no_argument, NULL, OWN + i };
		if (o->letter)
			shorts[s++] = o->letter;
		if (o->letter && o->arg)
			shorts[s++] = ':';
	}
	shorts[s++] = 'h';
	shorts[s] = '\0';
	longs[n] = (struct option){ 0 };
}

static int take(struct cli *c, const struct cli_command *cmd, int opt, struct cli_args *a)
{
	if (opt == GLOBAL_HELP || opt == 'h') {
		cli_help(cmd);
		return 1;
	}
	if (opt == GLOBAL_RUN)
		fs_path(c->run, "%s", optarg);
	else if (opt == GLOBAL_JSON)
		c->json = true;
	for (int i = 0; cmd->options && cmd->options[i].name; i++)
		if (opt == OWN + i || (opt > ' ' && opt == cmd->options[i].letter))
			a->given[a->n_given++] = (struct cli_given){ cmd->options[i].name, optarg ? optarg : "" };
	return 0;
}

int cli_args_read(struct cli *c, const struct cli_command *cmd, int argc, char **argv, struct cli_args *a,
                  struct err *e)
{
	struct option longs[OPTIONS_MAX];
	char shorts[2 * OPTIONS_MAX];
	int opt;

	*a = (struct cli_args){ .command = cmd, .given = calloc((size_t)argc + 1, sizeof *a->given) };
	if (!a->given)
		return err_set(e, ERR_FAILED, "out of memory");
	tables(cmd, longs, shorts);
	optind = 0; /* glibc: begin anew */
	opterr = 0;
	while (optarg = NULL, (opt = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		if (opt == ':')
			return err_set(e, ERR_USAGE, "%s: it needs a value; see cpagent %s --help",
			               argv[optind - 1], cmd->name);
		if (opt == '?')
			return err_set(e, ERR_USAGE,
			               "%s: no such option, or not as written; see cpagent %s --help",
			               argv[optind - 1], cmd->name);
		if (take(c, cmd, opt, a))
			return 1;
	}
	a->pos = argv + optind;
	a->n = argc - optind;
	if (a->n < cmd->min || (cmd->max >= 0 && a->n > cmd->max))
		return err_set(e, ERR_USAGE, "%s: it takes %s; see cpagent %s --help", cmd->name,
		               *cmd->args ? cmd->args : "no argument", cmd->name);
	return 0;
}

void cli_args_free(struct cli_args *a)
{
	free(a->given);
	*a = (struct cli_args){ 0 };
}

const char *cli_opt(const struct cli_args *a, const char *name)
{
	for (size_t i = a->n_given; i-- > 0;)
		if (!strcmp(a->given[i].name, name))
			return a->given[i].value;
	return NULL;
}

int cli_opt_number(const struct cli_args *a, const char *name, uint64_t min, uint64_t max, uint64_t *n,
                   struct err *e)
{
	const char *text = cli_opt(a, name);
	unsigned long long v;
	char *end;

	if (!text)
		return 0;
	errno = 0;
	v = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || v < min || v > max)
		return err_set(e, ERR_USAGE, "--%s: '%s' is not a number from %llu to %llu; write one", name, text,
		               (unsigned long long)min, (unsigned long long)max);
	*n = v;
	return 0;
}

int cli_opt_duration(const struct cli_args *a, const char *name, int64_t *ns, struct err *e)
{
	const char *text = cli_opt(a, name);

	if (text && units_duration(text, ns))
		return err_set(e, ERR_USAGE, "--%s: '%s' is not a duration; write it as 250ms, 5s, 2m or 1h", name,
		               text);
	return 0;
}

int cli_opt_size(const struct cli_args *a, const char *name, uint64_t *bytes, struct err *e)
{
	const char *text = cli_opt(a, name);

	if (text && units_size(text, bytes))
		return err_set(e, ERR_USAGE, "--%s: '%s' is not a size; write it as 64K, 1M or 2G", name, text);
	return 0;
}

int cli_opt_word(const struct cli_args *a, const char *name, const char *const *words, int *out, struct err *e)
{
	const char *text = cli_opt(a, name);
	char all[128] = "";

	if (!text)
		return 0;
	for (int i = 0; words[i]; i++) {
		size_t n = strlen(all);

		if (!strcmp(words[i], text)) {
			*out = i;
			return 0;
		}
		snprintf(all + n, sizeof all - n, "%s%s", n ? ", " : "", words[i]);
	}
	return err_set(e, ERR_USAGE, "--%s: '%s' is none of: %s; write one of them", name, text, all);
}
