/* The registry, call by call: who owns what, in which order things are written down and ordered. The faults of a
 * whole cluster are in tests/sim. */
#include "agent/core/registry.h"
#include "tests/unit/harness.h"

#include <CUnit/CUnit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define L (2 * CORE_S)

static struct registry r;
static struct actions acts;
static int64_t now;
static const struct ending none = {0, 0};

static void begin(void)
{
	registry_free(&r);
	actions_clear(&acts);
	now = 1000 * CORE_S;
	registry_init(&r, &(struct registry_config){.id = "top", .lease = L});
	registry_settle(&r, true, now);
}

static struct node_info info(const char *name, uint64_t term)
{
	struct node_info i = {.level = 1, .term = term, .session = {1}, .has = {.arch = "x86_64", .cpus = 1}};
	core_copy(i.name, sizeof i.name, name);
	return i;
}

static struct job_spec spec(const char *uuid, enum restart_policy p)
{
	struct job_spec s = {.uid = 1000, .restart = p};
	core_copy(s.uuid, sizeof s.uuid, uuid);
	core_copy(s.name, sizeof s.name, uuid);
	return s;
}

static enum verdict join_with(const char *name, uint64_t term, const char *uuid, uint32_t inc, enum job_state state)
{
	struct node_info i = info(name, term);
	struct job_claim c = {.incarnation = inc, .state = state};
	if (uuid)
		c.spec = spec(uuid, RESTART_PERMANENT);
	struct job_verdict v = {.verdict = VERDICT_KEEP};
	int64_t lease = 0;
	CU_ASSERT_EQUAL(registry_register(&r, &i, &c, uuid ? 1 : 0, now, &v, &lease, &acts), ANSWER_OK);
	CU_ASSERT_EQUAL(registry_renew(&r, name, i.session, term, now, &lease), ANSWER_OK);
	CU_ASSERT_EQUAL(lease, r.config.lease);
	return v.verdict;
}

static void join(const char *name, uint64_t term)
{
	join_with(name, term, NULL, 0, JOB_RUNNING);
}

static void renew(const char *name, uint64_t term)
{
	int64_t lease;
	CU_ASSERT_EQUAL(registry_renew(&r, name, info(name, term).session, term, now, &lease), ANSWER_OK);
}

static int find(enum act what)
{
	for (size_t i = 0; i < acts.n; i++)
		if (acts.v[i].what == what)
			return (int)i;
	return -1;
}

static size_t count(enum act what)
{
	size_t n = 0;
	for (size_t i = 0; i < acts.n; i++)
		n += acts.v[i].what == what;
	return n;
}

static void submit(const char *uuid, const char *node, enum restart_policy p)
{
	struct job_spec s = spec(uuid, p);
	core_copy(s.wanted, sizeof s.wanted, node);
	CU_ASSERT_EQUAL(registry_job_new(&r, &s, now, &acts, NULL), 0);
}

static enum reg_answer report(const char *node, const char *uuid, uint32_t inc, enum report what)
{
	return registry_report(&r, node, uuid, inc, what, none, NULL, now, &acts);
}

static void tick(int64_t after)
{
	actions_clear(&acts);
	now += after;
	registry_tick(&r, now, &acts);
}

/* n1 runs job a, n2 is idle */
static void two_nodes(void)
{
	begin();
	join("n1", 1);
	join("n2", 1);
	submit("a", "n1", RESTART_PERMANENT);
	report("n1", "a", 0, REPORT_TAKEN);
	report("n1", "a", 0, REPORT_RUNNING);
	actions_clear(&acts);
}

static void a_new_job_is_written_down_before_it_is_ordered(void)
{
	begin();
	join("n1", 1);
	actions_clear(&acts);
	submit("a", "", RESTART_PERMANENT);
	CU_ASSERT(find(ACT_PERSIST_JOB) >= 0 && find(ACT_PERSIST_JOB) < find(ACT_START));
	CU_ASSERT(acts.v[find(ACT_START)].anew && acts.v[find(ACT_START)].term == 1);
	size_t n = acts.n;
	submit("a", "", RESTART_PERMANENT); /* the same uuid again */
	CU_ASSERT_EQUAL(acts.n, n);
}

