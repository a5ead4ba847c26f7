/* filer: writes a checkpoint as a file, again and again, and asks for a snapshot of itself in the middle of every one: it
 * may be restored there, with the file half written. Reads back what was committed; "differs" when it is not that. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cpagent.h>

#define LINES 5000

static int write_half(FILE *f, int round, int half)
{
	for (int i = half * LINES; i < (half + 1) * LINES; i++)
		if (fprintf(f, "%d %d\n", round, i) < 0)
			return -1;
	return fflush(f);
}

/* All lines of this round, each once and in order? */
static int is_whole(const char *path, int round)
{
	int r, i, n = 0;
	FILE *f = fopen(path, "re");

	while (f && fscanf(f, "%d %d\n", &r, &i) == 2 && r == round && i == n)
		n++;
	if (f)
		fclose(f);
	return n == 2 * LINES;
}

static int failed(const char *what)
{
	printf("%s: %s\n", what, cpa_strerror(CPA_ERR_SYSTEM));
	return 1;
}

static int one_round(cpa *cp, int round)
{
	char path[4096];
	FILE *f;
	int rc;

	if (cpa_route_file(cp, "mesh", path, sizeof path) < 0 || !(f = fopen(path, "we")))
		return failed("route");
	if (write_half(f, round, 0))
		return failed("write");
	rc = cpa_snapshot(cp, NULL, 30.0);
	if (rc < 0)
		return failed("snapshot");
	if (rc == CPA_RESTORED)
		printf("restored in round %d\n", round);
	if (write_half(f, round, 1) || fclose(f))
		return failed("write");
	if (cpa_file_done(cp, "mesh", 1) < 0)
		return failed("done");
	if (cpa_restore_file(cp, "mesh", 1, path, sizeof path) < 0)
		return failed("restore");
	printf("%s %d\n", is_whole(path, round) ? "round" : "differs", round);
	fflush(stdout);
	return remove(path);
}

int main(void)
{
	const struct timespec nap = {.tv_nsec = 50000000};
	cpa *cp;

	if (cpa_open(&cp, NULL) < 0)
		return 1;
	for (int round = 1;; round++) {
		if (one_round(cp, round))
			return 1;
		nanosleep(&nap, NULL);
	}
}
