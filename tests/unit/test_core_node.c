/* The node's standing and which orders count, step by step with a clock in hand. */
#include "agent/core/node.h"
#include "tests/unit/harness.h"

#include <CUnit/CUnit.h>
#include <string.h>

#define L (2 * CORE_S)

static struct node n;
static struct node_actions acts;
static int64_t now;

static void begin(int parents, int64_t deadline)
{
	node_free(&n);
	node_actions_clear(&acts);
	now = 100 * CORE_S;
	node_init(&n, parents, L, deadline ? now + deadline : 0, 1000, false, 0);
}

static const struct node_action *has(enum node_do todo)
{
	for (size_t i = 0; i < acts.n; i++)
		if (acts.v[i].todo == todo)
			return &acts.v[i];
	return NULL;
}

static int place_of(enum node_do todo)
{
	const struct node_action *a = has(todo);
	return a ? (int)(a - acts.v) : -1;
}

static void tick(int64_t after)
{
	node_actions_clear(&acts);
	now += after;
	node_tick(&n, now, &acts);
}

static void registered(int64_t after, const struct job_verdict *v, size_t count)
{
	uint64_t term = n.term, seq = n.asked_seq;
	node_actions_clear(&acts);
	now += after;
	node_registered(&n, term, seq, L, v, count, now, &acts);
}

/* hello, its answer, the registration and its answer */
static void join(void)
{
	begin(2, 0);
	tick(0);
	node_actions_clear(&acts);
	node_granted(&n, n.term, n.asked_seq, L, now, &acts);
	registered(0, NULL, 0);
}

static void a_node_without_parents_runs_its_jobs_alone(void)
{
	begin(0, 0);
	tick(0);
	CU_ASSERT(n.standing == STANDING_ALONE && acts.n == 0 && node_next(&n) == CORE_NEVER);
	CU_ASSERT_TRUE(node_may_run(&n, now + 1000 * CORE_S));
}

static void jobs_are_listed_only_after_a_deadline_is_set(void)
{
	begin(1, 0);
	tick(0);
	CU_ASSERT(has(NODE_SEND_HELLO) && !has(NODE_SEND_REGISTER) && !has(NODE_SET_DEADLINE));
	int64_t sent = now;
	now += 50 * CORE_MS;
	node_actions_clear(&acts);
	node_granted(&n, n.term, n.asked_seq, L, now, &acts);
	CU_ASSERT(place_of(NODE_SET_DEADLINE) == 0 && place_of(NODE_SEND_REGISTER) > 0);
	CU_ASSERT_EQUAL(has(NODE_SET_DEADLINE)->deadline, sent + L);
	CU_ASSERT_EQUAL(n.standing, STANDING_SEEKING);
	/* the answer to the registration is lost: the deadline counts all the same */
	tick(L);
	CU_ASSERT(n.standing == STANDING_FENCED && has(NODE_FREEZE_ALL));
	CU_ASSERT_FALSE(node_may_run(&n, now));
}

static void a_leased_node_renews_every_tenth(void)
{
	join();
	CU_ASSERT_EQUAL(n.standing, STANDING_LEASED);
	CU_ASSERT(has(NODE_SEND_RENEWAL) && has(NODE_THAW_ALL));
	CU_ASSERT(place_of(NODE_SET_DEADLINE) < place_of(NODE_THAW_ALL));
	for (int i = 0; i < 20; i++) {
		tick(node_next(&n) - now);
		CU_ASSERT(has(NODE_SEND_RENEWAL) && n.standing == STANDING_LEASED);
		uint64_t seq = has(NODE_SEND_RENEWAL)->seq;
		node_granted(&n, n.term, seq, L, now, &acts);
		CU_ASSERT_EQUAL(n.lease.deadline, now + L);
	}
}

static void half_a_lease_without_an_answer_sends_it_to_the_next_parent(void)
{
	join();
	tick(L / 2);
	CU_ASSERT(n.standing == STANDING_SEEKING && has(NODE_SEND_REGISTER));
	CU_ASSERT(has(NODE_SEND_REGISTER)->parent == 1 && !has(NODE_FREEZE_ALL));
	registered(CORE_MS, NULL, 0);
	CU_ASSERT(n.standing == STANDING_LEASED && n.parent == 1);
}

