/* The small decisions of core, table by table: words, job steps, leases, supervision, sources, placement, intervals. */
#include "agent/core/interval.h"
#include "agent/core/job.h"
#include "agent/core/lease.h"
#include "agent/core/place.h"
#include "agent/core/source.h"
#include "agent/core/supervise.h"
#include "agent/core/table.h"
#include "tests/unit/harness.h"

#include <CUnit/CUnit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

static void choices_read_back_as_they_are_written(void)
{
	enum restart_policy p;
	enum restart_mode m;
	enum files_mode f;
	enum strategy s;
	CU_ASSERT(restart_policy_parse("permanent", &p) && p == RESTART_PERMANENT);
	CU_ASSERT(restart_mode_parse("keyed", &m) && m == MODE_KEYED);
	CU_ASSERT(files_mode_parse("carry", &f) && f == FILES_CARRY);
	CU_ASSERT(strategy_parse("rest_for_one", &s) && s == REST_FOR_ONE);
	CU_ASSERT_FALSE(restart_policy_parse("always", &p));
	CU_ASSERT_STRING_EQUAL(restart_policy_name(RESTART_TRANSIENT), "transient");
	CU_ASSERT_STRING_EQUAL(restart_mode_name((enum restart_mode)77), "?");
}

static void a_table_finds_what_is_left_after_any_removals(void)
{
	static char keys[2000][16];
	struct table t = {0};
	for (int i = 0; i < 2000; i++) {
		snprintf(keys[i], sizeof keys[i], "k%d", i);
		table_put(&t, keys[i], keys[i]);
	}
	for (int i = 0; i < 2000; i += 3)
		CU_ASSERT_PTR_EQUAL(table_take(&t, keys[i]), keys[i]);
	size_t at = 0, n = 0;
	while (table_each(&t, &at))
		n++;
	CU_ASSERT_EQUAL(n, 2000 - 667);
	for (int i = 0; i < 2000; i++)
		CU_ASSERT_PTR_EQUAL(table_get(&t, keys[i]), i % 3 ? keys[i] : NULL);
	CU_ASSERT_PTR_NULL(table_take(&t, "none"));
	table_free(&t);
	CU_ASSERT_PTR_NULL(table_get(&t, "k1"));
}

static void a_job_takes_the_legal_steps_and_refuses_the_rest(void)
{
	static const struct {
		enum job_state from;
		enum job_event ev;
		bool legal;
		enum job_state to;
		enum job_todo todo;
	} steps[] = {
		{JOB_STARTING, EV_LAUNCHED, true, JOB_RUNNING, DO_REPORT},
		{JOB_STARTING, EV_LAUNCH_FAILED, true, JOB_FAILED, DO_REPORT},
		{JOB_RUNNING, EV_FENCED, true, JOB_FROZEN, DO_FREEZE},
		{JOB_FROZEN, EV_THAWED, true, JOB_RUNNING, DO_THAW},
		{JOB_FROZEN, EV_RESTORED, true, JOB_FROZEN, DO_FREEZE},
		{JOB_FROZEN, EV_DISOWNED, true, JOB_LOST, DO_KILL},
		{JOB_FROZEN, EV_RESTORE_STARTED, false, 0, 0},
		{JOB_RUNNING, EV_NODE_LOST, true, JOB_LOST, DO_PLACE},
		{JOB_RUNNING, EV_ASSIGNED, false, 0, 0},
		{JOB_LOST, EV_ASSIGNED, true, JOB_RESTORING, DO_RESTORE},
		{JOB_LOST, EV_LAUNCHED, false, 0, 0},
		{JOB_EXITED, EV_FENCED, false, 0, 0},
		{JOB_EXITED, EV_ASSIGNED, true, JOB_RESTORING, DO_RESTORE},
		{JOB_FAILED, EV_EXITED, false, 0, 0},
	};
	for (size_t i = 0; i < COUNT(steps); i++) {
		enum job_state s = steps[i].from;
		enum job_todo todo = DO_NOTHING;
		CU_ASSERT_EQUAL(job_on(&s, steps[i].ev, &todo), steps[i].legal);
		CU_ASSERT_EQUAL(s, steps[i].legal ? steps[i].to : steps[i].from);
		CU_ASSERT_EQUAL(todo, steps[i].legal ? steps[i].todo : DO_NOTHING);
	}
	enum job_state s = (enum job_state)99;
	CU_ASSERT_FALSE(job_on(&s, EV_EXITED, NULL));
	CU_ASSERT(job_state_parse("restoring", &s) && s == JOB_RESTORING);
	CU_ASSERT_FALSE(job_state_parse("dead", &s));
}

