/* Memos: what counts as seen, what is kept, what goes first, and that nothing that fails hurts the program. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hooks/memo_impl.h"
#include "lib/arena/internal.h"
#include "tests/unit/harness.h"
#include "tests/unit/scratch.h"

#define BIG 9000 /* doubles: a result with block sums */

static char path[FS_PATH_MAX];

static cpa *again(void)
{
	cpa *cp = NULL;

	CU_ASSERT_EQUAL_FATAL(cpa_open(&cp, path), 0);
	return cp;
}

static cpa *fresh(uint64_t budget)
{
	unlink(path);
	CU_ASSERT_EQUAL_FATAL(arena_create(path, budget, 0600), 0);
	return again();
}

/* n doubles that are x, in and out: 1 when the memo knew, and then out is checked. */
static int square(cpa *cp, const char *name, double x, size_t n)
{
	double *in = calloc(n, sizeof *in), *out = calloc(n, sizeof *out);
	cpa_memo *m;
	size_t i;
	int known;

	for (i = 0; i < n; i++)
		in[i] = x + (double)i;
	known = cpa_memo_begin(cp, &m, name, CPA_IN(CPA_ARRAY(in, n)), CPA_OUT(CPA_ARRAY(out, n)));
	for (i = 0; i < n && known == 1; i++)
		if (out[i] != in[i] * in[i])
			known = -100;
	for (i = 0; i < n; i++)
		out[i] = in[i] * in[i];
	if (known == 0 && cpa_memo_end(m) != 0)
		known = -200;
	free(in);
	free(out);
	return known;
}

static struct cpa_memo_stats stats(cpa *cp, const char *name)
{
	struct cpa_memo_stats *list, found = {0};
	int n = cpa_memo_list(cp, &list), i;

	for (i = 0; i < n; i++)
		if (strcmp(list[i].name, name) == 0)
			found = list[i];
	cpa_memo_list_free(list);
	return found;
}

static void a_result_is_known_by_the_content_of_its_inputs(void)
{
	cpa *cp = fresh(1 << 20);

	CU_ASSERT_EQUAL(square(cp, "square 1", 1.5, 7), 0);
	CU_ASSERT_EQUAL(square(cp, "square 1", 1.5, 7), 1);
	CU_ASSERT_EQUAL(square(cp, "square 1", 2.5, 7), 0);
	CU_ASSERT_EQUAL(square(cp, "square 1", 1.5, 8), 0);
	CU_ASSERT_EQUAL(square(cp, "square 1", 2.5, 7), 1);
	CU_ASSERT_EQUAL(square(cp, "square 1", 1, BIG), 0);
	CU_ASSERT_EQUAL(square(cp, "square 1", 1, BIG), 1);
	cpa_close(cp);
}

static void another_name_is_another_computation(void)
{
	cpa *cp = fresh(1 << 20);

	CU_ASSERT_EQUAL(square(cp, "square 1", 1.5, 7), 0);
	CU_ASSERT_EQUAL(square(cp, "square 2", 1.5, 7), 0);
	CU_ASSERT_EQUAL(square(cp, "square 1", 1.5, 7), 1);
	cpa_close(cp);
}

static void inputs_differ_by_name_type_count_and_order(void)
{
	int32_t a = 1, b = 2, r = 0;
	uint32_t u = 1;
	int32_t two[2] = {1, 2};
	cpa *cp = fresh(1 << 20);
	cpa_memo *m;

	CU_ASSERT_EQUAL(cpa_memo_begin(cp, &m, "f", CPA_IN(CPA_VAR(a), CPA_VAR(b)), CPA_OUT(CPA_VAR(r))), 0);
	CU_ASSERT_EQUAL(cpa_memo_end(m), 0);
	CU_ASSERT_EQUAL(cpa_memo_begin(cp, &m, "f", CPA_IN(CPA_VAR(a), CPA_VAR(b)), CPA_OUT(CPA_VAR(r))), 1);
	CU_ASSERT_EQUAL(cpa_memo_begin(cp, &m, "f", CPA_IN(CPA_VAR(b), CPA_VAR(a)), CPA_OUT(CPA_VAR(r))), 0);
	cpa_memo_drop(m);
	CU_ASSERT_EQUAL(cpa_memo_begin(cp, &m, "f", CPA_IN(CPA_NAMED("a", two, 2)), CPA_OUT(CPA_VAR(r))), 0);
	cpa_memo_drop(m);
	CU_ASSERT_EQUAL(cpa_memo_begin(cp, &m, "f", CPA_IN(CPA_NAMED("a", &u, 1), CPA_VAR(b)), CPA_OUT(CPA_VAR(r))), 0);
	cpa_memo_drop(m);
	CU_ASSERT_EQUAL(cpa_memo_begin(cp, &m, "f", CPA_IN(CPA_NAMED("c", &a, 1), CPA_VAR(b)), CPA_OUT(CPA_VAR(r))), 0);
	cpa_memo_drop(m);
	cpa_close(cp);
}

