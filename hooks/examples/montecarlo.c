/* montecarlo: the price of a call option, by workers that fork() made. Each keeps how far it is under a key of its
 * own. A worker that dies is started again and goes on there; so does the whole program. Random numbers come from a
 * counter, so that the result is the same, bit for bit, however often that happened.
 *
 *	montecarlo --workers 4 --samples 4000000 --every 100000 --out price.txt */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <signal.h>

#include <cpagent.h>

enum { WORKERS_MAX = 256 };

static struct {
	long workers, samples, every;
	const char *out, *arena;
} opt = {.workers = 4, .samples = 4000000, .every = 100000};

static void stop_on(int rc, const char *what)
{
	if (rc >= 0)
		return;
	fprintf(stderr, "montecarlo: %s: %s\n", what, cpa_strerror(rc));
	exit(1);
}

static long number(const char *name, const char *text, long most)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (*text == '\0' || *end != '\0' || n < 1 || n > most) {
		fprintf(stderr, "montecarlo: --%s %s: not a number from 1 to %ld\n", name, text, most);
		exit(2);
	}
	return n;
}

static void read_options(int argc, char **argv)
{
	static const struct option names[] = {
		{"workers", 1, NULL, 'w'}, {"samples", 1, NULL, 's'}, {"every", 1, NULL, 'e'},
		{"out", 1, NULL, 'o'},     {"arena", 1, NULL, 'a'},   {0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "", names, NULL)) != -1)
		switch (c) {
		case 'w': opt.workers = number("workers", optarg, WORKERS_MAX); break;
		case 's': opt.samples = number("samples", optarg, 1000000000000); break;
		case 'e': opt.every = number("every", optarg, 1000000000); break;
		case 'o': opt.out = optarg; break;
		case 'a': opt.arena = optarg; break;
		default: exit(2);
		}
}

/* The counter's random number (splitmix64), as a number between 0 and 1. */
static double uniform(uint64_t counter)
{
	uint64_t z = counter * UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	z ^= z >> 31;
	return ((double)(z >> 11) + 0.5) * 0x1p-53;
}

/* What the option is worth in one future: spot 100, strike 105, a year, 2 % interest, 20 % volatility. */
static double payoff(uint64_t sample)
{
	double radius = sqrt(-2.0 * log(uniform(2 * sample))), angle = 2.0 * M_PI * uniform(2 * sample + 1);
	double price = 100.0 * exp(0.02 - 0.5 * 0.2 * 0.2 + 0.2 * radius * cos(angle));

	return price > 105.0 ? (price - 105.0) * exp(-0.02) : 0.0;
}

static const char *key_of(long worker)
{
	static char key[32];

	snprintf(key, sizeof key, "worker %ld", worker);
	return key;
}

/* Samples worker, worker + workers, worker + 2 workers, …, in this order, from where it is. */
static void work(cpa *cp, long worker)
{
	int64_t done = 0;
	double sum = 0;
	int rc = cpa_restore(cp, key_of(worker), 0, CPA_VAR(done), CPA_VAR(sum));

	if (rc != CPA_ERR_KEY)
		stop_on(rc, "restore");
	while (done < opt.samples) {
		sum += payoff((uint64_t)(worker + opt.workers * done));
		done++;
		if (done % opt.every && done < opt.samples)
			continue;
		stop_on(cpa_checkpoint(cp, key_of(worker), 1, CPA_VAR(done), CPA_VAR(sum)), "checkpoint");
		dprintf(1, "worker %ld pid %d has %" PRId64 "\n", worker, (int)getpid(), done);
	}
}

static pid_t start(cpa *cp, long worker)
{
	pid_t pid = fork(); /* the child shares the handle */

	if (pid < 0) {
		perror("montecarlo: fork");
		exit(1);
	}
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* nobody would wait for it */
	if (getppid() == 1)
		_exit(1);
	work(cp, worker);
	_exit(0);
}

/* Until every worker has ended well; one that was killed goes on from its key. */
static void run_all(cpa *cp)
{
	pid_t pids[WORKERS_MAX], pid;
	long w, left = opt.workers;
	int status;

	for (w = 0; w < opt.workers; w++)
		pids[w] = start(cp, w);
	while (left) {
		pid = wait(&status);
		if (pid < 0 && errno == EINTR)
			continue;
		for (w = 0; w < opt.workers && pids[w] != pid; w++)
			;
		if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
			exit(1); /* it has said why */
		if (WIFEXITED(status))
			left--;
		else
			pids[w] = start(cp, w);
	}
}

/* The sums are added in the workers' order: floating point is not associative. */
static double price(cpa *cp)
{
	double total = 0, sum;
	long w;

	for (w = 0; w < opt.workers; w++) {
		stop_on(cpa_restore(cp, key_of(w), 0, CPA_VAR(sum)), "result");
		total += sum;
	}
	return total / (double)(opt.samples * opt.workers);
}

int main(int argc, char **argv)
{
	FILE *out = stdout;
	cpa *cp;

	read_options(argc, argv);
	stop_on(cpa_open(&cp, opt.arena), "arena");
	run_all(cp);
	if (opt.out && !(out = fopen(opt.out, "w"))) {
		perror(opt.out);
		return 1;
	}
	fprintf(out, "price %.17g (%a)\n", price(cp), price(cp));
	if (fclose(out) != 0)
		return 1;
	cpa_reset(cp, NULL); /* done: the next run is a new one */
	cpa_close(cp);
	return 0;
}
