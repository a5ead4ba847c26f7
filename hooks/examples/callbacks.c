/* callbacks: a program that checkpoints when one is due, and before it ends, also on SIGTERM: no step is done twice.
 *
 *	cc -o callbacks callbacks.c -lcpagent && timeout 2 ./callbacks; ./callbacks 100 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cpagent.h>

static long step, steps;

/* How this life began: from its keys, when it was started anew. */
static int begin(cpa *cp, enum cpa_began how, void *arg)
{
	int rc = cpa_restore(cp, "state", 0, CPA_VAR(step));

	(void)arg;
	printf("%s at step %ld\n", rc < 0 ? "started" : how == CPA_FRESH ? "found a checkpoint" : "restarted", step);
	return rc == CPA_ERR_KEY ? 0 : rc;
}

/* Called at exit (signal 0), on SIGTERM and on fatal signals. After a fatal one what is in memory may be wrong. */
static void end(cpa *cp, int signal, void *arg)
{
	(void)arg;
	cpa_checkpoint(cp, signal == 0 || signal == 15 ? "state" : "wreck", 1, CPA_VAR(step));
}

int main(int argc, char **argv)
{
	cpa *cp;
	int rc;

	setvbuf(stdout, NULL, _IOLBF, 0);
	steps = argc > 1 ? strtol(argv[1], NULL, 10) : 1000000;
	if (cpa_open(&cp, argc > 2 ? argv[2] : NULL) < 0)
		return 1;
	rc = cpa_on_init(cp, begin, NULL);
	if (rc == 0)
		rc = cpa_on_term(cp, end, NULL);
	if (rc < 0) {
		fprintf(stderr, "callbacks: %s\n", cpa_strerror(rc));
		return 1;
	}
	while (step < steps) {
		usleep(10);
		step++;
		if (cpa_should_checkpoint(cp)) /* some nanoseconds, when none is due */
			cpa_checkpoint(cp, "state", 1, CPA_VAR(step));
	}
	printf("ended at step %ld\n", step);
	return 0; /* end() takes the last one */
}
