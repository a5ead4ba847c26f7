/* See ended.h. The note holds when and as which incarnation the job ended; what a later incarnation gives makes it
 * void. */
#include "agent/ended.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/scoped.h"

#define NOTE "ended"
#define KEEP_NS (INT64_C(86400) * NS_PER_S)
#define JOBS_MAX 256 /* as many as a node remembers */

struct mark {
	int64_t time_ns; /* CLOCK_REALTIME */
	uint32_t incarnation;
	uint32_t reserved;
};

static bool read_mark(struct store *s, const char *job, struct mark *m)
{
	scoped_free uint8_t *data = NULL;
	size_t len;
	if (store_get_note(s, job, NOTE, &data, &len, NULL) < 0 || len != sizeof *m)
		return false;
	memcpy(m, data, sizeof *m);
	return true;
}

int ended_mark(struct store *s, const char *job, uint32_t incarnation, struct err *e)
{
	struct mark m = { clock_real_ns(), incarnation, 0 }, old;
	if (read_mark(s, job, &old) && old.incarnation >= incarnation)
		return 0;
	return store_put_note(s, job, NOTE, &m, sizeof m, e);
}

static bool holds_any(struct store *s, const char *job)
{
	struct store_item item;
	return store_newest(s, job, CPA__WHAT__KEYSET, &item) ||
	       store_newest(s, job, CPA__WHAT__GENERATION, &item);
}

int ended_let_go(struct store *s, const char *job, uint32_t incarnation, bool tell, struct err *e)
{
	if (!tell)
		return store_drop_job(s, job, e);
	int rc = ended_mark(s, job, incarnation, e); /* first: what is held without it would stay */
	if (rc == 0)
		rc = store_keep(s, job, CPA__WHAT__GENERATION, 0, e);
	return rc < 0 ? rc : store_keep(s, job, CPA__WHAT__KEYSET, 0, e);
}

int ended_heard(struct store *s, const char *job, struct err *e)
{
	struct mark m;
	return read_mark(s, job, &m) && !holds_any(s, job) ? store_drop_job(s, job, e) : 0;
}

static bool holds_after(struct store *s, const char *job, Cpa__What what, const struct mark *m)
{
	struct store_item item;
	return store_newest(s, job, what, &item) && item.incarnation > m->incarnation;
}

static bool is_ended(struct store *s, const char *job, struct mark *m)
{
	return read_mark(s, job, m) && !holds_after(s, job, CPA__WHAT__KEYSET, m) &&
	       !holds_after(s, job, CPA__WHAT__GENERATION, m);
}

bool ended_marked(struct store *s, const char *job, uint32_t *incarnation)
{
	struct mark m;
	bool ended = is_ended(s, job, &m);
	if (ended)
		*incarnation = m.incarnation;
	return ended;
}

/* ---- giving up ---- */

struct past {
	char job[STORE_JOB_MAX];
	int64_t time_ns;
	bool empty; /* only remembered, until the level above has heard it */
};

/* Those of which something is held, the newest first; then the others. */
static int newest_first(const void *x, const void *y)
{
	const struct past *a = x, *b = y;
	if (a->empty != b->empty)
		return a->empty ? 1 : -1;
	return a->time_ns > b->time_ns ? -1 : a->time_ns < b->time_ns;
}

static size_t list_ended(struct store *s, char (*jobs)[STORE_JOB_MAX], size_t n, struct past *out)
{
	size_t found = 0;
	struct mark m;
	for (size_t i = 0; i < n; i++) {
		if (!is_ended(s, jobs[i], &m))
			continue;
		memcpy(out[found].job, jobs[i], STORE_JOB_MAX);
		out[found].empty = !holds_any(s, jobs[i]);
		out[found++].time_ns = m.time_ns;
	}
	if (found)
		qsort(out, found, sizeof *out, newest_first);
	return found;
}

/* How many of those that something is held of may stay. */
static size_t how_many_stay(struct store *s, const struct past *past, size_t n, uint64_t budget)
{
	size_t held = 0;
	while (held < n && !past[held].empty)
		held++;
	size_t keep = held < JOBS_MAX ? held : JOBS_MAX;
	if (budget && store_used(s) > budget / 4 * 3)
		keep = keep < held / 2 ? keep : held / 2;
	return keep;
}

size_t ended_clean(struct store *s, uint64_t budget)
{
	scoped_free char(*jobs)[STORE_JOB_MAX] = NULL;
	size_t n = 0, dropped = 0;
	struct err e = { 0 };
	if (store_jobs(s, &jobs, &n, &e) < 0)
		return 0;
	scoped_free struct past *past = calloc(n + 1, sizeof *past);
	size_t found = past ? list_ended(s, jobs, n, past) : 0, keep = how_many_stay(s, past, found, budget);
	int64_t now = clock_real_ns();
	for (size_t i = 0; i < found; i++) {
		if ((i < keep || past[i].empty) && now - past[i].time_ns < KEEP_NS)
			continue;
		if (store_drop_job(s, past[i].job, &e) < 0)
			log_warn("not_dropped", "job=%s why=\"%s\"", past[i].job, e.text);
		else
			dropped++;
	}
	return dropped;
}
