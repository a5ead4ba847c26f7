/* Takes a snapshot. See snapshot.h.
 * Three threads: the caller's speaks to CRIU and is the watchdog; one receives pages; one, from the moment at which
 * the job is known to be frozen, records its files and copies its arena. CRIU waits for all of them: for the pages
 * at the end of its stream, for the rest at its post-dump notification. Whatever goes wrong here, CRIU is told
 * or finds its sockets closed, and lets the job run on. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/ports/arena_copy.h"
#include "agent/ports/criu.h"
#include "agent/ports/imgdir.h"
#include "agent/ports/jobfiles.h"
#include "agent/ports/jobtree.h"
#include "agent/ports/pages.h"
#include "agent/ports/snapshot.h"
#include "agent/ports/snapshot_record.h"
#include "lib/base/clock.h"
#include "lib/base/scoped.h"

#define WATCHDOG_NS (60 * NS_PER_S)
#define GRACE_NS (3 * NS_PER_S) /* for CRIU to let the job go in order */
#define SLACK (UINT64_C(2) << 20) /* a job's memory grows a little between the estimate and the freeze */

struct helper { /* a thread that the dump waits for, but not beyond the deadline */
	pthread_t thread;
	bool runs;
	sem_t done;
	struct err err; /* to be read when it has ended */
};

struct take {
	const struct snapshot_take *how;
	int img_dir;
	int page_sock;
	int64_t deadline_ns;

	struct pages pages;
	struct helper receiver;

	struct arena_copy arena;
	struct jobtree tree;
	struct snapshot_record record;
	struct helper recorder;
};

/* ---- helpers ---------------------------------------------------------------------------------- */

static void helper_start(struct helper *h, void *(*main)(void *), void *arg)
{
	sem_init(&h->done, 0, 0);
	h->runs = pthread_create(&h->thread, NULL, main, arg) == 0;
}

static void helper_join(struct helper *h)
{
	if (h->runs)
		pthread_join(h->thread, NULL);
	h->runs = false;
}

/* Until it has ended or the deadline has come: 0 or -1. One that never ran has ended. */
static int helper_wait(struct helper *h, int64_t deadline_ns)
{
	struct timespec at;
	int64_t left = deadline_ns - clock_boot_ns();
	clock_gettime(CLOCK_MONOTONIC, &at); /* CLOCK_BOOTTIME is not offered here */
	int64_t ns = at.tv_sec * NS_PER_S + at.tv_nsec + (left > 0 ? left : 0);
	at = (struct timespec){.tv_sec = ns / NS_PER_S, .tv_nsec = ns % NS_PER_S};
	while (h->runs && sem_clockwait(&h->done, CLOCK_MONOTONIC, &at))
		if (errno != EINTR)
			return -1;
	helper_join(h);
	return 0;
}

/* ---- what happens while the job is frozen ----------------------------------------------------- */

static int record(struct take *t, struct err *e)
{
	struct snapshot_record *r = &t->record;
	if (jobtree_read(t->how->pid, &t->tree, e) || affinities_record(&r->affinities, &t->tree, e))
		return ERR_FAILED;
	if (jobfiles_record(&r->files, &t->tree, t->how->files, t->how->job_dir, t->img_dir, e))
		return ERR_FAILED;
	return arena_copy_run(&t->arena, e);
}

static void *recorder_main(void *arg)
{
	struct take *t = arg;
	record(t, &t->recorder.err);
	sem_post(&t->recorder.done);
	return NULL;
}

/* The first page has come, so every process of the job stands still. */
static void on_frozen(void *arg)
{
	struct take *t = arg;
	helper_start(&t->recorder, recorder_main, t);
}

static void *receiver_main(void *arg)
{
	struct take *t = arg;
	if (pages_receive(&t->pages, t->page_sock, on_frozen, t, &t->receiver.err))
		shutdown(t->page_sock, SHUT_RDWR); /* CRIU's next write fails, and it lets the job go */
	sem_post(&t->receiver.done);
	return NULL;
}

