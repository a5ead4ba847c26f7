/* Owns what a job inherits from the shell that submits it, and what `run`'s options say about it. */
#include "agent/cli/cli.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/config_key.h"
#include "lib/arena/format.h"
#include "lib/base/clock.h"
#include "lib/wire/cpagent.pb-c.h"

#define GROUPS_MAX 65536
#define SPARES_MAX 4
#define LIMITS 16
#define AFFINITY_MAX 8192 /* bytes: 65536 processors */

extern char **environ;

/* Everything the packed message points to; freed in one place. */
struct spec {
	Cpa__Spec msg;
	ProtobufCBinaryData *argv, *env;
	gid_t *groups;
	Cpa__Limit limit[LIMITS], *limits[LIMITS];
	uint8_t *affinity;
	char *spares_text, *spares[SPARES_MAX + 1];
	char cwd[FS_PATH_MAX], stdin_path[FS_PATH_MAX];
};

static ProtobufCBinaryData bytes(const char *text)
{
	return (ProtobufCBinaryData){ strlen(text), (uint8_t *)(uintptr_t)text };
}

static void spec_free(struct spec *s)
{
	free(s->argv);
	free(s->env);
	free(s->groups);
	free(s->affinity);
	free(s->spares_text);
}

/* ---- from this process --------------------------------------------------------------------------- */

static int take_groups(struct spec *s)
{
	int n = getgroups(0, NULL);

	s->groups = calloc((size_t)(n > 0 ? n : 0) + 1, sizeof *s->groups);
	if (n < 0 || n > GROUPS_MAX || !s->groups || (n = getgroups(n, s->groups)) < 0)
		return -1;
	s->msg.n_groups = (size_t)n;
	s->msg.groups = s->groups;
	return 0;
}

static int take_limits(struct spec *s)
{
	for (int i = 0; i < LIMITS && i < (int)RLIM_NLIMITS; i++) {
		struct rlimit r;

		if (getrlimit((__rlimit_resource_t)i, &r))
			return -1;
		s->limit[i] = (Cpa__Limit)CPA__LIMIT__INIT;
		s->limit[i].resource = (uint32_t)i;
		s->limit[i].soft = r.rlim_cur;
		s->limit[i].hard = r.rlim_max;
		s->limits[i] = &s->limit[i];
		s->msg.n_limits = (size_t)i + 1;
	}
	s->msg.limits = s->limits;
	return 0;
}

/* The kernel refuses a mask that is too small for its processors: take a large one, send what is set in it. */
static int take_affinity(struct spec *s)
{
	size_t n = AFFINITY_MAX;

	s->affinity = calloc(1, AFFINITY_MAX);
	if (!s->affinity || sched_getaffinity(0, AFFINITY_MAX, (cpu_set_t *)(void *)s->affinity))
		return -1;
	while (n > 0 && s->affinity[n - 1] == 0)
		n--;
	s->msg.affinity = (ProtobufCBinaryData){ n, s->affinity };
	return 0;
}

static mode_t own_umask(void)
{
	mode_t m = umask(0);

	umask(m);
	return m;
}

static int take_process(struct spec *s, struct err *e)
{
	if (take_groups(s) || take_limits(s) || take_affinity(s))
		return err_sys(e, ERR_FAILED, "cannot read this process's groups, limits or affinity");
	s->msg.uid = getuid();
	s->msg.gid = getgid();
	s->msg.umask = own_umask();
	errno = 0;
	s->msg.nice = getpriority(PRIO_PROCESS, 0);
	return 0;
}

/* ---- environment, command, paths ------------------------------------------------------------------ */

static bool same_variable(const ProtobufCBinaryData *b, const char *text)
{
	size_t n = strcspn(text, "=") + 1;

	return b->len >= n && !memcmp(b->data, text, n);
}