/* An ended job has no copy, and whatever is live can be lost: the registry relies on both. */
static void every_live_state_can_be_lost_and_disowned(void)
{
	for (int i = 0; i < JOB_STATES; i++) {
		enum job_state s = (enum job_state)i;
		CU_ASSERT_FALSE(job_live(s) && job_ended(s));
		if (!job_live(s))
			continue;
		CU_ASSERT(job_on(&s, EV_NODE_LOST, NULL) && s == JOB_LOST);
		s = (enum job_state)i;
		CU_ASSERT(job_on(&s, EV_DISOWNED, NULL) && s == JOB_LOST);
	}
}

static void a_lease_counts_from_when_the_granted_renewal_was_sent(void)
{
	struct lease l;
	lease_init(&l, 2 * CORE_S, 0);
	CU_ASSERT_FALSE(lease_over(&l, CORE_NEVER - 1));
	uint64_t first = lease_sent(&l, 10 * CORE_S), second = lease_sent(&l, 11 * CORE_S);
	CU_ASSERT(lease_granted(&l, second, 2 * CORE_S));
	CU_ASSERT_EQUAL(l.deadline, 13 * CORE_S);
	CU_ASSERT(lease_granted(&l, first, 2 * CORE_S)); /* late: true, but no step back */
	CU_ASSERT_EQUAL(l.deadline, 13 * CORE_S);
	CU_ASSERT_FALSE(lease_granted(&l, second, 2 * CORE_S));
	CU_ASSERT_FALSE(lease_granted(&l, 999, 2 * CORE_S));
	CU_ASSERT_FALSE(lease_granted(&l, 0, 2 * CORE_S));
	CU_ASSERT_EQUAL(lease_next(&l), 11 * CORE_S + 200 * CORE_MS);
	CU_ASSERT_TRUE(lease_over(&l, 13 * CORE_S));
	uint64_t third = lease_sent(&l, 12 * CORE_S);
	lease_forget_pending(&l);
	CU_ASSERT_FALSE(lease_granted(&l, third, 2 * CORE_S));
}

/* Sent before received, and the margin beyond any drift: for any pair of clocks within 0.45 % of the truth. */
static void the_registry_always_waits_longer_than_the_node(void)
{
	for (int64_t length = CORE_S / 2; length <= 600 * CORE_S; length *= 2) {
		double node_true = (double)length / 0.9955, registry_true = (double)lease_expiry(0, length) / 1.0045;
		CU_ASSERT(registry_true > node_true);
	}
}

static void supervision_follows_policy_and_limits(void)
{
	const struct ending ok = {0, 0}, bad = {1, 0}, killed = {0, 9};
	int64_t delay;
	struct supervise s = {.policy = RESTART_PERMANENT, .max_restarts = 2, .window = 10 * CORE_S};
	CU_ASSERT_EQUAL(supervise_died(&s, ok, false, 0, 20 * CORE_S, &delay), SUPERVISE_RESTART);
	CU_ASSERT_EQUAL(delay, 0);
	CU_ASSERT_EQUAL(supervise_died(&s, bad, false, 0, 21 * CORE_S, &delay), SUPERVISE_RESTART);
	CU_ASSERT_EQUAL(supervise_died(&s, bad, false, 0, 22 * CORE_S, &delay), SUPERVISE_GIVE_UP);
	/* the window slides: the one at 20 s is forgotten after 30 s */
	CU_ASSERT_EQUAL(supervise_died(&s, bad, false, 0, 31 * CORE_S, &delay), SUPERVISE_RESTART);
	CU_ASSERT_EQUAL(supervise_died(&s, bad, true, 0, 60 * CORE_S, &delay), SUPERVISE_END);
	s = (struct supervise){.policy = RESTART_TRANSIENT, .max_restarts = 100};
	CU_ASSERT_EQUAL(supervise_died(&s, ok, false, 0, CORE_S, &delay), SUPERVISE_END);
	CU_ASSERT_EQUAL(supervise_died(&s, killed, false, 0, CORE_S, &delay), SUPERVISE_RESTART);
	s = (struct supervise){.policy = RESTART_TEMPORARY, .max_restarts = 100};
	CU_ASSERT_EQUAL(supervise_died(&s, bad, false, 0, CORE_S, &delay), SUPERVISE_END);
	/* more than can be remembered is more than is allowed */
	s = (struct supervise){.policy = RESTART_PERMANENT, .max_restarts = 1000};
	int n = 0;
	while (supervise_died(&s, bad, false, n, n, &delay) == SUPERVISE_RESTART && n < 2000)
		n++;
	CU_ASSERT_EQUAL(n, SUPERVISE_TIMES);
	CU_ASSERT_EQUAL(delay, 0);
}