static void a_result_of_another_type_or_count_is_a_miss(void)
{
	double x = 3, y = 9, two[2] = {0};
	float f = 0;
	cpa *cp = fresh(1 << 20);
	cpa_memo *m;

	CU_ASSERT_EQUAL(cpa_memo_begin(cp, &m, "f", CPA_IN(CPA_VAR(x)), CPA_OUT(CPA_VAR(y))), 0);
	CU_ASSERT_EQUAL(cpa_memo_end(m), 0);
	CU_ASSERT_EQUAL(cpa_memo_begin(cp, &m, "f", CPA_IN(CPA_VAR(x)), CPA_OUT(CPA_NAMED("y", &f, 1))), 0);
	cpa_memo_drop(m);
	CU_ASSERT_EQUAL(cpa_memo_begin(cp, &m, "f", CPA_IN(CPA_VAR(x)), CPA_OUT(CPA_NAMED("y", two, 2))), 0);
	cpa_memo_drop(m);
	CU_ASSERT(f == 0 && two[0] == 0 && two[1] == 0);
	CU_ASSERT_EQUAL(cpa_memo_begin(cp, &m, "f", CPA_IN(CPA_VAR(x)), CPA_OUT(CPA_NAMED("y", &f, 1))), 0);
	CU_ASSERT_EQUAL(cpa_memo_end(m), 0);
	CU_ASSERT_EQUAL(cpa_memo_begin(cp, &m, "f", CPA_IN(CPA_VAR(x)), CPA_OUT(CPA_VAR(y))), 1); /* both are kept */
	cpa_close(cp);
}

/* The key of square(cp, name, x, n), to lay something under it. */
static void key_of_square(char key[CPA_KEY_MAX + 1], const char *name, double x, size_t n)
{
	double *in = calloc(n, sizeof *in);
	size_t i;

	for (i = 0; i < n; i++)
		in[i] = x + (double)i;
	memo_key(key, name, CPA_IN(CPA_ARRAY(in, n)), CPA_OUT(CPA_NAMED("out", (double *)NULL, n)));
	free(in);
}

static void what_lies_under_the_key_must_fit_the_outputs(void)
{
	char key[CPA_KEY_MAX + 1];
	float wrong[7] = {0};
	struct arena_var v = {"out", wrong, 7, ARENA_F32};
	cpa *cp = fresh(1 << 20);

	key_of_square(key, "square", 1, 7);
	CU_ASSERT_EQUAL(arena_put(cp->arena, key, &v, 1, NULL), 0);
	CU_ASSERT_EQUAL(square(cp, "square", 1, 7), 0);
	CU_ASSERT_EQUAL(square(cp, "square", 1, 7), 1);
	CU_ASSERT_EQUAL(stats(cp, "square").results, 1);
	cpa_close(cp);
}

static void a_computation_in_place_starts_from_what_was_there(void)
{
	double u[3] = {1, 2, 3};
	cpa *cp = fresh(1 << 20);
	cpa_memo *m;
	int i, turn;

	for (turn = 0; turn < 2; turn++) {
		CU_ASSERT_EQUAL(cpa_memo_set(cp, CPA_MEMO_COMPARE, (uint64_t)turn), 0);
		for (i = 0; i < 3; i++)
			u[i] = i + 1 + turn;
		CU_ASSERT_EQUAL(cpa_memo_begin(cp, &m, "double", CPA_IN(CPA_ARRAY(u, 3)), CPA_OUT(CPA_ARRAY(u, 3))), 0);
		for (i = 0; i < 3; i++)
			u[i] *= 2;
		CU_ASSERT_EQUAL(cpa_memo_end(m), 0);
		for (i = 0; i < 3; i++)
			u[i] = i + 1 + turn;
		CU_ASSERT_EQUAL(cpa_memo_begin(cp, &m, "double", CPA_IN(CPA_ARRAY(u, 3)), CPA_OUT(CPA_ARRAY(u, 3))), 1);
		CU_ASSERT_PTR_NULL(m);
		CU_ASSERT(u[0] == 2 + 2 * turn && u[1] == 4 + 2 * turn && u[2] == 6 + 2 * turn);
	}
	cpa_close(cp);
}

