/* Owns one question about a group from beginning to end. Its ranks are listed by whoever knows them (the registry,
 * or this node where there is none); while one of them is not there, they are listed again; when all are, each is
 * asked for its versions on its node; when all have answered, a worker finds what they have in common. Everything
 * is asked as a user's request is (verbs_group.c), so it goes wherever a job is. */
#include "agent/ranks.h"

#include <stdlib.h>
#include <string.h>

#include "agent/ranks_sum.h"
#include "agent/request.h"
#include "agent/work.h"
#include "lib/base/clock.h"

#define TICK_MS 100
#define PAUSE_NS (100 * NS_PER_MS) /* before the ranks are listed again; longer each time, up to … */
#define PAUSE_MAX_NS NS_PER_S

struct rank {
	char job[CORE_UUID], name[CORE_NAME], node[CORE_NAME];
	char state[96]; /* or why it did not answer */
	bool ready;     /* it can be asked; then: it has versions */
	bool answered;
};

struct ranks {
	struct agent *agent;
	struct ranks_wish wish;
	ranks_wanted_fn *wanted;
	ranks_fn *fn; /* NULL: it has been called */
	void *ctx;
	uv_timer_t timer;
	unsigned under_way; /* requests and work that will come back */
	int64_t give_up, look_at, pause;
	struct rank *rank; /* owned; wish.ranks of them once that is known */
	uint32_t ranks;
	bool listing, adding; /* it is being looked who they are, what they have in common */
	unsigned waits;       /* for so many answers of ranks */
	uint32_t round;       /* what was asked before does not count any more */
	struct ranks_sum sum;
	uint64_t version;
};

/* A rank's request under way. */
struct asked {
	struct ranks *all;
	uint32_t rank, round;
};

/* ---- its end ---- */

static void on_closed(uv_handle_t *h)
{
	struct ranks *r = h->data;
	ranks_sum_free(&r->sum);
	free(r->rank);
	free(r);
}

static void release(struct ranks *r)
{
	if (!r->fn && !r->under_way && !uv_is_closing((uv_handle_t *)&r->timer))
		uv_close((uv_handle_t *)&r->timer, on_closed);
}

static void end(struct ranks *r, int code, const char *why)
{
	struct ranks_found found = { code, why, r->version, r->sum.newest };
	ranks_fn *fn = r->fn;
	r->fn = NULL;
	if (fn)
		fn(r->ctx, &found);
	release(r);
}

static void late(struct ranks *r)
{
	struct err e = { 0 };
	const struct rank *k = NULL;
	for (uint32_t i = 0; i < r->ranks && !k; i++)
		if (!r->rank[i].ready || (r->waits && !r->rank[i].answered))
			k = &r->rank[i];
	if (!k)
		err_set(&e, ERR_TIMEOUT, "the ranks did not answer in time");
	else if (!k->job[0])
		err_set(&e, ERR_TIMEOUT, "rank %u is not there: no job has been started for it",
		        (unsigned)(k - r->rank));
	else
		err_set(&e, ERR_TIMEOUT, "rank %u (%s, node %s) is not there: %s", (unsigned)(k - r->rank),
		        k->name, k->node[0] ? k->node : "none", k->state);
	end(r, e.code, e.text);
}

static void again(struct ranks *r)
{
	r->look_at = clock_boot_ns() + r->pause;
	r->pause = r->pause * 3 / 2 < PAUSE_MAX_NS ? r->pause * 3 / 2 : PAUSE_MAX_NS;
}

/* ---- what they have ---- */

static void run_common(void *ctx)
{
	struct ranks *r = ctx;
	r->version = ranks_sum_common(&r->sum, r->ranks);
}

static void done_common(void *ctx)
{
	struct ranks *r = ctx;
	r->under_way--;
	r->adding = false;
	if (r->version)
		end(r, 0, NULL);
	else if (!json_object_size(r->sum.keys))
		end(r, ERR_NOT_FOUND,
		    r->wish.key[0] ? "no rank has a version of that key" : "no rank has any key");
	else
		end(r, ERR_NOT_FOUND,
		    "there is no version that every rank has; keep more of them with cpa_keep()");
}

