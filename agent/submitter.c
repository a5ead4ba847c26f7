/* Owns the check that a job gets no more rights than its submitter has. */
#include "agent/submitter.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

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

static int cut_limits(const struct control_request *c, Cpa__Spec *spec, struct err *e)
{
	for (size_t i = 0; i < spec->n_limits; i++) {
		Cpa__Limit *l = spec->limits[i];
		struct rlimit has;
		if (l->resource >= RLIM_NLIMITS || prlimit(c->pid, (__rlimit_resource_t)l->resource, NULL, &has) < 0)
			return err_sys(e, ERR_DENIED, "cannot read the limits of the process that asks");
		if (l->hard > has.rlim_max)
			l->hard = has.rlim_max;
		if (l->soft > l->hard)
			l->soft = l->hard;
	}
	return 0;
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
