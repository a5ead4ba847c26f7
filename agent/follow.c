/* Owns those who wait for a job: for its output, for its end. They are answered when its log grows (inotify) or
 * its state changes; a job that went to another node takes them along. */
#include "agent/follow.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/verbs.h"
#include "lib/base/clock.h"
#include "lib/base/scoped.h"

#define FOLLOW_BYTES ((size_t)256 << 10)
#define REMOTE_WAIT_NS (2 * NS_PER_S) /* whoever passed the request on asks again, wherever the job is then */
#define PULSE_MS 1000

struct follow {
	struct follow *next;
	struct request *rq;
	char job[CORE_UUID];
	uint64_t out, err; /* offsets */
	bool to_end;       /* don't wait */
	bool only_end;     /* the wait verb: its end, not its output */
	int64_t give_up;   /* 0: never */
	bool times_out;    /* at give_up: an error, not an empty answer */
	uv_fs_event_t *watch;
};

struct follows {
	struct agent *agent;
	struct follow *first;
	uv_timer_t pulse;
};

static void free_handle(uv_handle_t *h)
{
	free(h);
}

static void free_follow(struct follow *f)
{
	if (f->watch) {
		f->watch->data = NULL;
		uv_close((uv_handle_t *)f->watch, free_handle);
	}
	free(f);
}

/* What the log has from *off on, at most FOLLOW_BYTES. A log that was rolled back is shorter for a while: nothing.
 */
static size_t read_log(const struct job *j, const char *name, uint64_t off, uint8_t *buf)
{
	char path[FS_PATH_MAX];
	scoped_fd int fd =
	        open(fs_path(path, "%s/%s", j->log_dir, name), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	ssize_t n = fd < 0 ? -1 : pread(fd, buf, FOLLOW_BYTES, (off_t)off);
	return n > 0 ? (size_t)n : 0;
}

static json_t *state_of(const struct job *j)
{
	Cpa__Exit x = CPA__EXIT__INIT;
	x.code = j->ending.code;
	x.signal = j->ending.signal;
	const char *state = job_state_name(j->state);
	return json_pack("{s:s,s:o,s:b,s:o}", "state", state, "exit", doc_exit(&x, state), "ended",
	                 job_ended(j->state), "reason", doc_text(j->why));
}

/* Answer it if there is something to say. True: it is answered, or went elsewhere. */
static bool try_answer(struct follow *f, struct job *j, bool late)
{
	struct request *rq = f->rq;
	if (rq->gone) {
		request_fail(rq, ERR_FAILED, "gone");
		return true;
	}
	if (!j || j->state == JOB_LOST) {
		verbs_handle(rq);
		return true;
	}
	bool ended = job_ended(j->state);
	scoped_free uint8_t *buf = f->only_end ? NULL : malloc(2 * FOLLOW_BYTES);
	size_t n = buf ? read_log(j, "stdout", f->out, buf) : 0;
	size_t m = buf ? read_log(j, "stderr", f->err, buf + n) : 0;
	if (!n && !m && !ended && !f->to_end && !late)
		return false;
	if (late && !ended && f->times_out) {
		request_fail(rq, ERR_TIMEOUT, "%s: it has not ended yet", j->spec->name);
		return true;
	}
	json_t *doc = state_of(j);
	json_object_set_new(doc, "stdout", json_integer((json_int_t)n));
	json_object_set_new(doc, "stderr", json_integer((json_int_t)m));
	request_reply(rq, doc, buf, n + m);
	return true;
}

/* Look at those who wait for this job (NULL: at all). The list may change while they are answered. */
static void look(struct follows *s, const char *job)
{
	int64_t now = clock_boot_ns();
	struct follow *mine = NULL, **p = &s->first;
	while (*p) {
		struct follow *f = *p;
		if (job && strcmp(job, f->job) != 0) {
			p = &f->next;
			continue;
		}
		*p = f->next;
		f->next = mine;
		mine = f;
	}
	while (mine) {
		struct follow *f = mine;
		mine = f->next;
		if (try_answer(f, jobs_find(s->agent, f->job), f->give_up && now >= f->give_up)) {
			free_follow(f);
		} else {
			f->next = s->first;
			s->first = f;
		}
	}
	if (!s->first)
		uv_timer_stop(&s->pulse);
}

void follow_wake(struct job *j)
{
	if (j->agent->follows && j->agent->follows->first)
		look(j->agent->follows, j->id);
}

static void on_growth(uv_fs_event_t *h, const char *name, int events, int status)
{
	(void)name, (void)events, (void)status;
	struct follow *f = h->data;
	if (f) {
		char job[CORE_UUID];
		memcpy(job, f->job, sizeof job);
		look(f->rq->agent->follows, job);
	}
}

static void on_pulse(uv_timer_t *t)
{
	look(t->data, NULL);
}

static void watch_log(struct follow *f, const struct job *j)
{
	f->watch = malloc(sizeof *f->watch);
	if (!f->watch)
		return; /* the pulse looks too */
	uv_fs_event_init(&f->rq->agent->loop, f->watch);
	f->watch->data = f;
	uv_fs_event_start(f->watch, on_growth, j->log_dir, 0);
}

static void wait_for(struct request *rq, struct job *j, struct follow want)
{
	struct follow *f = malloc(sizeof *f);
	struct follows *s = rq->agent->follows;
	if (!f) {
		request_fail(rq, ERR_FAILED, "out of memory");
		return;
	}
	*f = want;
	f->rq = rq;
	core_copy(f->job, sizeof f->job, j->id);
	if (rq->remote && !f->give_up)
		f->give_up = clock_boot_ns() + REMOTE_WAIT_NS;
	if (!f->only_end && !f->to_end)
		watch_log(f, j);
	if (try_answer(f, j, false)) {
		free_follow(f);
		return;
	}
	f->next = s->first;
	s->first = f;
	if (!uv_is_active((uv_handle_t *)&s->pulse))
		uv_timer_start(&s->pulse, on_pulse, PULSE_MS, PULSE_MS);
}

void verb_follow(struct request *rq, struct job *j)
{
	int64_t out = request_number(rq, "stdout", 0), err = request_number(rq, "stderr", 0);
	if (out < 0 || err < 0) {
		request_fail(rq, ERR_USAGE, "an offset cannot be negative");
		return;
	}
	wait_for(rq, j,
	         (struct follow){ .out = (uint64_t)out, .err = (uint64_t)err, .to_end = request_flag(rq, "end") });
}

void verb_wait(struct request *rq, struct job *j)
{
	int64_t soon = clock_boot_ns() + REMOTE_WAIT_NS;
	struct follow want = { .only_end = true, .times_out = true, .give_up = rq->wait_until };
	if (rq->remote && (!want.give_up || want.give_up > soon)) {
		want.give_up = soon;
		want.times_out = false;
	}
	wait_for(rq, j, want);
}

int follow_open(struct agent *a, struct err *e)
{
	struct follows *s = calloc(1, sizeof *s);
	if (!s)
		return err_set(e, ERR_FAILED, "out of memory");
	s->agent = a;
	a->follows = s;
	uv_timer_init(&a->loop, &s->pulse);
	s->pulse.data = s;
	return 0;
}

void follow_close(struct agent *a)
{
	struct follows *s = a->follows;
	if (!s || uv_is_closing((uv_handle_t *)&s->pulse))
		return;
	while (s->first) {
		struct follow *f = s->first;
		s->first = f->next;
		request_fail(f->rq, ERR_NO_AGENT, "this agent is stopping");
		free_follow(f);
	}
	uv_close((uv_handle_t *)&s->pulse, NULL);
}
