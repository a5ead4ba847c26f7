/* A job that does with its arena what its arguments say, one after the other. It speaks to the agent as libcpagent
 * does, but without that library's own ideas of what to do next:
 *
 *	checkpoint KEY STEP COUNT LEVEL   commit {step, count, u[count]}; u follows from step
 *	wait KEY LEVEL SECONDS            until that level holds it
 *	fetch KEY LEVEL VERSION           ask the agent alone, and read what it brings
 *	hold KEY LEVEL | held KEY         keep what was fetched mapped; read it again
 *	restore KEY                       from its own arena
 *	recall KEY LEVEL COUNT            cpa_restore(), which knows where to look
 *	spoil STEP COUNT                  flip a byte in every copy of that step's u in the arena
 *	interval UPDATE SAVE | periodic N | save SECONDS | register URL SECONDS
 *	until FILE                        wait for a file to be there
 *	loop FILE KEY COUNT LEVEL         commit a step every 20 ms until the file is there
 *	exit STATUS | _exit STATUS | kill
 *
 * Each step that has a result prints one line: its name, the result, what it found. */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "hooks/cpagent.h"
#include "lib/arena/mailbox.h"

static struct arena *arena;

static double value(long step, long i)
{
	return (double)step * 1e6 + (double)i;
}

static double *make(long step, long count)
{
	double *u = malloc(((size_t)count + 1) * sizeof *u);

	for (long i = 0; u && i < count; i++)
		u[i] = value(step, i);
	return u;
}

static const char *check(long step, long count, const double *u)
{
	for (long i = 0; i < count; i++)
		if (u[i] != value(step, i))
			return "wrong";
	return "right";
}

static int64_t seconds(const char *text)
{
	return (int64_t)(strtod(text, NULL) * 1e9);
}

static void nap(void)
{
	nanosleep(&(struct timespec){0, 20000000}, NULL);
}

static int commit(const char *key, long step, long count, int level)
{
	double *u = make(step, count);
	struct arena_var vars[] = {{"step", &step, 1, ARENA_I64},
				   {"count", &count, 1, ARENA_I64},
				   {"u", u, (uint64_t)count, ARENA_F64}};
	int rc = u ? arena_put(arena, key, vars, 3, NULL) : -ENOMEM;

	if (rc == 0 && level > 1)
		rc = arena_want(arena, key, (uint32_t)level);
	free(u);
	return rc;
}

static void do_checkpoint(const char *key, long step, long count, int level)
{
	int rc = commit(key, step, count, level);

	printf("checkpoint %d %ld\n", rc, step);
}

/* What is known of a key before it is restored: its third variable's count. */
static long count_of(struct arena *a, const char *key)
{
	struct arena_reader r = {.fd = -1, .image = a->base, .image_bytes = a->file_bytes};
	struct arena_value v = {0};
	long count = -1;

	if (arena_read_open(&r) == 0 && arena_read_value(&r, key, 0, &v, NULL) == 0 && v.info.n == 3)
		count = (long)v.info.vars[2].count;
	arena_value_free(&v);
	return count;
}

static void read_back(struct arena *a, const char *key)
{
	long step = -1, count = -1, many = count_of(a, key);
	double *u = calloc((size_t)(many < 0 ? 0 : many) + 1, sizeof *u);
	struct arena_var vars[] = {{"step", &step, 1, ARENA_I64},
				   {"count", &count, 1, ARENA_I64},
				   {"u", u, (uint64_t)many, ARENA_F64}};
	int rc = many < 0 || !u ? -ENOENT : arena_get(a, key, vars, 3, 0, NULL, NULL);

	printf(" %d %ld %s\n", rc, step, rc >= 0 && count == many ? check(step, count, u) : "unread");
	free(u);
}

static void read_fetched(const char *key)
{
	char path[4096];
	struct arena *a;
	const char *slash = strrchr(arena->path, '/');
	int rc;

	snprintf(path, sizeof path, "%.*s/fetched", (int)(slash - arena->path), arena->path);
	rc = arena_map(&a, path);
	if (rc < 0) {
		printf(" unreadable %d\n", rc);
		return;
	}
	read_back(a, key);
	arena_unmap(a);
}

static void do_fetch(const char *key, uint32_t level, uint64_t version)
{
	struct arena_ask q = {0};
	int rc = arena_ask(arena, ARENA_ASK_FETCH, level, version, key, INT64_C(60000000000), &q);

	printf("fetch %d %llu %s", rc ? rc : q.result, (unsigned long long)q.number, rc ? "" : q.why);
	if (rc || q.result)
		printf("\n");
	else
		read_fetched(key);
}

static struct arena *holding;

static void do_hold(const char *key, uint32_t level)
{
	char path[4096];
	struct arena_ask q = {0};
	const char *slash = strrchr(arena->path, '/');
	int rc = arena_ask(arena, ARENA_ASK_FETCH, level, 0, key, INT64_C(60000000000), &q);

	snprintf(path, sizeof path, "%.*s/fetched", (int)(slash - arena->path), arena->path);
	printf("hold %d %d\n", rc ? rc : q.result, rc || q.result ? -1 : arena_map(&holding, path));
}