static void outputs_of_one_name_keep_their_places(void)
{
	double x = 1, a = 2, b = 3, c = 4;
	cpa *cp = fresh(1 << 20);
	cpa_memo *m;

#define OUTPUTS CPA_OUT(CPA_NAMED("p", &a, 1), CPA_NAMED("p", &b, 1), CPA_NAMED("in:0", &c, 1))
	CU_ASSERT_EQUAL(cpa_memo_set(cp, CPA_MEMO_COMPARE, 1), 0);
	CU_ASSERT_EQUAL(cpa_memo_begin(cp, &m, "f", CPA_IN(CPA_VAR(x)), OUTPUTS), 0);
	CU_ASSERT_EQUAL(cpa_memo_end(m), 0);
	a = b = c = 0;
	CU_ASSERT_EQUAL(cpa_memo_begin(cp, &m, "f", CPA_IN(CPA_VAR(x)), OUTPUTS), 1);
	CU_ASSERT(a == 2 && b == 3 && c == 4);
	a = b = c = 0;
	CU_ASSERT_EQUAL(cpa_memo_set(cp, CPA_MEMO_COMPARE, 0), 0);
	CU_ASSERT_EQUAL(cpa_memo_begin(cp, &m, "f", CPA_IN(CPA_VAR(x)), OUTPUTS), 1);
	CU_ASSERT(a == 2 && b == 3 && c == 4);
	cpa_close(cp);
}

static void a_long_double_is_its_ten_bytes(void)
{
#if defined(__x86_64__)
	long double x = 1.25L, y;
	double r = 2;
	cpa *cp = fresh(1 << 20);
	cpa_memo *m;

	CU_ASSERT_EQUAL(cpa_memo_set(cp, CPA_MEMO_COMPARE, 1), 0);
	memset((uint8_t *)&x + 10, 0x11, 6);
	CU_ASSERT_EQUAL(cpa_memo_begin(cp, &m, "f", CPA_IN(CPA_VAR(x)), CPA_OUT(CPA_VAR(r))), 0);
	CU_ASSERT_EQUAL(cpa_memo_end(m), 0);
	memset((uint8_t *)&x + 10, 0x22, 6);
	CU_ASSERT_EQUAL(cpa_memo_begin(cp, &m, "f", CPA_IN(CPA_VAR(x)), CPA_OUT(CPA_VAR(r))), 1);
	y = 1.5L;
	CU_ASSERT_EQUAL(cpa_memo_begin(cp, &m, "f", CPA_IN(CPA_NAMED("x", &y, 1)), CPA_OUT(CPA_VAR(r))), 0);
	cpa_memo_drop(m);
	cpa_close(cp);
#endif
}

/* ---- what fails ---- */

