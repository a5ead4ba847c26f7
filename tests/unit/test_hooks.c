/* The hooks as a program uses them: macros and types, errors that name what does not fit, versions, lists, fork; and
 * the example that is killed and goes on. */
#include <errno.h>
#include <complex.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cpagent.h>

#include "hooks/internal.h"
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

/* One of each type, and an array of it: what was put comes back, under that type. (Static: padding is zeros then.) */
#define ROUND_TRIP(ctype, code, value)                                                                       \
	do {                                                                                                 \
		static ctype one = (value), many[5] = {(value), 0, (value), 0, (value)}, one2, many2[5];     \
		static const ctype fixed = (value);                                                          \
		static volatile ctype moving = (value), moving2;                                             \
		static const volatile ctype both = (value);                                                  \
		static ctype both2, fixed2;                                                                  \
                                                                                                             \
		CU_ASSERT_EQUAL(cpa_checkpoint(cp, #ctype, 1, CPA_VAR(one), CPA_ARRAY(many, 5), CPA_VAR(fixed), \
					       CPA_VAR(moving), CPA_VAR(both)), 0);                          \
		CU_ASSERT_EQUAL(cpa_restore(cp, #ctype, 0, CPA_NAMED("one", &one2, 1), CPA_NAMED("many", many2, 5), \
					    CPA_NAMED("fixed", &fixed2, 1), CPA_NAMED("moving", &moving2, 1), \
					    CPA_NAMED("both", &both2, 1)), 0);                               \
		CU_ASSERT(one2 == one && fixed2 == fixed && moving2 == moving && both2 == both);             \
		for (int i = 0; i < 5; i++)                                                                  \
			CU_ASSERT(many2[i] == many[i]);                                                      \
		CU_ASSERT_EQUAL_FATAL(cpa_query(cp, #ctype, &e), 0);                                         \
		CU_ASSERT(e->n == 5 && e->vars[0].type == (code) && e->vars[4].type == (code));              \
		CU_ASSERT_EQUAL(e->vars[1].count, 5);                                                        \
		CU_ASSERT_EQUAL(sizeof(ctype), cpa_type_size(code));                                         \
		cpa_list_free(e);                                                                            \
	} while (0)

enum colour { RED, GREEN = -5 };

static void every_scalar_type_comes_back_as_it_was(void)
{
	cpa *cp = opened();
	struct cpa_entry *e;

	ROUND_TRIP(_Bool, CPA_BOOL, 1);
	ROUND_TRIP(char, CPA_CHAR, 'x');
	ROUND_TRIP(signed char, CPA_I8, -3);
	ROUND_TRIP(unsigned char, CPA_U8, 200);
	ROUND_TRIP(short, CPA_I16, SHRT_MIN);
	ROUND_TRIP(unsigned short, CPA_U16, USHRT_MAX);
	ROUND_TRIP(int, CPA_I32, INT_MIN);
	ROUND_TRIP(unsigned int, CPA_U32, UINT_MAX);
	ROUND_TRIP(long, sizeof(long) == 8 ? CPA_I64 : CPA_I32, LONG_MIN);
	ROUND_TRIP(unsigned long, sizeof(long) == 8 ? CPA_U64 : CPA_U32, ULONG_MAX);
	ROUND_TRIP(long long, CPA_I64, LLONG_MIN);
	ROUND_TRIP(unsigned long long, CPA_U64, ULLONG_MAX);
	ROUND_TRIP(float, CPA_F32, 1.5f);
	ROUND_TRIP(double, CPA_F64, 1e300);
	ROUND_TRIP(float _Complex, CPA_C32, 1.5f + 2.5f * I);
	ROUND_TRIP(double _Complex, CPA_C64, 1e300 - 2 * I);
#if defined(__x86_64__)
	ROUND_TRIP(long double, CPA_F80, 1.0L / 3);
	ROUND_TRIP(long double _Complex, CPA_C80, 1.0L / 3 + 2.0L / 3 * I);
#endif
	ROUND_TRIP(int8_t, CPA_I8, INT8_MIN);
	ROUND_TRIP(uint8_t, CPA_U8, UINT8_MAX);
	ROUND_TRIP(int16_t, CPA_I16, INT16_MIN);
	ROUND_TRIP(uint16_t, CPA_U16, UINT16_MAX);
	ROUND_TRIP(int32_t, CPA_I32, INT32_MIN);
	ROUND_TRIP(uint32_t, CPA_U32, UINT32_MAX);
	ROUND_TRIP(int64_t, CPA_I64, INT64_MIN);
	ROUND_TRIP(uint64_t, CPA_U64, UINT64_MAX);
	ROUND_TRIP(size_t, sizeof(size_t) == 8 ? CPA_U64 : CPA_U32, SIZE_MAX);
	cpa_close(cp);
}

static void texts_bytes_and_tables_come_back_as_they_were(void)
{
	char text[] = "h\0llo", text2[sizeof text] = "";
	static struct { int a; char b[3]; } s = {4, "ab"}, s2;
	const double grid[2][3][2] = {{{1, 2}, {3, 4}, {5, 6}}, {{7, 8}, {9, 10}, {11, 12}}};
	double grid2[2][3][2] = {{{0}}};
	enum colour c = GREEN, c2 = RED;
	void *raw = text, *raw2 = text2;
	cpa *cp = opened();

	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "k", 1, CPA_STRING(text), CPA_BYTES(s), CPA_ARRAY(&grid[0][0][0], 12),
				       CPA_VAR(c)), 0);
	CU_ASSERT_EQUAL(cpa_restore(cp, "k", 0, CPA_STRING(text2), CPA_BYTES(s2), CPA_ARRAY(&grid2[0][0][0], 12),
				    CPA_VAR(c2)), 0);
	CU_ASSERT(s2.a == 4 && strcmp(s2.b, "ab") == 0 && c2 == GREEN);
	CU_ASSERT_EQUAL(memcmp(text, text2, sizeof text), 0);
	CU_ASSERT_EQUAL(memcmp(grid, grid2, sizeof grid), 0);
	memset(text2, 0, sizeof text2);
	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "raw", 1, CPA_ARRAY(raw, 4)), 0);
	CU_ASSERT_EQUAL(cpa_restore(cp, "raw", 0, CPA_ARRAY(raw2, 4)), 0);
	CU_ASSERT_EQUAL(memcmp(text, text2, 4), 0);
	cpa_close(cp);
}