/* CRIU has everything and asks whether to let the job go on as after a success. */
static int on_post_dump(struct take *t, struct err *e)
{
	if (helper_wait(&t->receiver, t->deadline_ns))
		return err_set(e, ERR_TIMEOUT, "the pages did not arrive in time");
	if (t->receiver.err.code)
		return err_set(e, ERR_FAILED, "%s", t->receiver.err.text);
	if (helper_wait(&t->recorder, t->deadline_ns))
		return err_set(e, ERR_TIMEOUT, "the job's files were not captured in time");
	if (t->recorder.err.code)
		return err_set(e, ERR_FAILED, "%s", t->recorder.err.text);
	return t->tree.count ? ERR_OK : err_set(e, ERR_FAILED, "CRIU sent no pages: nothing was recorded");
}

/* ---- the dialogue with CRIU ------------------------------------------------------------------- */

/* Follow the dump until CRIU reports its end. What we refuse at post-dump, CRIU undoes in order; after any other
 * error the caller hangs up, and it does the same. */
static int converse(struct take *t, const struct criu *c, struct err *e)
{
	struct err refused = {0};
	for (;;) {
		struct criu_event ev;
		int rc = criu_next(c, t->deadline_ns, &ev, e);
		if (rc)
			return rc;
		if (ev.kind == CRIU_DONE && refused.code)
			return err_set(e, refused.code, "%s", refused.text);
		if (ev.kind == CRIU_DONE)
			return ev.success ? ERR_OK : err_set(e, ERR_FAILED, "CRIU failed");
		if (!strcmp(ev.script, "post-dump") && on_post_dump(t, &refused) == ERR_TIMEOUT)
			return err_set(e, ERR_TIMEOUT, "%s", refused.text);
		if (criu_answer(c, !refused.code, e))
			return ERR_FAILED;
	}
}

static int request(const struct take *t, const struct criu *c, struct err *e)
{
	static const char *const external[] = {"mnt[" SNAPSHOT_JOB_MOUNT "]:cpajob",
					       "mnt[" SNAPSHOT_LOG_MOUNT "]:cpalog", "mnt[]", NULL};
	const struct criu_opts opts = {
		.pid = t->how->pid, .img_fd = t->img_dir, .work_fd = t->img_dir, .log_file = "dump.log",
		.external = external, .tcp_established = t->how->tcp_established, .page_server = true,
	};
	return criu_request(c, &opts, e);
}

/* Which of the errors is the cause. When CRIU failed first, our own side only saw its stream end. */
static int explain(const struct take *t, int rc, struct err *e)
{
	char reason[400];
	if (rc == ERR_TIMEOUT)
		return err_wrap(e, "the snapshot was given up, it took too long; the job runs on");
	if (t->recorder.err.code)
		return err_set(e, rc, "no snapshot, the job runs on: %.800s", t->recorder.err.text);
	if (t->receiver.err.code && !t->pages.broken)
		return err_set(e, rc, "no snapshot, the job runs on: %.800s", t->receiver.err.text);
	if (*criu_reason(t->img_dir, "dump.log", reason, sizeof reason))
		return err_set(e, rc, "no snapshot, the job runs on; CRIU says: %s", reason);
	return err_wrap(e, "no snapshot, the job runs on");
}

/* Run CRIU from start to end. Both threads have ended when this returns. */
static int dump(struct take *t, int criu_end, struct err *e)
{
	const struct snapshot_take *how = t->how;
	const struct criu_start start = {.path = how->criu, .page_sock = criu_end};
	struct criu c;
	int rc = criu_start(&c, &start, e);
	close(criu_end); /* only CRIU holds it now: its death ends the stream */
	if (rc)
		return rc;
	pid_t pid = c.pid;
	if (how->watch)
		how->watch(how->ctx, pid);
	helper_start(&t->receiver, receiver_main, t);
	rc = t->receiver.runs ? request(t, &c, e) : err_set(e, ERR_FAILED, "cannot start a thread");
	if (!rc)
		rc = converse(t, &c, e);
	shutdown(t->page_sock, SHUT_RDWR);
	criu_close(&c, GRACE_NS);
	if (how->unwatch)
		how->unwatch(how->ctx, pid);
	helper_join(&t->receiver); /* it may still start the other one */
	helper_join(&t->recorder);
	return rc ? explain(t, rc, e) : ERR_OK;
}