static void do_recall(const char *key, int level, long many)
{
	static cpa *cp;
	long step = -1, count = -1;
	double *u = calloc((size_t)many + 1, sizeof *u);
	int rc = cp || cpa_open(&cp, NULL) == 0
			 ? cpa_restore(cp, key, level, CPA_VAR(step), CPA_VAR(count), CPA_NAMED("u", u, many))
			 : -1;

	printf("recall %d %ld %s\n", rc, step, rc >= 0 && count == many ? check(step, count, u) : cpa_strerror(rc));
	free(u);
}

static void do_ask(enum arena_ask_kind kind, const char *what, const char *text, int64_t timeout)
{
	struct arena_ask q = {0};
	int rc = arena_ask(arena, kind, 0, 0, text, timeout, &q);

	printf("%s %d %llu %s\n", what, rc ? rc : q.result, (unsigned long long)q.number, rc ? "" : q.why);
}

/* A copy begins with u[1] to u[3]: nothing else in an arena looks like that. */
static void do_spoil(long step, long count)
{
	double *u = make(step, count);
	uint8_t *at = arena->heap, *end = at + arena->head->backed; /* beyond it, looking would take memory */
	int n = 0;

	while ((at = memmem(at, (size_t)(end - at), u + 1, 3 * sizeof *u))) {
		*at++ ^= 1;
		n++;
	}
	printf("spoil %d\n", n);
	free(u);
}

static void do_loop(const char *file, const char *key, long count, int level)
{
	for (long step = 1; access(file, F_OK) != 0; step++, nap())
		commit(key, step, count, level);
}

/* One step; how many arguments it took. 0: there is no such. */
static int step(char **v, int n)
{
	if (n >= 5 && !strcmp(v[0], "checkpoint"))
		return do_checkpoint(v[1], atol(v[2]), atol(v[3]), (int)atol(v[4])), 5;
	if (n >= 4 && !strcmp(v[0], "wait"))
		return printf("wait %d\n", arena_wait(arena, v[1], (uint32_t)atol(v[2]), seconds(v[3]))), 4;
	if (n >= 4 && !strcmp(v[0], "fetch"))
		return do_fetch(v[1], (uint32_t)atol(v[2]), (uint64_t)atol(v[3])), 4;
	if (n >= 3 && !strcmp(v[0], "hold"))
		return do_hold(v[1], (uint32_t)atol(v[2])), 3;
	if (n >= 2 && !strcmp(v[0], "held"))
		return printf("held"), read_back(holding, v[1]), 2;
	if (n >= 4 && !strcmp(v[0], "recall"))
		return do_recall(v[1], (int)atol(v[2]), atol(v[3])), 4;
	if (n >= 2 && !strcmp(v[0], "restore"))
		return printf("restore"), read_back(arena, v[1]), 2;
	if (n >= 3 && !strcmp(v[0], "spoil"))
		return do_spoil(atol(v[1]), atol(v[2])), 3;
	if (n >= 3 && !strcmp(v[0], "interval"))
		return arena_set_intervals(arena, (uint64_t)(seconds(v[1]) / 1000000),
					   (uint64_t)(seconds(v[2]) / 1000000),
					   (enum arena_periodic)arena->head->periodic),
		       3;
	if (n >= 2 && !strcmp(v[0], "periodic"))
		return arena_set_intervals(arena, arena->head->update_ms, arena->head->save_ms,
					   (enum arena_periodic)atol(v[1])),
		       2;
	if (n >= 2 && !strcmp(v[0], "save"))
		return do_ask(ARENA_ASK_SAVE, "save", NULL, seconds(v[1])), 2;
	if (n >= 3 && !strcmp(v[0], "register"))
		return do_ask(ARENA_ASK_REGISTER, "register", v[1], seconds(v[2])), 3;
	if (n >= 5 && !strcmp(v[0], "loop"))
		return do_loop(v[1], v[2], atol(v[3]), (int)atol(v[4])), 5;
	if (n >= 2 && !strcmp(v[0], "until")) {
		while (access(v[1], F_OK) != 0)
			nap();
		return 2;
	}
	if (n >= 2 && !strcmp(v[0], "exit"))
		exit((int)atol(v[1]));
	if (n >= 2 && !strcmp(v[0], "_exit"))
		_exit((int)atol(v[1]));
	if (!strcmp(v[0], "kill"))
		kill(getpid(), SIGKILL);
	return 0;
}

int main(int argc, char **argv)
{
	const char *path = getenv("CPAGENT_ARENA");
	int rc = path ? arena_map(&arena, path) : -ENOENT, took;

	setvbuf(stdout, NULL, _IOLBF, 0); /* whole lines */
	if (rc < 0) {
		printf("open %d\n", rc);
		return 1;
	}
	for (int i = 1; i < argc; i += took) {
		took = step(argv + i, argc - i);
		if (took == 0) {
			printf("what is %s?\n", argv[i]);
			return 2;
		}
	}
	arena_unmap(arena);
	return 0;
}
