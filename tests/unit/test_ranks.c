/* agent/ranks.c: what one question does with lists and answers, whatever order they come in. The others are this file:
 * who answers requests, and the worker. */
#include "agent/ranks.h"

#include <string.h>

#include "agent/request.h"
#include "agent/work.h"
#include "tests/unit/harness.h"

#define REQUESTS 16

/* ---- the others ---- */

static struct {
	request_inside_fn *fn;
	void *ctx;
	bool list; /* else one rank's versions */
} asked[REQUESTS];
static unsigned n_asked;

static struct {
	void (*run)(void *), (*done)(void *);
	void *ctx;
} job;

void request_inside(struct agent *a, uid_t uid, json_t *json, request_inside_fn *fn, void *ctx)
{
	(void)a, (void)uid;
	CU_ASSERT_FATAL(n_asked < REQUESTS);
	asked[n_asked].fn = fn;
	asked[n_asked].ctx = ctx;
	asked[n_asked++].list = strcmp(json_string_value(json_object_get(json, "verb")), "group") == 0;
	json_decref(json);
}

void work_start(uv_loop_t *loop, void (*run)(void *), void (*done)(void *), void *ctx)
{
	(void)loop;
	CU_ASSERT_PTR_NULL(job.run);
	job.run = run;
	job.done = done;
	job.ctx = ctx;
}

static void answer(unsigned i, json_t *reply)
{
	asked[i].fn(asked[i].ctx, 0, "", reply);
	json_decref(reply);
}

static json_t *member(int rank)
{
	return json_pack("{s:s,s:s,s:s,s:s,s:i,s:i,s:i,s:s,s:s}", "job", rank ? "b" : "a", "name", "g", "group", "g",
			 "launch", "l", "uid", 7, "rank", rank, "size", 2, "node", "n", "state", "running");
}

static json_t *both(void)
{
	return json_pack("{s:[o,o]}", "ranks", member(0), member(1));
}

static json_t *has(int from, int to)
{
	json_t *versions = json_array();

	for (int v = from; v <= to; v++)
		json_array_append_new(versions, json_integer(v));
	return json_pack("{s:b,s:[{s:s,s:o,s:i}]}", "ready", 1, "keys", "key", "state", "versions", versions, "newest", to);
}

/* ---- the question ---- */

static struct agent agent;
static struct ranks_found found;
static unsigned times_found;

static void on_found(void *ctx, const struct ranks_found *f)
{
	(void)ctx;
	found = *f;
	times_found++;
}

static bool wanted(void *ctx)
{
	(void)ctx;
	return true;
}

static void until_asked(unsigned n)
{
	while (n_asked < n)
		uv_run(&agent.loop, UV_RUN_ONCE);
}

static void begin(void)
{
	struct ranks_wish w = {.uid = 7, .group = "g", .launch = "l", .ranks = 2, .key = "state", .patience = INT64_MAX};

	n_asked = times_found = 0;
	memset(&job, 0, sizeof job);
	CU_ASSERT_FATAL(uv_loop_init(&agent.loop) == 0);
	ranks_common(&agent, &w, wanted, on_found, NULL);
	until_asked(1);
	CU_ASSERT_FATAL(asked[0].list);
	answer(0, both());
	CU_ASSERT_FATAL(n_asked == 3 && !asked[1].list && !asked[2].list);
}

static void end_work(void)
{
	CU_ASSERT_PTR_NOT_NULL_FATAL(job.run);
	job.run(job.ctx);
	job.done(job.ctx);
	memset(&job, 0, sizeof job);
}

static void all_gone(void)
{
	uv_run(&agent.loop, UV_RUN_DEFAULT);
	CU_ASSERT_EQUAL(uv_loop_close(&agent.loop), 0);
}

static void what_both_have_is_found(void)
{
	begin();
	answer(1, has(4, 6));
	CU_ASSERT_PTR_NULL(job.run);
	answer(2, has(5, 8));
	end_work();
	CU_ASSERT(times_found == 1 && found.code == 0 && found.version == 6 && found.newest == 8);
	all_gone();
}

static void a_list_that_comes_while_the_sum_is_looked_through_leaves_the_sum_alone(void)
{
	begin();
	until_asked(4); /* who is slow may have gone elsewhere */
	CU_ASSERT_FATAL(asked[3].list);
	answer(1, has(4, 6));
	answer(2, has(5, 8));
	CU_ASSERT_PTR_NOT_NULL_FATAL(job.run);
	answer(3, both());
	CU_ASSERT_FATAL(n_asked == 4);
	end_work();
	CU_ASSERT(times_found == 1 && found.code == 0 && found.version == 6 && found.newest == 8);
	all_gone();
}

static void a_rank_that_went_elsewhere_meanwhile_is_asked_there(void)
{
	json_t *list = both();

	begin();
	answer(1, has(4, 6));
	until_asked(4);
	json_object_set_new(json_array_get(json_object_get(list, "ranks"), 1), "node", json_string("m"));
	answer(3, list);
	CU_ASSERT_FATAL(n_asked == 6);
	answer(2, has(9, 9)); /* of a round that is over */
	answer(4, has(4, 6));
	answer(5, has(5, 5));
	end_work();
	CU_ASSERT(times_found == 1 && found.code == 0 && found.version == 5 && found.newest == 6);
	all_gone();
}

int main(void)
{
	static const struct test tests[] = {
		{"what both ranks have is found", what_both_have_is_found},
		{"a list that comes while the sum is looked through leaves the sum alone",
		 a_list_that_comes_while_the_sum_is_looked_through_leaves_the_sum_alone},
		{"a rank that went elsewhere meanwhile is asked there", a_rank_that_went_elsewhere_meanwhile_is_asked_there},
	};

	return harness_run("ranks", tests, sizeof tests / sizeof *tests);
}