static void a_name_is_taken_until_its_job_has_ended(void)
{
	two_nodes();
	struct err e = {0};
	struct job_spec s = spec("b", RESTART_PERMANENT);
	core_copy(s.name, sizeof s.name, "a");
	CU_ASSERT_EQUAL(registry_job_new(&r, &s, now, &acts, &e), ERR_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, "a job of this name is running already"));
	s.uid = 1001; /* another user's */
	CU_ASSERT_EQUAL(registry_job_new(&r, &s, now, &acts, NULL), 0);
	report("n1", "a", 0, REPORT_EXITED);
	s = spec("c", RESTART_PERMANENT);
	core_copy(s.name, sizeof s.name, "a");
	CU_ASSERT_EQUAL(registry_job_new(&r, &s, now, &acts, NULL), 0);
	CU_ASSERT_STRING_EQUAL(registry_job_named(&r, 1000, "a")->spec.uuid, "c");
	core_copy(s.uuid, sizeof s.uuid, "d");
	core_copy(s.name, sizeof s.name, "d");
	core_copy(s.wanted, sizeof s.wanted, "n9");
	CU_ASSERT_EQUAL(registry_job_new(&r, &s, now, &acts, &e), ERR_NOT_FOUND);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, "there is no node n9"));
}

static void a_dead_nodes_job_goes_on_elsewhere_and_not_a_moment_early(void)
{
	two_nodes();
	tick(lease_expiry(0, L) - 1);
	CU_ASSERT_EQUAL(find(ACT_NODE_DOWN), -1);
	now -= CORE_S;
	renew("n2", 1);
	now += CORE_S;
	tick(1);
	CU_ASSERT_EQUAL(count(ACT_NODE_DOWN), 1);
	CU_ASSERT_EQUAL(acts.v[find(ACT_NODE_DOWN)].count, 1);
	int start = find(ACT_START);
	CU_ASSERT(start > find(ACT_PERSIST_JOB) && find(ACT_PERSIST_JOB) >= 0);
	CU_ASSERT_STRING_EQUAL(acts.v[start].node, "n2");
	CU_ASSERT_EQUAL(acts.v[start].incarnation, 1);
	/* what the old owner says is stale, even if it comes back */
	CU_ASSERT_EQUAL(report("n1", "a", 0, REPORT_RUNNING), ANSWER_UNKNOWN);
	CU_ASSERT_EQUAL(join_with("n1", 2, "a", 0, JOB_FROZEN), VERDICT_KILL);
	CU_ASSERT_EQUAL(report("n1", "a", 5, REPORT_RUNNING), ANSWER_KILL);
}

static void a_job_nobody_took_is_given_back_to_its_node(void)
{
	begin();
	join("n1", 1);
	submit("a", "", RESTART_PERMANENT);
	report("n1", "a", 0, REPORT_RUNNING);
	tick(lease_expiry(0, L));
	CU_ASSERT(find(ACT_WAITS) >= 0 && registry_job(&r, "a")->state == JOB_LOST);
	CU_ASSERT_EQUAL(join_with("n1", 2, "a", 0, JOB_FROZEN), VERDICT_KEEP);
	CU_ASSERT_EQUAL(registry_job(&r, "a")->state, JOB_RUNNING);
	CU_ASSERT_EQUAL(registry_job(&r, "a")->incarnation, 0);
}

static void a_job_that_its_node_does_not_list_is_started_again(void)
{
	two_nodes();
	join("n1", 2); /* the machine was booted anew */
	CU_ASSERT_EQUAL(find(ACT_START), -1); /* orders come after the answer */
	tick(0);
	CU_ASSERT_EQUAL(acts.v[find(ACT_START)].incarnation, 1);
}

static void a_temporary_job_fails_with_its_node(void)
{
	begin();
	join("n1", 1);
	submit("a", "", RESTART_TEMPORARY);
	report("n1", "a", 0, REPORT_RUNNING);
	tick(lease_expiry(0, L));
	CU_ASSERT_EQUAL(registry_job(&r, "a")->state, JOB_FAILED);
	CU_ASSERT_EQUAL(join_with("n1", 2, "a", 0, JOB_FROZEN), VERDICT_KILL);
}

