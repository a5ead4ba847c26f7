/* What the cluster promises, as scenarios: one fault each, driven by events in virtual time. */
#include "tests/sim/sim.h"
#include "tests/unit/harness.h"

#include <CUnit/CUnit.h>
#include <stdio.h>

/* A calm cluster with job 0 running on n0. */
static struct sim *with_a_job(struct sim_options opt)
{
	struct sim *s = sim_new(&opt);
	sim_run(s, SEC);
	sim_submit(s, 0, "n0", RESTART_PERMANENT);
	sim_run(s, 5 * SEC);
	CU_ASSERT_EQUAL(sim_where(s, 0), 0);
	return s;
}

static void done(struct sim *s)
{
	if (s->failed)
		printf("broken: %s\n", s->what);
	CU_ASSERT_FALSE(s->failed);
	sim_free(s);
}

static void a_partitioned_node_freezes_its_job_before_anyone_may_restart_it(void)
{
	struct sim *s = with_a_job(sim_calm(3, 1, 1));
	sim_cut(s, 0, 0, true, true);
	CU_ASSERT_TRUE(sim_until(s, MARK_RESTARTED, 10 * SEC));
	CU_ASSERT(s->last[MARK_FROZEN] >= 0 && s->last[MARK_FROZEN] < s->last[MARK_MOVED]);
	CU_ASSERT_EQUAL(sim_live_copies(s, 0), 1);
	CU_ASSERT_NOT_EQUAL(sim_where(s, 0), 0);
	done(s);
}

static void a_dead_nodes_job_runs_elsewhere_within_the_lease_and_a_second(void)
{
	struct sim *s = with_a_job(sim_calm(3, 1, 2));
	int64_t died = s->now;
	sim_crash_machine(s, 0, 0);
	CU_ASSERT_TRUE(sim_until(s, MARK_RESTARTED, 10 * SEC));
	CU_ASSERT(s->now - died < s->opt.lease + SEC);
	done(s);
}

static void a_node_that_cannot_send_but_hears_is_fenced_all_the_same(void)
{
	struct sim *s = with_a_job(sim_calm(3, 1, 3));
	sim_cut(s, 0, 0, true, false);
	CU_ASSERT_TRUE(sim_until(s, MARK_RESTARTED, 10 * SEC));
	CU_ASSERT_EQUAL(sim_live_copies(s, 0), 1);
	done(s);
}

static void a_node_that_is_heard_but_hears_nothing_loses_its_job_too(void)
{
	struct sim *s = with_a_job(sim_calm(3, 1, 4));
	sim_cut(s, 0, 0, false, true);
	/* it registers in vain again and again, and none of that may keep the job from others */
	CU_ASSERT_TRUE(sim_until(s, MARK_RESTARTED, 10 * SEC));
	sim_heal(s, 0);
	sim_run(s, 10 * SEC);
	CU_ASSERT_EQUAL(sim_live_copies(s, 0), 1);
	done(s);
}

static void the_fence_freezes_a_node_whose_agent_is_dead(void)
{
	struct sim *s = with_a_job(sim_calm(3, 1, 5));
	sim_crash_agent(s, 0, 0);
	CU_ASSERT_TRUE(sim_until(s, MARK_FROZEN, 5 * SEC));
	CU_ASSERT_TRUE(sim_until(s, MARK_RESTARTED, 10 * SEC));
	CU_ASSERT_NOT_EQUAL(sim_where(s, 0), 0);
	done(s);
}

static void an_agent_that_comes_back_in_time_keeps_its_job(void)
{
	struct sim *s = with_a_job(sim_calm(3, 1, 6));
	sim_crash_agent(s, 0, SEC);
	sim_run(s, 10 * SEC);
	CU_ASSERT_EQUAL(sim_where(s, 0), 0);
	CU_ASSERT_EQUAL(s->count[MARK_FROZEN], 0);
	CU_ASSERT_EQUAL(s->count[MARK_RESTARTED], 0);
	done(s);
}

static void a_stopped_agent_finds_its_stale_copy_killed_when_it_goes_on(void)
{
	struct sim *s = with_a_job(sim_calm(3, 1, 7));
	sim_stall_agent(s, 0, 8 * SEC);
	CU_ASSERT_TRUE(sim_until(s, MARK_RESTARTED, 7 * SEC));
	CU_ASSERT_TRUE(sim_until(s, MARK_KILLED, 10 * SEC));
	CU_ASSERT_EQUAL(sim_live_copies(s, 0), 1);
	done(s);
}

