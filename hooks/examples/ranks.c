/* ranks: several copies of one program that compute together, and go back together when one of them dies.
 *
 *	cpagent run --group ring --ranks 4 -- ranks --dir /tmp/ring --out /tmp/ring/result
 *
 * Each rank mixes its value with its left neighbour's in every step, over sockets in --dir (so all must see that
 * directory; on several machines MPI or TCP would take their place), and takes a checkpoint every few steps. When a
 * rank dies its neighbours notice, and theirs: all of them meet again, ask for the newest version that every rank has,
 * and go on from there. The result is that of a run in which nobody died. Alone it is a ring of one. */
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cpagent.h>

static cpa *cp;
static int rank, size = 1, listener = -1, left = -1, right = -1;
static const char *dir = ".";
static int64_t step, steps = 400;
static double value;

static void stop_on(int64_t rc, const char *what)
{
	if (rc >= 0)
		return;
	fprintf(stderr, "ranks: %s: %s\n", what, cpa_strerror((int)rc));
	exit(1);
}

static void nap(long ms)
{
	nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

/* ---- the ring ---- */

static struct sockaddr_un place(int of, const char *suffix)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};

	if (snprintf(at.sun_path, sizeof at.sun_path, "%s/rank.%d%s", dir, of, suffix) >= (int)sizeof at.sun_path) {
		fputs("ranks: --dir is too long for the name of a socket\n", stderr);
		exit(1);
	}
	return at;
}

/* From now on the left neighbour can connect, whatever becomes of this process in between. */
static void listen_here(void)
{
	struct sockaddr_un aside = place(rank, ".new"), at = place(rank, "");

	unlink(aside.sun_path);
	listener = socket(AF_UNIX, SOCK_STREAM, 0);
	if (listener < 0 || bind(listener, (struct sockaddr *)&aside, sizeof aside) || listen(listener, 16) ||
	    rename(aside.sun_path, at.sun_path)) {
		perror(at.sun_path);
		exit(1);
	}
}

