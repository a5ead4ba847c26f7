/* Owns launching a job's command: from nothing, or with an arena that holds its keys. Runs in worker threads. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/fetch.h"
#include "agent/job_start.h"
#include "agent/keyset.h"
#include "agent/ports/launch.h"
#include "agent/ports/routed.h"
#include "lib/arena/mailbox.h"
#include "lib/base/scoped.h"

#define LAUNCH_TIMEOUT_MS 30000
#define ARENA_DEFAULT_BYTES (UINT64_C(4) << 30)

/* NULL-terminated strings out of protobuf bytes; one block, owned by the caller. */
static char **strings(const ProtobufCBinaryData *v, size_t n, char *const *extra, size_t n_extra)
{
	size_t bytes = (n + n_extra + 1) * sizeof(char *);
	for (size_t i = 0; i < n; i++)
		bytes += v[i].len + 1;
	char **out = malloc(bytes);
	if (!out)
		return NULL;
	char *p = (char *)(out + n + n_extra + 1);
	for (size_t i = 0; i < n; i++) {
		out[i] = p;
		if (v[i].len)
			memcpy(p, v[i].data, v[i].len);
		p[v[i].len] = '\0';
		p += v[i].len + 1;
	}
	for (size_t i = 0; i < n_extra; i++)
		out[n + i] = extra[i];
	out[n + n_extra] = NULL;
	return out;
}

static char *text(const ProtobufCBinaryData *b)
{
	char *t = b->len ? malloc(b->len + 1) : NULL;
	if (!t)
		return NULL;
	memcpy(t, b->data, b->len);
	t[b->len] = '\0';
	return t;
}

/* What we set ourselves, and the submitter's agent, not that of another node. The rest is for the library. */
static bool is_ours(const ProtobufCBinaryData *variable)
{
	static const char *const names[] = { "JOB",  "NAME",  "ARENA", "INCARNATION", "RANK",
		                             "SIZE", "GROUP", "NODE",  "RUN" };
	char start[32];
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		size_t len = (size_t)snprintf(start, sizeof start, "CPAGENT_%s=", names[i]);
		if (variable->len >= len && memcmp(variable->data, start, len) == 0)
			return true;
	}
	return false;
}

/* The user's environment without that, then what we set. */
static char **environment(struct job *j, char (*own)[FS_PATH_MAX + 32], size_t *n_own)
{
	char arena[FS_PATH_MAX];
	char *extra[8];
	size_t n = 0;
	const Cpa__Spec *spec = j->spec;
	snprintf(own[n++], sizeof own[0], "CPAGENT_JOB=%s", j->id);
	snprintf(own[n++], sizeof own[0], "CPAGENT_NAME=%s", spec->name);
	snprintf(own[n++], sizeof own[0], "CPAGENT_ARENA=%s",
	         j->agent->root ? LAUNCH_JOB_DIR "/arena" : job_arena(j, arena));
	snprintf(own[n++], sizeof own[0], "CPAGENT_INCARNATION=%u", j->incarnation);
	snprintf(own[n++], sizeof own[0], "CPAGENT_RANK=%u", spec->rank);
	snprintf(own[n++], sizeof own[0], "CPAGENT_SIZE=%u", spec->ranks ? spec->ranks : 1);
	if (spec->group[0])
		snprintf(own[n++], sizeof own[0], "CPAGENT_GROUP=%s", spec->group);
	snprintf(own[n++], sizeof own[0], "CPAGENT_NODE=%s", j->agent->cfg.name);
	for (size_t i = 0; i < n; i++)
		extra[i] = own[i];
	*n_own = n;
	scoped_free ProtobufCBinaryData *kept = malloc((spec->n_env + 1) * sizeof *kept);
	size_t n_kept = 0;
	for (size_t i = 0; kept && i < spec->n_env; i++)
		if (!is_ours(&spec->env[i]))
			kept[n_kept++] = spec->env[i];
	return kept ? strings(kept, n_kept, extra, n) : NULL;
}

static void take_limits(struct launch *l, const Cpa__Spec *spec)
{
	for (size_t i = 0; i < spec->n_limits; i++) {
		const Cpa__Limit *m = spec->limits[i];
		if (m->resource >= RLIM_NLIMITS)
			continue;
		l->limits[m->resource] = (struct rlimit){ m->soft, m->hard };
		l->limits_set |= UINT32_C(1) << m->resource;
	}
}

