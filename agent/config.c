/* Owns how cpagentd comes to its configuration: defaults, then the file, then the command line, then the checks
 * that need all of it. What a single option accepts stands in config_key.c. Called by main at start and on SIGHUP.
 */
#include "agent/config.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/config_key.h"
#include "agent/version.h"
#include "lib/base/clock.h"
#include "lib/base/fs.h"
#include "lib/base/scoped.h"

#define FILE_MAX ((size_t)1 << 20)
#define KEYS_MAX 32 /* bounds the getopt table and the set of keys seen */
enum { OPT_HELP = 'h', OPT_FILE = 'c', OPT_VERSION = 'V', OPT_KEY = 1000 };

static int defaults(struct config *c, struct err *e)
{
	long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);

	*c = (struct config){ .level = 1,
		              .update_ns = 10 * NS_PER_S,
		              .save_ns = 60 * NS_PER_S,
		              .automatic = true,
		              .lease_ns = 10 * NS_PER_S,
		              .on_isolation = ISOLATION_FREEZE };
	c->memory = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page / 2 : (uint64_t)1 << 30;
	if (config_set_string(&c->run, CONFIG_DEFAULT_RUN, e) ||
	    config_set_string(&c->state, CONFIG_DEFAULT_STATE, e))
		return ERR_FAILED;
	return 0;
}

void config_free(struct config *c)
{
	char **strings[] = { &c->name, &c->key, &c->run, &c->state, &c->criu, &c->file };

	for (size_t i = 0; i < sizeof strings / sizeof *strings; i++) {
		free(*strings[i]);
		*strings[i] = NULL;
	}
	config_list_clear(&c->listen);
	config_list_clear(&c->parents);
}

static void print_help(void)
{
	puts("Usage: cpagentd [-c FILE] [options]\n"
	     "Keep jobs alive: run them, checkpoint them, and pass checkpoints to the level above.\n\n"
	     "Every option is also a key of the configuration file (" CONFIG_DEFAULT_FILE "),\n"
	     "written `key = value`; the command line wins.\n\n"
	     "  -c FILE                    read this configuration file");
	for (size_t i = 0; i < config_keys_n; i++) {
		const struct config_key *k = &config_keys[i];
		char left[40];

		snprintf(left, sizeof left, "--%s%s%s", k->name, k->arg ? " " : "", k->arg ? k->arg : "");
		printf("  %-26s %s\n", left, k->help);
	}
	puts("  -h, --help                 this text\n"
	     "  -V, --version              the version\n\n"
	     "Example, a node below an agent on host 10.0.0.1:\n"
	     "  cpagentd --name n1 --key /etc/cpagent/key --parent tcp://10.0.0.1:7400");
}

/* One option after the other; for the first pass (c NULL) only -c, --help and --version count. */
static int read_argv(int argc, char *const argv[], struct config *c, const char **file, struct err *e)
{
	struct option table[KEYS_MAX + 4] = { { "help", no_argument, NULL, OPT_HELP },
		                              { "version", no_argument, NULL, OPT_VERSION },
		                              { "config", required_argument, NULL, OPT_FILE } };
	bool cleared[KEYS_MAX] = { 0 };
	int opt;

	for (size_t i = 0; i < config_keys_n && i < KEYS_MAX; i++)
		table[3 + i] =
		        (struct option){ config_keys[i].name, config_keys[i].arg ? required_argument : no_argument,
			                 NULL, OPT_KEY + (int)i };
	optind = 0; /* glibc: begin anew, also after an earlier scan */
	opterr = 0;
	while ((opt = getopt_long(argc, argv, ":c:hV", table, NULL)) != -1) {
		const struct config_key *k = opt >= OPT_KEY ? &config_keys[opt - OPT_KEY] : NULL;

		if (opt == ':')
			return err_set(e, ERR_USAGE, "%s: it needs a value; see cpagentd --help",
			               argv[optind - 1]);
		if (opt == '?')
			return err_set(e, ERR_USAGE, "%s: no such option, or not as written; see cpagentd --help",
			               argv[optind - 1]);
		if (opt == OPT_HELP || opt == OPT_VERSION) {
			if (opt == OPT_HELP)
				print_help();
			else
				puts("cpagentd " CPAGENT_VERSION);
			return 1;
		}
		if (opt == OPT_FILE)
			*file = optarg;
		if (!c || !k)
			continue;
		if (k->list && !cleared[opt - OPT_KEY])
			config_list_clear(k->list(c)); /* the command line's list replaces the file's */
		cleared[opt - OPT_KEY] = true;
		if (k->set(c, k->arg ? optarg : "on", e))
			return err_wrap(e, "--%s", k->name);
	}
	if (optind < argc)
		return err_set(e, ERR_USAGE,
		               "'%s': it is not an option; cpagentd takes options only, see cpagentd --help",
		               argv[optind]);
	return 0;
}

