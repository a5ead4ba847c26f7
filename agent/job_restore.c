/* Owns bringing a job back from one generation: its images found or fetched, verified, and given to CRIU. Runs in
 * worker threads. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/fetch.h"
#include "agent/job_start.h"
#include "agent/machine.h"
#include "agent/ports/images.h"
#include "agent/ports/launch.h"
#include "agent/ports/snapshot.h"
#include "lib/arena/mailbox.h"
#include "lib/base/scoped.h"

/* Its generation in this node's own directories; what is damaged is remembered. */
static int own_images(struct start *s, uint64_t number, const Cpa__Generation **g, char *dir, struct err *e)
{
	struct gen *own = job_gen_find(s->job, number);
	if (!own || number == 0)
		return err_set(e, ERR_NOT_FOUND, "generation %llu is no longer on this node",
		               (unsigned long long)number);
	job_img_dir(s->job, own->slot, dir);
	if (images_verify(dir, own->g, e) < 0) {
		s->bad[s->n_bad++] = number;
		return err_wrap(e, "generation %llu is damaged and is not restored", (unsigned long long)number);
	}
	*g = own->g;
	return 0;
}

static int fetched_images(struct start *s, const struct start_source *src, const Cpa__Generation **g, char *dir,
                          struct err *e)
{
	s->slot = job_free_slot(s->job);
	job_img_dir(s->job, s->slot, dir);
	if (fetch_generation(s->job->agent, src->h, s->job->id, dir, &s->fetched, e) < 0)
		return err_wrap(e, "cannot bring generation %llu from level %u (%s)",
		                (unsigned long long)src->number, src->h->level, src->h->holder);
	*g = s->fetched;
	return 0;
}

struct marking {
	struct job *job;
	const char *arena;
	uint64_t generation, mtbf_ms;
	uint32_t top;
};

/* Before the restored job runs its first instruction: its arena says which incarnation it is and where it comes
 * from. */
static int mark_arena(void *ctx, pid_t pid, struct err *e)
{
	const struct marking *m = ctx;
	(void)pid;
	scoped_fd int fd = open(m->arena, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return err_sys(e, ERR_FAILED, "cannot open the arena %s", m->arena);
	int rc = arena_set_start(fd, m->job->incarnation, ARENA_FROM_SNAPSHOT, m->generation);
	if (rc == 0)
		rc = arena_set_mtbf(fd, m->mtbf_ms);
	if (rc == 0)
		rc = arena_set_top(fd, m->top);
	return rc == 0 ? 0 : err_set(e, ERR_FAILED, "the arena %s is broken: %s", m->arena, strerror(-rc));
}

int start_from_snapshot(struct start *s, const struct start_source *src, struct err *e)
{
	struct job *j = s->job;
	struct agent *a = j->agent;
	char dir[FS_PATH_MAX], arena[FS_PATH_MAX], path[FS_PATH_MAX], group[FS_PATH_MAX], suffix[24];
	const Cpa__Generation *g = NULL;
	if (!a->criu[0])
		return err_set(e, ERR_FAILED, "no process can be restored on this node: %s", a->why_no_criu);
	if ((src->local ? own_images(s, src->number, &g, dir, e) : fetched_images(s, src, &g, dir, e)) < 0)
		return e->code;
	if (machine_fits(a, g->machine, e) < 0 || images_trim(dir, g, e) < 0 || start_empty_files(j, e) < 0)
		return e->code;
	unlink(fs_path(path, "%s/exit", j->job_dir));
	snprintf(suffix, sizeof suffix, "%u", j->incarnation);
	fs_path(group, "%s/%s", a->cgroup ? a->cgroup->node : "", j->id);
	struct marking mark = { j, job_arena(j, arena), src->number, s->mtbf_ms, s->top };
	struct snapshot_restore how = { .criu = a->criu,
		                        .img_dir = dir,
		                        .job_dir = j->job_dir,
		                        .log_dir = j->log_dir,
		                        .arena = arena,
		                        .cgroup = a->cgroup ? group : NULL,
		                        .files = (enum snapshot_files)j->spec->files,
		                        .tcp_established = j->spec->tcp == CPA__TCP__ESTABLISHED,
		                        .tail_suffix = suffix,
		                        .ready = mark_arena,
		                        .ctx = &mark };
	int rc = snapshot_restore(&how, &s->pid, e);
	if (rc < 0)
		return rc;
	s->pidfd = (int)syscall(SYS_pidfd_open, s->pid, 0);
	if (s->pidfd < 0)
		return err_sys(e, ERR_FAILED, "cannot watch the restored job");
	return 0;
}
