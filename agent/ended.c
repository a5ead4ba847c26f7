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

bool ended_marked(struct store *s, const char *job)
{
	struct mark m;
	return is_ended(s, job, &m);
}

/* ---- giving up ---- */

struct past {
	char job[STORE_JOB_MAX];
	int64_t time_ns;
};

static int newest_first(const void *x, const void *y)
{
	const struct past *a = x, *b = y;
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
		out[found++].time_ns = m.time_ns;
	}
	if (found)
		qsort(out, found, sizeof *out, newest_first);
	return found;
}

size_t ended_clean(struct store *s, uint64_t budget)
{
	scoped_free char(*jobs)[STORE_JOB_MAX] = NULL;
	size_t n = 0, dropped = 0;
	struct err e = { 0 };
	if (store_jobs(s, &jobs, &n, &e) < 0)
		return 0;
	scoped_free struct past *past = calloc(n + 1, sizeof *past);
	size_t found = past ? list_ended(s, jobs, n, past) : 0, keep = found < JOBS_MAX ? found : JOBS_MAX;
	int64_t now = clock_real_ns();
	if (budget && store_used(s) > budget / 4 * 3)
		keep = keep < found / 2 ? keep : found / 2;
	for (size_t i = 0; i < found; i++) {
		if (i < keep && now - past[i].time_ns < KEEP_NS)
			continue;
		if (store_drop_job(s, past[i].job, &e) < 0)
			log_warn("not_dropped", "job=%s why=\"%s\"", past[i].job, e.text);
		else
			dropped++;
	}
	return dropped;
}