static void an_isolated_job_that_nobody_could_take_thaws_unharmed(void)
{
	struct sim *s = with_a_job(sim_calm(1, 1, 8));
	sim_cut(s, 0, 0, true, true);
	sim_run(s, 10 * SEC);
	CU_ASSERT_EQUAL(sim_live_copies(s, 0), 0);
	sim_heal(s, 0);
	CU_ASSERT_TRUE(sim_until(s, MARK_THAWED, 5 * SEC));
	CU_ASSERT_EQUAL(sim_where(s, 0), 0);
	CU_ASSERT_EQUAL(s->count[MARK_RESTARTED], 0);
	done(s);
}

static void a_registry_that_restarts_takes_nothing_from_a_node_that_is_there(void)
{
	struct sim *s = with_a_job(sim_calm(3, 1, 9));
	sim_crash_top(s, 0, 500 * MS);
	sim_run(s, 10 * SEC);
	CU_ASSERT_EQUAL(sim_where(s, 0), 0);
	CU_ASSERT_EQUAL(s->count[MARK_RESTARTED] + s->count[MARK_FROZEN], 0);
	done(s);
}

static void a_node_that_died_while_the_registry_was_down_is_noticed_one_lease_later(void)
{
	struct sim *s = with_a_job(sim_calm(3, 1, 10));
	sim_crash_top(s, 0, 3 * SEC);
	sim_crash_machine(s, 0, 0);
	int64_t back = s->now + 3 * SEC;
	CU_ASSERT_TRUE(sim_until(s, MARK_RESTARTED, 20 * SEC));
	CU_ASSERT(s->last[MARK_MOVED] >= back + s->opt.lease);
	CU_ASSERT(s->now < back + s->opt.lease + SEC);
	done(s);
}

static void a_job_that_dies_is_started_again_where_it_is(void)
{
	struct sim *s = with_a_job(sim_calm(3, 1, 11));
	sim_kill_process(s, 0, (struct ending){.signal = 9});
	CU_ASSERT_TRUE(sim_until(s, MARK_RESTARTED, 5 * SEC));
	CU_ASSERT_EQUAL(sim_where(s, 0), 0);
	CU_ASSERT_EQUAL(s->count[MARK_MOVED], 0);
	done(s);
}

static void an_operators_move_stops_the_old_copy_first(void)
{
	struct sim *s = with_a_job(sim_calm(3, 1, 12));
	sim_move(s, 0, "n2");
	CU_ASSERT_TRUE(sim_until(s, MARK_RESTARTED, 5 * SEC));
	CU_ASSERT_EQUAL(sim_where(s, 0), 2);
	done(s);
}

static void a_drained_node_loses_its_jobs_and_gets_none(void)
{
	struct sim *s = with_a_job(sim_calm(2, 4, 13));
	sim_drain(s, 0, true);
	for (int j = 1; j < 4; j++)
		sim_submit(s, j, "", RESTART_PERMANENT);
	sim_run(s, 5 * SEC);
	for (int j = 0; j < 4; j++)
		CU_ASSERT_EQUAL(sim_where(s, j), 1);
	done(s);
}

static void a_restore_that_fails_on_one_node_is_tried_on_another(void)
{
	struct sim_options opt = sim_calm(4, 1, 14);
	struct sim *s = with_a_job(opt);
	s->opt.restore_fails = 0.7;
	sim_crash_machine(s, 0, 0);
	CU_ASSERT_TRUE(sim_until(s, MARK_RESTARTED, 120 * SEC));
	CU_ASSERT(s->count[MARK_RESTORE_FAILED] > 0);
	done(s);
}

static void a_job_from_before_its_nodes_first_parent_is_adopted(void)
{
	struct sim_options opt = sim_calm(2, 1, 15);
	struct sim *s = sim_new(&opt);
	sim_start_alone(s, 0, 1);
	CU_ASSERT_TRUE(sim_until(s, MARK_ADOPTED, 5 * SEC));
	sim_run(s, 3 * SEC);
	sim_crash_machine(s, 1, 0);
	CU_ASSERT_TRUE(sim_until(s, MARK_RESTARTED, 10 * SEC));
	done(s);
}

