/* Owns the verbs interval and register: what can be set while an agent runs. Until its restart: nothing is written
 * to its configuration. A job's own intervals lie in its arena and go where that goes. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/job_intervals.h"
#include "agent/keyset.h"
#include "agent/levels.h"
#include "agent/register.h"
#include "agent/standing.h"
#include "agent/verbs.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/scoped.h"

static double seconds(int64_t ns)
{
	return (double)ns / 1e9;
}

/* ---- of the agent ---- */

static void agent_interval(struct request *rq)
{
	struct agent *a = rq->agent;
	const char *word = request_text(rq, "auto");
	int64_t update = request_duration(rq, "update", -1), save = request_duration(rq, "save", -1);
	if ((word || update >= 0 || save >= 0) && !register_permitted(rq->uid)) {
		request_fail(rq, ERR_DENIED, "only root and the agent's own user may set its intervals");
		return;
	}
	a->cfg.update_ns = update >= 0 ? update : a->cfg.update_ns;
	a->cfg.save_ns = save >= 0 ? save : a->cfg.save_ns;
	a->cfg.automatic = word ? strcmp(word, "on") == 0 : a->cfg.automatic;
	if ((word || update >= 0 || save >= 0) && a->collector)
		collect_reload(a);
	request_reply(rq,
	              json_pack("{s:s,s:f,s:f,s:b}", "agent", a->cfg.name, "update_seconds",
	                        seconds(a->cfg.update_ns), "save_seconds", seconds(a->cfg.save_ns), "auto",
	                        (int)a->cfg.automatic),
	              NULL, 0);
}

/* ---- of a job ---- */

static int put_intervals(struct job *j, const struct arena_says *says, struct err *e)
{
	char path[FS_PATH_MAX];
	scoped_fd int fd = open(job_arena(j, path), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	int rc = fd < 0 ? -errno : arena_put_intervals(fd, says->update_ms, says->save_ms, says->periodic);
	return rc == 0 ? 0
	               : err_set(e, ERR_FAILED, "%s: its intervals cannot be set: %s", j->spec->name,
	                         strerror(-rc));
}

static uint64_t milliseconds(int64_t ns)
{
	return ns > 0 && ns < NS_PER_MS ? 1 : (uint64_t)(ns / NS_PER_MS);
}

static void job_interval(struct request *rq, struct job *j)
{
	const char *word = request_text(rq, "auto");
	int64_t update = request_duration(rq, "update", -1), save = request_duration(rq, "save", -1);
	struct keyset_seen seen;
	struct err e = { 0 };
	if (keyset_look(j, &seen) < 0) {
		request_fail(rq, ERR_FAILED, "%s: its arena is broken, and its intervals lie there",
		             j->spec->name);
		return;
	}
	struct arena_says *says = &seen.says;
	says->update_ms = update >= 0 ? milliseconds(update) : says->update_ms;
	says->save_ms = save >= 0 ? milliseconds(save) : says->save_ms;
	if (word)
		says->periodic = strcmp(word, "on") == 0 ? ARENA_PERIODIC : ARENA_ON_DEMAND;
	if ((word || update >= 0 || save >= 0) && put_intervals(j, says, &e) < 0) {
		request_fail_err(rq, &e);
		return;
	}
	job_intervals_take(j, says);
	static const char *const names[] = { "default", "on", "off" };
	request_reply(rq,
	              json_pack("{s:s,s:s,s:f,s:f,s:s}", "job", j->id, "name", j->spec->name, "update_seconds",
	                        (double)says->update_ms / 1e3, "save_seconds", (double)says->save_ms / 1e3, "auto",
	                        names[says->periodic]),
	              NULL, 0);
}

void verb_interval(struct request *rq, struct job *j)
{
	const char *word = request_text(rq, "auto");
	if (word && strcmp(word, "on") != 0 && strcmp(word, "off") != 0)
		request_fail(rq, ERR_USAGE, "--auto %s: write on or off", word);
	else if (!j)
		agent_interval(rq);
	else if (!verbs_refuse_ended(rq, j))
		job_interval(rq, j);
}

/* ---- register ---- */

static void on_registered(void *ctx, const struct err *e)
{
	struct request *rq = ctx;
	struct agent *a = rq->agent;
	if (e)
		request_fail_err(rq, e);
	else
		request_reply(rq,
		              json_pack("{s:s,s:s,s:s}", "agent", a->cfg.name, "parent", standing_parent_name(a),
		                        "registry", standing_registry_name(a)),
		              NULL, 0);
}

void verb_register(struct request *rq)
{
	const char *url = request_text(rq, "url");
	if (!register_permitted(rq->uid))
		request_fail(rq, ERR_DENIED,
		             "only root and the agent's own user may register it with another one");
	else if (!url)
		request_fail(rq, ERR_USAGE, "with which agent? Give its address, tcp://HOST:PORT");
	else
		register_with(rq->agent, url, on_registered, rq);
}
