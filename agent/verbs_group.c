/* Owns the verbs that ask_version.c puts together what ranks have in common from: which jobs are a group's ranks,
 * and which versions one of them has. Both are asked where the answer is, as every verb. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/registrar.h"
#include "agent/standing.h"
#include "agent/verbs.h"
#include "agent/work.h"
#include "lib/arena/reader.h"
#include "lib/base/scoped.h"

#define AT_ONCE 2     /* arenas that are read at once, however many ranks are asked for here */
#define READ_TIMES 16 /* a job whose versions come to more of its arena than that has made them up */

/* ---- the ranks of a group ---- */

static bool is_member(const struct request *rq, const Cpa__Spec *spec, const char *group)
{
	return spec && spec->group[0] && strcmp(spec->group, group) == 0 && (rq->uid == 0 || rq->uid == spec->uid);
}

static void add_rank(json_t *list, const Cpa__Spec *spec, const char *node, const char *state)
{
	json_array_append_new(list, json_pack("{s:s,s:s,s:s,s:I,s:I,s:I,s:s,s:s}", "job", spec->job, "name",
	                                      spec->name, "launch", spec->launch, "uid", (json_int_t)spec->uid,
	                                      "rank", (json_int_t)spec->rank, "size", (json_int_t)spec->ranks,
	                                      "node", node, "state", state));
}

static void group_here(struct request *rq, const char *group, json_t *list)
{
	for (struct job *j = rq->agent->jobs ? rq->agent->jobs->first : NULL; j; j = j->next)
		if (is_member(rq, j->spec, group))
			add_rank(list, j->spec, rq->agent->cfg.name, job_state_name(j->state));
}

static void group_registry(struct request *rq, const char *group, json_t *list)
{
	const struct reg_job *j;
	size_t at = 0;
	while ((j = registry_each_job(registrar_registry(rq->agent), &at))) {
		const Cpa__Spec *spec = registrar_spec(rq->agent, j->spec.uuid);
		if (is_member(rq, spec, group))
			add_rank(list, spec, j->owner, job_state_name(j->state));
	}
}

static void answer_group(struct request *rq)
{
	const char *group = request_text(rq, "group");
	json_t *list = json_array();
	if (rq->agent->registrar)
		group_registry(rq, group, list);
	else
		group_here(rq, group, list);
	request_reply(rq, json_pack("{s:o}", "ranks", list), NULL, 0);
}

void verb_group(struct request *rq)
{
	const char *group = request_text(rq, "group");
	if (!group || !*group)
		request_fail(rq, ERR_USAGE, "which group?");
	else if (!rq->agent->registrar && rq->hops == 0 && standing_has_registry(rq->agent))
		verbs_forward_or(rq, standing_registry_url(rq->agent), answer_group);
	else
		answer_group(rq);
}

/* ---- the versions of one of them ---- */

struct reading {
	struct request *rq;
	char arena[FS_PATH_MAX], key[ARENA_KEY_MAX + 1]; /* "": every key */
	json_t *keys;                                    /* owned */
	int rc;
};

static struct work_gate gate = { .limit = AT_ONCE };

static int add_key(struct reading *g, struct arena_reader *r, const char *key, uint64_t *left)
{
	struct arena_whole w;
	int rc = arena_read_whole(r, key, &w);
	if (rc == -ENOENT || (rc == 0 && !w.newest)) /* forgotten meanwhile, or nothing committed yet */
		return 0;
	if (rc == 0 && w.bytes > *left)
		rc = -EPROTO;
	if (rc < 0)
		return rc;
	*left -= w.bytes;
	json_t *versions = json_array();
	for (size_t i = 0; i < w.n; i++)
		json_array_append_new(versions, json_integer((json_int_t)w.version[i]));
	json_array_append_new(g->keys, json_pack("{s:s,s:o,s:I}", "key", key, "versions", versions, "newest",
	                                         (json_int_t)w.newest));
	return 0;
}

static int add_keys(struct reading *g, struct arena_reader *r, uint64_t *left)
{
	struct arena_keys keys = { 0 };
	int rc = arena_read_keys(r, 0, &keys);
	for (size_t i = 0; rc == 0 && i < keys.n; i++)
		if (strncmp(keys.key[i].key, "memo:", 5) != 0)
			rc = add_key(g, r, keys.key[i].key, left);
	arena_keys_free(&keys);
	return rc;
}

static void run_reading(void *ctx)
{
	struct reading *g = ctx;
	scoped_fd int fd = open(g->arena, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct arena_reader r = { .fd = fd };
	g->rc = fd < 0 ? -errno : arena_read_open(&r);
	if (g->rc < 0)
		return;
	uint64_t left = READ_TIMES * r.head.heap_bytes;
	g->rc = g->key[0] ? add_key(g, &r, g->key, &left) : add_keys(g, &r, &left);
}

static void done_reading(void *ctx)
{
	struct reading *g = ctx;
	if (g->rc == 0) {
		request_reply(g->rq, json_pack("{s:b,s:O}", "ready", 1, "keys", g->keys), NULL, 0);
	} else {
		request_fail(g->rq, ERR_FAILED, "its arena cannot be read (%s)", arena_strerror(g->rc));
	}
	json_decref(g->keys);
	free(g);
}

/* Has it come up, or ended well and left its arena? */
static bool is_ready(const struct job *j)
{
	return (j->state == JOB_RUNNING && !j->died) ||
	       (j->state == JOB_EXITED && !j->ending.code && !j->ending.signal);
}

void verb_versions(struct request *rq, struct job *j)
{
	const char *key = request_text(rq, "key");
	if (!is_ready(j)) {
		request_reply(rq, json_pack("{s:b,s:s}", "ready", 0, "state", job_state_name(j->state)), NULL, 0);
		return;
	}
	struct reading *g = calloc(1, sizeof *g);
	if (!g || !(g->keys = json_array())) {
		free(g);
		request_fail(rq, ERR_FAILED, "out of memory");
		return;
	}
	g->rq = rq;
	job_arena(j, g->arena);
	core_copy(g->key, sizeof g->key, key ? key : "");
	work_start_in(&gate, &rq->agent->loop, run_reading, done_reading, g);
}
