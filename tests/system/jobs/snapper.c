/* snapper: asks for a snapshot of itself after every 40 steps, with another thread counting along, and says which of the
 * two returns it is. */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include <cpagent.h>

static uint64_t step, along;

static void nap(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}

static void *count_along(void *arg)
{
	for (;; nap())
		__atomic_fetch_add(&along, 1, __ATOMIC_RELAXED);
	return arg;
}

static void on_restart(cpa *cp, int incarnation, void *arg)
{
	(void)cp;
	(void)arg;
	printf("told of incarnation %d\n", incarnation);
}

static void ask(cpa *cp)
{
	uint64_t generation = 0, before = __atomic_load_n(&along, __ATOMIC_RELAXED);
	int rc = cpa_snapshot(cp, &generation, 30.0);

	if (rc == CPA_TAKEN)
		printf("taken %" PRIu64 " at %" PRIu64 "\n", generation, step);
	else if (rc == CPA_RESTORED)
		printf("restored at %" PRIu64 "%s\n", step,
		       __atomic_load_n(&along, __ATOMIC_RELAXED) < before ? ", but not the thread" : "");
	else
		printf("failed: %s\n", cpa_strerror(rc));
	fflush(stdout);
}

int main(void)
{
	pthread_t other;
	cpa *cp;

	if (cpa_open(&cp, NULL) < 0 || cpa_on_restart(cp, on_restart, NULL) < 0 ||
	    pthread_create(&other, NULL, count_along, NULL))
		return 1;
	for (;; nap())
		if (++step % 40 == 0)
			ask(cp);
}
