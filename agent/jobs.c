/* Owns the table of this node's jobs, their directories, and the one way a state changes. */
#include "agent/jobs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/asks.h"
#include "agent/bell.h"
#include "agent/follow.h"
#include "agent/job_local.h"
#include "agent/job_start.h"
#include "agent/keyset.h"
#include "agent/ports/fence.h"
#include "agent/standing.h"
#include "agent/verbs.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/chunk/manifest.h"
#include "lib/wire/copy.h"

#define FENCE_CHECK_NS (500 * NS_PER_MS)

const char *job_img_dir(const struct job *j, unsigned slot, char *buf)
{
	return fs_path(buf, "%s/img.%u", j->dir, slot);
}

const char *job_keys_dir(const struct job *j, char *buf)
{
	return fs_path(buf, "%s/keys", j->dir);
}

const char *job_arena(const struct job *j, char *buf)
{
	return fs_path(buf, "%s/arena", j->job_dir);
}

struct job *jobs_find(struct agent *a, const char *uuid)
{
	for (struct job *j = a->jobs ? a->jobs->first : NULL; j; j = j->next)
		if (strcmp(j->id, uuid) == 0)
			return j;
	return NULL;
}

int jobs_resolve(struct agent *a, const char *word, uid_t uid, struct job **out, struct err *e)
{
	struct job *mine = NULL, *other = NULL;
	size_t len = strlen(word);
	int count = 0;
	for (struct job *j = a->jobs ? a->jobs->first : NULL; j; j = j->next) {
		bool named = strcmp(j->spec->name, word) == 0;
		if (!named && !(len >= 8 && strncmp(j->id, word, len) == 0))
			continue;
		if (uid != 0 && uid != j->spec->uid) {
			other = j;
			continue;
		}
		/* of several with one name the one that lives is meant, else the newest */
		if (!mine || (job_ended(mine->state) && !job_ended(j->state)))
			mine = j;
		count += !job_ended(j->state);
	}
	if (count > 1)
		return err_set(e, ERR_FAILED,
		               "%s: several jobs have that name; say which by its UUID (cpagent ps --json)", word);
	if (!mine && other)
		return err_set(e, ERR_DENIED,
		               "%s: this job belongs to another user; only that user and root may use it", word);
	if (!mine)
		return err_set(e, ERR_NOT_FOUND, "%s: no such job; `cpagent ps -a` lists those there are", word);
	*out = mine;
	return 0;
}

static int make_dirs(struct job *j, struct err *e)
{
	char path[FS_PATH_MAX];
	if (fs_mkdirs(j->dir, 0700, e) < 0 || fs_mkdirs(j->job_dir, 0755, e) < 0 ||
	    fs_mkdirs(j->log_dir, 0755, e) < 0)
		return err_wrap(e, "cannot make room for job %s", j->spec->name);
	size_t len;
	void *buf = wire_pack(&j->spec->base, &len);
	if (!buf)
		return err_set(e, ERR_FAILED, "out of memory");
	int rc = fs_write_aside(fs_path(path, "%s/spec", j->dir), buf, len, 0600, 0, e);
	free(buf);
	return rc;
}

static struct job *new_job(struct agent *a, Cpa__Spec *spec, uint32_t incarnation, enum job_state state)
{
	struct job *j = calloc(1, sizeof *j);
	if (!j)
		return NULL;
	*j = (struct job){
		.agent = a, .spec = spec, .id = spec->job, .state = state, .incarnation = incarnation, .pidfd = -1
	};
	fs_path(j->dir, "%s/jobs/%s", a->cfg.run, spec->job);
	fs_path(j->job_dir, "%s/jobs/%s/job", a->cfg.run, spec->job);
	fs_path(j->log_dir, "%s/jobs/%s/log", a->cfg.state, spec->job);
	j->supervise = (struct supervise){ .policy = (enum restart_policy)spec->restart,
		                           .max_restarts = spec->max_restarts,
		                           .window = (int64_t)spec->max_seconds_ns };
	interval_set(&j->every, (int64_t)spec->every_ns, spec->every_ns > 0, clock_boot_ns());
	return j;
}

static void link_job(struct job *j, struct job **out)
{
	j->next = j->agent->jobs->first;
	j->agent->jobs->first = j;
	j->agent->jobs->count++;
	*out = j;
}

int jobs_add(struct agent *a, Cpa__Spec *spec, uint32_t incarnation, enum job_state state, struct job **out,
             struct err *e)
{
	jobs_make_room(a);
	struct job *j = new_job(a, spec, incarnation, state);
	if (j && make_dirs(j, e) == 0 && job_save(j, e) == 0) {
		link_job(j, out);
		return 0;
	}
	if (j)
		fs_remove_tree(j->dir, NULL);
	cpa__spec__free_unpacked(spec, NULL);
	int rc = j ? ERR_FAILED : err_set(e, ERR_FAILED, "out of memory for a job");
	free(j);
	return rc;
}

int jobs_load(struct agent *a, Cpa__Spec *spec, struct job **out, struct err *e)
{
	struct job *j = new_job(a, spec, 0, JOB_STARTING);
	if (j && (job_load(j, e) == 0 || e->code == ERR_NOT_FOUND)) {
		job_find_gens(j);
		ask_fetch_found(j);
		link_job(j, out);
		return 0;
	}
	cpa__spec__free_unpacked(spec, NULL);
	int rc = j ? ERR_FAILED : err_set(e, ERR_FAILED, "out of memory for a job");
	free(j);
	return rc;
}