static void a_node_that_loses_its_parent_goes_to_the_next_without_a_freeze(void)
{
	struct sim_options opt = sim_calm(3, 1, 16);
	opt.tops = 2;
	struct sim *s = with_a_job(opt);
	sim_crash_top(s, 0, 0);
	CU_ASSERT_TRUE(sim_until(s, MARK_PARENT_CHANGED, 5 * SEC));
	sim_run(s, 5 * SEC);
	CU_ASSERT_EQUAL(s->count[MARK_FROZEN], 0);
	CU_ASSERT_EQUAL(sim_where(s, 0), 0);
	/* and the new one restarts it when its node dies, but only after the old one has let it go */
	sim_crash_machine(s, 0, 0);
	CU_ASSERT_FALSE(sim_until(s, MARK_RESTARTED, 10 * SEC));
	top_boot(s, 0, false);
	CU_ASSERT_TRUE(sim_until(s, MARK_RESTARTED, 10 * SEC));
	done(s);
}

static void of_two_registries_one_asks_the_other_before_it_takes_a_job_away(void)
{
	struct sim_options opt = sim_calm(3, 1, 17);
	opt.tops = 2;
	struct sim *s = with_a_job(opt);
	sim_cut(s, 0, 0, true, true); /* n0 goes to top1, top0 thinks that it is dead */
	CU_ASSERT_TRUE(sim_until(s, MARK_NODE_DOWN, 10 * SEC));
	sim_run(s, 10 * SEC);
	CU_ASSERT(s->count[MARK_ASKED] > 0);
	CU_ASSERT_EQUAL(sim_where(s, 0), 0);
	CU_ASSERT_EQUAL(s->count[MARK_RESTARTED], 0);
	done(s);
}

static void without_a_fence_the_checker_sees_two_copies(void)
{
	struct sim_options opt = sim_calm(3, 1, 18);
	opt.no_fence = true;
	struct sim *s = with_a_job(opt);
	sim_cut(s, 0, 0, true, true);
	sim_run(s, 10 * SEC);
	CU_ASSERT_TRUE(s->failed);
	sim_free(s);
}

static void with_a_clock_beyond_the_margin_the_checker_sees_two_copies(void)
{
	struct sim_options opt = sim_calm(3, 1, 19);
	opt.top_fast = 0.2;
	struct sim *s = with_a_job(opt);
	sim_cut(s, 0, 0, true, true);
	sim_run(s, 10 * SEC);
	CU_ASSERT_TRUE(s->failed);
	sim_free(s);
}

static void with_orders_before_records_the_checker_sees_two_copies(void)
{
	struct sim_options opt = sim_calm(3, 1, 20);
	struct sim *s = with_a_job(opt);
	s->opt.start_before_persist = true;
	sim_cut(s, 0, 0, true, true);
	CU_ASSERT_TRUE(sim_until(s, MARK_RESTARTED, 10 * SEC));
	/* its record still says n0, which is let in again and told to go on */
	int other = sim_where(s, 0);
	sim_cut(s, other, 0, true, true);
	sim_crash_top(s, 0, 100 * MS);
	sim_heal(s, 0);
	sim_run(s, 10 * SEC);
	CU_ASSERT_TRUE(s->failed);
	sim_free(s);
}

#define T(name) {#name, name}
static const struct test tests[] = {
	T(a_partitioned_node_freezes_its_job_before_anyone_may_restart_it),
	T(a_dead_nodes_job_runs_elsewhere_within_the_lease_and_a_second),
	T(a_node_that_cannot_send_but_hears_is_fenced_all_the_same),
	T(a_node_that_is_heard_but_hears_nothing_loses_its_job_too),
	T(the_fence_freezes_a_node_whose_agent_is_dead),
	T(an_agent_that_comes_back_in_time_keeps_its_job),
	T(a_stopped_agent_finds_its_stale_copy_killed_when_it_goes_on),
	T(an_isolated_job_that_nobody_could_take_thaws_unharmed),
	T(a_registry_that_restarts_takes_nothing_from_a_node_that_is_there),
	T(a_node_that_died_while_the_registry_was_down_is_noticed_one_lease_later),
	T(a_job_that_dies_is_started_again_where_it_is),
	T(an_operators_move_stops_the_old_copy_first),
	T(a_drained_node_loses_its_jobs_and_gets_none),
	T(a_restore_that_fails_on_one_node_is_tried_on_another),
	T(a_job_from_before_its_nodes_first_parent_is_adopted),
	T(a_node_that_loses_its_parent_goes_to_the_next_without_a_freeze),
	T(of_two_registries_one_asks_the_other_before_it_takes_a_job_away),
	T(without_a_fence_the_checker_sees_two_copies),
	T(with_a_clock_beyond_the_margin_the_checker_sees_two_copies),
	T(with_orders_before_records_the_checker_sees_two_copies),
};

int main(void)
{
	return harness_run("sim", tests, sizeof tests / sizeof *tests);
}
