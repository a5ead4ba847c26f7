/* cpa_should_checkpoint(): when it says that one is due, and by what it reckons. */
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cpagent.h>

#include "hooks/life.h"
#include "lib/base/fs.h"
#include "tests/unit/harness.h"
#include "tests/unit/hooks_agent.h"

static char dir[64];

static cpa *opened(void)
{
	cpa *cp = NULL;

	CU_ASSERT_EQUAL_FATAL(cpa_open(&cp, dir), 0);
	CU_ASSERT_EQUAL_FATAL(cpa_reset(cp, NULL), 0);
	return cp;
}

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int close_to(double a, double b)
{
	return fabs(a - b) <= 1e-9 * fabs(b);
}

static void the_first_one_is_due_at_once_and_the_next_after_the_interval(void)
{
	double began = 0, before, tick = 0.011; /* the coarse clock's, at worst */
	cpa *cp = opened();
	int i;

	CU_ASSERT_EQUAL(cpa_set_due(cp, 0.05, 0), 0);
	CU_ASSERT_EQUAL(cpa_get_due(cp), 0.05);
	CU_ASSERT_EQUAL(cpa_should_checkpoint(cp), 1);
	for (i = 0; i < 3; i++) {
		do
			before = now_s();
		while (!cpa_should_checkpoint(cp));
		CU_ASSERT(i == 0 || now_s() - began >= 0.05 - tick);
		began = before; /* counted from within the call; who is interrupted behind it has waited less */
	}
	CU_ASSERT_EQUAL(cpa_set_due(cp, 3600, 0), 0);
	for (i = 0; i < 1000; i++)
		CU_ASSERT_EQUAL(cpa_should_checkpoint(cp), 0);
	CU_ASSERT_EQUAL(cpa_set_due(cp, 0.001, 0), 0); /* that hour is not waited for */
	began = now_s();
	while (!cpa_should_checkpoint(cp) && now_s() - began < 60)
		;
	CU_ASSERT(now_s() - began < 60);
	cpa_close(cp);
}

/* Daly 2006, equation 37. */
static double daly(double c, double m)
{
	return c < 2 * m ? sqrt(2 * c * m) * (1 + sqrt(c / (2 * m)) / 3 + c / (2 * m) / 9) - c : m;
}

static void the_interval_follows_from_cost_and_failures(void)
{
	static const double costs[] = {200e-9, 0.001, 1, 60, 3000}, mtbfs[] = {0.5, 30, 3600, 86400, 1e7};
	cpa *cp = opened();

	CU_ASSERT_EQUAL(cpa_should_checkpoint(cp), 1);
	for (size_t i = 0; i < sizeof costs / sizeof *costs; i++)
		for (size_t j = 0; j < sizeof mtbfs / sizeof *mtbfs; j++) {
			cp->life->due.cost_ns = (int64_t)(costs[i] * 1e9);
			CU_ASSERT_EQUAL(cpa_set_due(cp, 0, mtbfs[j]), 0);
			CU_ASSERT(close_to(cpa_get_due(cp), daly((double)cp->life->due.cost_ns / 1e9, mtbfs[j])));
		}
	CU_ASSERT_EQUAL(cpa_set_due(cp, 17, 5), 0); /* the caller's word comes first */
	CU_ASSERT_EQUAL(cpa_get_due(cp), 17);
	cpa_close(cp);
}

static void the_failure_rate_is_the_callers_the_agents_the_environments_or_a_day(void)
{
	static const struct {
		const char *text;
		double s;
	} told[] = {{"7200", 7200}, {"2h", 7200}, {"90m", 5400}, {"45s", 45}, {"1500ms", 1.5}, {"3d", 259200},
		    {"often", 86400}, {"-5", 86400}, {"", 86400}, {"5 weeks", 86400}, {"nan", 86400}, {"inf", 86400}};
	cpa *cp = opened();

	CU_ASSERT_EQUAL(cpa_should_checkpoint(cp), 1);
	cp->life->due.cost_ns = 1000000000;
	for (size_t i = 0; i < sizeof told / sizeof *told; i++) {
		setenv("CPAGENT_MTBF", told[i].text, 1);
		CU_ASSERT(close_to(cpa_get_due(cp), daly(1, told[i].s)));
	}
	setenv("CPAGENT_MTBF", "2h", 1);
	cp->arena->head->mtbf_ms = 100000;
	CU_ASSERT(close_to(cpa_get_due(cp), daly(1, 100)));
	CU_ASSERT_EQUAL(cpa_set_due(cp, 0, 50), 0);
	CU_ASSERT(close_to(cpa_get_due(cp), daly(1, 50)));
	cp->arena->head->mtbf_ms = 0;
	unsetenv("CPAGENT_MTBF");
	cpa_close(cp);
}

static void costs_are_measured_between_two_dues_and_averaged(void)
{
	static char big[1 << 20], small[64];
	cpa *cp = opened();

	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "big", 1, CPA_STRING(big)), 0);
	CU_ASSERT_PTR_NULL(cp->life); /* nobody asked, nothing is reckoned */
	CU_ASSERT_EQUAL(cpa_should_checkpoint(cp), 1);
	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "small", 1, CPA_STRING(small)), 0);
	CU_ASSERT(cp->life->due.spent_ns > 0 && cp->life->due.spent_ns < 10000); /* estimated */
	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "big", 1, CPA_STRING(big)), 0);
	CU_ASSERT(cp->life->due.spent_ns > 10000); /* measured: no machine copies and sums a megabyte faster */
	cp->life->due.spent_ns = 1000000000;
	CU_ASSERT_EQUAL(cpa_should_checkpoint(cp), 0);
	CU_ASSERT_EQUAL(cp->life->due.cost_ns, 1000000000);
	CU_ASSERT_EQUAL(cp->life->due.spent_ns, 0);
	CU_ASSERT(close_to(cpa_get_due(cp), daly(1, 86400)));
	cp->life->due.next_ns = 0; /* that long has passed */
	CU_ASSERT_EQUAL(cpa_should_checkpoint(cp), 1);
	life_cost(cp, 5000000000);
	CU_ASSERT_EQUAL(cpa_should_checkpoint(cp), 0);
	CU_ASSERT_EQUAL(cp->life->due.cost_ns, 2000000000);
	cpa_close(cp);
}