/* Room for n bytes that ends where memory does. */
static char *before_the_end(size_t n)
{
	char *p = mmap(NULL, 3 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CU_ASSERT_PTR_NOT_EQUAL_FATAL(p, MAP_FAILED);
	CU_ASSERT_EQUAL(mprotect(p + (2 << 20), 1 << 20, PROT_NONE), 0);
	return p + (2 << 20) - n;
}

static void nothing_is_written_past_the_end_or_in_part(void)
{
	static const size_t sizes[] = {1, 7, 64, 4095, 4096, 65536, 65537, 1 << 20, (2 << 20) - 1};
	cpa *cp = opened();

	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		size_t n = sizes[i];
		char *from = before_the_end(n), *to = before_the_end(n), *shorter = before_the_end(n - 1);
		char last = 'l', last2 = 0;

		memset(from, 'x', n);
		CU_ASSERT_EQUAL(cpa_checkpoint(cp, "k", 1, CPA_NAMED("u", from, n), CPA_VAR(last)), 0);
		CU_ASSERT_EQUAL(cpa_restore(cp, "k", 0, CPA_NAMED("u", to, n), CPA_NAMED("last", &last2, 1)), 0);
		CU_ASSERT(memcmp(from, to, n) == 0 && last2 == 'l');
		last2 = 0;
		CU_ASSERT_EQUAL(cpa_restore(cp, "k", 0, CPA_NAMED("last", &last2, 1), CPA_NAMED("u", shorter, n - 1)),
				CPA_ERR_VAR);
		CU_ASSERT_EQUAL(last2, 0); /* nor was the variable that did fit */
		munmap(from + n - (2 << 20), 3 << 20);
		munmap(to + n - (2 << 20), 3 << 20);
		munmap(shorter + n - 1 - (2 << 20), 3 << 20);
	}
	cpa_close(cp);
}