static void wrong_arguments_are_refused_and_change_nothing(void)
{
	char long_name[MEMO_NAME_MAX + 2], long_var[ARENA_NAME_MAX + 2];
	double x = 1, y = 7;
	cpa_memo *m = (cpa_memo *)(void *)&x;
	cpa *cp = fresh(1 << 20);

	memset(long_name, 'n', sizeof long_name - 1);
	memset(long_var, 'v', sizeof long_var - 1);
	long_name[sizeof long_name - 1] = long_var[sizeof long_var - 1] = '\0';
#define REFUSED(cp, name, in, out)                                                        \
	do {                                                                              \
		m = (cpa_memo *)(void *)&x;                                               \
		CU_ASSERT_EQUAL(cpa_memo_begin(cp, &m, name, in, out), CPA_ERR_ARG); \
		CU_ASSERT_PTR_NULL(m);                                                    \
	} while (0)
#define X CPA_IN(CPA_VAR(x))
#define Y CPA_OUT(CPA_VAR(y))
	REFUSED(NULL, "f", X, Y);
	REFUSED(cp, NULL, X, Y);
	REFUSED(cp, "", X, Y);
	REFUSED(cp, long_name, X, Y);
	REFUSED(cp, "\xff", X, Y);
	REFUSED(cp, "f", CPA_IN(CPA_NAMED("x", (double *)NULL, 1)), Y);
	REFUSED(cp, "f", CPA_IN(CPA_NAMED("x", &x, UINT64_MAX)), Y);
	REFUSED(cp, "f", CPA_IN(CPA_NAMED("x", &x, UINT64_MAX / 8 + 2)), Y);
	REFUSED(cp, "f", CPA_IN({"x", &x, 1, 77}), Y);
	REFUSED(cp, "f", CPA_IN(CPA_NAMED(long_var, &x, 1)), Y);
	REFUSED(cp, "f", X, CPA_OUT(CPA_NAMED("y", &y, UINT64_MAX)));
	CU_ASSERT_EQUAL(cpa_memo_begin(cp, &m, "f", NULL, 1, Y), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_memo_begin(cp, &m, "f", X, NULL, 0), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_memo_begin(cp, &m, "f", X, NULL, 1), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_memo_begin(cp, &m, "f", NULL, SIZE_MAX, Y), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_memo_begin(cp, NULL, "f", X, Y), CPA_ERR_ARG);
	CU_ASSERT(x == 1 && y == 7);
	CU_ASSERT_EQUAL(cpa_memo_end(NULL), 0);
	cpa_memo_drop(NULL);
	CU_ASSERT_EQUAL(cpa_memo_list(cp, NULL), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_memo_set(cp, (enum cpa_memo_option)9, 0), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_memo_set(cp, CPA_MEMO_COMPARE, 2), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_memo_set(NULL, CPA_MEMO_COMPARE, 1), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_memo_enable(NULL, NULL, 1), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_memo_reset(NULL, NULL), CPA_ERR_ARG);
	cpa_close(cp);
}

static void no_inputs_and_empty_arrays_are_inputs_too(void)
{
	double y = 7;
	cpa *cp = fresh(1 << 20);
	cpa_memo *m;
	int turn;

	for (turn = 0; turn < 2; turn++) {
		CU_ASSERT_EQUAL(cpa_memo_begin(cp, &m, "pi", NULL, 0, Y), turn);
		CU_ASSERT_EQUAL(cpa_memo_end(m), 0);
		CU_ASSERT_EQUAL(cpa_memo_begin(cp, &m, "pi", CPA_IN(CPA_NAMED("none", (double *)NULL, 0)), Y), turn);
		CU_ASSERT_EQUAL(cpa_memo_end(m), 0);
		CU_ASSERT_EQUAL(cpa_memo_begin(cp, &m, "no", NULL, 0, CPA_OUT(CPA_NAMED("y", (double *)NULL, 0))), turn);
		CU_ASSERT_EQUAL(cpa_memo_end(m), 0);
	}
	cpa_close(cp);
}

/* Change a byte of the data of the newest version under a key. */
static void damage(cpa *cp, const char *key, uint64_t at)
{
	struct arena_record *r;
	uint64_t version = arena_newest(cp->arena, key, &r);
	const struct arena_extent *e;

	CU_ASSERT_FATAL(version > 0);
	e = &record_slots(r)[r->commit & 0xff];
	CU_ASSERT_FATAL(at < e->length);
	cp->arena->heap[e->at + e->length - 1 - at] ^= 1;
}

static void damaged(size_t n, uint64_t at)
{
	double *in = calloc(n, sizeof *in), *out = calloc(n, sizeof *out);
	char key[CPA_KEY_MAX + 1];
	cpa *cp = fresh(1 << 20);
	cpa_memo *m;
	size_t i, changed = 0;

	CU_ASSERT_EQUAL(square(cp, "square", 1, n), 0);
	key_of_square(key, "square", 1, n);
	damage(cp, key, at);
	for (i = 0; i < n; i++) {
		in[i] = 1 + (double)i;
		out[i] = -1;
	}
	CU_ASSERT_EQUAL(cpa_memo_begin(cp, &m, "square", CPA_IN(CPA_ARRAY(in, n)), CPA_OUT(CPA_ARRAY(out, n))), 0);
	cpa_memo_drop(m);
	for (i = 0; i < n; i++)
		changed += out[i] != -1;
	CU_ASSERT_EQUAL(changed, 0);
	CU_ASSERT_EQUAL(square(cp, "square", 1, n), 0);
	CU_ASSERT_EQUAL(square(cp, "square", 1, n), 1);
	cpa_close(cp);
	free(in);
	free(out);
}