static void on_versions(void *ctx, int code, const char *text, const json_t *reply)
{
	struct asked q = *(struct asked *)ctx;
	struct ranks *r = q.all;
	const char *state = json_string_value(json_object_get(reply, "state"));
	free(ctx);
	r->under_way--;
	if (!r->fn || q.round != r->round) {
		release(r);
		return;
	}
	struct rank *k = &r->rank[q.rank];
	r->waits--;
	k->answered = true;
	k->ready = code == 0 && json_is_true(json_object_get(reply, "ready"));
	core_copy(k->state, sizeof k->state, code ? text : state ? state : "running");
	if (k->ready && !ranks_sum_add(&r->sum, q.rank, json_object_get(reply, "keys")))
		end(r, ERR_FAILED, "the ranks have too many versions of too many keys; name one key");
	if (r->waits || !r->fn)
		return;
	for (uint32_t i = 0; i < r->ranks; i++) {
		if (r->rank[i].ready)
			continue;
		again(r);
		return;
	}
	r->under_way++;
	r->adding = true;
	work_start(&r->agent->loop, run_common, done_common, r);
}

static void ask_ranks(struct ranks *r)
{
	ranks_sum_clear(&r->sum);
	r->waits = r->ranks;
	r->under_way++; /* whatever is answered at once, we are still here */
	for (uint32_t i = 0; i < r->ranks && r->fn; i++) {
		struct asked *q = malloc(sizeof *q);
		if (!q) {
			end(r, ERR_FAILED, "out of memory");
			break;
		}
		*q = (struct asked){ r, i, r->round };
		core_copy(r->rank[i].state, sizeof r->rank[i].state, "its node does not answer");
		r->under_way++;
		json_t *rq = json_pack("{s:s,s:s}", "verb", "versions", "job", r->rank[i].job);
		if (r->wish.key[0])
			json_object_set_new(rq, "key", json_string(r->wish.key));
		request_inside(r->agent, r->wish.uid, rq, on_versions, q);
	}
	r->under_way--;
	release(r);
}

/* ---- who they are ---- */

/* May its versions be asked for? Of what ended, its node says whether it ended well. */
static bool may_answer(const char *state)
{
	return strcmp(state, "running") == 0 || strcmp(state, "exited") == 0;
}

static const char *text_of(const json_t *doc, const char *field)
{
	const char *text = json_string_value(json_object_get(doc, field));
	return text ? text : "";
}

static bool is_live(const json_t *doc)
{
	const char *state = text_of(doc, "state");
	return strcmp(state, "exited") != 0 && strcmp(state, "failed") != 0;
}

/* Which run of the group is meant, when only its name is known, and how many ranks it has. */
static void choose_launch(struct ranks *r, const json_t *list)
{
	const json_t *doc, *found = NULL;
	size_t i;
	json_array_foreach(list, i, doc)
	{
		bool own = (uid_t)json_integer_value(json_object_get(doc, "uid")) == r->wish.uid;
		if (own && (!found || (is_live(doc) && !is_live(found))))
			found = doc;
	}
	json_int_t size = json_integer_value(json_object_get(found, "size"));
	if (!found || size < 1 || size > GROUP_RANKS_MAX)
		return;
	core_copy(r->wish.launch, sizeof r->wish.launch, text_of(found, "launch"));
	r->wish.ranks = (uint32_t)size;
}

static void take_rank(struct ranks *r, const json_t *doc)
{
	json_int_t rank = json_integer_value(json_object_get(doc, "rank"));
	if (rank < 0 || rank >= r->ranks || strcmp(text_of(doc, "launch"), r->wish.launch) != 0 ||
	    (uid_t)json_integer_value(json_object_get(doc, "uid")) != r->wish.uid)
		return;
	struct rank *k = &r->rank[rank];
	core_copy(k->job, sizeof k->job, text_of(doc, "job"));
	core_copy(k->name, sizeof k->name, text_of(doc, "name"));
	core_copy(k->node, sizeof k->node, text_of(doc, "node"));
	core_copy(k->state, sizeof k->state, text_of(doc, "state"));
	k->ready = may_answer(k->state);
}