static void an_order_without_an_answer_is_taken_back_before_another_node_gets_it(void)
{
	begin();
	join("n1", 1);
	join("n2", 1);
	actions_clear(&acts);
	submit("a", "n1", RESTART_PERMANENT);
	for (int i = 0; i < 12; i++) {
		renew("n1", 1);
		renew("n2", 1);
		tick(L / 10);
	}
	CU_ASSERT(find(ACT_STOP) >= 0 && registry_job(&r, "a")->incarnation == 0);
	actions_clear(&acts);
	report("n1", "a", 0, REPORT_GONE);
	CU_ASSERT_STRING_EQUAL(acts.v[find(ACT_START)].node, "n2");
	CU_ASSERT_EQUAL(acts.v[find(ACT_START)].incarnation, 1);
	CU_ASSERT_EQUAL(report("n1", "a", 0, REPORT_TAKEN), ANSWER_KILL);
}

static void a_restart_on_the_node_itself_is_only_noted(void)
{
	two_nodes();
	CU_ASSERT_EQUAL(report("n1", "a", 1, REPORT_RESTARTED), ANSWER_OK);
	CU_ASSERT(find(ACT_PERSIST_JOB) >= 0 && find(ACT_START) < 0);
	CU_ASSERT_EQUAL(registry_job(&r, "a")->incarnation, 1);
	CU_ASSERT_EQUAL(report("n1", "a", 0, REPORT_RUNNING), ANSWER_OK); /* old news */
	CU_ASSERT_EQUAL(registry_job(&r, "a")->state, JOB_RESTORING);
	report("n1", "a", 1, REPORT_RUNNING);
	report("n1", "a", 1, REPORT_RESTARTED); /* again: changes nothing */
	CU_ASSERT_EQUAL(registry_job(&r, "a")->state, JOB_RUNNING);
}

static void an_end_is_final_and_may_be_reported_twice(void)
{
	two_nodes();
	const struct ending how = {3, 0};
	CU_ASSERT_EQUAL(registry_report(&r, "n1", "a", 0, REPORT_EXITED, how, "", now, &acts), ANSWER_OK);
	CU_ASSERT_EQUAL(registry_report(&r, "n1", "a", 0, REPORT_EXITED, how, "", now, &acts), ANSWER_OK);
	CU_ASSERT(registry_job(&r, "a")->state == JOB_EXITED && registry_job(&r, "a")->ending.code == 3);
	CU_ASSERT_EQUAL(report("n2", "a", 0, REPORT_RUNNING), ANSWER_KILL);
	CU_ASSERT_EQUAL(report("n1", "b", 0, REPORT_RUNNING), ANSWER_UNKNOWN);
	CU_ASSERT_EQUAL(registry_job_forget(&r, "a", &acts, NULL), 0);
	CU_ASSERT_PTR_NULL(registry_job(&r, "a"));
	CU_ASSERT(find(ACT_FORGET_JOB) >= 0);
}

static void a_move_stops_first_and_starts_when_the_old_copy_is_gone(void)
{
	two_nodes();
	CU_ASSERT_EQUAL(registry_move(&r, "a", "n2", now, &acts, NULL), 0);
	CU_ASSERT(find(ACT_STOP) >= 0 && find(ACT_START) < 0);
	report("n1", "a", 0, REPORT_GONE);
	CU_ASSERT_STRING_EQUAL(acts.v[find(ACT_START)].node, "n2");
	report("n2", "a", 1, REPORT_EXITED);
	actions_clear(&acts);
	CU_ASSERT_EQUAL(registry_move(&r, "a", "", now, &acts, NULL), 0); /* run it again */
	CU_ASSERT_EQUAL(acts.v[find(ACT_START)].incarnation, 2);
	CU_ASSERT_EQUAL(registry_move(&r, "a", "n9", now, &acts, NULL), ERR_NOT_FOUND);
	CU_ASSERT_EQUAL(registry_move(&r, "x", "", now, &acts, NULL), ERR_NOT_FOUND);
}