static void a_damaged_result_is_a_miss_and_writes_no_output(void)
{
	damaged(8, 0);
	damaged(8, 63);
	damaged(BIG, 5);
	damaged(BIG, BIG * 8 - 1);
	damaged(BIG, BIG * 4);
}

static void a_result_that_was_replaced_is_not_fallen_back_to(void)
{
	char key[CPA_KEY_MAX + 1];
	double other[8] = {0};
	struct arena_var v = {"out", other, 8, ARENA_F64};
	cpa *cp = fresh(1 << 20);

	key_of_square(key, "square", 1, 8);
	CU_ASSERT_EQUAL(arena_put(cp->arena, key, &v, 1, NULL), 0);
	CU_ASSERT_EQUAL(arena_put(cp->arena, key, &v, 1, NULL), 0);
	damage(cp, key, 1);
	CU_ASSERT_EQUAL(square(cp, "square", 1, 8), 0);
	cpa_close(cp);
}

static void compared_inputs_unmask_a_forged_hash(void)
{
	char key[CPA_KEY_MAX + 1];
	double in[8], wrong[8] = {0};
	struct arena_var v[] = {{"out", wrong, 8, ARENA_F64}, {"in:0", in, 8, ARENA_F64}};
	cpa *cp = fresh(1 << 20);
	int i;

	for (i = 0; i < 8; i++)
		in[i] = 2 + i; /* not what is asked for */
	key_of_square(key, "square", 1, 8);
	CU_ASSERT_EQUAL(arena_put(cp->arena, key, v, 2, NULL), 0);
	CU_ASSERT_EQUAL(square(cp, "square", 1, 8), -100); /* believed, without the option */
	CU_ASSERT_EQUAL(cpa_memo_set(cp, CPA_MEMO_COMPARE, 1), 0);
	CU_ASSERT_EQUAL(square(cp, "square", 1, 8), 0);
	CU_ASSERT_EQUAL(square(cp, "square", 1, 8), 1);
	CU_ASSERT_EQUAL(cpa_memo_set(cp, CPA_MEMO_COMPARE, 0), 0);
	CU_ASSERT_EQUAL(square(cp, "square", 1, 8), 1);
	cpa_close(cp);
}

static void a_result_without_its_inputs_does_not_pass_a_comparison(void)
{
	cpa *cp = fresh(1 << 20);

	CU_ASSERT_EQUAL(square(cp, "square", 1, 8), 0);
	CU_ASSERT_EQUAL(cpa_memo_set(cp, CPA_MEMO_COMPARE, 1), 0);
	CU_ASSERT_EQUAL(square(cp, "square", 1, 8), 0);
	CU_ASSERT_EQUAL(square(cp, "square", 1, 8), 1);
	CU_ASSERT_EQUAL(stats(cp, "square").bytes, 128);
	cpa_close(cp);
}

static void a_read_only_arena_answers_and_keeps_nothing(void)
{
	double in[3] = {1, 2, 3}, out[3] = {0};
	cpa *cp = fresh(1 << 20);
	cpa_memo *m;

	CU_ASSERT_EQUAL(square(cp, "square", 1, 3), 0);
	cp->arena->read_only = 1; /* as for another user's arena; root may write to any */
	CU_ASSERT_EQUAL(cpa_memo_begin(cp, &m, "square", CPA_IN(CPA_ARRAY(in, 3)), CPA_OUT(CPA_ARRAY(out, 3))), 1);
	CU_ASSERT(out[2] == 9);
	in[0] = 5;
	CU_ASSERT_EQUAL(cpa_memo_begin(cp, &m, "square", CPA_IN(CPA_ARRAY(in, 3)), CPA_OUT(CPA_ARRAY(out, 3))), 0);
	CU_ASSERT_EQUAL(cpa_memo_end(m), CPA_ERR_DENIED);
	CU_ASSERT_EQUAL(cpa_memo_reset(cp, NULL), CPA_ERR_DENIED);
	CU_ASSERT_EQUAL(stats(cp, "square").results, 1);
	cp->arena->read_only = 0;
	CU_ASSERT_EQUAL(stats(cp, "square").misses, 1);
	cpa_close(cp);
}

