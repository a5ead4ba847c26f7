/* Owns the process connector's place in the loop, and what is made of an event: which job lost a process, and how.
 * The process is gone by the time we read of it, so its parent tells whose it was. */
#include "agent/events.h"

#include <stdlib.h>
#include <string.h>

#include "agent/jobs.h"
#include "agent/ports/procevents.h"
#include "lib/base/log.h"
#include "lib/base/scoped.h"

struct procs {
	struct agent *agent;
	struct procevents *ev;
	uv_poll_t poll;
};

/* The job in whose cgroup this process is; NULL: none of ours. */
static struct job *job_of(struct agent *a, pid_t pid)
{
	char path[64], uuid[CORE_UUID];
	scoped_free char *text = NULL;
	size_t len;
	snprintf(path, sizeof path, "/proc/%d/cgroup", (int)pid);
	if (pid <= 0 || fs_read(path, 65536, &text, &len, NULL) < 0)
		return NULL;
	char *at = strstr(text, "0::/cpagent/");
	at = at ? strchr(at + strlen("0::/cpagent/"), '/') : NULL;
	if (!at || strlen(at) < CORE_UUID)
		return NULL;
	core_copy(uuid, sizeof uuid, at + 1);
	return jobs_find(a, uuid);
}

static void on_event(void *ctx, const struct procevent *ev)
{
	struct procs *p = ctx;
	struct job *j = NULL;
	/* they come while the agent starts, too, before it has jobs */
	if (ev->type != PROCEVENT_EXIT || !p->agent->jobs || p->agent->jobs->count == 0)
		return;
	for (struct job *k = p->agent->jobs->first; k && !j; k = k->next)
		if (k->pid == ev->pid)
			return; /* the pidfd's business */
	j = job_of(p->agent, ev->parent);
	if (j && !j->busy) /* while it is restored, CRIU's helpers come and go */
		log_info("process_failed", "job=%s name=%s pid=%d code=%d signal=%d", j->id, j->spec->name,
		         (int)ev->pid, ev->code, ev->signal);
}

static void on_readable(uv_poll_t *h, int status, int events)
{
	struct procs *p = h->data;
	struct err e = { 0 };
	(void)status, (void)events;
	if (procevents_read(p->ev, &e) < 0) {
		log_warn("process_events_ended", "why=\"%s\"", e.text);
		uv_poll_stop(h);
	}
}

void events_open(struct agent *a)
{
	struct err e = { 0 };
	struct procs *p = calloc(1, sizeof *p);
	if (!p)
		return;
	p->agent = a;
	if (procevents_open(&p->ev, PROCEVENT_EXIT_FAILED, on_event, p, &e) < 0 ||
	    uv_poll_init(&a->loop, &p->poll, procevents_fd(p->ev)) != 0) {
		log_info("no_process_events", "why=\"%s\"", e.text);
		procevents_close(&p->ev);
		free(p);
		return;
	}
	p->poll.data = p;
	a->procs = p;
	uv_poll_start(&p->poll, UV_READABLE, on_readable);
}

static void free_procs(uv_handle_t *h)
{
	struct procs *p = h->data;
	procevents_close(&p->ev);
	free(p);
}

void events_close(struct agent *a)
{
	if (!a->procs)
		return;
	uv_poll_stop(&a->procs->poll);
	uv_close((uv_handle_t *)&a->procs->poll, free_procs);
	a->procs = NULL;
}