static void a_full_arena_says_so_and_keeps_the_version_before(void)
{
	static char big[512 << 10];
	int step = 1, step2 = 0;
	cpa *cp;

	CU_ASSERT_EQUAL_FATAL(cpa_open_named(&cp, dir, "small", 256 << 10), 0);
	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "state", 1, CPA_VAR(step), CPA_ARRAY(big, 1000)), 0);
	step = 2;
	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "state", 1, CPA_VAR(step), CPA_ARRAY(big, sizeof big)), CPA_ERR_FULL);
	CU_ASSERT_PTR_NOT_NULL(strstr(cpa_strerror(CPA_ERR_FULL), "key state"));
	CU_ASSERT_EQUAL(cpa_restore(cp, "state", 0, CPA_NAMED("step", &step2, 1)), 0);
	CU_ASSERT_EQUAL(step2, 1);
	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "state", 1, CPA_VAR(step), CPA_ARRAY(big, 1000)), 0);
	cpa_close(cp);
}

static int read_version(cpa *cp, uint64_t version, int *y, uint64_t count)
{
	const struct cpa_var v = CPA_NAMED("x", y, count);

	return cpa_restore_version(cp, "k", version, &v, 1);
}

static void so_many_versions_are_kept_and_can_be_read(void)
{
	struct cpa_entry *e;
	int x, y;
	cpa *cp = opened();

	CU_ASSERT_EQUAL(cpa_keep(cp, "k", 3), 0); /* before there is such a key */
	for (x = 1; x <= 10; x++)
		CU_ASSERT_EQUAL(cpa_checkpoint(cp, "k", 1, CPA_VAR(x)), 0);
	for (x = 8; x <= 10; x++) {
		CU_ASSERT_EQUAL(read_version(cp, (uint64_t)x, &y, 1), 0);
		CU_ASSERT_EQUAL(y, x);
	}
	/* one more is there until it is written over */
	CU_ASSERT_EQUAL(read_version(cp, 6, &y, 1), CPA_ERR_KEY);
	CU_ASSERT_STRING_EQUAL(cpa_strerror(CPA_ERR_KEY), "key k: version 6 is not kept on this node");
	CU_ASSERT_EQUAL(read_version(cp, 11, &y, 1), CPA_ERR_KEY);
	CU_ASSERT_EQUAL(read_version(cp, 0, &y, 1), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(read_version(cp, 9, &y, 2), CPA_ERR_VAR);
	CU_ASSERT_STRING_EQUAL(cpa_strerror(CPA_ERR_VAR),
			       "key k: variable x: the checkpoint has 1 i32, the program 2 i32");
	CU_ASSERT_EQUAL(cpa_keep(cp, "k", 1), 0);
	CU_ASSERT_EQUAL(read_version(cp, 8, &y, 1), CPA_ERR_KEY);
	CU_ASSERT_EQUAL_FATAL(cpa_query(cp, "k", &e), 0);
	CU_ASSERT_EQUAL(e->version, 10);
	cpa_list_free(e);
	CU_ASSERT_EQUAL(cpa_keep(cp, "k", 0), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_keep(cp, "k", 64), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_keep(cp, "k", 63), 0);
	cpa_close(cp);
}

static void memos_are_neither_listed_nor_reset_nor_reached(void)
{
	const struct arena_var v = {"x", (int[]){1}, 1, ARENA_I32};
	struct cpa_entry *list;
	int x = 1;
	cpa *cp = opened();

	CU_ASSERT_EQUAL(arena_put(cp->arena, "memo:spectrum", &v, 1, NULL), 0);
	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "a", 1, CPA_VAR(x)), 0);
	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "z", 1, CPA_VAR(x)), 0);
	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "memo", 1, CPA_VAR(x)), 0);
	CU_ASSERT_EQUAL_FATAL(cpa_list(cp, &list), 3);
	CU_ASSERT(strcmp(list[0].key, "a") == 0 && strcmp(list[1].key, "memo") == 0 && strcmp(list[2].key, "z") == 0);
	cpa_list_free(list);
	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "memo:x", 1, CPA_VAR(x)), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_restore(cp, "memo:spectrum", 0, CPA_VAR(x)), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_query(cp, "memo:spectrum", &list), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_reset(cp, "memo:spectrum"), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_reset(cp, NULL), 0);
	CU_ASSERT_EQUAL(arena_newest(cp->arena, "memo:spectrum", NULL), 1);
	CU_ASSERT_EQUAL(arena_newest(cp->arena, "a", NULL), 0);
	CU_ASSERT_EQUAL(arena_reset_all(cp->arena), 0);
	cpa_close(cp);
}