/* ---- names, lists, switches ---- */

static void any_name_has_results_and_counts_of_its_own(void)
{
	static const char *const names[] = {
		"a", "a:", ":", "::", "a:0123456789abcdef0123456789abcdef", "a:0123456789abcdef0123456789abcdef:",
		"0123456789abcdef0123456789abcdef", "Wärme 1 \xe2\x98\x83", "memo:", "memo:a", "*", "a,b",
	};
	enum { NAMES = sizeof names / sizeof *names };
	struct cpa_memo_stats *list;
	cpa *cp = fresh(1 << 20);
	int i, turn, n;

	for (turn = 0; turn < 2; turn++)
		for (i = 0; i < NAMES; i++)
			CU_ASSERT_EQUAL(square(cp, names[i], 1, (size_t)i + 1), turn);
	n = cpa_memo_list(cp, &list);
	CU_ASSERT_EQUAL(n, NAMES);
	for (i = 0; i < n; i++) {
		CU_ASSERT(list[i].hits == 1 && list[i].misses == 1 && list[i].results == 1);
		CU_ASSERT(i == 0 || strcmp(list[i - 1].name, list[i].name) < 0);
	}
	cpa_memo_list_free(list);
	for (i = 0; i < NAMES; i++) {
		CU_ASSERT_EQUAL(stats(cp, names[i]).bytes, 8 * ((uint64_t)i + 1));
		CU_ASSERT_EQUAL(cpa_memo_reset(cp, names[i]), 0);
		n = cpa_memo_list(cp, &list);
		CU_ASSERT_EQUAL(n, NAMES - i - 1);
		cpa_memo_list_free(list);
	}
	CU_ASSERT_EQUAL(square(cp, "a", 1, 1), 0);
	cpa_close(cp);
}

static void forgetting_memos_and_forgetting_checkpoints_are_two_things(void)
{
	struct cpa_memo_stats *list = NULL;
	int step = 3, back = 0;
	cpa *cp = fresh(1 << 20);

	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "state", 1, CPA_VAR(step)), 0);
	CU_ASSERT_EQUAL(square(cp, "square", 1, 8), 0);
	CU_ASSERT_EQUAL(cpa_memo_reset(cp, NULL), 0);
	CU_ASSERT_EQUAL(cpa_memo_list(cp, &list), 0);
	CU_ASSERT_PTR_NULL(list);
	CU_ASSERT_EQUAL(cpa_restore(cp, "state", 0, CPA_NAMED("step", &back, 1)), 0);
	CU_ASSERT_EQUAL(back, 3);
	CU_ASSERT_EQUAL(square(cp, "square", 1, 8), 0);
	CU_ASSERT_EQUAL(cpa_reset(cp, NULL), 0);
	CU_ASSERT_EQUAL(square(cp, "square", 1, 8), 1);
	cpa_close(cp);
}

static void a_name_can_be_turned_off_by_the_program(void)
{
	double x = 1, y = 1;
	cpa *cp = fresh(1 << 20);
	cpa_memo *m;

	CU_ASSERT_EQUAL(square(cp, "f", 1, 8), 0);
	CU_ASSERT_EQUAL(square(cp, "g", 1, 8), 0);
	CU_ASSERT_EQUAL(cpa_memo_enable(cp, "f", 0), 0);
	CU_ASSERT_EQUAL(square(cp, "f", 1, 8), 0);
	CU_ASSERT_EQUAL(square(cp, "g", 1, 8), 1);
	m = (cpa_memo *)(void *)&x;
	CU_ASSERT_EQUAL(cpa_memo_begin(cp, &m, "f", X, Y), 0);
	CU_ASSERT_PTR_NULL(m);
	CU_ASSERT_EQUAL(cpa_memo_enable(cp, "f", 1), 0);
	CU_ASSERT_EQUAL(square(cp, "f", 1, 8), 1);
	CU_ASSERT_EQUAL(cpa_memo_enable(cp, NULL, 0), 0);
	CU_ASSERT_EQUAL(square(cp, "f", 1, 8), 0);
	CU_ASSERT_EQUAL(square(cp, "g", 1, 8), 0);
	CU_ASSERT_EQUAL(cpa_memo_enable(cp, "g", 1), 0);
	CU_ASSERT_EQUAL(square(cp, "f", 1, 8), 0);
	CU_ASSERT_EQUAL(square(cp, "g", 1, 8), 1);
	CU_ASSERT_EQUAL(cpa_memo_enable(cp, NULL, 1), 0);
	CU_ASSERT_EQUAL(square(cp, "f", 1, 8), 1);
	CU_ASSERT_EQUAL(stats(cp, "f").misses, 1);
	cpa_close(cp);
}