static void a_job_that_dies_at_once_waits_longer_each_time(void)
{
	struct supervise s = {.policy = RESTART_PERMANENT, .max_restarts = 64};
	static const int64_t want[] = {0, 100, 200, 400, 800, 1600, 3200, 5000, 5000};
	int64_t delay, now = 0;
	for (size_t i = 0; i < COUNT(want); i++, now += 10 * CORE_S) {
		supervise_died(&s, (struct ending){1, 0}, false, now, now + CORE_MS, &delay);
		CU_ASSERT_EQUAL(delay, want[i] * CORE_MS);
	}
	supervise_died(&s, (struct ending){1, 0}, false, now, now + 2 * CORE_S, &delay);
	CU_ASSERT_EQUAL(delay, 0);
}

static void a_groups_strategy_says_who_starts_again(void)
{
	bool again[4];
	CU_ASSERT_EQUAL(supervise_group(ONE_FOR_ONE, 1, 4, again), 1);
	CU_ASSERT(!again[0] && again[1] && !again[2] && !again[3]);
	CU_ASSERT_EQUAL(supervise_group(ONE_FOR_ALL, 1, 4, again), 4);
	CU_ASSERT_EQUAL(supervise_group(REST_FOR_ONE, 1, 4, again), 3);
	CU_ASSERT(!again[0] && again[1] && again[2] && again[3]);
	CU_ASSERT_EQUAL(supervise_group(ONE_FOR_ALL, 9, 4, again), 0);
}

/* ---- sources ------------------------------------------------------------------------------------- */
#define SNAP(lvl, who, num, inc, t)                                                                                    \
	{.kind = SOURCE_SNAPSHOT, .level = lvl, .holder = who, .number = num, .incarnation = inc, .time = t,           \
	 .reachable = true}
#define KEYS(lvl, who, num, inc, t)                                                                                    \
	{.kind = SOURCE_KEYS, .level = lvl, .holder = who, .number = num, .incarnation = inc, .time = t,               \
	 .reachable = true}

static void check_order(const char *what, struct source_wish wish, const struct holding *h, size_t n, const int *want)
{
	struct source out[16];
	size_t got = source_order(&wish, h, n, out);
	size_t i = 0;
	for (; want[i] >= 0; i++)
		if (i >= got || out[i].from != &h[want[i]])
			break;
	bool anew = !wish.level && !wish.generation;
	if (want[i] >= 0 || got != i + anew || (anew && out[i].kind != SOURCE_ANEW))
		printf("%s: differs at %zu of %zu\n", what, i, got);
	CU_ASSERT(want[i] < 0 && got == i + anew && (!anew || out[i].kind == SOURCE_ANEW));
}