static void a_query_tells_the_count_before_the_restore(void)
{
	struct cpa_entry *e = NULL;
	double u[100] = {1}, *v;
	cpa *cp = opened();

	CU_ASSERT_EQUAL(cpa_query(cp, "none", &e), CPA_ERR_KEY);
	CU_ASSERT_PTR_NULL(e);
	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "k", 1, CPA_ARRAY(u, 100)), 0);
	CU_ASSERT_EQUAL_FATAL(cpa_query(cp, "k", &e), 0);
	CU_ASSERT(e->n == 1 && e->bytes == 800 && e->level == 1 && e->time_ns > 0 && strcmp(e->how, "") == 0);
	v = calloc(e->vars[0].count, sizeof *v);
	CU_ASSERT_EQUAL(cpa_restore(cp, e->key, 0, CPA_NAMED(e->vars[0].name, v, e->vars[0].count)), 0);
	CU_ASSERT_EQUAL(memcmp(u, v, sizeof u), 0);
	free(v);
	cpa_list_free(e);
	CU_ASSERT_EQUAL(cpa_query(cp, NULL, &e), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_query(cp, "k", NULL), CPA_ERR_ARG);
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
	CU_ASSERT_EQUAL(cpa_restore(cp, "state", 0, CPA_NAMED("stop", &wide, 1)), CPA_ERR_VAR);
	CU_ASSERT_STRING_EQUAL(cpa_strerror(CPA_ERR_VAR), "key state: variable stop: the checkpoint has none of that "
							  "name, and at its place 1 i32, the program 1 i64");
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
	for (size_t i = 0; i < 4; i++) { /* cut between two characters, wherever the end falls */
		memset(args, 'z', sizeof args);
		for (size_t at = i; at + 3 < sizeof args; at += 3)
			memcpy(args + at, "\xe2\x82\xac", 3);
		args[597 + i % 3 - 3] = '\0';
		cpa_key_join(buf, "/src/dir/file.c", "f", args);
		CU_ASSERT(strlen(buf) > CPA_KEY_MAX - 3 && strlen(buf) <= CPA_KEY_MAX && arena_utf8(buf, strlen(buf)));
	}
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
			cpa_close(cp);
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
	{"every scalar type comes back as it was", every_scalar_type_comes_back_as_it_was},
	{"texts, bytes and tables come back as they were", texts_bytes_and_tables_come_back_as_they_were},
	{"nothing is written past the end, or in part", nothing_is_written_past_the_end_or_in_part},
	{"a full arena says so, and keeps the version before", a_full_arena_says_so_and_keeps_the_version_before},
	{"so many versions are kept, and can be read", so_many_versions_are_kept_and_can_be_read},
	{"memos are neither listed nor reset nor reached", memos_are_neither_listed_nor_reset_nor_reached},
	{"a query tells the count before the restore", a_query_tells_the_count_before_the_restore},
	{"an error names the variable that does not fit", an_error_names_the_variable_that_does_not_fit},
	{"calls that make no sense are refused with a sentence", calls_that_make_no_sense_are_refused_with_a_sentence},
	{"a key tells where it was made", a_key_tells_where_it_was_made},
	{"the list shows every key with its variables", the_list_shows_every_key_with_its_variables},
	{"a later run finds the private arena of its program", a_later_run_finds_the_private_arena_of_its_program},
	{"forked workers share the arena", forked_workers_share_the_arena},
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
