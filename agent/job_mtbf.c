/* Owns what is reckoned of a job's failures: how often it failed in the time that it ran. A program decides by it
 * how often a checkpoint pays. */
#include "agent/jobs.h"
#include "lib/base/clock.h"

void job_count_end(struct job *j)
{
	bool clean = j->ending.code == 0 && j->ending.signal == 0;
	j->ran_ns += j->started_ns > 0 ? clock_boot_ns() - j->started_ns : 0;
	j->failures += !clean && !j->stopping && !j->disowned && !j->again;
}

/* Every incarnation since the oldest that its history knows of, whatever ended it. */
static uint64_t by_history(const struct job *j)
{
	const Cpa__Past *oldest = j->n_history ? j->history[0] : NULL;
	int64_t span = oldest ? clock_real_ns() - oldest->time_ns : 0;
	if (span <= 0 || j->incarnation <= oldest->incarnation)
		return 0;
	return (uint64_t)span / (j->incarnation - oldest->incarnation);
}

uint64_t job_mtbf_ms(const struct job *j)
{
	uint64_t ns = j->failures ? (uint64_t)j->ran_ns / j->failures : by_history(j);
	return ns && ns < NS_PER_MS ? 1 : ns / NS_PER_MS;
}
