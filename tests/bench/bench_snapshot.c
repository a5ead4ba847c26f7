/* How long a job stands still for a snapshot: ours beside `criu dump` of the same job, in turns, as the job itself
 * sees it (the longest gap in its clock). Ends with one line of JSON. Needs root and CRIU.
 * usage: bench_snapshot [ROUNDS] */
#include <fcntl.h>
#include <spawn.h>

#include "tests/unit/snapshot_job.h"

#define ROUNDS_MAX 50

extern char **environ;

static const unsigned sizes_mib[] = {10, 200, 1024};
#define SIZES (sizeof sizes_mib / sizeof *sizes_mib)

struct result {
	double raw[ROUNDS_MAX], ours[ROUNDS_MAX], whole[ROUNDS_MAX]; /* ms */
};

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double median(double *v, size_t n)
{
	qsort(v, n, sizeof *v, by_value);
	return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

/* The longest gap (ms) that the job has written since its output had `from` bytes. */
static double longest_gap(const struct job *j, off_t from)
{
	char path[FS_PATH_MAX];
	unsigned us, most = 0;
	scoped_file FILE *f = fopen(job_stdout(j, path), "re");
	if (f && !fseeko(f, from, SEEK_SET))
		while (fscanf(f, "%u\n", &us) == 1)
			most = us > most ? us : most;
	return most / 1000.0;
}

static int raw_dump(const struct job *j)
{
	char dir[FS_PATH_MAX], pid[16], *job_mount = (char *)"mnt[" SNAPSHOT_JOB_MOUNT "]:cpajob";
	char *log_mount = (char *)"mnt[" SNAPSHOT_LOG_MOUNT "]:cpalog";
	int status = 0;
	pid_t child;
	fs_path(dir, "%s/raw", j->fast);
	fs_remove_tree(dir, NULL);
	mkdir(dir, 0700);
	snprintf(pid, sizeof pid, "%d", j->copies[0]);
	char *argv[] = {(char *)"criu", (char *)"dump", (char *)"-t", pid, (char *)"-D", dir, (char *)"-R",
			(char *)"--manage-cgroups=ignore", (char *)"--external", job_mount, (char *)"--external",
			log_mount, (char *)"--external", (char *)"mnt[]", (char *)"-o", (char *)"dump.log", NULL};
	if (posix_spawn(&child, criu_path, NULL, NULL, argv, environ))
		return -1;
	while (waitpid(child, &status, 0) < 0)
		;
	return status;
}

/* One dump of either kind; the job's longest gap, or -1. */
static double one(struct job *j, bool raw, double *whole_ms)
{
	char path[FS_PATH_MAX];
	off_t from = size_of(job_stdout(j, path));
	if (raw ? raw_dump(j) != 0 : job_take(j) != 0)
		return -1;
	if (size_of(path) == from && !job_goes_on(j, 1)) /* it may have said so already */
		return -1;
	*whole_ms = (double)j->taken.total_ns / 1e6;
	return longest_gap(j, from);
}

static int measure(unsigned mib, size_t rounds, struct result *r)
{
	struct job j;
	char size[16];
	double unused;
	job_make(&j);
	snprintf(size, sizeof size, "%u", mib);
	int rc = job_start(&j, "clock", size) && job_goes_on(&j, 1) ? 0 : -1;
	/* the first one touches the page files, which those after it use again */
	rc = rc || one(&j, false, &unused) < 0 ? -1 : 0;
	for (size_t i = 0; !rc && i < rounds; i++) {
		r->raw[i] = one(&j, true, &unused);
		r->ours[i] = one(&j, false, &r->whole[i]);
		rc = r->raw[i] < 0 || r->ours[i] < 0 ? -1 : 0;
	}
	job_clean(&j);
	return rc;
}

int main(int argc, char **argv)
{
	size_t rounds = argc > 1 ? strtoul(argv[1], NULL, 10) : 7;
	struct result r;
	if (rounds < 1 || rounds > ROUNDS_MAX || snapshot_tests_open())
		return 2;
	char json[1024];
	int n = snprintf(json, sizeof json, "{\"bench\":\"snapshot\",\"rounds\":%zu,\"sizes\":[", rounds);
	printf("%10s %12s %12s %8s %12s\n", "memory", "criu dump", "cpagent", "ratio", "whole call");
	for (size_t i = 0; i < SIZES; i++) {
		if (measure(sizes_mib[i], rounds, &r)) {
			fprintf(stderr, "bench_snapshot: the job of %u MiB could not be measured\n", sizes_mib[i]);
			return 1;
		}
		double raw = median(r.raw, rounds), ours = median(r.ours, rounds), whole = median(r.whole, rounds);
		printf("%6u MiB %9.1f ms %9.1f ms %8.2f %9.1f ms\n", sizes_mib[i], raw, ours, ours / raw, whole);
		n += snprintf(json + n, sizeof json - (size_t)n,
			      "%s{\"mib\":%u,\"criu_frozen_ms\":%.1f,\"frozen_ms\":%.1f,\"ratio\":%.3f,"
			      "\"whole_ms\":%.1f}", i ? "," : "", sizes_mib[i], raw, ours, ours / raw, whole);
	}
	printf("%s]}\n", json);
	return 0;
}