static void a_restart_tries_the_newest_first_and_the_nearest_on_ties(void)
{
	struct holding h[] = {
		SNAP(2, "top", 4, 0, 40), SNAP(1, "n1", 4, 0, 40), SNAP(2, "top", 5, 0, 50),
		KEYS(2, "top", 90, 0, 45), SNAP(2, "top", 1, 1, 30), KEYS(1, "n1", 95, 0, 60),
	};
	h[5].reachable = false;
	check_order("process", (struct source_wish){.mode = MODE_PROCESS}, h, 6, (int[]){4, 2, 1, 0, -1});
	check_order("keyed", (struct source_wish){.mode = MODE_KEYED}, h, 6, (int[]){3, -1});
	check_order("auto", (struct source_wish){.mode = MODE_AUTO}, h, 6, (int[]){4, 2, 1, 0, -1});
	check_order("auto, by keys", (struct source_wish){.mode = MODE_AUTO, .by_keys = true}, h, 6,
		    (int[]){4, 2, 3, 1, 0, -1});
	check_order("level 1", (struct source_wish){.mode = MODE_PROCESS, .level = 1}, h, 6, (int[]){1, -1});
	check_order("generation 4", (struct source_wish){.mode = MODE_KEYED, .generation = 4}, h, 6, (int[]){1, 0, -1});
	check_order("nothing", (struct source_wish){.mode = MODE_PROCESS}, h, 0, (int[]){-1});
}

static void a_broken_copy_is_never_tried_and_a_crashing_generation_last(void)
{
	struct holding h[] = {
		SNAP(1, "n1", 5, 0, 50), SNAP(2, "top", 5, 0, 50), SNAP(2, "top", 4, 0, 40), SNAP(2, "top", 3, 0, 30),
	};
	h[0].bad = true;
	h[1].crashes = SOURCE_CRASHES;
	h[2].crashes = SOURCE_CRASHES - 1;
	check_order("crashes", (struct source_wish){.mode = MODE_PROCESS}, h, 4, (int[]){2, 3, 1, -1});
}

/* ---- placement ------------------------------------------------------------------------------------ */
static void placement_takes_the_wish_then_spares_then_the_least_loaded(void)
{
	struct place_node nodes[] = {
		{.name = "n1", .up = true, .jobs = 2, .has = {.arch = "x86_64", .features = {7}, .memory = 100, .cpus = 2}},
		{.name = "n2", .up = true, .jobs = 1, .has = {.arch = "x86_64", .features = {3}, .memory = 100, .cpus = 1}},
		{.name = "n3", .up = true, .jobs = 9, .has = {.arch = "x86_64", .features = {7}, .memory = 50, .cpus = 2}},
		{.name = "n4", .up = false, .has = {.arch = "x86_64", .features = {7}, .cpus = 64}},
	};
	const char spares[1][CORE_NAME] = {"n3"};
	const char tried[1][CORE_NAME] = {"n1"};
	char why[CORE_WHY];
	struct place_want w = {.needs = {.arch = "x86_64"}};
	CU_ASSERT_EQUAL(place(&w, nodes, 4, why), 0); /* equal load per cpu: the name decides */
	nodes[1].jobs = 0;
	CU_ASSERT_EQUAL(place(&w, nodes, 4, why), 1);
	w.needs.features[0] = 4;
	CU_ASSERT_EQUAL(place(&w, nodes, 4, why), 0);
	w.spares = spares, w.spare_count = 1;
	CU_ASSERT_EQUAL(place(&w, nodes, 4, why), 2);
	w.wanted = "n1";
	CU_ASSERT_EQUAL(place(&w, nodes, 4, why), 0);
	w.needs.memory = 60;
	nodes[0].memory_used = 50;
	CU_ASSERT_EQUAL(place(&w, nodes, 4, why), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(why, "n1 has not enough memory left"));
	CU_ASSERT_PTR_NOT_NULL(strstr(why, "n2 lacks CPU features that the job uses"));
	CU_ASSERT_PTR_NOT_NULL(strstr(why, "n4 is not up"));
	w = (struct place_want){.wanted = "n9", .only_wanted = true};
	CU_ASSERT_EQUAL(place(&w, nodes, 4, why), -1);
	CU_ASSERT_STRING_EQUAL(why, "there is no node n9");
	w = (struct place_want){.tried = tried, .tried_count = 1, .avoid = "n2"};
	CU_ASSERT_EQUAL(place(&w, nodes, 4, why), 2);
	nodes[2].drained = true;
	CU_ASSERT_EQUAL(place(&w, nodes, 4, why), -1);
	CU_ASSERT_EQUAL(place(&w, nodes, 0, why), -1);
	CU_ASSERT_STRING_EQUAL(why, "no node is registered");
}

