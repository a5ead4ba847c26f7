/* Owns a job's ask for a version of a key that a level above holds: found, brought into the file `fetched` beside
 * the job's arena, an arena of that one key, and taken away again. The job reads the file as it reads its own
 * arena; the agent cannot see when it is done with it, so the file goes with the next ask, at the job's end, or a
 * minute later. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/asks.h"
#include "agent/fetch.h"
#include "agent/work.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/scoped.h"
#include "lib/wire/copy.h"

#define KEEP_NS (60 * NS_PER_S)
#define AT_ONCE 4 /* fetches under way: the threads that are left answer other agents */

static struct work_gate gate = { .limit = AT_ONCE };

struct fetching {
	struct agent *agent;
	char job[CORE_UUID], key[sizeof((struct arena_ask *)0)->text];
	char aside[FS_PATH_MAX];
	struct fetch_wish wish;
	uint32_t asked, incarnation, level;
	uid_t uid;
	gid_t gid;
	Cpa__Holding **held; /* owned, in the order in which they are tried */
	size_t n;
	/* results */
	int code;
	struct err err;
	struct fetched_key got;
};

/* ---- which copies are tried, in which order ---- */

static uint32_t wanted; /* the level, for the comparison; one loop */

/* From the level named: that one, then those above it, which hold what it held. From the nearest: the newest
 * first. */
static int compare(const void *x, const void *y)
{
	const Cpa__Holding *a = *(Cpa__Holding *const *)x, *b = *(Cpa__Holding *const *)y;
	if (wanted && a->level != b->level)
		return a->level < b->level ? -1 : 1;
	if (a->incarnation != b->incarnation)
		return a->incarnation > b->incarnation ? -1 : 1;
	if (a->number != b->number)
		return a->number > b->number ? -1 : 1;
	return a->level < b->level ? -1 : a->level > b->level;
}

static int list_copies(const struct job *j, struct fetching *f)
{
	f->held = calloc(j->n_held + 1, sizeof(Cpa__Holding *));
	if (!f->held)
		return ERR_FAILED;
	for (size_t i = 0; i < j->n_held; i++) {
		const Cpa__Holding *h = j->held[i];
		if (h->what != CPA__WHAT__KEYSET || h->bad || h->level < 2 || h->level < f->level)
			continue;
		if (!(f->held[f->n] = wire_copy(&h->base)))
			return ERR_FAILED;
		f->n++;
	}
	wanted = f->level;
	qsort(f->held, f->n, sizeof *f->held, compare);
	return 0;
}

static void free_fetching(struct fetching *f)
{
	for (size_t i = 0; i < f->n; i++)
		cpa__holding__free_unpacked(f->held[i], NULL);
	free(f->held);
	free(f);
}

/* ---- the worker ---- */

static int give_to_user(const struct fetching *f, struct err *e)
{
	if (!f->agent->root)
		return 0;
	return lchown(f->aside, f->uid, f->gid) == 0 ? 0 : err_sys(e, ERR_FAILED, "cannot give %s away", f->aside);
}

/* A copy that lacks the key says less than one that could not be read. */
static void run_fetch(void *ctx)
{
	struct fetching *f = ctx;
	f->code = ERR_NOT_FOUND;
	for (size_t i = 0; i < f->n; i++) {
		const Cpa__Holding *h = f->held[i];
		struct err e = { 0 };
		int rc = fetch_key(f->agent, h, f->job, &f->wish, f->aside, &f->got, &e);
		if (rc == 0)
			rc = give_to_user(f, &e);
		if (rc == 0) {
			f->code = 0;
			return;
		}
		err_wrap(&e, "level %u (%s)", h->level, h->holder);
		if (f->code == ERR_NOT_FOUND) {
			f->code = rc;
			f->err = e;
		}
	}
}

/* ---- back on the loop ---- */

static void fetched_path(const struct job *j, char *buf)
{
	fs_path(buf, "%s/fetched", j->job_dir);
}

void ask_fetch_forget(struct job *j)
{
	char path[FS_PATH_MAX];
	j->fetched_until = 0;
	j->fetched_bytes = 0;
	fetched_path(j, path);
	unlink(path);
}

void ask_fetch_found(struct job *j)
{
	char path[FS_PATH_MAX];
	struct stat st;
	fetched_path(j, path);
	if (lstat(path, &st) < 0)
		return;
	j->fetched_until = clock_boot_ns() + KEEP_NS;
	j->fetched_bytes = (uint64_t)st.st_blocks * 512;
}

void ask_fetch_tick(struct job *j, int64_t now)
{
	if (j->fetched_until && now >= j->fetched_until)
		ask_fetch_forget(j);
}

static void publish(struct fetching *f, struct job *j)
{
	char path[FS_PATH_MAX];
	fetched_path(j, path);
	if (rename(f->aside, path) < 0) {
		f->code = err_sys(&f->err, ERR_FAILED, "cannot put %s into place", path);
		return;
	}
	j->fetched_until = clock_boot_ns() + KEEP_NS;
	j->fetched_bytes = f->got.bytes;
	log_info("fetched", "job=%s version=%llu bytes=%llu", j->id, (unsigned long long)f->got.version,
	         (unsigned long long)f->got.bytes);
}

static void done_fetch(void *ctx)
{
	struct fetching *f = ctx;
	struct job *j = jobs_find(f->agent, f->job);
	bool same = j && j->incarnation == f->incarnation && j->state == JOB_RUNNING;
	if (f->code == 0 && same)
		publish(f, j);
	if (f->code < 0 || !same)
		unlink(f->aside);
	if (j)
		asks_answer(j, ARENA_ASK_FETCH, f->asked, f->code, f->code == 0 ? f->got.version : 0,
		            f->code < 0 ? f->err.text : NULL);
	free_fetching(f);
}

static struct fetching *new_fetching(struct job *j, const struct arena_ask *ask)
{
	struct fetching *f = calloc(1, sizeof *f);
	uint64_t used = jobs_memory(j->agent), budget = j->agent->cfg.memory;
	if (!f)
		return NULL;
	f->agent = j->agent;
	f->asked = ask->asked;
	f->incarnation = j->incarnation;
	f->level = ask->level;
	f->uid = j->spec->uid;
	f->gid = j->spec->gid;
	core_copy(f->job, sizeof f->job, j->id);
	core_copy(f->key, sizeof f->key, ask->text);
	fs_path(f->aside, "%s/fetched", j->dir);
	f->wish = (struct fetch_wish){ f->key, ask->number, j->ahead, budget > used ? budget - used : 0 };
	if (list_copies(j, f) == 0)
		return f;
	free_fetching(f);
	return NULL;
}

void ask_fetch(struct job *j, const struct arena_ask *ask)
{
	ask_fetch_forget(j);
	struct fetching *f = new_fetching(j, ask);
	if (!f) {
		asks_answer(j, ARENA_ASK_FETCH, ask->asked, ERR_FAILED, 0, "out of memory");
		return;
	}
	if (f->level > 1)
		err_set(&f->err, ERR_NOT_FOUND, "level %u holds no keys of this job", f->level);
	else
		err_set(&f->err, ERR_NOT_FOUND, "no level above holds keys of this job");
	work_start_in(&gate, &j->agent->loop, run_fetch, done_fetch, f);
}