static void parents_take_turns_and_pauses_grow(void)
{
	begin(2, 0);
	int64_t last = 0, longest = 0;
	int turn = 0, tries = 0;
	for (int64_t end = now + 60 * CORE_S; now < end; tick(node_next(&n) - now)) {
		const struct node_action *a = has(NODE_SEND_HELLO);
		if (!a)
			continue;
		CU_ASSERT_EQUAL(a->parent, turn);
		turn = !turn;
		tries++;
		longest = last && now - last > longest ? now - last : longest;
		last = now;
	}
	CU_ASSERT(tries > 10 && tries < 60 && longest <= 6 * CORE_S);
}

static void verdicts_are_carried_out_before_the_thaw(void)
{
	begin(1, CORE_S);
	tick(CORE_S);
	CU_ASSERT_EQUAL(n.standing, STANDING_FENCED);
	const struct job_verdict v[] = {{"a", VERDICT_KEEP}, {"b", VERDICT_KILL}, {"c", VERDICT_FORGET}, {"d", VERDICT_ADOPT}};
	registered(CORE_MS, v, 4);
	CU_ASSERT_EQUAL(n.standing, STANDING_LEASED);
	CU_ASSERT(place_of(NODE_KILL) >= 0 && place_of(NODE_KILL) < place_of(NODE_SET_DEADLINE));
	CU_ASSERT(place_of(NODE_SET_DEADLINE) < place_of(NODE_THAW_ALL));
	CU_ASSERT_STRING_EQUAL(has(NODE_KILL)->job, "b");
	CU_ASSERT_STRING_EQUAL(has(NODE_FORGET)->job, "c");
}

static void an_answer_slower_than_its_lease_thaws_nothing(void)
{
	begin(1, CORE_S);
	tick(CORE_S);
	registered(L + 1, NULL, 0);
	CU_ASSERT(n.standing == STANDING_FENCED && !has(NODE_THAW_ALL));
}

static void answers_to_earlier_questions_change_nothing(void)
{
	join();
	uint64_t term = n.term, seq = lease_sent(&n.lease, now);
	tick(L / 2); /* it seeks again */
	int64_t deadline = n.lease.deadline;
	node_granted(&n, term, seq, 100 * L, now, &acts);
	node_registered(&n, term, seq, 100 * L, NULL, 0, now, &acts);
	node_refused(&n, term, true, now, &acts);
	CU_ASSERT(n.standing == STANDING_SEEKING && n.lease.deadline == deadline);
}

static void an_unknown_node_registers_again_at_once_with_the_same_parent(void)
{
	join();
	node_actions_clear(&acts);
	node_refused(&n, n.term, true, now, &acts);
	CU_ASSERT(has(NODE_SEND_REGISTER) && has(NODE_SEND_REGISTER)->parent == 0);
}

static void an_earlier_lifes_deadline_still_counts(void)
{
	begin(1, CORE_S);
	tick(0);
	CU_ASSERT(n.standing == STANDING_SEEKING && has(NODE_SEND_REGISTER));
	CU_ASSERT(node_may_run(&n, now) && !node_may_run(&n, now + CORE_S));
	begin(0, CORE_S); /* even when the parents are configured away */
	tick(CORE_S);
	CU_ASSERT(n.standing == STANDING_FENCED && has(NODE_FREEZE_ALL));
}

static void a_site_may_choose_to_run_on_in_isolation(void)
{
	begin(1, 0);
	n.run_isolated = true;
	tick(0);
	node_actions_clear(&acts);
	node_granted(&n, n.term, n.asked_seq, L, now, &acts);
	CU_ASSERT_EQUAL(has(NODE_SET_DEADLINE)->deadline, 0);
	tick(L);
	CU_ASSERT(n.standing == STANDING_FENCED && !has(NODE_FREEZE_ALL) && node_may_run(&n, now));
	CU_ASSERT_EQUAL(node_start(&n, "a", 1, n.term, now), START_WAIT);
}

