/* Owns the verbs keys and get: a job's keyed checkpoints, read through the arena's checked reader. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/control_frame.h"
#include "agent/verbs.h"
#include "lib/arena/reader.h"
#include "lib/base/scoped.h"

static json_t *doc_vars(const struct arena_var *vars, size_t n)
{
	json_t *list = json_array();
	for (size_t i = 0; i < n; i++) {
		const char *type = arena_type_name(vars[i].type);
		json_array_append_new(list, json_pack("{s:s,s:s,s:I}", "name", vars[i].name, "type",
		                                      type ? type : "bytes", "count", (json_int_t)vars[i].count));
	}
	return list;
}

/* How a version was gathered: enum arena_how. */
static const char *how_name(uint32_t how)
{
	return how == ARENA_DIRTY ? "dirty pages" : how == ARENA_WHOLE ? "whole copy" : "plain";
}

static json_t *doc_key(const struct job *j, const struct arena_key *k)
{
	json_t *doc = json_pack("{s:s,s:I,s:i,s:I,s:o,s:o}", "key", k->key, "version", (json_int_t)k->version,
	                        "level", (int)(k->level ? k->level : 1), "bytes", (json_int_t)k->bytes, "time",
	                        doc_time(k->time_ns), "vars", doc_vars(k->vars, k->n));
	if (!doc) /* a key that is not UTF-8 */
		return NULL;
	json_object_set_new(doc, "how", json_string(how_name(k->how)));
	json_object_set_new(doc, "incarnation", json_integer(k->incarnation));
	json_object_set_new(doc, "job", json_string(j->id));
	json_object_set_new(doc, "name", json_string(j->spec->name));
	return doc;
}

static int broken(const struct job *j, int rc, struct err *e)
{
	return err_set(
	        e, ERR_FAILED,
	        "%s: its arena is broken (%s); a restart takes the keys from a snapshot or from a level above",
	        j->spec->name, strerror(-rc));
}

static int open_reader(const struct job *j, struct arena_reader *r, struct err *e)
{
	char path[FS_PATH_MAX];
	*r = (struct arena_reader){ .fd = open(job_arena(j, path), O_RDONLY | O_CLOEXEC | O_NOFOLLOW) };
	if (r->fd < 0)
		return err_set(e, ERR_NOT_FOUND, "%s: it has no keyed checkpoints", j->spec->name);
	int rc = arena_read_open(r);
	if (rc == 0)
		return 0;
	close(r->fd);
	return broken(j, rc, e);
}

/* Results that the library keeps for cpa_memo_begin(): many, and of no interest one by one. */
static bool is_memo(const struct arena_key *k)
{
	return strncmp(k->key, "memo:", 5) == 0;
}

static int add_keys(const struct job *j, bool all, json_t *list, struct err *e)
{
	struct arena_reader r;
	struct arena_keys keys = { 0 };
	int rc = open_reader(j, &r, e);
	if (rc < 0)
		return rc;
	rc = arena_read_keys(&r, 0, &keys);
	for (size_t i = 0; rc == 0 && i < keys.n; i++)
		if (all || !is_memo(&keys.key[i]))
			json_array_append_new(list, doc_key(j, &keys.key[i]));
	arena_keys_free(&keys);
	close(r.fd);
	return rc == 0 ? 0 : broken(j, rc, e);
}

void verb_keys(struct request *rq, struct job *only)
{
	json_t *list = json_array();
	struct err e = { 0 };
	bool all = request_flag(rq, "all");
	for (struct job *j = rq->agent->jobs ? rq->agent->jobs->first : NULL; j; j = j->next) {
		bool listed = only ? j == only : (rq->uid == 0 || rq->uid == j->spec->uid) && job_live(j->state);
		if (!listed || add_keys(j, all, list, &e) == 0 || !only || e.code == ERR_NOT_FOUND)
			continue;
		json_decref(list);
		request_fail_err(rq, &e);
		return;
	}
	request_reply(rq, json_pack("{s:o}", "keys", list), NULL, 0);
}

/* The variables' bytes one after the other, without the padding they have in the arena. */
static uint8_t *joined(const struct arena_value *v, size_t *len)
{
	size_t n = 0;
	for (size_t i = 0; i < v->info.n; i++)
		n += (size_t)v->info.vars[i].count * arena_type_size(v->info.vars[i].type);
	uint8_t *out = malloc(n + 1);
	*len = 0;
	for (size_t i = 0; out && i < v->info.n; i++) {
		size_t size = (size_t)v->info.vars[i].count * arena_type_size(v->info.vars[i].type);
		if (size)
			memcpy(out + *len, v->info.vars[i].data, size);
		*len += size;
	}
	return out;
}

static void answer_value(struct request *rq, const struct arena_value *v)
{
	size_t len = 0;
	scoped_free uint8_t *bytes = joined(v, &len);
	if (!bytes)
		request_fail(rq, ERR_FAILED, "out of memory");
	else
		request_reply(rq,
		              json_pack("{s:o,s:I,s:i}", "vars", doc_vars(v->info.vars, v->info.n), "version",
		                        (json_int_t)v->info.version, "level",
		                        (int)(v->info.level ? v->info.level : 1)),
		              bytes, len);
}

void verb_get(struct request *rq, struct job *j)
{
	const char *key = request_text(rq, "key");
	int64_t level = request_number(rq, "level", 0);
	struct arena_reader r;
	struct arena_value v = { 0 };
	struct err e = { 0 };
	if (!key || !*key) {
		request_fail(rq, ERR_USAGE, "which key? cpagent keys lists them");
		return;
	}
	if (open_reader(j, &r, &e) < 0) {
		request_fail_err(rq, &e);
		return;
	}
	r.max_bytes = CONTROL_DATA_MAX;
	int rc = arena_read_value(&r, key, 0, &v, NULL);
	if (rc == -ENOENT)
		request_fail(rq, ERR_NOT_FOUND, "%s: job %s has no such key; cpagent keys lists them", key,
		             j->spec->name);
	else if (rc < 0)
		request_fail(rq, ERR_FAILED, "%s: cannot be read: %s", key, strerror(-rc));
	else if (level > 1 && v.info.level < (uint32_t)level)
		request_fail(rq, ERR_NOT_FOUND, "%s: version %llu has reached level %u, not %lld", key,
		             (unsigned long long)v.info.version, v.info.level ? v.info.level : 1,
		             (long long)level);
	else
		answer_value(rq, &v);
	arena_value_free(&v);
	close(r.fd);
}
