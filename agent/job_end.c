/* Owns how a job's life on this node ends: its death and what supervision makes of it, a stop, being disowned. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/asks.h"
#include "agent/bell.h"
#include "agent/job_start.h"
#include "agent/jobs.h"
#include "agent/keyset.h"
#include "agent/ports/jobtree.h"
#include "agent/ports/launch.h"
#include "agent/ports/routed.h"
#include "agent/standing.h"
#include "agent/wishes.h"
#include "agent/work.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"

#define ASKED_TO_END_NS (60 * NS_PER_S)

static void on_pidfd(uv_poll_t *w, int status, int events)
{
	(void)status, (void)events;
	job_died(w->data);
}

static void free_handle(uv_handle_t *h)
{
	free(h);
}

int job_watch(struct job *j, int pidfd)
{
	uv_poll_t *w = malloc(sizeof *w);
	if (!w || uv_poll_init(&j->agent->loop, w, pidfd) != 0) {
		free(w);
		close(pidfd);
		return ERR_FAILED;
	}
	w->data = j;
	j->pidfd = pidfd;
	j->watch = w;
	uv_poll_start(w, UV_READABLE, on_pidfd);
	return 0;
}

void job_unwatch(struct job *j)
{
	if (j->watch) {
		uv_poll_stop(j->watch);
		uv_close((uv_handle_t *)j->watch, free_handle);
		j->watch = NULL;
	}
	if (j->pidfd >= 0)
		close(j->pidfd);
	j->pidfd = -1;
}

/* Without root there is no cgroup that would hold a job together: its tree has to do. */
void job_signal_tree(struct job *j, int signo)
{
	struct jobtree t;
	if (j->pid <= 1 || jobtree_read(j->pid, &t, NULL) < 0)
		return;
	for (size_t i = 0; i < t.count; i++)
		kill(t.list[i].pid, signo);
	jobtree_free(&t);
}

void job_kill(struct job *j)
{
	struct err e = { 0 };
	if (j->agent->cgroup && cgroup_kill(j->agent->cgroup, j->id, &e) == 0)
		return;
	if (j->pidfd < 0)
		return;
	job_signal_tree(j, SIGSTOP); /* so that nobody forks while the rest is killed */
	job_signal_tree(j, SIGKILL);
	syscall(SYS_pidfd_send_signal, j->pidfd, SIGKILL, NULL, 0);
}

int job_signal(struct job *j, int signo)
{
	if (j->pidfd < 0) {
		errno = ESRCH;
		return -1;
	}
	if (signo == SIGKILL) {
		job_kill(j);
		return 0;
	}
	return (int)syscall(SYS_pidfd_send_signal, j->pidfd, signo, NULL, 0);
}

int job_ask_to_end(struct job *j, int signo)
{
	if (j->restart_at && !j->pid) { /* between two lives */
		job_stop(j, 0);
		return 0;
	}
	int rc = job_signal(j, signo);
	if (rc == 0)
		j->end_asked_ns = clock_boot_ns();
	return rc;
}

/* It may have caught that and gone on: much later it dies of something else. */
static bool was_asked_to_end(struct job *j)
{
	int64_t asked = j->end_asked_ns;
	j->end_asked_ns = 0;
	return asked && clock_boot_ns() - asked < ASKED_TO_END_NS;
}

/* How it ended: cpinit's own word, else what the kernel tells its parent, else that it was killed. */
static struct ending how_it_ended(struct job *j)
{
	struct launch_exit x;
	int status;
	pid_t reaped = j->pid > 0 ? waitpid(j->pid, &status, WNOHANG) : 0;
	if (launch_read_exit(j->job_dir, &x, NULL) == 0)
		return (struct ending){ x.signal ? 0 : x.code, x.signal };
	if (reaped == j->pid && reaped > 0 && WIFSIGNALED(status))
		return (struct ending){ 0, WTERMSIG(status) };
	return (struct ending){ 0, SIGKILL };
}

/* Directories of a job that needs them no more, removed off the loop: freeing gigabytes takes its time. */
struct removal {
	struct job *job;
};

static void run_removal(void *ctx)
{
	struct removal *r = ctx;
	char path[FS_PATH_MAX];
	for (unsigned slot = 0; slot < JOBS_KEEP_MAX + 2; slot++)
		fs_remove_tree(job_img_dir(r->job, slot, path), NULL);
	fs_remove_tree(job_keys_dir(r->job, path), NULL);
	routed_remove(r->job->job_dir, NULL);
}

static void done_removal(void *ctx)
{
	struct removal *r = ctx;
	r->job->busy = false;
	keyset_forget(r->job);
	if (r->job->disowned)
		job_died(r->job);
	free(r);
}

/* Nothing of it will be restored; what a level above has still to come for stays until then. */
void job_forget_images(struct job *j)
{
	bool idle = !j->keyset_busy && !j->busy && !wishes_open(j);
	struct removal *r = job_finished(j) && idle ? malloc(sizeof *r) : NULL;
	if (!r)
		return;
	r->job = j;
	j->busy = true;
	job_drop_gens(j);
	work_start(&j->agent->loop, run_removal, done_removal, r);
}

