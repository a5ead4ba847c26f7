/* Owns what of a job lies in its runtime directory: the Local record, and which image directories are complete. */
#include "agent/job_local.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/scoped.h"
#include "lib/chunk/manifest.h"
#include "lib/wire/copy.h"

#define LOCAL_MAX ((size_t)1 << 20)
#define ROOM_WANTED (UINT64_C(64) << 20)

int job_save(struct job *j, struct err *e)
{
	Cpa__Local local = CPA__LOCAL__INIT;
	Cpa__Exit ended = CPA__EXIT__INIT;
	int64_t times[SUPERVISE_TIMES];
	char path[FS_PATH_MAX];
	int64_t off = clock_real_ns() - clock_boot_ns();

	ended.code = j->ending.code;
	ended.signal = j->ending.signal;
	local.exit = &ended;
	local.incarnation = j->incarnation;
	local.state = (char *)(uintptr_t)job_state_name(j->state);
	local.pid = j->pid;
	local.pid_start = j->pid ? job_pid_start(j->pid) : 0;
	local.last_generation = j->last_generation;
	local.last_keyset = j->last_keyset;
	local.history = j->history;
	local.n_history = j->n_history;
	for (uint32_t i = 0; i < j->supervise.count; i++)
		times[i] = j->supervise.times[i] + off;
	local.restarts_ns = times;
	local.n_restarts_ns = j->supervise.count;
	local.reason = j->why;
	local.keyset_level = j->keyset_level;
	local.keyset_held = j->keyset_held;
	local.stopped = j->stopping;
	local.failures = j->failures;
	local.ran_ns = (uint64_t)j->ran_ns;
	local.started_ns = j->started_ns;
	local.ahead = j->ahead;
	local.held = j->held;
	local.n_held = j->n_held;

	size_t len;
	scoped_free void *buf = wire_pack(&local.base, &len);
	if (!buf)
		return err_set(e, ERR_FAILED, "out of memory");
	return fs_write_aside(fs_path(path, "%s/local", j->dir), buf, len, 0600, 0, e);
}

static void take_local(struct job *j, Cpa__Local *l)
{
	int64_t off = clock_real_ns() - clock_boot_ns();
	j->incarnation = l->incarnation;
	if (!job_state_parse(l->state, &j->state))
		j->state = JOB_FAILED;
	if (l->exit)
		j->ending = (struct ending){ l->exit->code, l->exit->signal };
	j->last_generation = l->last_generation;
	j->last_keyset = l->last_keyset;
	j->keyset_level = l->keyset_level;
	j->keyset_held = l->keyset_held;
	j->stopping = l->stopped;
	j->ahead = l->ahead;
	j->failures = l->failures;
	j->ran_ns = (int64_t)l->ran_ns;
	j->started_ns = l->started_ns;
	core_copy(j->why, sizeof j->why, l->reason);
	for (size_t i = 0; i < l->n_restarts_ns && j->supervise.count < SUPERVISE_TIMES; i++)
		j->supervise.times[j->supervise.count++] = l->restarts_ns[i] - off;
	for (size_t i = 0; i < l->n_history; i++) {
		job_history_add(j, l->history[i]);
		l->history[i] = NULL;
	}
	l->n_history = 0;
	for (size_t i = 0; i < l->n_held; i++)
		job_remember_held(j, l->held[i]);
	if (l->pid > 0 && l->pid_start && job_pid_start(l->pid) == l->pid_start)
		j->pid = l->pid;
}

int job_load(struct job *j, struct err *e)
{
	char path[FS_PATH_MAX];
	scoped_free char *data = NULL;
	size_t len;
	int rc = fs_read(fs_path(path, "%s/local", j->dir), LOCAL_MAX, &data, &len, e);
	if (rc < 0)
		return rc;
	Cpa__Local *l = cpa__local__unpack(NULL, len, (uint8_t *)data);
	if (!l)
		return err_set(e, ERR_FAILED, "%s is damaged", path);
	take_local(j, l);
	cpa__local__free_unpacked(l, NULL);
	return 0;
}

static int older_first(const void *x, const void *y)
{
	const struct gen *a = x, *b = y;
	return a->number < b->number ? -1 : a->number > b->number;
}

static void take_manifest(struct job *j, unsigned slot)
{
	char dir[FS_PATH_MAX], path[FS_PATH_MAX + 16];
	scoped_free char *data = NULL;
	size_t len;
	struct err e = { 0 };
	struct manifest m;
	snprintf(path, sizeof path, "%s/.manifest", job_img_dir(j, slot, dir));
	if (fs_read(path, MANIFEST_MAX, &data, &len, &e) < 0) {
		if (e.code != ERR_NOT_FOUND)
			log_warn("manifest_unreadable", "job=%s why=\"%s\"", j->id, e.text);
		return;
	}
	if (manifest_unpack(CPA__WHAT__GENERATION, (uint8_t *)data, len, j->agent->manifest_key, &m, &e) < 0) {
		log_warn("manifest_refused", "job=%s path=%s why=\"%s\"", j->id, path, e.text);
		return;
	}
	uint32_t level = 1;
	Cpa__Past *p = job_history_find(j, m.gen->generation);
	for (size_t i = 0; p && i < p->n_levels; i++)
		level = p->levels[i] > level ? p->levels[i] : level;
	j->gens[j->n_gens++] =
	        (struct gen){ .number = m.gen->generation, .slot = slot, .level = level, .g = m.gen };
	if (m.gen->generation > j->last_generation)
		j->last_generation = m.gen->generation;
}

void job_find_gens(struct job *j)
{
	for (unsigned slot = 0; slot < JOBS_KEEP_MAX + 2; slot++)
		take_manifest(j, slot);
	qsort(j->gens, j->n_gens, sizeof *j->gens, older_first);
}

/* The ended job that was here first and that nobody needs; NULL: there is none. *n: how many ended ones there are.
 */
static struct job *oldest_ended(struct agent *a, size_t *n)
{
	struct job *oldest = NULL;
	*n = 0;
	for (struct job *j = a->jobs->first; j; j = j->next)
		if (job_ended(j->state) && !j->busy && !j->keyset_busy && !j->tell_due) {
			(*n)++;
			oldest = j; /* the list is newest first */
		}
	return oldest;
}

void jobs_forget_old(struct agent *a)
{
	size_t n;
	struct job *oldest;
	while (a->jobs->count > JOBS_ENDED_MAX && (oldest = oldest_ended(a, &n)) && n > JOBS_ENDED_MAX)
		jobs_remove(oldest);
}

void jobs_make_room(struct agent *a)
{
	struct statvfs fs;
	struct job *oldest;
	size_t n;
	while (statvfs(a->cfg.run, &fs) == 0 && fs.f_bavail * fs.f_frsize < ROOM_WANTED &&
	       (oldest = oldest_ended(a, &n))) {
		log_warn("job_forgotten", "job=%s name=%s why=\"%s is nearly full\"", oldest->id,
		         oldest->spec->name, a->cfg.run);
		jobs_remove(oldest);
	}
}

uint64_t job_pid_start(pid_t pid)
{
	char path[64];
	scoped_free char *text = NULL;
	size_t len;
	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	if (pid <= 0 || fs_read(path, 4096, &text, &len, NULL) < 0)
		return 0;
	char *p = strrchr(text, ')'); /* the name may hold anything; fields 3 to 21 follow it */
	char state = p && p[1] ? p[2] : 'X';
	for (int field = 2; p && field < 22; field++)
		p = strchr(p + 1, ' ');
	return !p || state == 'Z' || state == 'X' ? 0 : strtoull(p, NULL, 10);
}