static void a_stopped_job_ends_wherever_it_is(void)
{
	two_nodes();
	CU_ASSERT_EQUAL(registry_stop(&r, "a", now, &acts, NULL), 0);
	CU_ASSERT(find(ACT_PERSIST_JOB) < find(ACT_STOP));
	report("n1", "a", 0, REPORT_GONE);
	CU_ASSERT_EQUAL(registry_job(&r, "a")->state, JOB_EXITED);
	two_nodes();
	registry_stop(&r, "a", now, &acts, NULL);
	tick(lease_expiry(0, L)); /* or with its node */
	CU_ASSERT(registry_job(&r, "a")->state == JOB_EXITED && find(ACT_START) < 0);
}

static void a_registry_that_restarts_waits_one_lease(void)
{
	two_nodes();
	struct reg_node n1 = *registry_node(&r, "n1");
	struct reg_job a = *registry_job(&r, "a");
	registry_free(&r);
	registry_init(&r, &(struct registry_config){.id = "top", .lease = L / 4}); /* a shorter lease from now on */
	registry_load_node(&r, &n1);
	registry_load_job(&r, &a);
	registry_settle(&r, false, now);
	join("n2", 1);
	tick(lease_expiry(0, L) - 1);
	CU_ASSERT_EQUAL(find(ACT_START), -1);
	CU_ASSERT_EQUAL(registry_job(&r, "a")->state, JOB_RUNNING);
	join("n2", 2);
	tick(1);
	CU_ASSERT_EQUAL(acts.v[find(ACT_START)].incarnation, 1);
}

static void a_node_that_registers_again_and_again_unheard_runs_out(void)
{
	two_nodes();
	struct job_verdict v;
	struct job_claim c = {.spec = spec("a", RESTART_PERMANENT), .state = JOB_FROZEN};
	int64_t lease, start = now, held = L;
	bool down = false;
	for (uint64_t term = 2; !down && now < start + 10 * L; term++) {
		struct node_info i = info("n1", term);
		i.held = held > 0 ? held : 1;
		registry_register(&r, &i, &c, 1, now, &v, &lease, &acts);
		renew("n2", 1);
		tick(L / 10);
		held -= L / 10;
		down = find(ACT_NODE_DOWN) >= 0;
	}
	CU_ASSERT_TRUE(down);
	CU_ASSERT(now - start < 3 * L);
}

static void an_old_registration_and_an_old_session_are_not_taken_for_new(void)
{
	two_nodes();
	struct node_info i = info("n1", 1);
	int64_t lease;
	CU_ASSERT_EQUAL(registry_register(&r, &i, NULL, 0, now, NULL, &lease, &acts), ANSWER_REFUSED);
	i.session[0] = 9;
	CU_ASSERT_EQUAL(registry_renew(&r, "n1", i.session, 1, now, &lease), ANSWER_UNKNOWN);
	CU_ASSERT_EQUAL(registry_renew(&r, "n7", i.session, 1, now, &lease), ANSWER_UNKNOWN);
	CU_ASSERT_EQUAL(registry_job(&r, "a")->state, JOB_RUNNING);
}

static void a_node_of_two_registries_is_asked_about_before_its_job_moves(void)
{
	begin();
	struct node_info i = info("n1", 5);
	i.other_count = 2;
	core_copy(i.others[0], CORE_URL, "tcp://b:1");
	core_copy(i.others[1], CORE_URL, "tcp://relay:1");
	struct node_info relay = info("p2", 1);
	relay.level = 2; /* an agent below this registry: it has none of its own */
	core_copy(relay.url, CORE_URL, "tcp://relay:1");
	int64_t lease;
	registry_register(&r, &relay, NULL, 0, now, NULL, &lease, &acts);
	registry_register(&r, &i, NULL, 0, now, NULL, &lease, &acts);
	registry_renew(&r, "n1", i.session, 5, now, &lease);
	join("n2", 1);
	submit("a", "n1", RESTART_PERMANENT);
	report("n1", "a", 0, REPORT_RUNNING);
	now += L;
	renew("n2", 1);
	tick(L / 2);
	CU_ASSERT(count(ACT_ASK) == 1 && find(ACT_START) < 0);
	CU_ASSERT_STRING_EQUAL(acts.v[find(ACT_ASK)].url, "tcp://b:1");
	registry_answered(&r, "a", 0, "tcp://b:1", true, now, &acts);
	CU_ASSERT_STRING_EQUAL(acts.v[find(ACT_START)].node, "n2");
	/* the other side: it does not know the job, and will not take that copy any more */
	begin();
	CU_ASSERT_TRUE(registry_asked(&r, "a", 0, "n1", 5, "top", now, &acts));
	CU_ASSERT(find(ACT_PERSIST_JOB) >= 0);
	CU_ASSERT_EQUAL(join_with("n1", 6, "a", 0, JOB_FROZEN), VERDICT_KILL);
	/* or it has it: then the one that asked lets it go */
	begin();
	CU_ASSERT_EQUAL(join_with("n1", 6, "a", 0, JOB_FROZEN), VERDICT_ADOPT);
	CU_ASSERT_FALSE(registry_asked(&r, "a", 0, "n1", 5, "top", now, &acts));
}

