/* CPU affinities of a job's threads: CRIU does not keep them. See snapshot_record.h. */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/ports/snapshot_record.h"

#define MASK_MAX 1024 /* bytes: 8192 CPUs */

struct recording {
	struct affinities *a;
	bool failed;
};

/* May a thread with this mask run on every CPU that is there? Then there is nothing to set again. */
static bool is_everything(const uint8_t *mask, size_t len)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	long set = 0;
	for (size_t i = 0; i < len; i++)
		set += __builtin_popcount(mask[i]);
	return set >= cpus;
}

static void record_thread(void *ctx, const struct job_process *p, pid_t tid)
{
	struct recording *r = ctx;
	uint8_t mask[MASK_MAX] __attribute__((aligned(8)));
	long len = syscall(SYS_sched_getaffinity, tid, sizeof mask, mask);
	if (len <= 0 || is_everything(mask, (size_t)len))
		return;
	struct affinity *more = realloc(r->a->list, (r->a->count + 1) * sizeof *more);
	if (!more) {
		r->failed = true;
		return;
	}
	r->a->list = more;
	struct affinity a = {.thread = jobtree_inner(p->pid, tid), .mask = malloc((size_t)len), .len = (size_t)len};
	if (!a.mask) {
		r->failed = true;
		return;
	}
	memcpy(a.mask, mask, a.len);
	r->a->list[r->a->count++] = a;
}

int affinities_record(struct affinities *a, const struct jobtree *t, struct err *e)
{
	struct recording r = {.a = a};
	*a = (struct affinities){0};
	jobtree_threads(t, record_thread, &r);
	return r.failed ? err_set(e, ERR_FAILED, "out of memory for the job's CPU affinities") : ERR_OK;
}

static void apply_thread(void *ctx, const struct job_process *p, pid_t tid)
{
	const struct affinities *a = ctx;
	pid_t inner = jobtree_inner(p->pid, tid);
	for (size_t i = 0; i < a->count; i++)
		if (a->list[i].thread == inner)
			syscall(SYS_sched_setaffinity, tid, a->list[i].len, a->list[i].mask);
}

void affinities_apply(const struct affinities *a, const struct jobtree *t)
{
	if (a->count)
		jobtree_threads(t, apply_thread, (void *)a);
}

void affinities_free(struct affinities *a)
{
	for (size_t i = 0; i < a->count; i++)
		free(a->list[i].mask);
	free(a->list);
	*a = (struct affinities){0};
}
