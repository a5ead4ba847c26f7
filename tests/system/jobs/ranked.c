/* A rank that does what its arguments say, one after the other, with a step counter as its state:
 *
 *	env                           print CPAGENT_GROUP, _RANK and _SIZE
 *	keep KEY N                    cpa_keep()
 *	commit KEY N                  N times: step + 1, checkpoint
 *	wait KEY LEVEL SECONDS        until that level holds it
 *	version GROUP KEY SECONDS     cpa_version_within(); "-" for none; restores what it names, and says to which step
 *	raw TEXT                      what a library would not ask: TEXT as it is, "%" for a line feed
 *	newest KEY                    number of the newest version
 *	until FILE | touch FILE | exit STATUS | stop (kill itself)
 *
 * "2:" before a step: rank 2 only; "first:" and "again:": in the first life, in a later one. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "hooks/cpagent.h"
#include "hooks/internal.h"
#include "lib/arena/mailbox.h"

static cpa *cp;
static long rank;
static int64_t step;

static const char *or_null(const char *word)
{
	return strcmp(word, "-") ? word : NULL;
}

static const char *env(const char *name)
{
	return getenv(name) ? getenv(name) : "none";
}

static void do_env(char **v)
{
	(void)v;
	printf("env %s %s %s\n", env("CPAGENT_GROUP"), env("CPAGENT_RANK"), env("CPAGENT_SIZE"));
}

static void do_keep(char **v)
{
	int rc = cpa_keep(cp, v[1], (int)atol(v[2]));

	if (rc)
		printf("keep %d %s\n", rc, cpa_strerror(rc));
}

static void do_commit(char **v)
{
	for (long n = atol(v[2]); n > 0; n--) {
		step++;
		int rc = cpa_checkpoint(cp, v[1], 1, CPA_VAR(step), CPA_VAR(rank));

		if (rc)
			printf("commit %d %s\n", rc, cpa_strerror(rc));
	}
	printf("committed %lld\n", (long long)step);
}

static void do_wait(char **v)
{
	int rc = cpa_checkpoint(cp, v[1], (int)atol(v[2]), CPA_VAR(step), CPA_VAR(rank));

	printf("wait %d\n", rc ? rc : cpa_wait(cp, v[1], (int)atol(v[2]), atof(v[3])));
}

static void do_version(char **v)
{
	int64_t version = cpa_version_within(cp, or_null(v[1]), or_null(v[2]), atof(v[3]));
	const char *key = or_null(v[2]) ? v[2] : "state";
	struct cpa_var vars[] = {CPA_VAR(step), CPA_VAR(rank)};

	if (version < 0)
		printf("version %lld %s\n", (long long)version, cpa_strerror((int)version));
	else if (cpa_restore_version(cp, key, (uint64_t)version, vars, 2) < 0)
		printf("version %lld cannot be restored\n", (long long)version);
	else
		printf("version %lld step %lld rank %ld\n", (long long)version, (long long)step, rank);
}

static void do_raw(char **v)
{
	struct arena_ask q = {0};
	char text[512];

	snprintf(text, sizeof text, "%s", v[1]);
	for (char *p = text; *p; p++)
		*p = *p == '%' ? '\n' : *p;
	int rc = arena_ask(cp->arena, ARENA_ASK_VERSION, 0, 500, text, INT64_C(10000000000), &q);

	printf("raw %d %s\n", rc ? rc : q.result, q.why);
}

static void do_newest(char **v)
{
	struct cpa_entry *e = NULL;
	int rc = cpa_query(cp, v[1], &e);

	printf("newest %lld\n", rc ? rc : (long long)e->version);
	cpa_list_free(e);
}

static void do_until(char **v)
{
	while (access(v[1], F_OK) != 0)
		nanosleep(&(struct timespec){0, 20000000}, NULL);
}

static void do_touch(char **v)
{
	close(open(v[1], O_WRONLY | O_CREAT | O_CLOEXEC, 0666));
}

static void do_exit(char **v)
{
	exit((int)atol(v[1]));
}

static void do_stop(char **v)
{
	(void)v;
	kill(getpid(), SIGKILL);
}

static const struct {
	const char *name;
	int args;
	void (*run)(char **v);
} steps[] = {
	{"env", 1, do_env},	    {"keep", 3, do_keep},     {"commit", 3, do_commit}, {"wait", 4, do_wait},
	{"version", 4, do_version}, {"raw", 2, do_raw},	      {"newest", 2, do_newest}, {"until", 2, do_until},
	{"touch", 2, do_touch},	    {"exit", 2, do_exit},     {"stop", 1, do_stop},
};

/* Does a word before a step hold here? 0: it is none. */
static int prefix(const char *word, int *holds)
{
	size_t n = strlen(word);

	if (n < 2 || word[n - 1] != ':')
		return 0;
	if (!strcmp(word, "first:"))
		*holds &= cpa_incarnation(cp, NULL) == 0;
	else if (!strcmp(word, "again:"))
		*holds &= cpa_incarnation(cp, NULL) > 0;
	else
		*holds &= atol(word) == rank;
	return 1;
}

static int run_step(char **v, int n, int holds)
{
	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
		if (strcmp(v[0], steps[i].name) != 0 || n < steps[i].args)
			continue;
		if (holds)
			steps[i].run(v);
		return steps[i].args;
	}
	printf("what is %s?\n", v[0]);
	exit(2);
}

int main(int argc, char **argv)
{
	int rc = cpa_open(&cp, NULL), holds = 1;

	setvbuf(stdout, NULL, _IOLBF, 0); /* whole lines */
	if (rc) {
		printf("open %s\n", cpa_strerror(rc));
		return 1;
	}
	rank = atol(env("CPAGENT_RANK"));
	for (int i = 1; i < argc;) {
		if (prefix(argv[i], &holds)) {
			i++;
			continue;
		}
		i += run_step(argv + i, argc - i, holds);
		holds = 1;
	}
	cpa_close(cp);
	return 0;
}
