/* Random histories: a cluster, a seed, faults for a while, then peace. After every step the invariants hold, and
 * after the bound everything that should run runs. CPA_SIM_SEED=N replays one history with its trace;
 * CPA_SIM_SEEDS=N runs that many. */
#include "tests/sim/sim.h"
#include "tests/unit/harness.h"

#include <CUnit/CUnit.h>
#include <stdio.h>
#include <stdlib.h>

static struct sim_options wild(uint64_t seed)
{
	return (struct sim_options){
		.seed = seed,
		.tops = seed % 3 == 0 ? 2 : 1,
		.nodes = 10,
		.jobs = 30,
		.lease = 2 * SEC,
		.loss = (double)(seed % 4) * 0.05,
		.duplicate = 0.1,
		.slow = 0.02,
		.slow_max = 4 * SEC,
		.drift = 0.004,
		.restore_fails = 0.1,
		.restore_max = SEC,
	};
}

static void submit_all(struct sim *s)
{
	for (int j = 0; j < s->opt.jobs; j++) {
		enum restart_policy p = j % 10 == 9 ? RESTART_TEMPORARY : j % 5 == 4 ? RESTART_TRANSIENT : RESTART_PERMANENT;
		if (!s->jobs[j].submitted && j >= s->opt.jobs / 10)
			sim_submit(s, j, "", p);
	}
}

static struct sim *live_through(const struct sim_options *opt, int64_t faults, int64_t peace, char *why, size_t size)
{
	struct sim *s = sim_new(opt);
	for (int j = 0; j < opt->jobs / 10; j++)
		sim_start_alone(s, j, j % opt->nodes);
	sim_run(s, 2 * SEC);
	submit_all(s);
	sim_random_faults(s, faults);
	sim_run(s, faults / 2);
	submit_all(s);
	sim_run(s, faults - faults / 2 + 2 * SEC);
	int64_t end = s->now + peace;
	why[0] = '\0';
	while (!s->failed && s->now < end && !sim_all_well(s, why, size))
		sim_run(s, SEC);
	if (!s->failed && !sim_all_well(s, why, size))
		sim_fail(s, "%s", why);
	/* and stays well: late messages of the faults are still on their way */
	sim_run(s, 10 * SEC);
	if (!s->failed && !sim_all_well(s, why, size))
		sim_fail(s, "%s, although it did", why);
	return s;
}

static uint64_t totals[MARKS];

static bool history(uint64_t seed, bool trace)
{
	char why[256];
	struct sim_options opt = wild(seed);
	opt.trace = trace;
	struct sim *s = live_through(&opt, 60 * SEC, 60 * SEC, why, sizeof why);
	bool ok = !s->failed;
	if (!ok)
		printf("seed %llu, %.3f s: %s (CPA_SIM_SEED=%llu replays it)\n", (unsigned long long)seed,
		       (double)s->now / 1e9, s->what, (unsigned long long)seed);
	for (int m = 0; m < MARKS; m++)
		totals[m] += s->count[m];
	sim_free(s);
	return ok;
}

static void no_random_history_breaks_an_invariant(void)
{
	const char *one = getenv("CPA_SIM_SEED"), *many = getenv("CPA_SIM_SEEDS");
	unsigned long seeds = many ? strtoul(many, NULL, 10) : 300;
	if (one) {
		CU_ASSERT(history(strtoull(one, NULL, 10), true));
		return;
	}
	unsigned long broken = 0;
	for (unsigned long seed = 1; seed <= seeds && broken < 5; seed++)
		broken += !history(seed, false);
	CU_ASSERT_EQUAL(broken, 0);
	/* the histories did contain what they are about */
	for (int m = 0; m < MARKS; m++) {
		if (!totals[m])
			printf("mark %d never happened\n", m);
		CU_ASSERT(totals[m] > 0 || seeds < 100);
	}
}

static void a_thousand_nodes_and_five_thousand_jobs_come_through_a_mass_failure(void)
{
	if (getenv("CPA_SIM_SEED"))
		return;
	struct sim_options opt = sim_calm(1000, 5000, 4711);
	opt.lease = 10 * SEC;
	opt.loss = 0.01;
	struct sim *s = sim_new(&opt);
	sim_run(s, 3 * SEC);
	for (int j = 0; j < opt.jobs; j++)
		sim_submit(s, j, "", RESTART_PERMANENT);
	sim_run(s, 5 * SEC);
	for (int i = 0; i < 300; i++)
		sim_crash_machine(s, i, 0);
	sim_run(s, 20 * SEC);
	char why[256] = "";
	bool well = sim_all_well(s, why, sizeof why);
	if (s->failed || !well)
		printf("%s %s\n", s->what, why);
	CU_ASSERT_FALSE(s->failed);
	CU_ASSERT(well);
	CU_ASSERT_EQUAL(s->count[MARK_NODE_DOWN], 300); /* one event for each node, however many jobs */
	CU_ASSERT(s->count[MARK_MOVED] >= 1400);
	sim_free(s);
}

static const struct test tests[] = {
	{"no random history breaks an invariant", no_random_history_breaks_an_invariant},
	{"a thousand nodes and five thousand jobs come through a mass failure",
	 a_thousand_nodes_and_five_thousand_jobs_come_through_a_mass_failure},
};

int main(void)
{
	return harness_run("sim-random", tests, sizeof tests / sizeof *tests);
}