/* --env K=V replaces what the shell has under K. */
static int add_env(struct spec *s, const char *text, struct err *e)
{
	size_t i = 0;

	if (!strchr(text, '=') || *text == '=')
		return err_set(e, ERR_USAGE, "--env: '%s' is not a variable; write NAME=VALUE", text);
	while (i < s->msg.n_env && !same_variable(&s->env[i], text))
		i++;
	s->env[i] = bytes(text);
	s->msg.n_env += i == s->msg.n_env;
	return 0;
}

static int take_env(struct spec *s, const struct cli_args *a, struct err *e)
{
	size_t n = 0;

	while (environ && environ[n])
		n++;
	s->env = calloc(n + a->n_given + 1, sizeof *s->env);
	if (!s->env)
		return err_set(e, ERR_FAILED, "out of memory");
	for (size_t i = 0; i < n; i++)
		s->env[i] = bytes(environ[i]);
	s->msg.env = s->env;
	s->msg.n_env = n;
	for (size_t i = 0; i < a->n_given; i++)
		if (!strcmp(a->given[i].name, "env") && add_env(s, a->given[i].value, e))
			return e->code;
	return 0;
}

static int take_argv(struct spec *s, const struct cli_args *a, struct err *e)
{
	s->argv = calloc((size_t)a->n + 1, sizeof *s->argv);
	if (!s->argv)
		return err_set(e, ERR_FAILED, "out of memory");
	for (int i = 0; i < a->n; i++)
		s->argv[i] = bytes(a->pos[i]);
	s->msg.argv = s->argv;
	s->msg.n_argv = (size_t)a->n;
	return 0;
}

/* Paths are this shell's: made absolute here. */
static void absolute(char *out, const char *cwd, const char *path)
{
	if (*path == '/')
		fs_path(out, "%s", path);
	else
		fs_path(out, "%s/%s", cwd, path);
}

static int take_paths(struct spec *s, const struct cli_args *a, struct err *e)
{
	const char *cwd = cli_opt(a, "cwd"), *in = cli_opt(a, "stdin");
	char here[FS_PATH_MAX];

	if (!getcwd(here, sizeof here))
		return err_sys(e, ERR_FAILED, "the current directory cannot be told; change to another one");
	absolute(s->cwd, here, cwd && *cwd ? cwd : here);
	if (in && *in)
		absolute(s->stdin_path, here, in);
	s->msg.cwd = bytes(s->cwd);
	s->msg.stdin_path = bytes(s->stdin_path);
	return 0;
}

/* ---- options ------------------------------------------------------------------------------------- */

static bool is_uuid_like(const char *s)
{
	return strlen(s) == 36 && s[8] == '-' && s[13] == '-' && s[18] == '-' && s[23] == '-' &&
	       strspn(s, "0123456789abcdefABCDEF-") == 36;
}

int cli_spec_name(const char *option, const char *name, struct err *e)
{
	if (name && (!config_name_ok(name) || is_uuid_like(name)))
		return err_set(e, ERR_USAGE,
		               "--%s: '%s' is not a name; use 1 to %d letters, digits, '.', '_' or '-', and no "
		               "UUID",
		               option, name, CONFIG_NAME_MAX);
	return 0;
}

static int take_spares(struct spec *s, const char *text, struct err *e)
{
	char *save = NULL;

	if (!text)
		return 0;
	s->spares_text = strdup(text);
	if (!s->spares_text)
		return err_set(e, ERR_FAILED, "out of memory");
	for (char *n = strtok_r(s->spares_text, ",", &save); n; n = strtok_r(NULL, ",", &save)) {
		if (cli_spec_name("spares", n, e))
			return e->code;
		if (s->msg.n_spares == SPARES_MAX)
			return err_set(e, ERR_USAGE, "--spares: at most %d nodes; name fewer", SPARES_MAX);
		s->spares[s->msg.n_spares++] = n;
	}
	s->msg.spares = s->spares;
	return 0;
}

