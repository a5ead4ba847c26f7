/* The hooks as a program uses them: macros and types, errors that name what does not fit, private arenas, lists,
 * levels, fork; and the example that is killed and goes on. */
#include <errno.h>
#include <complex.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cpagent.h>

#include "lib/arena/arena.h"
#include "lib/base/fs.h"
#include "tests/unit/harness.h"

static char dir[64];

static cpa *opened(void)
{
	cpa *cp = NULL;

	CU_ASSERT_EQUAL_FATAL(cpa_open(&cp, dir), 0);
	CU_ASSERT_EQUAL_FATAL(cpa_reset(cp, NULL), 0);
	return cp;
}

static void the_macros_know_every_scalar_type(void)
{
	_Bool b = 1, b2 = 0;
	char c = 'x', text[] = "hello", text2[sizeof text] = "", c2 = 0;
	signed char sc = -3, sc2 = 0;
	unsigned short us = 65535, us2 = 0;
	long l = -5, l2 = 0;
	unsigned long long ull = UINT64_MAX, ull2 = 0;
	float f = 1.5f, f2 = 0;
	long double ld = 1.25L, ld2 = 0;
	double _Complex z = 1 + 2 * I, z2 = 0;
	struct { int a; char b[3]; } s = {4, "ab"}, s2 = {0, ""};
	const double grid[2][3] = {{1, 2, 3}, {4, 5, 6}};
	double grid2[2][3] = {{0}};
	cpa *cp = opened();

	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "types", 1, CPA_VAR(b), CPA_VAR(c), CPA_ARRAY(text, sizeof text), CPA_VAR(sc),
				       CPA_VAR(us), CPA_VAR(l), CPA_VAR(ull), CPA_VAR(f), CPA_VAR(ld), CPA_VAR(z),
				       CPA_BYTES(s), CPA_ARRAY(&grid[0][0], 6)), 0);
	CU_ASSERT_EQUAL(cpa_restore(cp, "types", 0, CPA_VAR(b2), CPA_VAR(c2), CPA_ARRAY(text2, sizeof text2),
				    CPA_VAR(sc2), CPA_VAR(us2), CPA_VAR(l2), CPA_VAR(ull2), CPA_VAR(f2), CPA_VAR(ld2),
				    CPA_VAR(z2), CPA_BYTES(s2), CPA_ARRAY(&grid2[0][0], 6)), 0);
	CU_ASSERT(b2 == b && c2 == c && sc2 == sc && us2 == us && l2 == l && ull2 == ull && f2 == f && ld2 == ld);
	CU_ASSERT(z2 == z && s2.a == 4 && strcmp(s2.b, "ab") == 0 && strcmp(text, text2) == 0);
	CU_ASSERT_EQUAL(memcmp(grid, grid2, sizeof grid), 0);
	cpa_close(cp);
}

static void an_error_names_the_variable_that_does_not_fit(void)
{
	double u[10] = {1}, v[11];
	int step = 4;
	long wide = 0;
	cpa *cp = opened();

	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "state", 1, CPA_VAR(step), CPA_ARRAY(u, 10)), 0);
	CU_ASSERT_EQUAL(cpa_restore(cp, "state", 0, CPA_VAR(step), CPA_NAMED("u", v, 11)), CPA_ERR_VAR);
	CU_ASSERT_STRING_EQUAL(cpa_strerror(CPA_ERR_VAR),
			       "key state: variable u: the checkpoint has 10 f64, the program 11 f64");
	CU_ASSERT_EQUAL(cpa_restore(cp, "state", 0, CPA_NAMED("step", &wide, 1)), CPA_ERR_VAR);
	CU_ASSERT_STRING_EQUAL(cpa_strerror(CPA_ERR_VAR),
			       "key state: variable step: the checkpoint has 1 i32, the program 1 i64");
	CU_ASSERT_EQUAL(cpa_restore(cp, "none", 0, CPA_VAR(step)), CPA_ERR_KEY);
	CU_ASSERT_PTR_NOT_NULL(strstr(cpa_strerror(CPA_ERR_KEY), "key none"));
	cpa_close(cp);
}