/* ---- before and after ------------------------------------------------------------------------- */

static int page_sockets(int sv[2], struct err *e)
{
	int size = PAGES_SOCKET_BUFFER;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv))
		return err_sys(e, ERR_FAILED, "cannot make a socket for the pages");
	for (int i = 0; i < 2; i++) /* without the privilege it is slower, not wrong */
		if (setsockopt(sv[i], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size))
			setsockopt(sv[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	return ERR_OK;
}

/* Make room for every process's memory while the job still runs. */
static int prepare_pages(struct take *t, struct err *e)
{
	struct jobtree tree;
	if (jobtree_read(t->how->pid, &tree, e))
		return ERR_NOT_FOUND;
	scoped_free uint64_t *expected = calloc(tree.count, sizeof *expected);
	int rc = expected ? ERR_OK : err_set(e, ERR_FAILED, "out of memory for a snapshot");
	for (size_t i = 0; !rc && i < tree.count; i++)
		expected[i] = jobtree_memory(tree.list[i].pid) + SLACK;
	if (!rc)
		rc = pages_open(&t->pages, t->img_dir, expected, tree.count, e);
	jobtree_free(&tree);
	return rc;
}

static int finish(struct take *t, struct snapshot_taken *taken, int64_t began_ns, struct err *e)
{
	struct snapshot_record *r = &t->record;
	int64_t frozen = criu_frozen_ns(t->img_dir);
	r->arena_owner = t->arena.owner;
	r->arena_group = t->arena.group;
	r->arena_mode = t->arena.mode;
	if (imgdir_save_cpinit(t->img_dir, t->how->job_dir, e) || jobfiles_capture(&r->files, t->img_dir, e) ||
	    snapshot_record_write(t->img_dir, r, e))
		return ERR_FAILED;
	*taken = (struct snapshot_taken){
		.frozen_ns = frozen, .total_ns = clock_boot_ns() - began_ns,
		.processes = t->tree.count, .files = t->record.files.count,
	};
	return imgdir_size(t->img_dir, &taken->bytes, e);
}

static int take(struct take *t, struct snapshot_taken *taken, struct err *e)
{
	int64_t began_ns = clock_boot_ns();
	int sv[2];
	int rc = imgdir_clean(t->img_dir, e);
	if (!rc)
		rc = prepare_pages(t, e);
	if (!rc)
		rc = arena_copy_open(&t->arena, t->how->arena, t->img_dir, e);
	if (!rc)
		rc = page_sockets(sv, e);
	if (rc)
		return rc;
	t->page_sock = sv[0];
	int64_t limit = t->how->watchdog_ns ? t->how->watchdog_ns : WATCHDOG_NS;
	t->deadline_ns = clock_boot_ns() + limit;
	rc = dump(t, sv[1], e);
	close(t->page_sock);
	pages_close(&t->pages);
	arena_copy_close(&t->arena);
	return rc ? rc : finish(t, taken, began_ns, e);
}

int snapshot_take(const struct snapshot_take *how, struct snapshot_taken *taken, struct err *e)
{
	struct err own = {0};
	struct take t = {.how = how, .page_sock = -1, .arena = {.from = -1, .to = -1}};
	*taken = (struct snapshot_taken){0};
	e = e ? e : &own;
	t.img_dir = open(how->img_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (t.img_dir < 0)
		return err_sys(e, ERR_FAILED, "cannot open %s for a snapshot", how->img_dir);
	int rc = take(&t, taken, e);
	pages_close(&t.pages);
	arena_copy_close(&t.arena);
	snapshot_record_free(&t.record);
	jobtree_free(&t.tree);
	close(t.img_dir);
	return rc;
}