static int take_words(Cpa__Spec *m, const struct cli_args *a, struct err *e)
{
	static const char *const modes[] = { "auto", "process", "keyed", NULL };
	static const char *const restarts[] = { "transient", "permanent", "temporary", NULL };
	static const char *const files[] = { "track", "shared", "carry", NULL };
	static const char *const tcp[] = { "close", "established", NULL };
	int mode = 0, restart = 0, file = 0, net = 0;

	if (cli_opt_word(a, "mode", modes, &mode, e) || cli_opt_word(a, "restart", restarts, &restart, e) ||
	    cli_opt_word(a, "files", files, &file, e) || cli_opt_word(a, "tcp", tcp, &net, e))
		return e->code;
	m->mode = (Cpa__Mode)mode;
	m->restart = (Cpa__Restart)restart;
	m->files = (Cpa__Files)file;
	m->tcp = (Cpa__Tcp)net;
	return 0;
}

static int take_numbers(Cpa__Spec *m, const struct cli_args *a, struct err *e)
{
	uint64_t level = 0, keep = 2, restarts = 3;
	int64_t every = 0, within = 5 * NS_PER_S;

	if (cli_opt(a, "every") && !strcmp(cli_opt(a, "every"), "auto"))
		return err_set(e, ERR_USAGE,
		               "--every: 'auto' is not available in this version; write a duration such as 30s");
	if (cli_opt_duration(a, "every", &every, e) || cli_opt_duration(a, "max-seconds", &within, e) ||
	    cli_opt_number(a, "level", 1, 100, &level, e) || cli_opt_number(a, "keep", 1, 1000, &keep, e) ||
	    cli_opt_number(a, "max-restarts", 0, 64, &restarts, e) || cli_opt_size(a, "arena", &m->arena_bytes, e))
		return e->code;
	if (cli_opt(a, "arena") && (m->arena_bytes < ARENA_HEAP_MIN || m->arena_bytes > ARENA_HEAP_MAX))
		return err_set(e, ERR_USAGE, "--arena: '%s' is out of range; give it 64K to 512G",
		               cli_opt(a, "arena"));
	m->every_ns = (uint64_t)every;
	m->max_seconds_ns = (uint64_t)within;
	m->level = (uint32_t)level;
	m->keep = (uint32_t)keep;
	m->max_restarts = (uint32_t)restarts;
	return 0;
}

static int take_options(struct spec *s, const struct cli_args *a, const struct cli_rank *r, struct err *e)
{
	const char *name = r->name ? r->name : cli_opt(a, "name"), *node = r->node ? r->node : cli_opt(a, "node");

	if (cli_spec_name("name", name, e) || cli_spec_name("node", node, e) ||
	    take_spares(s, cli_opt(a, "spares"), e) || take_words(&s->msg, a, e) || take_numbers(&s->msg, a, e))
		return e->code;
	if (name)
		s->msg.name = (char *)(uintptr_t)name;
	if (node)
		s->msg.node = (char *)(uintptr_t)node;
	if (!r->group)
		return 0;
	s->msg.group = (char *)(uintptr_t)r->group;
	s->msg.launch = (char *)(uintptr_t)r->launch;
	s->msg.rank = r->rank;
	s->msg.ranks = r->ranks;
	return 0;
}

int cli_spec_pack(const struct cli_args *a, const struct cli_rank *rank, uint8_t **out, size_t *len, struct err *e)
{
	struct spec s = { .msg = CPA__SPEC__INIT };
	int r = take_options(&s, a, rank, e);

	if (!r)
		r = take_paths(&s, a, e);
	if (!r)
		r = take_env(&s, a, e);
	if (!r)
		r = take_argv(&s, a, e);
	if (!r)
		r = take_process(&s, e);
	*len = r ? 0 : cpa__spec__get_packed_size(&s.msg);
	*out = r ? NULL : malloc(*len + 1);
	if (*out)
		cpa__spec__pack(&s.msg, *out);
	else if (!r)
		r = err_set(e, ERR_FAILED, "out of memory");
	spec_free(&s);
	return r;
}
