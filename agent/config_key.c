/* Owns what each option of cpagentd accepts. Knows nothing of files or of argv. */
#include "agent/config_key.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/fs.h"
#include "lib/base/units.h"

#define LEVEL_MAX 100
#define URL_MAX 128
#define PARENTS_MAX 8
#define LEASE_MIN_NS (100 * NS_PER_MS)
#define LEASE_MAX_NS (24 * 3600 * NS_PER_S)
#define INTERVAL_MIN_NS (10 * NS_PER_MS)

int config_set_string(char **slot, const char *value, struct err *e)
{
	char *copy = strdup(value);

	if (!copy)
		return err_set(e, ERR_FAILED, "out of memory");
	free(*slot);
	*slot = copy;
	return 0;
}

int config_list_add(struct config_list *l, const char *value, struct err *e)
{
	char **grown = realloc(l->item, (l->n + 1) * sizeof *grown);

	if (!grown)
		return err_set(e, ERR_FAILED, "out of memory");
	l->item = grown;
	grown[l->n] = NULL;
	if (config_set_string(&grown[l->n], value, e))
		return e ? e->code : ERR_FAILED;
	l->n++;
	return 0;
}

void config_list_clear(struct config_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->item[i]);
	free(l->item);
	*l = (struct config_list){ 0 };
}

bool config_name_ok(const char *text)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	size_t len = strlen(text);

	return len >= 1 && len <= CONFIG_NAME_MAX && strspn(text, allowed) == len && text[0] != '.' &&
	       text[0] != '-';
}

static int set_name(struct config *c, const char *value, struct err *e)
{
	if (!config_name_ok(value))
		return err_set(e, ERR_USAGE, "'%s' is not a name; use 1 to %d letters, digits, '.', '_' or '-'",
		               value, CONFIG_NAME_MAX);
	return config_set_string(&c->name, value, e);
}

static int set_level(struct config *c, const char *value, struct err *e)
{
	char *end;
	unsigned long n = strtoul(value, &end, 10);

	if (end == value || *end || value[0] < '0' || value[0] > '9' || n < 1 || n > LEVEL_MAX)
		return err_set(e, ERR_USAGE,
		               "'%s' is not a level; 1 is a node agent, 2 to %d are the levels above", value,
		               LEVEL_MAX);
	c->level = (uint32_t)n;
	return 0;
}

static bool port_ok(const char *text)
{
	char *end;
	long port = strtol(text, &end, 10);

	return text[0] >= '0' && text[0] <= '9' && !*end && port >= 1 && port <= 65535;
}

/* tcp://ADDR:PORT with an address in brackets when it contains colons itself. */
static bool url_ok(const char *value)
{
	const char *host = value + 6, *colon = strrchr(value, ':');

	if (strncmp(value, "tcp://", 6) || strlen(value) > URL_MAX || strpbrk(host, "/;@ \t") || colon <= host ||
	    !port_ok(colon + 1))
		return false;
	if (host[0] == '[')
		return colon[-1] == ']' && colon - host > 2;
	return !memchr(host, ':', (size_t)(colon - host));
}

int config_check_url(const char *value, struct err *e)
{
	if (url_ok(value))
		return 0;
	return err_set(e, ERR_USAGE, "'%s' is not an address; write tcp://ADDR:PORT, such as tcp://10.0.0.1:7400",
	               value);
}

/* The address is announced to other agents, so it must be one that they can reach. */
static int set_listen(struct config *c, const char *value, struct err *e)
{
	int r = config_check_url(value, e);

	if (r)
		return r;
	if (!strncmp(value, "tcp://*:", 8) || !strncmp(value, "tcp://0.0.0.0:", 14) ||
	    !strncmp(value, "tcp://[::]:", 11))
		return err_set(e, ERR_USAGE,
		               "'%s' is announced to other agents, which cannot reach a wildcard; "
		               "name this host's address",
		               value);
	return config_list_add(&c->listen, value, e);
}

static int set_parent(struct config *c, const char *value, struct err *e)
{
	int r = config_check_url(value, e);

	if (r)
		return r;
	if (c->parents.n >= PARENTS_MAX)
		return err_set(e, ERR_USAGE, "'%s' is one parent too many; name at most %d", value, PARENTS_MAX);
	return config_list_add(&c->parents, value, e);
}

int config_add_parent(struct config *c, const char *url, struct err *e)
{
	int r = set_parent(c, url, e);

	if (!r)
		c->registered++;
	return r;
}

void config_drop_parent(struct config *c)
{
	if (!c->registered)
		return;
	c->registered--;
	free(c->parents.item[--c->parents.n]);
}

static struct config_list *list_listen(struct config *c)
{
	return &c->listen;
}

static struct config_list *list_parents(struct config *c)
{
	return &c->parents;
}

/* Absolute, without trailing slashes: the agent keeps these paths while its directory may change. */
static int set_path(char **slot, const char *value, struct err *e)
{
	char buf[FS_PATH_MAX], cwd[FS_PATH_MAX];
	size_t len;

	if (!*value)
		return err_set(e, ERR_USAGE, "the path is empty; name a file or directory");
	if (value[0] == '/')
		fs_path(buf, "%s", value);
	else if (getcwd(cwd, sizeof cwd))
		fs_path(buf, "%s/%s", cwd, value);
	else
		return err_sys(e, ERR_FAILED,
		               "'%s' is relative and the current directory is unknown; write it in full", value);
	for (len = strlen(buf); len > 1 && buf[len - 1] == '/';)
		buf[--len] = '\0';
	return config_set_string(slot, buf, e);
}

static int set_key(struct config *c, const char *value, struct err *e)
{
	return set_path(&c->key, value, e);
}