static int do_launch(struct start *s, struct err *e)
{
	struct job *j = s->job;
	const Cpa__Spec *spec = j->spec;
	struct agent *a = j->agent;
	char own[8][FS_PATH_MAX + 32], path[FS_PATH_MAX];
	size_t n_own;
	scoped_free char **argv = strings(spec->argv, spec->n_argv, NULL, 0);
	scoped_free char **envp = environment(j, own, &n_own);
	scoped_free char *cwd = text(&spec->cwd), *in = text(&spec->stdin_path);
	scoped_fd int cg = -1;
	cpu_set_t cpus;
	struct launched out = { .pidfd = -1 };
	struct launch l = { .uuid = j->id,
		            .uid = spec->uid,
		            .gid = spec->gid,
		            .groups = spec->groups,
		            .ngroups = spec->n_groups,
		            .argv = argv,
		            .envp = envp,
		            .cwd = cwd,
		            .stdin_path = in,
		            .umask = (mode_t)spec->umask,
		            .nice = spec->nice,
		            .job_dir = j->job_dir,
		            .log_dir = j->log_dir,
		            .cpinit = a->cpinit,
		            .cgroup_fd = -1,
		            .plain = !a->root };
	if (!argv || !envp)
		return err_set(e, ERR_FAILED, "out of memory");
	take_limits(&l, spec);
	if (spec->affinity.len && spec->affinity.len <= sizeof cpus) {
		memset(&cpus, 0, sizeof cpus);
		memcpy(&cpus, spec->affinity.data, spec->affinity.len);
		l.affinity = &cpus;
	}
	if (a->cgroup && cgroup_fd(a->cgroup, j->id, &cg, e) < 0)
		return e->code;
	l.cgroup_fd = cg;
	unlink(fs_path(path, "%s/exit", j->job_dir));
	int rc = launch_job(&l, LAUNCH_TIMEOUT_MS, &out, e);
	s->pid = out.pid;
	s->pidfd = out.pidfd;
	s->launch_status = out.status;
	return rc;
}

static int make_arena(struct job *j, struct err *e)
{
	char path[FS_PATH_MAX];
	uint64_t budget = j->spec->arena_bytes ? j->spec->arena_bytes : ARENA_DEFAULT_BYTES;
	unlink(job_arena(j, path));
	int rc = arena_create(path, budget, 0600);
	return rc == 0 ? 0 : err_set(e, ERR_FAILED, "cannot make the arena %s: %s", path, strerror(-rc));
}

/* Mark the arena of a command that starts as served, and give it to the job's user: last, when we are done with
 * it. */
static int hand_arena(const struct start *s, enum arena_start how, struct err *e)
{
	const struct job *j = s->job;
	char path[FS_PATH_MAX];
	int rc = arena_unlock_all(job_arena(j, path));
	scoped_fd int fd = rc == 0 ? open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW) : -1;
	if (rc == 0 && fd < 0)
		rc = -errno;
	if (rc == 0)
		rc = arena_set_start(fd, j->incarnation, how, 0);
	if (rc == 0)
		rc = arena_set_mtbf(fd, s->mtbf_ms);
	if (rc == 0)
		rc = arena_set_top(fd, s->top);
	if (rc < 0)
		return err_set(e, ERR_FAILED, "the arena %s is broken: %s", path, strerror(-rc));
	if (j->agent->root && fchown(fd, j->spec->uid, j->spec->gid) < 0)
		return err_sys(e, ERR_FAILED, "cannot give the arena %s to its user", path);
	return 0;
}

int start_empty_files(struct job *j, struct err *e)
{
	bool given = j->agent->root;
	return routed_remove(j->job_dir, e) < 0 ||
	                       routed_make(j->job_dir, given ? j->spec->uid : (uid_t)-1, j->spec->gid, e) < 0
	               ? e->code
	               : 0;
}

int start_anew(struct start *s, struct err *e)
{
	return start_empty_files(s->job, e) < 0 || make_arena(s->job, e) < 0 || hand_arena(s, ARENA_FRESH, e) < 0
	               ? e->code
	               : do_launch(s, e);
}

int start_from_keys(struct start *s, const struct start_source *src, struct err *e)
{
	struct job *j = s->job;
	char path[FS_PATH_MAX];
	if (!src->local &&
	    (make_arena(j, e) < 0 || fetch_keys(j->agent, src->h, j->id, job_arena(j, path), e) < 0))
		return err_wrap(e, "cannot bring the keys from level %u (%s)", src->h->level, src->h->holder);
	/* a broken one here is an error, and the next source is tried: a level above */
	return start_empty_files(j, e) < 0 || hand_arena(s, ARENA_FROM_KEYS, e) < 0 ? e->code : do_launch(s, e);
}