static void calls_that_make_no_sense_are_refused_with_a_sentence(void)
{
	int x = 1, *null = NULL;
	struct cpa_var v = {"x", &x, 1, 99};
	cpa *cp = opened();

	CU_ASSERT_EQUAL(cpa_checkpoint(NULL, "k", 1, CPA_VAR(x)), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_checkpoint(cp, NULL, 1, CPA_VAR(x)), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "", 1, CPA_VAR(x)), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "k", -1, CPA_VAR(x)), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "k", 99, CPA_VAR(x)), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "\xff", 1, CPA_VAR(x)), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "k", 1, CPA_ARRAY(null, 3)), CPA_ERR_ARG);
	CU_ASSERT_PTR_NOT_NULL(strstr(cpa_strerror(CPA_ERR_ARG), "variable null is NULL"));
	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "k", 1, CPA_ARRAY(&x, SIZE_MAX)), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_checkpoint_vars(cp, "k", 1, &v, 1), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_checkpoint_vars(cp, "k", 1, NULL, 1), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_restore_vars(cp, "k", 0, NULL, 0), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_open(NULL, NULL), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_list(cp, NULL), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_wait(cp, "k", 1, 0), CPA_ERR_KEY);
	CU_ASSERT_STRING_EQUAL(cpa_strerror(12345), "done");
	CU_ASSERT_STRING_EQUAL(cpa_strerror(-12345), "no such error");
	CU_ASSERT_STRING_EQUAL(cpa_strerror(INT32_MIN), "no such error");
	cpa_close(cp);
	cpa_close(NULL);
}

static void a_key_tells_where_it_was_made(void)
{
	const char *here = CPA_KEY(a, b, 123), *bare = CPA_KEY();
	char buf[CPA_KEY_MAX + 1], args[600];

	CU_ASSERT_STRING_EQUAL(here, "test_hooks_a_key_tells_where_it_was_made_a_b_123");
	CU_ASSERT_STRING_EQUAL(bare, "test_hooks_a_key_tells_where_it_was_made");
	CU_ASSERT_STRING_EQUAL(CPA_KEY("x y"), "test_hooks_a_key_tells_where_it_was_made_xy");
	memset(args, 'z', sizeof args);
	args[599] = '\0';
	CU_ASSERT_EQUAL(strlen(cpa_key_join(buf, "/src/dir/file.c", "f", args)), CPA_KEY_MAX);
	CU_ASSERT_STRING_EQUAL(cpa_key_join(buf, "/src/dir/file.c", "f", "n"), "file_f_n");
}

static void the_list_shows_every_key_with_its_variables(void)
{
	struct cpa_entry *list;
	int step = 1;
	double u[7] = {0};
	cpa *cp = opened();

	CU_ASSERT_EQUAL(cpa_list(cp, &list), 0);
	CU_ASSERT_PTR_NULL(list);
	cpa_checkpoint(cp, "b", 1, CPA_VAR(step));
	cpa_checkpoint(cp, "a", 1, CPA_VAR(step), CPA_ARRAY(u, 7));
	cpa_checkpoint(cp, "a", 1, CPA_VAR(step), CPA_ARRAY(u, 7));
	CU_ASSERT_EQUAL_FATAL(cpa_list(cp, &list), 2);
	CU_ASSERT_STRING_EQUAL(list[0].key, "a");
	CU_ASSERT_EQUAL(list[0].version, 2);
	CU_ASSERT_EQUAL(list[0].level, 1);
	CU_ASSERT_EQUAL(list[0].n, 2);
	CU_ASSERT_STRING_EQUAL(list[0].vars[1].name, "u");
	CU_ASSERT_EQUAL(list[0].vars[1].count, 7);
	CU_ASSERT_EQUAL(list[0].vars[1].type, CPA_F64);
	CU_ASSERT_STRING_EQUAL(list[1].key, "b");
	CU_ASSERT_STRING_EQUAL(list[1].vars[0].name, "step");
	cpa_list_free(list);
	CU_ASSERT_EQUAL(cpa_reset(cp, "a"), 0);
	CU_ASSERT_EQUAL(cpa_reset(cp, "a"), CPA_ERR_KEY);
	CU_ASSERT_EQUAL_FATAL(cpa_list(cp, &list), 1);
	cpa_list_free(list);
	cpa_close(cp);
}