static int has_closed(int s)
{
	char c;

	return recv(s, &c, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

static void leave_ring(void)
{
	if (left >= 0)
		close(left);
	if (right >= 0)
		close(right);
	left = right = -1;
}

static int try_to_join(void)
{
	struct sockaddr_un at = place((rank + 1) % size, "");
	struct pollfd from_left = {.fd = listener, .events = POLLIN};

	if (right < 0)
		right = socket(AF_UNIX, SOCK_STREAM, 0);
	if (connect(right, (struct sockaddr *)&at, sizeof at) && errno != EISCONN) {
		nap(5);
		return 0;
	}
	if (poll(&from_left, 1, 20) > 0)
		left = accept(listener, NULL, NULL);
	return left >= 0 && !has_closed(left) && !has_closed(right);
}

/* 0: the right neighbour has taken its socket away. So all have come to the end, and this is a rank that died then. */
static int join_ring(void)
{
	while (!try_to_join()) {
		if (step == steps && access(place((rank + 1) % size, "").sun_path, F_OK) != 0)
			return 0;
		if (left >= 0 && has_closed(left)) { /* it had tried before, and died */
			close(left);
			left = -1;
		}
		if (right >= 0 && has_closed(right))
			leave_ring();
	}
	return 1;
}

/* What the left neighbour sends. 0: it is gone; or the right one is, which sends nothing: what this rank waits for could
 * not come before that one is back. */
static int take(double *theirs)
{
	struct pollfd from[] = {{.fd = left, .events = POLLIN}, {.fd = right, .events = POLLIN}};

	while (poll(from, 2, -1) < 0 && errno == EINTR)
		continue;
	return from[0].revents && recv(left, theirs, sizeof *theirs, MSG_WAITALL) == sizeof *theirs;
}

static int pass(const double *mine, double *theirs)
{
	if (size == 1) {
		*theirs = *mine;
		return 1;
	}
	return send(right, mine, sizeof *mine, MSG_NOSIGNAL) == sizeof *mine && take(theirs);
}

/* Twice around: all have come here, and all know it. */
static int meet(void)
{
	double token = 0;
	int i;

	for (i = 0; size > 1 && i < 2; i++) {
		if (rank && !take(&token))
			return 0;
		if (send(right, &token, sizeof token, MSG_NOSIGNAL) != sizeof token)
			return 0;
		if (!rank && !take(&token))
			return 0;
	}
	return 1;
}

/* ---- the computation ---- */

/* All ranks are here and none computes: what is the newest step that each of them has? */
static void go_back(void)
{
	struct cpa_var vars[] = {CPA_VAR(step), CPA_VAR(value)};
	int64_t version = cpa_version(cp, NULL, "ring");

	if (version == CPA_ERR_KEY) {
		step = 0;
		value = rank;
		printf("started at step 0\n");
		return;
	}
	stop_on(version, "what all ranks have");
	stop_on(cpa_restore_version(cp, "ring", (uint64_t)version, vars, 2), "restore");
	printf("restored at step %lld\n", (long long)step);
}

/* 0: a rank is gone. */
static int compute(int every, long pace)
{
	double theirs;

	while (step < steps) {
		if (!pass(&value, &theirs))
			return 0;
		value = 0.75 * value + 0.25 * theirs + sin((double)step) / (rank + 2);
		step++;
		if (step % every && step < steps)
			continue;
		stop_on(cpa_checkpoint(cp, "ring", 1, CPA_VAR(step), CPA_VAR(value)), "checkpoint");
		printf("step %lld\n", (long long)step);
		nap(pace);
	}
	return meet();
}

static void write_result(const char *out)
{
	char name[4096];
	FILE *f;

	snprintf(name, sizeof name, size > 1 ? "%s.%d" : "%s", out, rank);
	f = fopen(name, "w");
	if (!f || fprintf(f, "%a\n", value) < 0 || fclose(f)) {
		perror(name);
		exit(1);
	}
}

static int number_of(const char *name, int otherwise)
{
	const char *text = getenv(name);

	return text ? (int)strtol(text, NULL, 10) : otherwise;
}

int main(int argc, char **argv)
{
	static const struct option names[] = {{"dir", 1, NULL, 'd'},   {"out", 1, NULL, 'o'},   {"steps", 1, NULL, 's'},
					      {"every", 1, NULL, 'e'}, {"arena", 1, NULL, 'a'}, {"pace", 1, NULL, 'p'},
					      {0}};
	const char *out = NULL, *arena = NULL;
	int c, every = 10;
	long pace = 0;

	while ((c = getopt_long(argc, argv, "", names, NULL)) != -1)
		if (c == 'd')
			dir = optarg;
		else if (c == 'o')
			out = optarg;
		else if (c == 's')
			steps = strtol(optarg, NULL, 10);
		else if (c == 'e')
			every = (int)strtol(optarg, NULL, 10);
		else if (c == 'a')
			arena = optarg;
		else if (c == 'p')
			pace = strtol(optarg, NULL, 10);
		else
			break;
	if (c != -1 || optind != argc || !out || every < 1) {
		fputs("usage: ranks --out FILE [--dir DIR] [--steps N] [--every N] [--pace MS] [--arena DIR]\n", stderr);
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	rank = number_of("CPAGENT_RANK", 0);
	size = number_of("CPAGENT_SIZE", 1);
	stop_on(cpa_open(&cp, arena), "arena");
	stop_on(cpa_keep(cp, "ring", 2), "keep");
	if (cpa_restore(cp, "ring", 1, CPA_VAR(step), CPA_VAR(value)) < 0)
		step = 0;
	if (size > 1)
		listen_here();
	while (size == 1 || join_ring()) {
		if (meet()) {
			go_back();
			if (meet() && compute(every, pace))
				break;
		}
		leave_ring(); /* a rank is gone: so that the next one notices, too */
	}
	write_result(out);
	printf("done\n");
	if (size > 1)
		unlink(place(rank, "").sun_path);
	cpa_reset(cp, "ring");
	cpa_close(cp);
	return 0;
}
