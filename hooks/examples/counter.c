/* counter: the smallest job worth keeping. Counts to --ticks, one tick a millisecond, a checkpoint with each, and
 * appends "TICK TIME_NS INCARNATION" to a file: the gap in the times is what a failure cost. */
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cpagent.h>

static void stop_on(int rc, const char *what)
{
	if (rc >= 0)
		return;
	fprintf(stderr, "counter: %s: %s\n", what, cpa_strerror(rc));
	exit(1);
}

static int64_t real_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void note(int fd, uint64_t tick, const char *incarnation)
{
	char line[96];
	int n = snprintf(line, sizeof line, "%" PRIu64 " %" PRId64 " %s\n", tick, real_ns(), incarnation);

	if (write(fd, line, (size_t)n) != n) {
		perror("counter: writing a tick");
		exit(1);
	}
}

int main(int argc, char **argv)
{
	static const struct option names[] = {
		{"ticks", 1, NULL, 't'}, {"out", 1, NULL, 'o'}, {"arena", 1, NULL, 'a'}, {0},
	};
	const char *out = NULL, *arena = NULL, *incarnation = getenv("CPAGENT_INCARNATION");
	const struct timespec millisecond = {0, 1000000};
	uint64_t tick = 0, ticks = 10000;
	cpa *cp;
	int c, fd, rc;

	while ((c = getopt_long(argc, argv, "", names, NULL)) != -1)
		if (c == 't')
			ticks = strtoull(optarg, NULL, 10);
		else if (c == 'o')
			out = optarg;
		else if (c == 'a')
			arena = optarg;
		else
			break;
	if (c != -1 || optind != argc || !out) {
		fputs("usage: counter --out FILE [--ticks N] [--arena DIR]   (N 0: for ever)\n", stderr);
		return 2;
	}
	fd = open(out, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
	if (fd < 0) {
		perror(out);
		return 1;
	}
	stop_on(cpa_open(&cp, arena), "arena");
	rc = cpa_restore(cp, "tick", 0, CPA_VAR(tick));
	if (rc != CPA_ERR_KEY)
		stop_on(rc, "restore");
	while (ticks == 0 || tick < ticks) {
		tick++;
		note(fd, tick, incarnation ? incarnation : "0");
		stop_on(cpa_checkpoint(cp, "tick", 1, CPA_VAR(tick)), "checkpoint");
		nanosleep(&millisecond, NULL);
	}
	cpa_reset(cp, "tick");
	cpa_close(cp);
	return 0;
}
