/* Owns the order in which an agent's parts come up and go down. */
#include "agent/setup.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agent/ask.h"
#include "agent/call.h"
#include "agent/control.h"
#include "agent/events.h"
#include "agent/follow.h"
#include "agent/jobs.h"
#include "agent/levels.h"
#include "agent/machine.h"
#include "agent/ports/criu.h"
#include "agent/ports/fence.h"
#include "agent/ports/launch.h"
#include "agent/ports/store.h"
#include "agent/registrar.h"
#include "agent/request.h"
#include "agent/standing.h"
#include "lib/base/log.h"

/* ---- keys and tools ---- */

/* Without a cluster key the agent seals its manifests with one of its own, kept in its state directory. */
static int open_key(struct agent *a, struct err *e)
{
	char own[FS_PATH_MAX];
	const char *path = a->cfg.key;
	if (!path) {
		path = fs_path(own, "%s/key", a->cfg.state);
		if (access(path, F_OK) != 0 && seal_keygen(path, e) < 0)
			return e->code;
	}
	if (seal_key_load(path, &a->key, e) < 0)
		return e->code;
	crypto_kdf_derive_from_key(a->manifest_key, sizeof a->manifest_key, 1, "manifest", a->key.bytes);
	return 0;
}

/* Beside this program, as in a build directory, or where an installation puts it. */
static int find_tool(const char *name, char *path, struct err *e)
{
	char self[FS_PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	if (n < 0)
		return err_sys(e, ERR_FAILED, "cannot find out where this program lies");
	self[n] = '\0';
	*strrchr(self, '/') = '\0';
	if (access(fs_path(path, "%s/%s", self, name), X_OK) == 0 ||
	    access(fs_path(path, "%s/../libexec/cpagent/%s", self, name), X_OK) == 0)
		return 0;
	return err_set(e, ERR_FAILED,
	               "%s is not beside %s/cpagentd nor in ../libexec/cpagent; install cpagent completely", name,
	               self);
}

static void find_criu(struct agent *a)
{
	struct err e = { 0 };
	if (!a->root)
		err_set(&e, ERR_DENIED, "process snapshots need root");
	else if (criu_find(a->cfg.criu, a->criu, &e) == 0)
		return;
	a->criu[0] = '\0';
	snprintf(a->why_no_criu, sizeof a->why_no_criu, "%s", e.text);
	if (a->cfg.level == 1)
		log_warn("no_snapshots", "why=\"%s\"", e.text);
}

/* ---- parts ---- */

int setup_open_bus(struct agent *a, const char *parent, struct err *e)
{
	char facing[BUS_URL_MAX], url[BUS_URL_MAX];
	const char *listen[BUS_LISTEN_MAX];
	size_t n = 0;
	for (size_t i = 0; i < a->cfg.listen.n && n < BUS_LISTEN_MAX; i++)
		listen[n++] = a->cfg.listen.item[i];
	if (n == 0 && parent) {
		if (bus_facing(parent, facing, sizeof facing, e) < 0)
			return err_wrap(e,
			                "cannot find the address that faces the parent; give one with --listen");
		snprintf(url, sizeof url, "tcp://%s:0", facing);
		listen[n++] = url;
	}
	if (n == 0)
		return err_set(e, ERR_USAGE, "an agent of level %u needs --listen tcp://ADDR:PORT", a->cfg.level);
	struct bus_config cfg = { .name = a->cfg.name,
		                  .key = &a->key,
		                  .listen = listen,
		                  .n_listen = n,
		                  .on_request = ask_handle,
		                  .ctx = a };
	if (bus_open(&a->bus, &a->loop, &cfg, e) < 0)
		return e->code;
	struct bus_peer *up = parent ? bus_peer_by_url(a->bus, parent, NULL) : NULL;
	const char *mine = up ? bus_url_for(a->bus, up) : bus_url(a->bus, 0);
	snprintf(a->url, sizeof a->url, "%s", mine && *mine ? mine : bus_url(a->bus, 0));
	log_info("listening", "url=%s", a->url);
	return 0;
}

static int open_bus(struct agent *a, struct err *e)
{
	if (a->cfg.level == 1 && a->cfg.parents.n == 0 && a->cfg.listen.n == 0)
		return 0; /* alone: nobody to talk to */
	return setup_open_bus(a, a->cfg.parents.n ? a->cfg.parents.item[0] : NULL, e);
}

/* One copy of cpinit in the runtime directory, for every job to have a link to: 700 KB less to write at each
 * launch. */
static int keep_cpinit(struct agent *a, struct err *e)
{
	char installed[FS_PATH_MAX];
	char *data = NULL;
	size_t len = 0;
	if (find_tool("cpinit", installed, e) < 0 || fs_read(installed, (size_t)16 << 20, &data, &len, e) < 0)
		return e->code;
	fs_path(a->cpinit, "%s/cpinit", a->cfg.run);
	int rc = fs_write_aside(a->cpinit, data, len, 0755, 0, e);
	free(data);
	return rc;
}

/* Jobs are frozen by the node's name, so two agents of one name on one machine would freeze each other's. */
static int claim_name(struct agent *a, struct err *e)
{
	int fd = open(a->cgroup->node, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0) {
		a->name_fd = fd;
		return 0;
	}
	int rc = errno == EWOULDBLOCK
	                 ? err_set(e, ERR_FAILED,
	                           "an agent named %s runs on this machine already; give this one another --name",
	                           a->cfg.name)
	                 : err_sys(e, ERR_FAILED, "cannot lock %s", a->cgroup->node);
	if (fd >= 0)
		close(fd);
	return rc;
}

static int open_node(struct agent *a, struct err *e)
{
	if (keep_cpinit(a, e) < 0 || find_tool("cpfence", a->cpfence, e) < 0)
		return e->code;
	if (a->root) {
		a->cgroup = calloc(1, sizeof *a->cgroup);
		if (!a->cgroup)
			return err_set(e, ERR_FAILED, "out of memory");
		if (launch_prepare_node(e) < 0 || cgroups_open(a->cgroup, a->cfg.name, e) < 0 ||
		    claim_name(a, e) < 0 || fence_open(&a->fence, a->cfg.run, a->cgroup->node, a->cpfence, e) < 0)
			return e->code;
	} else {
		log_warn("without_root", "why=\"no namespaces, cgroups, snapshots or fence: keyed checkpoints, "
		                         "levels and supervision only\"");
	}
	events_open(a);
	return jobs_open(a, e);
}

static int make_dirs(struct agent *a, struct err *e)
{
	if (fs_mkdirs(a->cfg.run, 0755, e) < 0 || fs_mkdirs(a->cfg.state, 0711, e) < 0)
		return e->code;
	return 0;
}

static void raise_limits(void)
{
	struct rlimit l;
	if (getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur < l.rlim_max) {
		l.rlim_cur = l.rlim_max;
		setrlimit(RLIMIT_NOFILE, &l);
	}
}

static int open_parts(struct agent *a, struct err *e)
{
	char path[FS_PATH_MAX];
	if (open_bus(a, e) < 0 || call_open(a, e) < 0 || follow_open(a, e) < 0)
		return e->code;
	if (a->cfg.level == 1 ? open_node(a, e) < 0 : collect_open(a, e) < 0)
		return e->code;
	if (a->cfg.parents.n && standing_open(a, e) < 0)
		return e->code;
	if (a->bus && a->cfg.level > 1 && a->cfg.parents.n == 0 && registrar_open(a, e) < 0)
		return e->code;
	jobs_adopt(a);
	/* last: who reconnects finds the jobs that were adopted */
	return control_open(&a->control, &a->loop, fs_path(path, "%s/control.sock", a->cfg.run),
	                    request_from_control, a, e);
}

int setup_open(struct agent *a, struct err *e)
{
	if (sodium_init() < 0)
		return err_set(e, ERR_FAILED, "libsodium does not start");
	a->root = geteuid() == 0;
	raise_limits();
	machine_look(a);
	if (make_dirs(a, e) < 0 || open_key(a, e) < 0)
		return e->code;
	find_criu(a);
	return open_parts(a, e);
}

void setup_close(struct agent *a)
{
	if (a->stopping)
		return;
	a->stopping = true;
	follow_close(a);
	control_close(a->control);
	a->control = NULL;
	standing_close(a);
	registrar_close(a);
	collect_close(a);
	events_close(a);
	call_close(a);
	bus_close(a->bus);
	a->bus = NULL;
	bool jobs = false;
	for (struct job *j = a->jobs ? a->jobs->first : NULL; j; j = j->next)
		jobs |= job_live(j->state);
	jobs_close(a);
	if (jobs)
		fence_close(&a->fence);
	else if (a->fence)
		fence_quit(&a->fence);
	if (a->cgroup)
		cgroups_close(a->cgroup);
}

/* ---- reload ---- */

static bool same_list(const struct config_list *x, const struct config_list *y)
{
	if (x->n != y->n)
		return false;
	for (size_t i = 0; i < x->n; i++)
		if (strcmp(x->item[i], y->item[i]) != 0)
			return false;
	return true;
}

static bool needs_restart(const struct config *x, const struct config *y)
{
	struct config_list named = x->parents;
	named.n -= x->registered;
	return strcmp(x->name, y->name) != 0 || x->level != y->level || strcmp(x->run, y->run) != 0 ||
	       strcmp(x->state, y->state) != 0 || x->lease_ns != y->lease_ns ||
	       x->on_isolation != y->on_isolation || !same_list(&x->listen, &y->listen) ||
	       !same_list(&named, &y->parents);
}

void setup_reload(struct agent *a)
{
	struct config next;
	struct err e = { 0 };
	if (config_load(a->argc, a->argv, &next, &e) != 0) {
		log_error("not_reloaded", "why=\"%s\"", e.text);
		return;
	}
	if (needs_restart(&a->cfg, &next))
		log_warn("reload_partly",
		         "why=\"name, level, run, state, lease, on-isolation, listen and parent need a restart\"");
	a->cfg.update_ns = next.update_ns;
	a->cfg.save_ns = next.save_ns;
	a->cfg.automatic = next.automatic;
	a->cfg.memory = next.memory;
	a->cfg.verbose = next.verbose;
	log_open(a->cfg.name, next.verbose ? LOG_EVENT_DEBUG : LOG_EVENT_INFO);
	if (a->store)
		store_set_budget(a->store, next.memory);
	if (a->collector)
		collect_reload(a);
	config_free(&next);
	log_info("reloaded", "file=%s", a->cfg.file ? a->cfg.file : "-");
}