static void a_later_run_finds_the_private_arena_of_its_program(void)
{
	char home[96], path[200];
	struct stat st;
	int x = 42;
	cpa *cp;

	snprintf(home, sizeof home, "%s/home", dir);
	unsetenv("CPAGENT_ARENA");
	unsetenv("XDG_STATE_HOME");
	setenv("HOME", home, 1);
	CU_ASSERT_EQUAL_FATAL(cpa_open(&cp, NULL), 0);
	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "x", 1, CPA_VAR(x)), 0);
	cpa_close(cp);
	x = 0;
	CU_ASSERT_EQUAL_FATAL(cpa_open(&cp, NULL), 0);
	CU_ASSERT_EQUAL(cpa_restore(cp, "x", 0, CPA_VAR(x)), 0);
	CU_ASSERT_EQUAL(x, 42);
	cpa_close(cp);
	snprintf(path, sizeof path, "%s/.local/state/cpagent/%s.arena", home, program_invocation_short_name);
	CU_ASSERT_EQUAL(stat(path, &st), 0);
	CU_ASSERT_EQUAL(st.st_mode & 0777, 0600);
	snprintf(path, sizeof path, "%s/state", dir);
	setenv("XDG_STATE_HOME", path, 1);
	CU_ASSERT_EQUAL_FATAL(cpa_open(&cp, NULL), 0);
	CU_ASSERT_EQUAL(cpa_restore(cp, "x", 0, CPA_VAR(x)), CPA_ERR_KEY);
	cpa_close(cp);
	unsetenv("XDG_STATE_HOME");
}

static void the_launchers_arena_comes_first_and_has_to_be_there(void)
{
	char path[128];
	int x = 3;
	cpa *cp;

	snprintf(path, sizeof path, "%s/arena", dir);
	setenv("CPAGENT_ARENA", path, 1);
	CU_ASSERT_EQUAL(cpa_open(&cp, NULL), CPA_ERR_SYSTEM);
	CU_ASSERT_PTR_NULL(cp);
	CU_ASSERT_PTR_NOT_NULL(strstr(cpa_strerror(CPA_ERR_SYSTEM), path));
	CU_ASSERT_EQUAL_FATAL(arena_create(path, 1 << 20, 0600), 0);
	CU_ASSERT_EQUAL_FATAL(cpa_open(&cp, NULL), 0);
	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "x", 1, CPA_VAR(x)), 0);
	cpa_close(cp);
	CU_ASSERT_EQUAL_FATAL(cpa_open(&cp, path), 0);
	CU_ASSERT_EQUAL(cpa_restore(cp, "x", 1, CPA_VAR(x)), 0);
	cpa_close(cp);
	CU_ASSERT_EQUAL(truncate(path, 5000), 0);
	CU_ASSERT_EQUAL(cpa_open(&cp, NULL), CPA_ERR_BROKEN);
	unlink(path);
	unsetenv("CPAGENT_ARENA");
}

static void forked_workers_share_the_arena(void)
{
	cpa *cp = opened();
	int status, w, got;
	pid_t pid[4];
	char key[32];

	for (w = 0; w < 4; w++) {
		pid[w] = fork();
		if (pid[w] == 0) {
			snprintf(key, sizeof key, "worker %d", w);
			for (int i = 0; i <= 1000; i++)
				if (cpa_checkpoint(cp, key, 1, CPA_VAR(i)) != 0)
					_exit(1);
			_exit(0);
		}
	}
	for (w = 0; w < 4; w++) {
		waitpid(pid[w], &status, 0);
		CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
		snprintf(key, sizeof key, "worker %d", w);
		CU_ASSERT_EQUAL(cpa_restore(cp, key, 0, CPA_NAMED("i", &got, 1)), 0);
		CU_ASSERT_EQUAL(got, 1000);
	}
	cpa_close(cp);
}

static void a_read_only_arena_can_be_read_and_says_why_no_more(void)
{
	char path[128];
	int x = 9, status;
	cpa *cp;
	pid_t pid;

	if (geteuid() != 0)
		return;
	snprintf(path, sizeof path, "%s/arena", dir);
	CU_ASSERT_EQUAL_FATAL(arena_create(path, 1 << 20, 0644), 0);
	CU_ASSERT_EQUAL_FATAL(cpa_open(&cp, path), 0);
	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "x", 1, CPA_VAR(x)), 0);
	cpa_close(cp);
	CU_ASSERT_EQUAL(chmod(dir, 0755), 0);
	pid = fork();
	if (pid == 0) {
		if (setuid(65534) != 0 || cpa_open(&cp, path) != 0)
			_exit(1);
		x = 0;
		if (cpa_restore(cp, "x", 0, CPA_VAR(x)) != 0 || x != 9)
			_exit(2);
		if (cpa_checkpoint(cp, "x", 1, CPA_VAR(x)) != CPA_ERR_DENIED || cpa_reset(cp, NULL) != CPA_ERR_DENIED)
			_exit(3);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CU_ASSERT_EQUAL(chmod(path, 0600), 0);
	pid = fork();
	if (pid == 0)
		_exit(setuid(65534) == 0 && cpa_open(&cp, path) == CPA_ERR_DENIED ? 0 : 1);
	waitpid(pid, &status, 0);
	CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	unlink(path);
}