static int set_run(struct config *c, const char *value, struct err *e)
{
	return set_path(&c->run, value, e);
}

static int set_state(struct config *c, const char *value, struct err *e)
{
	return set_path(&c->state, value, e);
}

static int set_criu(struct config *c, const char *value, struct err *e)
{
	return set_path(&c->criu, value, e);
}

static int set_memory(struct config *c, const char *value, struct err *e)
{
	if (units_size(value, &c->memory) || c->memory < 1 << 20)
		return err_set(e, ERR_USAGE, "'%s' is not a budget of at least 1M; write it as 512M or 8G", value);
	return 0;
}

static int duration(int64_t *ns, const char *value, bool may_be_off, int64_t min, int64_t max, struct err *e)
{
	char a[UNITS_TEXT_MAX], b[UNITS_TEXT_MAX];

	if (units_duration(value, ns))
		return err_set(e, ERR_USAGE, "'%s' is not a duration; write it as 250ms, 5s, 2m or 1h", value);
	if (may_be_off && *ns == 0)
		return 0;
	if (*ns < min || *ns > max)
		return err_set(e, ERR_USAGE, "'%s' is out of bounds; %sfrom %s to %s is possible", value,
		               may_be_off ? "0 (off) or " : "", units_duration_text((double)min / 1e9, a),
		               units_duration_text((double)max / 1e9, b));
	return 0;
}

static int set_update(struct config *c, const char *value, struct err *e)
{
	return duration(&c->update_ns, value, true, INTERVAL_MIN_NS, 365 * LEASE_MAX_NS, e);
}

static int set_save(struct config *c, const char *value, struct err *e)
{
	return duration(&c->save_ns, value, true, INTERVAL_MIN_NS, 365 * LEASE_MAX_NS, e);
}

static int set_lease(struct config *c, const char *value, struct err *e)
{
	return duration(&c->lease_ns, value, false, LEASE_MIN_NS, LEASE_MAX_NS, e);
}

static int on_off(bool *flag, const char *value, struct err *e)
{
	if (strcmp(value, "on") && strcmp(value, "off"))
		return err_set(e, ERR_USAGE, "'%s' is neither 'on' nor 'off'; write one of them", value);
	*flag = value[1] == 'n';
	return 0;
}

static int set_auto(struct config *c, const char *value, struct err *e)
{
	return on_off(&c->automatic, value, e);
}

static int set_verbose(struct config *c, const char *value, struct err *e)
{
	return on_off(&c->verbose, value, e);
}

static int set_isolation(struct config *c, const char *value, struct err *e)
{
	if (strcmp(value, "freeze") && strcmp(value, "run"))
		return err_set(e, ERR_USAGE, "'%s' is neither 'freeze' nor 'run'; write one of them", value);
	c->on_isolation = value[0] == 'r' ? ISOLATION_RUN : ISOLATION_FREEZE;
	return 0;
}

/* What INTERFACE promises and this version does not do is refused: a site must not believe that it has it. */
static int not_yet(const char *value, const char *only, struct err *e)
{
	if (!strcmp(value, only))
		return 0;
	return err_set(e, ERR_USAGE, "'%s' is not available in this version; use '%s' or leave it out", value,
	               only);
}

static int set_scheme(struct config *c, const char *value, struct err *e)
{
	(void)c;
	return not_yet(value, "copy", e);
}

static int set_registry(struct config *c, const char *value, struct err *e)
{
	(void)c;
	return not_yet(value, "local", e);
}

static int set_metrics(struct config *c, const char *value, struct err *e)
{
	(void)c;
	return not_yet(value, "off", e);
}

const struct config_key config_keys[] = {
	{ "name", "NAME", "the agent's name, unique in its cluster (the host's name)", NULL, set_name },
	{ "level", "N", "1 for a node agent, 2 and up for the levels above (1)", NULL, set_level },
	{ "listen", "URL", "where other agents reach it, tcp://ADDR:PORT; may repeat", list_listen, set_listen },
	{ "parent", "URL", "an agent one level up, in order of preference; may repeat", list_parents, set_parent },
	{ "key", "FILE", "the cluster key; needed to talk to other agents", NULL, set_key },
	{ "run", "DIR", "runtime directory (" CONFIG_DEFAULT_RUN ")", NULL, set_run },
	{ "state", "DIR", "durable directory (" CONFIG_DEFAULT_STATE ")", NULL, set_state },
	{ "memory", "SIZE", "budget for checkpoint data in memory (half of RAM)", NULL, set_memory },
	{ "update", "DUR", "collect what the children hold this often; 0: never (10s)", NULL, set_update },
	{ "save", "DUR", "write the store to disk this often; 0: never (60s)", NULL, set_save },
	{ "auto", "on|off", "take updates and saves without being asked (on)", NULL, set_auto },
	{ "lease", "DUR", "lease of the nodes below; a lost node's jobs move after it (10s)", NULL, set_lease },
	{ "on-isolation", "freeze|run", "what jobs do when this node's lease runs out (freeze)", NULL,
	  set_isolation },
	{ "scheme", "copy", "how this level keeps what it holds (copy)", NULL, set_scheme },
	{ "registry", "local", "where leases and ownership live (local)", NULL, set_registry },
	{ "criu", "PATH", "the CRIU program (found by itself)", NULL, set_criu },
	{ "metrics", "off", "HTTP status page and metrics (off)", NULL, set_metrics },
	{ "verbose", NULL, "log what is of interest to a developer, too", NULL, set_verbose },
};
const size_t config_keys_n = sizeof config_keys / sizeof *config_keys;

const struct config_key *config_key_find(const char *name)
{
	for (size_t i = 0; i < config_keys_n; i++)
		if (!strcmp(config_keys[i].name, name))
			return &config_keys[i];
	return NULL;
}