static void sources_are_the_newest_of_holders_that_are_up(void)
{
	two_nodes();
	struct holding h = {.kind = SOURCE_SNAPSHOT, .level = 1, .holder = "n1", .number = 7, .time = 70};
	CU_ASSERT_EQUAL(registry_held(&r, "a", &h), 0);
	h = (struct holding){.kind = SOURCE_SNAPSHOT, .level = 2, .holder = "top", .number = 6, .time = 60};
	registry_held(&r, "a", &h);
	h.number = 5;
	registry_held(&r, "a", &h);
	struct source *s;
	size_t n = registry_sources(&r, "a", NULL, &s);
	CU_ASSERT(n == 4 && s[0].from->number == 7 && s[3].kind == SOURCE_ANEW);
	free(s);
	now += L;
	renew("n2", 1);
	tick(L / 2); /* n1 is down, and what it held with it */
	registry_held_crashed(&r, "a", 6);
	registry_held_crashed(&r, "a", 6);
	n = registry_sources(&r, "a", NULL, &s);
	CU_ASSERT(n == 3 && s[0].from->number == 5 && s[1].from->number == 6);
	free(s);
	registry_dropped(&r, "a", "top", SOURCE_SNAPSHOT, 5);
	registry_held_bad(&r, "a", "top", 6);
	n = registry_sources(&r, "a", NULL, &s);
	CU_ASSERT(n == 1 && s[0].kind == SOURCE_ANEW);
	free(s);
	CU_ASSERT_EQUAL(registry_held(&r, "x", &h), ERR_NOT_FOUND);
	CU_ASSERT_EQUAL(registry_sources(&r, "x", NULL, &s), 0);
}

static void ten_thousand_jobs_find_their_places_quickly(void)
{
	begin();
	char name[40];
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof name, "n%d", i);
		join(name, 1);
	}
	for (int i = 0; i < 10000; i++) {
		snprintf(name, sizeof name, "job%d", i);
		submit(name, "", RESTART_PERMANENT);
		actions_clear(&acts);
	}
	size_t at = 0;
	for (const struct reg_node *n; (n = registry_each_node(&r, &at));)
		CU_ASSERT_EQUAL(n->jobs, 10);
}

#define T(name) {#name, name}
static const struct test tests[] = {
	T(a_new_job_is_written_down_before_it_is_ordered),
	T(a_name_is_taken_until_its_job_has_ended),
	T(a_dead_nodes_job_goes_on_elsewhere_and_not_a_moment_early),
	T(a_job_nobody_took_is_given_back_to_its_node),
	T(a_job_that_its_node_does_not_list_is_started_again),
	T(a_temporary_job_fails_with_its_node),
	T(an_order_without_an_answer_is_taken_back_before_another_node_gets_it),
	T(a_restart_on_the_node_itself_is_only_noted),
	T(an_end_is_final_and_may_be_reported_twice),
	T(a_move_stops_first_and_starts_when_the_old_copy_is_gone),
	T(a_stopped_job_ends_wherever_it_is),
	T(a_registry_that_restarts_waits_one_lease),
	T(a_node_that_registers_again_and_again_unheard_runs_out),
	T(an_old_registration_and_an_old_session_are_not_taken_for_new),
	T(a_node_of_two_registries_is_asked_about_before_its_job_moves),
	T(sources_are_the_newest_of_holders_that_are_up),
	T(ten_thousand_jobs_find_their_places_quickly),
};

int main(void)
{
	int failed = harness_run("core-registry", tests, sizeof tests / sizeof *tests);
	registry_free(&r);
	actions_free(&acts);
	return failed;
}
