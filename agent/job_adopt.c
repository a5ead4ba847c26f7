/* Owns what an agent makes of the jobs that an earlier life of it left: those that run are watched again, those
 * that died meanwhile are dealt with, what was half done is done again. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/bell.h"
#include "agent/job_local.h"
#include "agent/job_start.h"
#include "agent/ports/fence.h"
#include "agent/ports/let_go.h"
#include "agent/ports/routed.h"
#include "agent/standing.h"
#include "agent/wishes.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/scoped.h"

#define SPEC_MAX ((size_t)16 << 20)

/* Is this process number 1 in its own pid namespace, below ours? */
static bool is_init(pid_t pid)
{
	char path[64];
	scoped_free char *text = NULL;
	size_t len;
	snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
	if (pid <= 0 || fs_read(path, 65536, &text, &len, NULL) < 0)
		return false;
	char *line = strstr(text, "\nNSpid:");
	char *end = line ? strchr(line + 1, '\n') : NULL;
	if (end)
		*end = '\0';
	char *last = line ? strrchr(line, '\t') : NULL;
	return last && strcmp(last, "\t1") == 0 && job_pid_start(pid);
}

/* The job's pid 1, found by its cgroup: nothing needs to have been written down in time. */
static pid_t find_init(struct job *j)
{
	pid_t *pids = NULL, found = 0;
	size_t n = 0;
	if (!j->agent->cgroup)
		return j->pid;
	if (cgroup_pids(j->agent->cgroup, j->id, &pids, &n, NULL) < 0)
		return 0;
	for (size_t i = 0; i < n && !found; i++)
		if (is_init(pids[i]))
			found = pids[i];
	free(pids);
	return found;
}

/* A start was under way when the agent died: what it left is no job yet. Do it again. */
static void start_again(struct job *j)
{
	struct err e = { 0 };
	struct start_from *from = j->state == JOB_STARTING ? start_from_nothing(&e) : start_from_local(j, &e);
	log_info("start_resumed", "job=%s name=%s state=%s", j->id, j->spec->name, job_state_name(j->state));
	if (from)
		job_start(j, from);
	else
		job_move(j, EV_GIVEN_UP, e.text);
}

static void adopt_running(struct job *j)
{
	int pidfd = (int)syscall(SYS_pidfd_open, j->pid, 0);
	char arena[FS_PATH_MAX];
	if (j->started_ns <= 0 || j->started_ns > clock_boot_ns()) /* not known */
		j->started_ns = clock_boot_ns();
	struct err e = { 0 };
	let_go_over(job_arena(j, arena)); /* whoever began a snapshot is gone */
	if (routed_make(j->job_dir, j->agent->root ? j->spec->uid : (uid_t)-1, j->spec->gid, &e) < 0)
		log_warn("job_without_files", "job=%s why=\"%s\"", j->id, e.text);
	bell_open(j);
	log_info("job_adopted", "job=%s name=%s pid=%d state=%s incarnation=%u generations=%zu", j->id,
	         j->spec->name, (int)j->pid, job_state_name(j->state), j->incarnation, j->n_gens);
	job_touched(j);
	if (pidfd < 0 || job_watch(j, pidfd) < 0)
		job_died(j);
}

static void adopt(struct job *j)
{
	if (j->state == JOB_LOST) {
		job_kill(j);
		job_tell(j, REPORT_GONE);
		return;
	}
	if (job_ended(j->state)) {
		wishes_look(j);
		job_tell(j, j->state == JOB_EXITED ? REPORT_EXITED : REPORT_FAILED);
		return;
	}
	pid_t pid = find_init(j);
	if (j->state == JOB_RESTORING || (j->state == JOB_STARTING && pid <= 0)) {
		start_again(j);
		return;
	}
	j->pid = pid;
	if (j->state == JOB_STARTING)
		job_move(j, EV_LAUNCHED, "its agent was restarted meanwhile");
	bool fenced = j->agent->fence && fence_fenced(j->agent->fence);
	if (j->state == JOB_RUNNING && fenced)
		job_move(j, EV_FENCED, "the node's lease ran out while its agent was away");
	else if (j->state == JOB_FROZEN && !fenced)
		job_move(j, EV_THAWED, "");
	job_tell(j, REPORT_RUNNING);
	if (pid > 0)
		adopt_running(j);
	else
		job_died(j);
}

static int load_record(struct agent *a, const char *uuid, struct err *e)
{
	char path[FS_PATH_MAX];
	scoped_free char *data = NULL;
	size_t len;
	struct job *j;
	if (fs_read(fs_path(path, "%s/jobs/%s/spec", a->cfg.run, uuid), SPEC_MAX, &data, &len, e) < 0)
		return e->code;
	Cpa__Spec *spec = cpa__spec__unpack(NULL, len, (uint8_t *)data);
	if (spec && strcmp(spec->job, uuid) == 0)
		return jobs_load(a, spec, &j, e);
	if (spec)
		cpa__spec__free_unpacked(spec, NULL);
	return err_set(e, ERR_FAILED, "%s is damaged", path);
}

int jobs_find_all(struct agent *a, struct err *e)
{
	char dir[FS_PATH_MAX];
	scoped_dir DIR *d = opendir(fs_path(dir, "%s/jobs", a->cfg.run));
	if (!d)
		return err_sys(e, ERR_FAILED, "cannot read %s", dir);
	for (struct dirent *de; (de = readdir(d));) {
		struct err why = { 0 };
		if (strlen(de->d_name) == CORE_UUID - 1 && load_record(a, de->d_name, &why) < 0)
			log_warn("job_not_adopted", "job=%s why=\"%s\"", de->d_name, why.text);
	}
	return 0;
}

void jobs_adopt(struct agent *a)
{
	for (struct job *j = a->jobs ? a->jobs->first : NULL, *next; j; j = next) {
		next = j->next;
		adopt(j);
	}
}