static void a_thousand_misfits_make_one_sentence_that_ends(void)
{
	static struct place_node nodes[1000];
	static char names[1000][16];
	char why[CORE_WHY];
	for (int i = 0; i < 1000; i++) {
		snprintf(names[i], sizeof names[i], "node%d", i);
		nodes[i].name = names[i];
	}
	CU_ASSERT_EQUAL(place(&(struct place_want){0}, nodes, 1000, why), -1);
	CU_ASSERT(strlen(why) < CORE_WHY && !strcmp(why + strlen(why) - 3, "..."));
}

/* ---- intervals ------------------------------------------------------------------------------------ */
static void due_times_neither_drift_nor_pile_up(void)
{
	struct interval i;
	interval_set(&i, 10, true, 100);
	CU_ASSERT_FALSE(interval_due(&i, 109));
	CU_ASSERT_TRUE(interval_due(&i, 113)); /* late, but the next is at 120 all the same */
	CU_ASSERT_EQUAL(i.next, 120);
	CU_ASSERT_TRUE(interval_due(&i, 167)); /* four were missed */
	CU_ASSERT_FALSE(interval_due(&i, 169));
	CU_ASSERT_EQUAL(i.next, 170);
	interval_set(&i, 3, true, 168);
	CU_ASSERT_EQUAL(i.next, 171);
	interval_set(&i, 3, false, 168);
	CU_ASSERT(!interval_due(&i, 1000) && i.next == CORE_NEVER);
	interval_set(&i, 0, true, 168);
	CU_ASSERT(!interval_due(&i, 1000) && i.next == CORE_NEVER);
	interval_set(&i, INT64_MAX, true, 168);
	CU_ASSERT_FALSE(interval_due(&i, 1000));
}

static void the_automatic_interval_is_youngs_and_dalys(void)
{
	/* 2 s cost, one failure a day: sqrt(2 * 2 * 86400) - 2 = 585.9 s */
	int64_t t = interval_auto(2 * CORE_S, 86400 * CORE_S);
	CU_ASSERT(t > 585 * CORE_S && t < 587 * CORE_S);
	CU_ASSERT_EQUAL(interval_auto(CORE_S, CORE_S / 10), CORE_S);
	CU_ASSERT_EQUAL(interval_auto(0, CORE_S), 0);
	CU_ASSERT_EQUAL(interval_auto(CORE_S, 0), 0);
	CU_ASSERT_EQUAL(level_for(0, 3), 3);
	CU_ASSERT_EQUAL(level_for(2, 3), 2);
	CU_ASSERT_EQUAL(level_for(9, 3), 3);
	CU_ASSERT_EQUAL(level_for(1, 0), 1);
}

static const struct test tests[] = {
	{"choices read back as they are written", choices_read_back_as_they_are_written},
	{"a table finds what is left after any removals", a_table_finds_what_is_left_after_any_removals},
	{"a job takes the legal steps and refuses the rest", a_job_takes_the_legal_steps_and_refuses_the_rest},
	{"every live state can be lost and disowned", every_live_state_can_be_lost_and_disowned},
	{"a lease counts from when the granted renewal was sent", a_lease_counts_from_when_the_granted_renewal_was_sent},
	{"the registry always waits longer than the node", the_registry_always_waits_longer_than_the_node},
	{"supervision follows policy and limits", supervision_follows_policy_and_limits},
	{"a job that dies at once waits longer each time", a_job_that_dies_at_once_waits_longer_each_time},
	{"a group's strategy says who starts again", a_groups_strategy_says_who_starts_again},
	{"a restart tries the newest first and the nearest on ties", a_restart_tries_the_newest_first_and_the_nearest_on_ties},
	{"a broken copy is never tried and a crashing generation last", a_broken_copy_is_never_tried_and_a_crashing_generation_last},
	{"placement takes the wish, then spares, then the least loaded", placement_takes_the_wish_then_spares_then_the_least_loaded},
	{"a thousand misfits make one sentence that ends", a_thousand_misfits_make_one_sentence_that_ends},
	{"due times neither drift nor pile up", due_times_neither_drift_nor_pile_up},
	{"the automatic interval is Young's and Daly's", the_automatic_interval_is_youngs_and_dalys},
};

int main(void)
{
	return harness_run("core-small", tests, COUNT(tests));
}
