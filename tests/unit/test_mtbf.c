/* How often a job fails, as its node reckons. */
#include "agent/core/words.h"
#include "agent/jobs.h"
#include "lib/base/clock.h"
#include "tests/unit/harness.h"

#define RAN (10 * NS_PER_S)

/* It ran for ten seconds and ended so. */
static struct job ended(int code, int signo)
{
	struct job j = {.started_ns = clock_boot_ns() - RAN, .ending = {code, signo}};
	return j;
}

static int about(uint64_t ms, uint64_t wanted)
{
	return ms >= wanted && ms < wanted + 5000;
}

static void a_job_that_never_failed_has_none(void)
{
	struct job j = ended(0, 0);
	CU_ASSERT_EQUAL(job_mtbf_ms(&j), 0);
	job_count_end(&j);
	CU_ASSERT_EQUAL(job_mtbf_ms(&j), 0);
}

static void it_is_the_time_that_it_ran_by_the_times_that_it_failed(void)
{
	struct job j = ended(1, 0);
	job_count_end(&j);
	CU_ASSERT(about(job_mtbf_ms(&j), 10000));
	j.started_ns = clock_boot_ns() - 3 * RAN;
	j.ending = (struct ending){0, 11};
	job_count_end(&j);
	CU_ASSERT(about(job_mtbf_ms(&j), 20000));
	j.started_ns = clock_boot_ns() - 2 * RAN;
	j.ending = (struct ending){0, 0};
	job_count_end(&j);
	CU_ASSERT(about(job_mtbf_ms(&j), 30000));
}

static void an_end_that_was_wanted_is_no_failure(void)
{
	struct job j = ended(0, 15);
	j.stopping = true;
	job_count_end(&j);
	CU_ASSERT_EQUAL(job_mtbf_ms(&j), 0);
	j = ended(0, 9);
	j.disowned = true;
	job_count_end(&j);
	CU_ASSERT_EQUAL(job_mtbf_ms(&j), 0);
}

static void on_a_node_that_saw_none_its_history_tells_of_incarnations_elsewhere(void)
{
	struct job j = {.incarnation = 5};
	Cpa__Past old = CPA__PAST__INIT, newer = CPA__PAST__INIT;
	old.incarnation = 1;
	old.time_ns = clock_real_ns() - 8 * RAN;
	newer.incarnation = 5;
	newer.time_ns = clock_real_ns();
	CU_ASSERT_EQUAL(job_mtbf_ms(&j), 0);
	j.history[j.n_history++] = &old;
	j.history[j.n_history++] = &newer;
	CU_ASSERT(about(job_mtbf_ms(&j), 20000));
	old.incarnation = 5;
	CU_ASSERT_EQUAL(job_mtbf_ms(&j), 0);
	old.incarnation = 1;
	old.time_ns = clock_real_ns() + RAN; /* another node's clock */
	CU_ASSERT_EQUAL(job_mtbf_ms(&j), 0);
}

static const struct test tests[] = {
	{"a job that never failed has none", a_job_that_never_failed_has_none},
	{"it is the time that it ran by the times that it failed", it_is_the_time_that_it_ran_by_the_times_that_it_failed},
	{"an end that was wanted is no failure", an_end_that_was_wanted_is_no_failure},
	{"on a node that saw none, its history tells of incarnations elsewhere",
	 on_a_node_that_saw_none_its_history_tells_of_incarnations_elsewhere},
};

int main(void)
{
	return harness_run("mtbf", tests, sizeof tests / sizeof *tests);
}