static void a_name_can_be_turned_off_from_outside(void)
{
	cpa *cp = fresh(1 << 20);

	CU_ASSERT_EQUAL(square(cp, "f 1", 1, 8), 0);
	CU_ASSERT_EQUAL(square(cp, "g", 1, 8), 0);
	CU_ASSERT_EQUAL(square(cp, "h", 1, 8), 0);
	cpa_close(cp);
	setenv("CPAGENT_MEMO_OFF", " f 1 ,,g", 1);
	cp = again();
	CU_ASSERT_EQUAL(square(cp, "f 1", 1, 8), 0);
	CU_ASSERT_EQUAL(square(cp, "g", 1, 8), 0);
	CU_ASSERT_EQUAL(square(cp, "h", 1, 8), 1);
	cpa_close(cp);
	setenv("CPAGENT_MEMO_OFF", "*", 1);
	cp = again();
	CU_ASSERT_EQUAL(square(cp, "h", 1, 8), 0);
	CU_ASSERT_EQUAL(cpa_memo_enable(cp, "h", 1), 0);
	CU_ASSERT_EQUAL(square(cp, "h", 1, 8), 1);
	cpa_close(cp);
	unsetenv("CPAGENT_MEMO_OFF");
}

/* ---- many of them ---- */

static void a_result_and_its_counts_outlive_the_process(void)
{
	pid_t child;
	int status;
	cpa *cp = fresh(1 << 20);

	cpa_close(cp);
	child = fork();
	if (child == 0) {
		cp = again();
		_exit(square(cp, "square", 1, 8) != 0 || square(cp, "square", 1, 8) != 1);
	}
	CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
	CU_ASSERT_EQUAL(status, 0);
	cp = again();
	CU_ASSERT_EQUAL(square(cp, "square", 1, 8), 1);
	CU_ASSERT(stats(cp, "square").hits == 2 && stats(cp, "square").misses == 1);
	cpa_close(cp);
}

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define __SANITIZE_THREAD__ 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { TURNS = 500 }; /* they see a race without its happening */
#else
enum { TURNS = 20000 };
#endif
enum { WORKERS = 4, DIFFERENT = 50 };

/* Every input is asked for equally often; whether it is known depends on the others. */
static int work(cpa *cp, int worker)
{
	int i, rc;

	for (i = 0; i < TURNS; i++) {
		rc = square(cp, "square", (i * (worker + 1)) % DIFFERENT, 8);
		if (rc != 0 && rc != 1)
			return 1;
	}
	return 0;
}

struct worker {
	cpa *cp;
	int number, rc;
};

static void *thread(void *arg)
{
	struct worker *w = arg;

	w->rc = work(w->cp, w->number);
	return NULL;
}

static void counts_are_right_over_processes_and_threads(void)
{
	struct worker w[WORKERS];
	pthread_t threads[WORKERS];
	pid_t children[WORKERS];
	struct cpa_memo_stats s;
	int i, status;
	cpa *cp = fresh(1 << 20);

	for (i = 0; i < WORKERS; i++) {
		children[i] = fork();
		if (children[i] == 0)
			_exit(work(cp, i));
	}
	for (i = 0; i < WORKERS; i++) {
		w[i] = (struct worker){cp, i, -1};
		CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, thread, &w[i]), 0);
	}
	for (i = 0; i < WORKERS; i++) {
		pthread_join(threads[i], NULL);
		CU_ASSERT_EQUAL(w[i].rc, 0);
		CU_ASSERT_EQUAL(waitpid(children[i], &status, 0), children[i]);
		CU_ASSERT_EQUAL(status, 0);
	}
	s = stats(cp, "square");
	CU_ASSERT_EQUAL(s.hits + s.misses, 2 * WORKERS * TURNS);
	CU_ASSERT(s.misses >= DIFFERENT);
	CU_ASSERT_EQUAL(s.results, DIFFERENT);
	CU_ASSERT_EQUAL(s.bytes, DIFFERENT * 64);
	cpa_close(cp);
}