static char *trim(char *s)
{
	s += strspn(s, " \t\r");
	for (size_t n = strlen(s); n && strchr(" \t\r", s[n - 1]);)
		s[--n] = '\0';
	return s;
}

/* A comment begins at the line's start or behind a blank, so that a '#' inside of a path stays. */
static void cut_comment(char *line)
{
	for (char *p = line; (p = strchr(p, '#')); p++)
		if (p == line || p[-1] == ' ' || p[-1] == '\t') {
			*p = '\0';
			return;
		}
}

static int read_line(char *line, struct config *c, bool *seen, struct err *e)
{
	const struct config_key *k;
	char *value;

	cut_comment(line);
	line = trim(line);
	if (!*line)
		return 0;
	value = strchr(line, '=');
	if (!value)
		return err_set(e, ERR_USAGE, "'%s' is not `key = value`; write it so, or put a # before it", line);
	*value++ = '\0';
	line = trim(line);
	k = config_key_find(line);
	if (!k)
		return err_set(e, ERR_USAGE, "'%s' is not a key; the keys are the options of cpagentd --help",
		               line);
	if (!k->list && seen[k - config_keys])
		return err_set(e, ERR_USAGE, "'%s' stands here a second time; keep one of the two", line);
	seen[k - config_keys] = true;
	if (k->set(c, trim(value), e))
		return err_wrap(e, "%s", k->name);
	return 0;
}

static int read_file(const char *path, bool named, struct config *c, struct err *e)
{
	scoped_free char *text = NULL;
	bool seen[KEYS_MAX] = { 0 };
	char *next;
	size_t len, number = 1;
	int r = fs_read(path, FILE_MAX, &text, &len, e);

	if (r == ERR_NOT_FOUND && !named) {
		*e = (struct err){ 0 };
		return 0;
	}
	if (r)
		return err_wrap(e, "configuration");
	if (strlen(text) != len)
		return err_set(e, ERR_USAGE, "%s: it is not a text file; name a configuration file", path);
	for (char *line = text; line; line = next, number++) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		if (read_line(line, c, seen, e))
			return err_wrap(e, "%s:%zu", path, number);
	}
	return config_set_string(&c->file, path, e);
}

/* What depends on more than one option. */
static int check(struct config *c, struct err *e)
{
	char host[256] = "";

	if (!c->name) {
		if (gethostname(host, sizeof host - 1) || !config_name_ok(host))
			return err_set(e, ERR_USAGE,
			               "--name: the host's name '%s' cannot be the agent's; give one with --name",
			               host);
		if (config_set_string(&c->name, host, e))
			return e->code;
	}
	if (c->level >= 2 && !c->listen.n)
		return err_set(e, ERR_USAGE,
		               "--listen: an agent of level %u has to be reached by its children; "
		               "give it --listen tcp://ADDR:PORT",
		               c->level);
	if (!c->key && (c->parents.n || c->listen.n))
		return err_set(e, ERR_USAGE,
		               "--key: talking to other agents needs the cluster key; "
		               "make one with `cpagent keygen FILE` and give every agent --key FILE");
	if (!strcmp(c->run, c->state))
		return err_set(e, ERR_USAGE, "--state: '%s' is the runtime directory, too; give the two their own",
		               c->state);
	return 0;
}

int config_load(int argc, char *const argv[], struct config *c, struct err *e)
{
	struct err unread;
	const char *file = NULL;
	int r;

	if (!e)
		e = &unread;
	*e = (struct err){ 0 };
	*c = (struct config){ 0 };
	r = read_argv(argc, argv, NULL, &file, e);
	if (!r)
		r = defaults(c, e);
	if (!r)
		r = read_file(file ? file : CONFIG_DEFAULT_FILE, file != NULL, c, e);
	if (!r)
		r = read_argv(argc, argv, c, &file, e);
	if (!r)
		r = check(c, e);
	if (r)
		config_free(c);
	return r;
}