static void free_job(struct job *j)
{
	job_unwatch(j);
	bell_close(j);
	for (size_t i = 0; i < j->n_gens; i++)
		cpa__generation__free_unpacked(j->gens[i].g, NULL);
	for (size_t i = 0; i < j->n_history; i++)
		cpa__past__free_unpacked(j->history[i], NULL);
	for (size_t i = 0; i < j->n_held; i++)
		cpa__holding__free_unpacked(j->held[i], NULL);
	free(j->held);
	keyset_forget(j);
	cpa__spec__free_unpacked(j->spec, NULL);
	free(j);
}

static void unlink_job(struct job *j)
{
	for (struct job **p = &j->agent->jobs->first; *p; p = &(*p)->next) {
		if (*p != j)
			continue;
		*p = j->next;
		j->agent->jobs->count--;
		return;
	}
}

void jobs_remove(struct job *j)
{
	char state_dir[FS_PATH_MAX];
	struct err e = { 0 };
	job_snapshot_refuse(j, "it is gone");
	if (j->agent->cgroup && cgroup_remove(j->agent->cgroup, j->id, 0, &e) < 0)
		log_warn("job_cgroup_stays", "job=%s why=\"%s\"", j->id, e.text);
	if (fs_remove_tree(j->dir, &e) < 0 ||
	    fs_remove_tree(fs_path(state_dir, "%s/jobs/%s", j->agent->cfg.state, j->id), &e) < 0)
		log_warn("job_files_stay", "job=%s why=\"%s\"", j->id, e.text);
	unlink_job(j);
	follow_wake(j);
	free_job(j);
}

bool job_move(struct job *j, enum job_event ev, const char *why)
{
	enum job_state old = j->state;
	if (!job_on(&j->state, ev, NULL)) {
		log_warn("job_event_refused", "job=%s name=%s state=%s event=%s", j->id, j->spec->name,
		         job_state_name(old), job_event_name(ev));
		return false;
	}
	core_copy(j->why, sizeof j->why, why ? why : "");
	log_info("job_state", "job=%s name=%s %s --%s--> %s incarnation=%u%s%s", j->id, j->spec->name,
	         job_state_name(old), job_event_name(ev), job_state_name(j->state), j->incarnation,
	         why && *why ? " why=" : "", why ? why : "");
	job_touched(j);
	return true;
}

void job_touched(struct job *j)
{
	struct err e = { 0 };
	if (job_save(j, &e) < 0)
		log_error("job_not_saved", "job=%s why=\"%s\"", j->id, e.text);
	j->detail_due = true;
	standing_poke(j->agent);
	follow_wake(j);
	verbs_checkpoint_look(j->agent);
}

void job_tell(struct job *j, enum report what)
{
	j->tell_due = true;
	j->tell_what = what;
	j->telling = false;
	standing_poke(j->agent);
}

bool job_forgettable(const struct job *j)
{
	return j->state == JOB_LOST && !j->tell_due && !j->busy && !j->keyset_busy && !j->pid;
}

bool job_finished(const struct job *j)
{
	return j->state == JOB_EXITED && j->ending.code == 0 && j->ending.signal == 0 && !j->stopping;
}

uint64_t jobs_memory(const struct agent *a)
{
	uint64_t bytes = 0;
	for (struct job *j = a->jobs ? a->jobs->first : NULL; j; j = j->next) {
		for (size_t i = 0; i < j->n_gens; i++)
			bytes += manifest_generation_bytes(j->gens[i].g);
		bytes += j->fetched_bytes;
	}
	return bytes;
}

/* Without cpfence nothing would stop this node's jobs at their lease's end. */
static void watch_fence(struct jobs *jobs, int64_t now)
{
	struct err e = { 0 };
	if (now < jobs->fence_due)
		return;
	jobs->fence_due = now + FENCE_CHECK_NS;
	int rc = jobs->agent->fence ? fence_check(jobs->agent->fence, &e) : 0;
	if (rc < 0 && jobs->fence_trouble != rc)
		log_error("fence_trouble", "why=\"%s\"", e.text);
	jobs->fence_trouble = rc;
}

static void on_tick(uv_timer_t *t)
{
	struct jobs *jobs = t->data;
	int64_t now = clock_boot_ns();
	watch_fence(jobs, now);
	for (struct job *j = jobs->first, *next; j; j = next) {
		next = j->next;
		job_tick(j, now);
	}
	ask_snapshot_tick(jobs->agent, now);
	/* behind the loop over the list: these remove jobs */
	jobs_forget_old(jobs->agent);
	jobs_make_room(jobs->agent);
	verbs_checkpoint_look(jobs->agent);
}

int jobs_open(struct agent *a, struct err *e)
{
	char dir[FS_PATH_MAX];
	struct jobs *jobs = calloc(1, sizeof *jobs);
	if (!jobs)
		return err_set(e, ERR_FAILED, "out of memory");
	jobs->agent = a;
	a->jobs = jobs;
	uv_timer_init(&a->loop, &jobs->tick);
	jobs->tick.data = jobs;
	if (fs_mkdirs(fs_path(dir, "%s/jobs", a->cfg.run), 0711, e) < 0 ||
	    fs_mkdirs(fs_path(dir, "%s/jobs", a->cfg.state), 0711, e) < 0 || jobs_find_all(a, e) < 0)
		return e->code;
	uv_timer_start(&jobs->tick, on_tick, 100, 100);
	return 0;
}

void jobs_close(struct agent *a)
{
	if (!a->jobs)
		return;
	uv_close((uv_handle_t *)&a->jobs->tick, NULL);
	for (struct job *j = a->jobs->first; j; j = j->next) {
		job_unwatch(j);
		bell_close(j);
	}
}