static void one_that_was_not_taken_is_announced_again(void)
{
	cpa *cp = opened();

	CU_ASSERT_EQUAL(cpa_should_checkpoint(cp), 1);
	CU_ASSERT_EQUAL(cpa_should_checkpoint(cp), 0);
	cp->life->due.given_ns -= INT64_C(100000000000); /* longer ago than the interval that is assumed */
	CU_ASSERT_EQUAL(cpa_should_checkpoint(cp), 1);
	CU_ASSERT_EQUAL(cpa_should_checkpoint(cp), 0);
	cpa_close(cp);
}

static void a_restored_process_does_not_wait_for_another_machines_clock(void)
{
	struct agent agent;
	cpa *cp;

	agent_start(&agent, dir, 0, ARENA_FRESH);
	CU_ASSERT_EQUAL_FATAL(cpa_open(&cp, agent.arena), 0);
	CU_ASSERT_EQUAL(cpa_set_due(cp, 3600, 0), 0);
	CU_ASSERT_EQUAL(cpa_should_checkpoint(cp), 1);
	CU_ASSERT_EQUAL(cpa_should_checkpoint(cp), 0);
	cp->life->due.next_ns = INT64_C(1) << 60; /* the other machine had been up for long */
	CU_ASSERT_EQUAL(cpa_should_checkpoint(cp), 0);
	CU_ASSERT_EQUAL(arena_set_start(agent.fd, 1, ARENA_FROM_SNAPSHOT, 1), 0);
	CU_ASSERT_EQUAL(cpa_should_checkpoint(cp), 1);
	cpa_close(cp);
	agent_stop(&agent);
}

static int arrived; /* at the points where both threads wait for each other */
static cpa *shared;
static int dues;

#define ROUNDS 20000

/* By spinning, so that both leave at the same moment. */
static void meet(int point)
{
	__atomic_add_fetch(&arrived, 1, __ATOMIC_ACQ_REL);
	for (int spins = 1; __atomic_load_n(&arrived, __ATOMIC_ACQUIRE) < 2 * point; spins++)
		if (spins % 1000 == 0)
			sched_yield();
}

static void *ask_each_round(void *arg)
{
	(void)arg;
	for (int i = 0; i < ROUNDS; i++) {
		meet(3 * i + 1);
		if (cpa_should_checkpoint(shared))
			__atomic_add_fetch(&dues, 1, __ATOMIC_RELAXED);
		meet(3 * i + 2);
		__atomic_store_n(&shared->life->due.next_ns, 0, __ATOMIC_RELAXED); /* due again */
		meet(3 * i + 3);
	}
	return NULL;
}

static void of_several_threads_one_is_told(void)
{
	pthread_t t[2];
	int i;

	shared = opened();
	CU_ASSERT_EQUAL(cpa_set_due(shared, 3600, 0), 0);
	for (i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, ask_each_round, NULL);
	for (i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	CU_ASSERT_EQUAL(dues, ROUNDS);
	cpa_close(shared);
}

static void intervals_that_make_no_sense_are_refused(void)
{
	cpa *cp = opened();

	CU_ASSERT_EQUAL(cpa_set_due(cp, -1, 0), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_set_due(cp, 0, -1), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_set_due(cp, (double)NAN, 0), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_set_due(cp, 0, (double)INFINITY), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_set_due(NULL, 0, 0), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_should_checkpoint(NULL), CPA_ERR_ARG);
	CU_ASSERT(cpa_get_due(NULL) < 0);
	CU_ASSERT(cpa_get_due(cp) > 0);
	cpa_close(cp);
}

static const struct test tests[] = {
	{"the first one is due at once, and the next after the interval",
	 the_first_one_is_due_at_once_and_the_next_after_the_interval},
	{"the interval follows from cost and failures", the_interval_follows_from_cost_and_failures},
	{"the failure rate is the caller's, the agent's, the environment's, or one a day",
	 the_failure_rate_is_the_callers_the_agents_the_environments_or_a_day},
	{"costs are measured between two dues, and averaged", costs_are_measured_between_two_dues_and_averaged},
	{"one that was not taken is announced again", one_that_was_not_taken_is_announced_again},
	{"a restored process does not wait for another machine's clock",
	 a_restored_process_does_not_wait_for_another_machines_clock},
	{"of several threads, one is told", of_several_threads_one_is_told},
	{"intervals that make no sense are refused", intervals_that_make_no_sense_are_refused},
};

int main(void)
{
	struct err e;
	int rc;

	unsetenv("CPAGENT_MTBF");
	snprintf(dir, sizeof dir, "/dev/shm/test_hooks_due.XXXXXX");
	if (!mkdtemp(dir))
		return 1;
	rc = harness_run("hooks_due", tests, sizeof tests / sizeof *tests);
	fs_remove_tree(dir, &e);
	return rc;
}