static void an_order_counts_in_its_term_once(void)
{
	join();
	uint32_t last;
	CU_ASSERT_EQUAL(node_start(&n, "a", 1, n.term - 1, now), START_REFUSE);
	CU_ASSERT_EQUAL(node_start(&n, "a", 1, n.term, now), START_TAKE);
	CU_ASSERT_EQUAL(node_start(&n, "a", 1, n.term, now), START_HAVE);
	CU_ASSERT_EQUAL(node_job_given(&n, "a"), 1);
	CU_ASSERT_EQUAL(node_start(&n, "a", 3, n.term, now), START_WAIT); /* the old copy is still here */
	CU_ASSERT_TRUE(node_stop(&n, "a", 1, &last));
	CU_ASSERT_EQUAL(last, 1);
	CU_ASSERT_EQUAL(node_start(&n, "a", 1, n.term, now), START_WAIT); /* dying: not refused, it is not gone */
	node_job_gone(&n, "a");
	CU_ASSERT_EQUAL(node_start(&n, "a", 1, n.term, now), START_REFUSE);
	CU_ASSERT_EQUAL(node_start(&n, "a", 2, n.term, now), START_TAKE);
	CU_ASSERT_FALSE(node_stop(&n, "a", 1, &last)); /* an old order, for an old copy */
	CU_ASSERT_FALSE(node_stop(&n, "b", 4, &last)); /* overtakes the order to start it */
	CU_ASSERT_EQUAL(node_start(&n, "b", 4, n.term, now), START_REFUSE);
	CU_ASSERT_EQUAL(node_start(&n, "b", 5, n.term, now), START_TAKE);
	now += L;
	CU_ASSERT_EQUAL(node_start(&n, "c", 1, n.term, now), START_WAIT); /* the lease is over */
}

static void what_a_node_restarts_itself_stops_with_what_it_was_given(void)
{
	join();
	uint32_t last;
	CU_ASSERT_EQUAL(node_start(&n, "a", 4, n.term, now), START_TAKE);
	node_job_here(&n, "a", 5);
	CU_ASSERT_EQUAL(node_job_given(&n, "a"), 4);
	CU_ASSERT_TRUE(node_stop(&n, "a", 4, &last));
	CU_ASSERT_EQUAL(last, 5);
	node_job_gone(&n, "a");
	/* registered again, the registry may give 5 once more, not knowing: that number is used up */
	tick(L / 2);
	registered(0, NULL, 0);
	CU_ASSERT_EQUAL(node_start(&n, "a", 5, n.term, now), START_REFUSE);
	CU_ASSERT_EQUAL(node_start(&n, "a", 6, n.term, now), START_TAKE);
}

static void an_order_that_overtakes_the_registrations_answer_waits(void)
{
	begin(1, CORE_S);
	tick(0);
	CU_ASSERT_EQUAL(node_start(&n, "a", 1, n.term, now), START_WAIT);
	registered(0, NULL, 0);
	CU_ASSERT_EQUAL(node_start(&n, "a", 1, n.term, now), START_TAKE);
}

static void new_parents_are_tried_at_once(void)
{
	begin(0, 0);
	node_parents(&n, 2, 1, now, &acts);
	CU_ASSERT(n.standing == STANDING_SEEKING && has(NODE_SEND_HELLO) && has(NODE_SEND_HELLO)->parent == 1);
}

#define T(name) {#name, name}
static const struct test tests[] = {
	T(a_node_without_parents_runs_its_jobs_alone),
	T(jobs_are_listed_only_after_a_deadline_is_set),
	T(a_leased_node_renews_every_tenth),
	T(half_a_lease_without_an_answer_sends_it_to_the_next_parent),
	T(parents_take_turns_and_pauses_grow),
	T(verdicts_are_carried_out_before_the_thaw),
	T(an_answer_slower_than_its_lease_thaws_nothing),
	T(answers_to_earlier_questions_change_nothing),
	T(an_unknown_node_registers_again_at_once_with_the_same_parent),
	T(an_earlier_lifes_deadline_still_counts),
	T(a_site_may_choose_to_run_on_in_isolation),
	T(an_order_counts_in_its_term_once),
	T(what_a_node_restarts_itself_stops_with_what_it_was_given),
	T(an_order_that_overtakes_the_registrations_answer_waits),
	T(new_parents_are_tried_at_once),
};

int main(void)
{
	int failed = harness_run("core-node", tests, sizeof tests / sizeof *tests);
	node_free(&n);
	node_actions_free(&acts);
	return failed;
}