static void killed_between_begin_and_end_is_a_miss_without_a_result(void)
{
	double x = 1, y = 2;
	cpa_memo *m;
	pid_t child;
	int status, ready[2];
	char c;
	cpa *cp = fresh(1 << 20);

	CU_ASSERT_EQUAL_FATAL(pipe(ready), 0);
	child = fork();
	if (child == 0) {
		if (cpa_memo_begin(cp, &m, "f", X, Y) != 0 || write(ready[1], "", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	CU_ASSERT_EQUAL(read(ready[0], &c, 1), 1);
	kill(child, SIGKILL);
	CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
	close(ready[0]);
	close(ready[1]);
	CU_ASSERT_EQUAL(stats(cp, "f").misses, 1);
	CU_ASSERT_EQUAL(stats(cp, "f").results, 0);
	CU_ASSERT_EQUAL(cpa_memo_begin(cp, &m, "f", X, Y), 0);
	CU_ASSERT_EQUAL(cpa_memo_end(m), 0);
	CU_ASSERT_EQUAL(cpa_memo_begin(cp, &m, "f", X, Y), 1);
	cpa_close(cp);
}

static void two_who_compute_the_same_leave_one_result(void)
{
	double x = 1, y = 2;
	cpa_memo *first, *second, *m;
	cpa *cp = fresh(1 << 20), *other = again();

	CU_ASSERT_EQUAL(cpa_memo_begin(cp, &first, "f", X, Y), 0);
	CU_ASSERT_EQUAL(cpa_memo_begin(other, &second, "f", X, Y), 0);
	CU_ASSERT_EQUAL(cpa_memo_end(first), 0);
	CU_ASSERT_EQUAL(cpa_memo_end(second), 0);
	CU_ASSERT(stats(cp, "f").results == 1 && stats(cp, "f").bytes == 8);
	CU_ASSERT_EQUAL(cpa_memo_begin(cp, &m, "f", X, Y), 1);
	cpa_close(cp);
	cpa_close(other);
}

static const struct test tests[] = {
	{"a result is known by the content of its inputs", a_result_is_known_by_the_content_of_its_inputs},
	{"another name is another computation", another_name_is_another_computation},
	{"inputs differ by name, type, count and order", inputs_differ_by_name_type_count_and_order},
	{"a result of another type or count is a miss", a_result_of_another_type_or_count_is_a_miss},
	{"what lies under the key must fit the outputs", what_lies_under_the_key_must_fit_the_outputs},
	{"a computation in place starts from what was there", a_computation_in_place_starts_from_what_was_there},
	{"outputs of one name keep their places", outputs_of_one_name_keep_their_places},
	{"a long double is its ten bytes", a_long_double_is_its_ten_bytes},
	{"wrong arguments are refused and change nothing", wrong_arguments_are_refused_and_change_nothing},
	{"no inputs and empty arrays are inputs too", no_inputs_and_empty_arrays_are_inputs_too},
	{"a damaged result is a miss and writes no output", a_damaged_result_is_a_miss_and_writes_no_output},
	{"a result that was replaced is not fallen back to", a_result_that_was_replaced_is_not_fallen_back_to},
	{"compared inputs unmask a forged hash", compared_inputs_unmask_a_forged_hash},
	{"a result without its inputs does not pass a comparison", a_result_without_its_inputs_does_not_pass_a_comparison},
	{"a read-only arena answers and keeps nothing", a_read_only_arena_answers_and_keeps_nothing},
	{"any name has results and counts of its own", any_name_has_results_and_counts_of_its_own},
	{"forgetting memos and forgetting checkpoints are two things",
	 forgetting_memos_and_forgetting_checkpoints_are_two_things},
	{"a name can be turned off by the program", a_name_can_be_turned_off_by_the_program},
	{"a name can be turned off from outside", a_name_can_be_turned_off_from_outside},
	{"a result and its counts outlive the process", a_result_and_its_counts_outlive_the_process},
	{"counts are right over processes and threads", counts_are_right_over_processes_and_threads},
	{"killed between begin and end is a miss without a result", killed_between_begin_and_end_is_a_miss_without_a_result},
	{"two who compute the same leave one result", two_who_compute_the_same_leave_one_result},
};

int main(void)
{
	scratch_path(path);
	return harness_run("memo", tests, sizeof tests / sizeof *tests);
}
