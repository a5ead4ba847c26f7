/* Owns the check that a job gets no more rights than its submitter has. */
#include "agent/submitter.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/fs.h"
#include "lib/base/scoped.h"

static int take_groups(const struct control_request *c, Cpa__Spec *spec, struct err *e)
{
	uint32_t *groups = malloc((c->n_groups + 1) * sizeof *groups);
	if (!groups)
		return err_set(e, ERR_FAILED, "out of memory");
	for (size_t i = 0; i < c->n_groups; i++)
		groups[i] = c->groups[i];
	free(spec->groups);
	spec->groups = groups;
	spec->n_groups = c->n_groups;
	spec->gid = c->gid;
	return 0;
}

/* Is the process that asked still there, and that user's? Its pid may be somebody else's by now. */
static bool still_there(const struct control_request *c)
{
	char path[64];
	struct stat st;
	snprintf(path, sizeof path, "/proc/%d", (int)c->pid);
	return c->pid > 0 && stat(path, &st) == 0 && st.st_uid == c->uid;
}

/* How /proc names the limits, by resource. */
static const char *const limit_names[RLIM_NLIMITS] = {
	[RLIMIT_CPU] = "Max cpu time",
	[RLIMIT_FSIZE] = "Max file size",
	[RLIMIT_DATA] = "Max data size",
	[RLIMIT_STACK] = "Max stack size",
	[RLIMIT_CORE] = "Max core file size",
	[RLIMIT_RSS] = "Max resident set",
	[RLIMIT_NPROC] = "Max processes",
	[RLIMIT_NOFILE] = "Max open files",
	[RLIMIT_MEMLOCK] = "Max locked memory",
	[RLIMIT_AS] = "Max address space",
	[RLIMIT_LOCKS] = "Max file locks",
	[RLIMIT_SIGPENDING] = "Max pending signals",
	[RLIMIT_MSGQUEUE] = "Max msgqueue size",
	[RLIMIT_NICE] = "Max nice priority",
	[RLIMIT_RTPRIO] = "Max realtime priority",
	[RLIMIT_RTTIME] = "Max realtime timeout",
};

static rlim_t parse_limit(const char *text)
{
	return strcmp(text, "unlimited") == 0 ? RLIM_INFINITY : (rlim_t)strtoull(text, NULL, 10);
}

/* A resource's limits out of /proc/PID/limits: prlimit() of another user's process needs CAP_SYS_RESOURCE, which
 * root lacks in many containers. */
static int find_limit(const char *limits, uint32_t resource, struct rlimit *l)
{
	const char *line =
	        resource < RLIM_NLIMITS && limit_names[resource] ? strstr(limits, limit_names[resource]) : NULL;
	char soft[32], hard[32];
	if (!line || sscanf(line + strlen(limit_names[resource]), "%31s %31s", soft, hard) != 2)
		return -1;
	*l = (struct rlimit){ parse_limit(soft), parse_limit(hard) };
	return 0;
}

/* What the spec asks for of a resource, within what its submitter has; what it does not mention is as the
 * submitter has it, not as this agent does. */
static void cut_limit(const Cpa__Spec *spec, uint32_t resource, const struct rlimit *has, Cpa__Limit *out)
{
	cpa__limit__init(out);
	out->resource = resource;
	out->soft = has->rlim_cur;
	out->hard = has->rlim_max;
	for (size_t i = 0; i < spec->n_limits; i++) {
		const Cpa__Limit *l = spec->limits[i];
		if (l->resource != resource)
			continue;
		out->hard = l->hard < has->rlim_max ? l->hard : has->rlim_max;
		out->soft = l->soft < out->hard ? l->soft : out->hard;
	}
}

static int cut_limits(const struct control_request *c, Cpa__Spec *spec, struct err *e)
{
	char path[64];
	scoped_free char *text = NULL;
	size_t len, n = 0;
	snprintf(path, sizeof path, "/proc/%d/limits", (int)c->pid);
	if (fs_read(path, 65536, &text, &len, e) < 0)
		return err_wrap(e, "cannot read the limits of the process that asks");
	Cpa__Limit **all = calloc(RLIM_NLIMITS, sizeof(Cpa__Limit *));
	for (uint32_t r = 0; all && r < RLIM_NLIMITS; r++) {
		struct rlimit has;
		Cpa__Limit *l = find_limit(text, r, &has) == 0 ? malloc(sizeof *l) : NULL;
		if (!l)
			continue;
		cut_limit(spec, r, &has, l);
		all[n++] = l;
	}
	for (size_t i = 0; i < spec->n_limits; i++)
		cpa__limit__free_unpacked(spec->limits[i], NULL);
	free(spec->limits);
	spec->limits = all;
	spec->n_limits = n;
	return n ? 0 : err_set(e, ERR_FAILED, "cannot understand the limits of the process that asks");
}

int submitter_check(const struct request *rq, Cpa__Spec *spec, struct err *e)
{
	const struct control_request *c = rq->local;
	if (rq->uid == 0)
		return 0;
	if (!c || spec->uid != rq->uid)
		return err_set(e, ERR_DENIED, "a job runs as the user who starts it");
	if (take_groups(c, spec, e) < 0 || cut_limits(c, spec, e) < 0)
		return e->code;
	errno = 0;
	int nice = getpriority(PRIO_PROCESS, (id_t)c->pid);
	if (errno == 0 && spec->nice < nice)
		spec->nice = nice;
	if (!still_there(c))
		return err_set(e, ERR_FAILED, "the process that asked for this job has gone");
	return 0;
}

int submitter_may_run_here(const struct agent *a, const Cpa__Spec *spec, struct err *e)
{
	if (a->root || spec->uid == geteuid())
		return 0;
	return err_set(e, ERR_DENIED, "the agent %s runs without root, as user %u, and cannot run jobs of user %u",
	               a->cfg.name, (unsigned)geteuid(), spec->uid);
}
