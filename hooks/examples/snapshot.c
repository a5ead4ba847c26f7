/* snapshot: a program asks for a snapshot of itself, at a moment that suits it. The call returns twice, like fork():
 * in the process that asked, and again in every one that is restored from the snapshot. Needs an agent:
 *
 *	cc -o snapshot snapshot.c -lcpagent && cpagent run -- ./snapshot */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <cpagent.h>

int main(void)
{
	uint64_t generation;
	cpa *cp;
	int rc;

	if (cpa_open(&cp, NULL) < 0)
		return 1;
	rc = cpa_snapshot(cp, &generation, 60.0);
	switch (rc) {
	case CPA_TAKEN:
		printf("snapshot %" PRIu64 " was taken\n", generation);
		fflush(stdout);
		abort(); /* something went wrong later: the job, and its output, go back to the snapshot ... */
	case CPA_RESTORED:
		printf("back, in incarnation %d\n", cpa_incarnation(cp, NULL)); /* ... here */
		break;
	default:
		fprintf(stderr, "snapshot: %s\n", cpa_strerror(rc));
		return 1;
	}
	cpa_close(cp);
	return 0;
}