/* Has a rank whose answer is waited for gone elsewhere meanwhile? */
static bool has_moved(const struct ranks *r, const json_t *list)
{
	const json_t *doc;
	size_t i;
	json_array_foreach(list, i, doc)
	{
		json_int_t rank = json_integer_value(json_object_get(doc, "rank"));
		const struct rank *k = rank >= 0 && rank < r->ranks ? &r->rank[rank] : NULL;
		if (k && !k->answered && strcmp(k->job, text_of(doc, "job")) == 0 &&
		    (strcmp(k->node, text_of(doc, "node")) != 0 || !may_answer(text_of(doc, "state"))))
			return true;
	}
	return false;
}

static void make_ranks(struct ranks *r, uint32_t ranks)
{
	free(r->rank);
	r->rank = calloc(ranks, sizeof *r->rank);
	r->ranks = r->rank ? ranks : 0;
}

static void take_list(struct ranks *r, const json_t *list)
{
	const json_t *doc;
	size_t i;
	if (!r->wish.ranks)
		choose_launch(r, list);
	if (!r->wish.ranks) {
		struct err e = { 0 };
		err_set(&e, ERR_USAGE, "%s: there is no such group of this user", r->wish.group);
		end(r, e.code, e.text);
		return;
	}
	r->round++;
	r->waits = 0;
	make_ranks(r, r->wish.ranks);
	json_array_foreach(list, i, doc) take_rank(r, doc);
	for (i = 0; i < r->ranks && r->rank[i].ready;)
		i++;
	again(r);
	if (i == r->ranks && r->ranks)
		ask_ranks(r);
}

static void on_list(void *ctx, int code, const char *text, const json_t *reply)
{
	struct ranks *r = ctx;
	(void)text;
	r->under_way--;
	r->listing = false;
	if (!r->fn)
		release(r);
	else if (code || r->adding || (r->waits && !has_moved(r, json_object_get(reply, "ranks"))))
		again(r);
	else
		take_list(r, json_object_get(reply, "ranks"));
}

static void look(struct ranks *r)
{
	if (r->wish.alone[0] && r->waits)
		return;
	if (r->wish.alone[0]) {
		make_ranks(r, 1);
		if (r->ranks)
			core_copy(r->rank[0].job, CORE_UUID, r->wish.alone);
		if (r->ranks)
			ask_ranks(r);
		return;
	}
	r->listing = true;
	r->under_way++;
	request_inside(r->agent, r->wish.uid, json_pack("{s:s,s:s}", "verb", "group", "group", r->wish.group),
	               on_list, r);
}

static void on_tick(uv_timer_t *t)
{
	struct ranks *r = t->data;
	int64_t now = clock_boot_ns();
	if (!r->fn)
		return;
	if (r->agent->stopping || !r->wanted(r->ctx))
		end(r, ERR_FAILED, "nobody waits for it");
	else if (now >= r->give_up)
		late(r);
	else if (!r->listing && !r->adding && now >= r->look_at)
		look(r);
}

void ranks_common(struct agent *a, const struct ranks_wish *wish, ranks_wanted_fn *wanted, ranks_fn *fn, void *ctx)
{
	struct ranks *r = calloc(1, sizeof *r);
	int64_t now = clock_boot_ns();
	if (!r || !ranks_sum_open(&r->sum)) {
		struct ranks_found found = { .code = ERR_FAILED, .why = "out of memory" };
		free(r);
		fn(ctx, &found);
		return;
	}
	r->agent = a;
	r->wish = *wish;
	r->wanted = wanted;
	r->fn = fn;
	r->ctx = ctx;
	r->pause = PAUSE_NS;
	r->give_up = wish->patience > INT64_MAX - now ? INT64_MAX : now + wish->patience;
	uv_timer_init(&a->loop, &r->timer);
	r->timer.data = r;
	uv_timer_start(&r->timer, on_tick, 0, TICK_MS);
}
