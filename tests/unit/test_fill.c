/* Versions that are written piece by piece where they lie: as good as those that were put in one call. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/arena/fill.h"
#include "tests/unit/harness.h"

static char dir[64], path[96];

static struct arena *fresh(uint64_t budget)
{
	struct arena *a = NULL;

	unlink(path);
	CU_ASSERT_EQUAL_FATAL(arena_create(path, budget, 0600), 0);
	CU_ASSERT_EQUAL_FATAL(arena_map(&a, path), 0);
	return a;
}

/* Fill a key of two variables, 3 bytes and count numbers, and read them back. */
static void fill_and_read(uint64_t count)
{
	struct arena *a = fresh((UINT64_C(8) * count + (1 << 20)));
	struct arena_var shape[] = {{"tag", NULL, 3, ARENA_CHAR}, {"u", NULL, count, ARENA_F64}};
	double *in = malloc(count * sizeof *in), *out = malloc(count * sizeof *out);
	char tag[3];
	struct arena_var back[] = {{"tag", tag, 3, ARENA_CHAR}, {"u", out, count, ARENA_F64}};
	uint64_t bytes, got = 0, i;
	uint8_t *data;

	for (i = 0; i < count; i++)
		in[i] = (double)i / 7;
	CU_ASSERT_EQUAL_FATAL(arena_fill_open(a, "k", shape, 2, 9, 3, 77, &data, &bytes), 0);
	CU_ASSERT_EQUAL(bytes, 8 + 8 * count);
	memcpy(data, "abc", 3);
	for (i = 0; i < count; i++) /* in pieces, in any order */
		memcpy(data + 8 + 8 * (count - 1 - i), &in[count - 1 - i], 8);
	CU_ASSERT_EQUAL(arena_get(a, "k", back, 2, 0, NULL, NULL), -EBADMSG);
	CU_ASSERT_EQUAL(arena_fill_close(a, "k"), 0);
	CU_ASSERT_EQUAL(arena_get(a, "k", back, 2, 0, &got, NULL), 0);
	CU_ASSERT_EQUAL(got, 9);
	CU_ASSERT_EQUAL(memcmp(tag, "abc", 3), 0);
	CU_ASSERT_EQUAL(memcmp(in, out, count * sizeof *in), 0);
	data[8 + 8 * (count / 2)] ^= 1;
	CU_ASSERT_EQUAL(arena_get(a, "k", back, 2, 0, NULL, NULL), -EBADMSG);
	arena_unmap(a);
	free(in);
	free(out);
}

static void a_value_filled_in_pieces_reads_back_and_a_flipped_byte_in_it_is_noticed(void)
{
	fill_and_read(5);        /* one checksum for all of it */
	fill_and_read(1 << 20);  /* one for each block */
}

static void a_value_that_was_never_written_is_zeros(void)
{
	struct arena *a = fresh(1 << 20);
	struct arena_var shape = {"u", NULL, 9000, ARENA_U64};
	uint64_t out[9000], bytes;
	uint8_t *data;

	memset(out, 1, sizeof out);
	CU_ASSERT_EQUAL_FATAL(arena_fill_open(a, "k", &shape, 1, 1, 0, 0, &data, &bytes), 0);
	CU_ASSERT_EQUAL(arena_fill_close(a, "k"), 0);
	shape.data = out;
	CU_ASSERT_EQUAL(arena_get(a, "k", &shape, 1, 0, NULL, NULL), 0);
	for (size_t i = 0; i < 9000; i++)
		CU_ASSERT_EQUAL(out[i], 0);
	arena_unmap(a);
}

static void what_does_not_fit_is_refused(void)
{
	struct arena *a = fresh(1 << 16);
	struct arena_var big = {"u", NULL, 1 << 20, ARENA_U64}, absurd = {"u", NULL, UINT64_MAX / 4, ARENA_U64};
	struct arena_var none = {"u", NULL, 1, 200};
	uint64_t bytes;
	uint8_t *data;

	CU_ASSERT_EQUAL(arena_fill_open(a, "k", &big, 1, 1, 0, 0, &data, &bytes), -ENOSPC);
	CU_ASSERT(arena_fill_open(a, "k", &absurd, 1, 1, 0, 0, &data, &bytes) < 0);
	CU_ASSERT_EQUAL(arena_fill_open(a, "k", &none, 1, 1, 0, 0, &data, &bytes), -EINVAL);
	CU_ASSERT_EQUAL(arena_fill_close(a, "k"), -ENOENT);
	arena_unmap(a);
}

int main(void)
{
	static const struct test tests[] = {
		{"a value filled in pieces reads back, and a flipped byte in it is noticed",
		 a_value_filled_in_pieces_reads_back_and_a_flipped_byte_in_it_is_noticed},
		{"a value that was never written is zeros", a_value_that_was_never_written_is_zeros},
		{"what does not fit is refused", what_does_not_fit_is_refused},
	};
	int status;

	snprintf(dir, sizeof dir, "/tmp/test_fill.XXXXXX");
	if (!mkdtemp(dir))
		return 1;
	snprintf(path, sizeof path, "%s/arena", dir);
	status = harness_run("fill", tests, sizeof tests / sizeof *tests);
	unlink(path);
	rmdir(dir);
	return status;
}
