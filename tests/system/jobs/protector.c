/* protector [LAST]: changes a little of a large array, checkpoints it as a protected region, and reads it back now and
 * then, all the time; from step LAST on it computes without a call of the library. Prints how far it is; "differs" when
 * a checkpoint is not what it should be. Prints, and goes on from its keys, what it finds when it starts anew. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cpagent.h>

#define CELLS (UINT64_C(1) << 20)

static uint64_t u[CELLS], copy[CELLS];

static void change(uint64_t step)
{
	for (uint64_t i = 0; i < 8; i++)
		u[(step * 7919 + i * 131071) % CELLS] += step + i;
	u[0] = step;
}

static void say(const char *what, uint64_t n)
{
	printf("%s %" PRIu64 "\n", what, n);
	fflush(stdout);
}

/* How cells of every page came to be is known. */
static void look(cpa *cp, uint64_t step)
{
	int rc = cpa_restore(cp, "state", 1, CPA_ARRAY(copy, CELLS));

	if (rc < 0)
		printf("%s\n", cpa_strerror(rc));
	if (rc < 0 || memcmp(u, copy, sizeof u))
		say("differs", step);
	else
		say("step", step);
}

int main(int argc, char **argv)
{
	uint64_t last = argc > 1 ? strtoull(argv[1], NULL, 10) : UINT64_MAX, step = 0;
	const struct timespec nap = {.tv_nsec = 3000000};
	cpa *cp;
	int rc;

	if (cpa_open(&cp, NULL) < 0 || CPA_PROTECT(cp, "u", u, CELLS) < 0)
		return 1;
	if (cpa_restore_protected(cp, "state", 0) >= 0)
		say("went on from", step = u[0]);
	for (;;) {
		change(++step);
		if (step < last) {
			rc = cpa_checkpoint_protected(cp, "state", 1);
			if (rc < 0)
				printf("%s\n", cpa_strerror(rc));
		}
		if (step < last && step % 20 == 0)
			look(cp, step);
		else if (step % 20 == 0)
			say("computed", step);
		nanosleep(&nap, NULL);
	}
}