/* ---- the example ---- */

static pid_t run_heat(const char *heat, const char *out, const char *arena, int *from)
{
	int pipe_fd[2];
	pid_t pid;

	CU_ASSERT_EQUAL_FATAL(pipe(pipe_fd), 0);
	pid = fork();
	if (pid == 0) {
		dup2(pipe_fd[1], 1);
		close(pipe_fd[0]);
		close(pipe_fd[1]);
		execl(heat, "heat", "--size", "64", "--steps", "400", "--every", "7", "--pace", "1", "--out", out, "--arena",
		      arena, (char *)NULL);
		_exit(127);
	}
	close(pipe_fd[1]);
	*from = pipe_fd[0];
	return pid;
}

static void the_heat_example_killed_and_started_again_has_the_same_result(void)
{
	char heat[256], line[64], out[2][128], arena[128];
	int from, status, kills = 0, run, done, restored = 0;
	const char *build = getenv("B");
	FILE *lines;
	pid_t pid;

	snprintf(heat, sizeof heat, "%s/hooks/examples/heat", build ? build : "build/default");
	if (access(heat, X_OK) != 0) {
		CU_FAIL("no heat: it has to be built before this test");
		return;
	}
	snprintf(arena, sizeof arena, "%s/heat", dir);
	for (run = 0; run < 2; run++) {
		snprintf(out[run], sizeof out[run], "%s/result.%d", dir, run);
		for (done = 0; !done;) {
			int seen = 0, stop_after = run == 1 && kills < 5 ? 2 + kills * 2 : 1000;

			pid = run_heat(heat, out[run], arena, &from);
			lines = fdopen(from, "r");
			while (seen < stop_after && fgets(line, sizeof line, lines)) {
				seen += strncmp(line, "step", 4) == 0;
				restored += strncmp(line, "restored", 8) == 0;
			}
			if (seen >= stop_after) {
				kill(pid, SIGKILL);
				kills++;
			}
			fclose(lines);
			waitpid(pid, &status, 0);
			done = WIFEXITED(status);
		}
		CU_ASSERT_EQUAL(WEXITSTATUS(status), 0);
	}
	CU_ASSERT_EQUAL(kills, 5);
	CU_ASSERT_EQUAL(restored, 5);
	FILE *a = fopen(out[0], "rb"), *b = fopen(out[1], "rb");

	CU_ASSERT_FATAL(a && b);
	for (;;) {
		int ca = fgetc(a), cb = fgetc(b);

		CU_ASSERT_EQUAL_FATAL(ca, cb);
		if (ca == EOF)
			break;
	}
	CU_ASSERT(ftell(a) > 64 * 64 * 8);
	fclose(a);
	fclose(b);
}

static const struct test tests[] = {
	{"the macros know every scalar type", the_macros_know_every_scalar_type},
	{"an error names the variable that does not fit", an_error_names_the_variable_that_does_not_fit},
	{"calls that make no sense are refused with a sentence", calls_that_make_no_sense_are_refused_with_a_sentence},
	{"a key tells where it was made", a_key_tells_where_it_was_made},
	{"the list shows every key with its variables", the_list_shows_every_key_with_its_variables},
	{"a later run finds the private arena of its program", a_later_run_finds_the_private_arena_of_its_program},
	{"the launcher's arena comes first and has to be there", the_launchers_arena_comes_first_and_has_to_be_there},
	{"forked workers share the arena", forked_workers_share_the_arena},
	{"a read-only arena can be read, and says why no more", a_read_only_arena_can_be_read_and_says_why_no_more},
	{"the heat example, killed and started again, has the same result",
	 the_heat_example_killed_and_started_again_has_the_same_result},
};

int main(void)
{
	struct err e;
	int rc;

	snprintf(dir, sizeof dir, "/dev/shm/test_hooks.XXXXXX");
	if (!mkdtemp(dir))
		return 1;
	rc = harness_run("hooks", tests, sizeof tests / sizeof *tests);
	fs_remove_tree(dir, &e);
	return rc;
}