/* Supervision has the word: again here, or over. */
static void after_death(struct job *j)
{
	int64_t now = clock_boot_ns(), delay = 0;
	switch (supervise_died(&j->supervise, j->ending, j->stopping, j->started_ns, now, &delay)) {
	case SUPERVISE_RESTART:
		j->restart_at = now + delay;
		job_touched(j);
		if (delay == 0)
			job_tick(j, now);
		break;
	case SUPERVISE_END:
		job_move(j, EV_EXITED, "");
		job_tell(j, REPORT_EXITED);
		break;
	case SUPERVISE_GIVE_UP:
		job_move(j, EV_GIVEN_UP, "it died too often; see cpagent logs, and restore it by hand");
		job_tell(j, REPORT_FAILED);
		break;
	}
	if (job_ended(j->state)) {
		standing_job_gone(j->agent, j->id);
		wishes_look(j);
		job_forget_images(j);
	}
}

/* Its user's order, whatever supervision thinks. */
static void restart_again(struct job *j)
{
	struct start_from *from = j->again;
	j->again = NULL;
	j->restart_at = 0;
	j->incarnation++;
	j->state = JOB_RESTORING;
	log_info("job_again", "job=%s name=%s incarnation=%u", j->id, j->spec->name, j->incarnation);
	job_touched(j);
	standing_job_here(j->agent, j->id, j->incarnation);
	job_start(j, from);
}

void job_died(struct job *j)
{
	if (j->busy) { /* whoever works on it comes back here */
		j->died = true;
		if (j->watch)
			uv_poll_stop(j->watch);
		return;
	}
	j->died = false;
	j->ending = how_it_ended(j);
	j->stopping = was_asked_to_end(j) || j->stopping;
	job_unwatch(j);
	bell_close(j);
	ask_fetch_forget(j);
	job_count_end(j);
	job_kill(j); /* what it may have left in its cgroup */
	/* the node's own generations of a program that dies right after a restore are not tried for ever */
	j->pid = 0;
	j->kill_at = 0;
	log_info("job_died", "job=%s name=%s code=%d signal=%d", j->id, j->spec->name, j->ending.code,
	         j->ending.signal);
	if (j->again) {
		restart_again(j);
		return;
	}
	if (j->disowned) {
		standing_job_gone(j->agent, j->id);
		job_move(j, EV_DISOWNED, j->why);
		job_tell(j, REPORT_GONE);
		return;
	}
	job_note_quick_death(j);
	if (j->state == JOB_FROZEN && !j->stopping) /* died while its lease is out: its registry decides */
		job_touched(j);
	else
		after_death(j);
}

static void restart_here(struct job *j)
{
	struct err e = { 0 };
	struct start_from *from = start_from_local(j, &e);
	if (!from) {
		job_move(j, EV_GIVEN_UP, e.text);
		job_tell(j, REPORT_FAILED);
		return;
	}
	j->restart_at = 0;
	j->incarnation++;
	job_move(j, EV_RESTORE_STARTED, "its process died");
	standing_job_here(j->agent, j->id, j->incarnation);
	job_tell(j, REPORT_RESTARTED);
	job_start(j, from);
}

void job_again(struct job *j, struct start_from *from)
{
	j->again = from;
	j->stopping = false;
	j->end_asked_ns = 0;
	j->supervise.count = 0;
	if (j->pid > 0)
		job_kill(j); /* its death brings us to restart_again() */
	else
		restart_again(j);
}

void job_stop(struct job *j, int64_t grace_ns)
{
	j->stopping = true;
	if (j->restart_at && !j->pid) { /* between two lives */
		j->restart_at = 0;
		after_death(j);
		return;
	}
	j->kill_at = clock_boot_ns() + grace_ns;
	if (j->pid <= 0 || grace_ns <= 0 || job_signal(j, SIGTERM) < 0)
		job_tick(j, j->kill_at);
}

void job_taken_away(struct job *j, const char *why)
{
	if (j->state == JOB_LOST || j->disowned)
		return;
	j->disowned = true;
	j->restart_at = 0;
	core_copy(j->why, sizeof j->why, why);
	log_info("job_disowned", "job=%s name=%s incarnation=%u why=\"%s\"", j->id, j->spec->name, j->incarnation,
	         why);
	job_kill(j);
	if (j->busy &&
	    j->agent->cgroup) /* a worker may be starting it at this moment: not one instruction of it runs */
		cgroup_freeze(j->agent->cgroup, j->id, 0, NULL);
	if (!j->pid && !j->busy)
		job_died(j);
}

/* An ended job's cgroup goes as soon as the last of its processes is gone. */
static void drop_cgroup(struct job *j)
{
	if (j->agent->cgroup && cgroup_remove(j->agent->cgroup, j->id, 0, NULL) == 0)
		j->cgroup_gone = true;
}

void job_tick(struct job *j, int64_t now)
{
	if (job_ended(j->state) && !j->busy && !j->cgroup_gone)
		drop_cgroup(j);
	if (job_ended(j->state) && j->wanted)
		job_snapshot_refuse(j, "it ended");
	if (j->kill_at && now >= j->kill_at && !j->busy) {
		j->kill_at = 0;
		job_kill(j);
	}
	if (!j->disowned)
		asks_tick(j, now);
	if (j->busy || j->disowned)
		return;
	if (j->state == JOB_RUNNING && !j->pid && !j->restart_at)
		after_death(j); /* it died while it was frozen, and the lease is back */
	if (j->restart_at && now >= j->restart_at && standing_may_run(j->agent))
		restart_here(j);
	else if (j->state == JOB_RUNNING && interval_due(&j->every, now))
		job_snapshot(j, "interval", NULL);
	else if (j->state == JOB_RUNNING && j->wanted)
		job_snapshot_next(j);
}
