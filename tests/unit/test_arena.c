/* The arena as a format and a writer: round trips, reuse of slots, growth, the budget, the index. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/arena/mailbox.h"
#include "lib/arena/reader.h"
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

static int put_u64(struct arena *a, const char *key, uint64_t value)
{
	struct arena_var v = {"v", &value, 1, ARENA_U64};

	return arena_put(a, key, &v, 1, NULL);
}

static int get_u64(struct arena *a, const char *key, uint64_t *value)
{
	struct arena_var v = {"v", value, 1, ARENA_U64};

	return arena_get(a, key, &v, 1, 0, NULL, NULL);
}

static struct arena_reader reader_of(struct arena *a)
{
	struct arena_reader r = {.fd = -1, .image = a->base, .image_bytes = a->file_bytes};

	CU_ASSERT_EQUAL_FATAL(arena_read_open(&r), 0);
	return r;
}

static void every_type_comes_back_as_it_went_in(void)
{
	struct arena *a = fresh(1 << 20);
	uint8_t in[ARENA_TYPES][96], out[ARENA_TYPES][96];
	struct arena_var vars[ARENA_TYPES];
	char name[ARENA_TYPES][8];
	size_t n = 0, i;

	for (uint32_t t = 1; t < ARENA_TYPES; t++) {
		CU_ASSERT_NOT_EQUAL(arena_type_size(t), 0);
		memset(in[t], (int)(t * 11), sizeof in[t]);
		memset(out[t], 0, sizeof out[t]);
		snprintf(name[t], sizeof name[t], "v%u", t);
		vars[n++] = (struct arena_var){name[t], in[t], 3, t};
	}
	CU_ASSERT_EQUAL(arena_put(a, "all", vars, n, NULL), 0);
	for (i = 0; i < n; i++)
		vars[i].data = out[vars[i].type];
	CU_ASSERT_EQUAL(arena_get(a, "all", vars, n, 0, NULL, NULL), 0);
	for (i = 0; i < n; i++)
		CU_ASSERT_EQUAL(memcmp(in[vars[i].type], out[vars[i].type], 3 * arena_type_size(vars[i].type)), 0);
	arena_unmap(a);
}

static void values_of_every_size_come_back_and_nothing_beyond_their_end_is_written(void)
{
	static const size_t sizes[] = {0, 1, 7, 63, 64, 4095, 4096, 32767, 32768, 32769, 36864, 100001, 1 << 20};
	struct arena *a = fresh(24 << 20);
	uint8_t *in = malloc(3 << 20), *out = malloc(3 << 20);
	size_t i, j;

	for (j = 0; j < 3 << 20; j++)
		in[j] = (uint8_t)(j * 2654435761u >> 13);
	for (i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		uint32_t small = 0, small_in = (uint32_t)i + 5;
		struct arena_var w[] = {{"a", in, sizes[i], ARENA_BYTES}, {"b", &small_in, 1, ARENA_U32},
					{"c", in + 1, sizes[i], ARENA_BYTES}};
		struct arena_var r[] = {{"a", out, sizes[i], ARENA_BYTES}, {"b", &small, 1, ARENA_U32},
					{"c", out + (1 << 20) + 8, sizes[i], ARENA_BYTES}};

		memset(out, 0xee, 3 << 20);
		CU_ASSERT_EQUAL(arena_put(a, "k", w, 3, NULL), 0);
		CU_ASSERT_EQUAL(arena_get(a, "k", r, 3, 0, NULL, NULL), 0);
		CU_ASSERT_EQUAL(memcmp(out, in, sizes[i]), 0);
		CU_ASSERT_EQUAL(memcmp(out + (1 << 20) + 8, in + 1, sizes[i]), 0);
		CU_ASSERT_EQUAL(small, small_in);
		CU_ASSERT_EQUAL(out[sizes[i]], 0xee);
		CU_ASSERT_EQUAL(out[(1 << 20) + 8 + sizes[i]], 0xee);
	}
	free(in);
	free(out);
	arena_unmap(a);
}

static void a_variable_that_differs_is_named_and_nothing_is_written(void)
{
	struct arena *a = fresh(1 << 20);
	double u[4] = {1, 2, 3, 4}, other[5] = {9, 9, 9, 9, 9};
	int32_t step = 7, got = -1;
	struct arena_var w[] = {{"step", &step, 1, ARENA_I32}, {"u", u, 4, ARENA_F64}};
	struct arena_var longer[] = {{"step", &got, 1, ARENA_I32}, {"u", other, 5, ARENA_F64}};
	struct arena_var typed[] = {{"u", other, 4, ARENA_I64}};
	struct arena_var absent[] = {{"step", &got, 1, ARENA_I32}, {"u", other, 4, ARENA_F64},
				     {"w", other, 1, ARENA_F64}};
	struct arena_misfit m = {0};

	CU_ASSERT_EQUAL(arena_put(a, "k", w, 2, NULL), 0);
	CU_ASSERT_EQUAL(arena_get(a, "k", longer, 2, 0, NULL, &m), -EMEDIUMTYPE);
	CU_ASSERT_EQUAL(m.var, 1);
	CU_ASSERT_EQUAL(m.count, 4);
	CU_ASSERT_EQUAL(arena_get(a, "k", typed, 1, 0, NULL, &m), -EMEDIUMTYPE);
	CU_ASSERT_EQUAL(m.var, 0);
	CU_ASSERT_EQUAL(m.type, ARENA_F64);
	CU_ASSERT_EQUAL(arena_get(a, "k", absent, 3, 0, NULL, &m), -EMEDIUMTYPE);
	CU_ASSERT_EQUAL(m.var, 2);
	CU_ASSERT_TRUE(m.absent);
	CU_ASSERT_EQUAL(got, -1);
	CU_ASSERT_EQUAL(other[0], 9);
	arena_unmap(a);
}

static void variables_are_found_by_name_and_else_by_their_place(void)
{
	struct arena *a = fresh(1 << 20);
	int32_t x = 1, y = 2, p = 0, q = 0;
	struct arena_var w[] = {{"x", &x, 1, ARENA_I32}, {"y", &y, 1, ARENA_I32}};
	struct arena_var swapped[] = {{"y", &p, 1, ARENA_I32}, {"x", &q, 1, ARENA_I32}};
	struct arena_var renamed[] = {{"s->x", &p, 1, ARENA_I32}, {"s->y", &q, 1, ARENA_I32}};
	struct arena_var only_y = {"y", &p, 1, ARENA_I32};

	CU_ASSERT_EQUAL(arena_put(a, "k", w, 2, NULL), 0);
	CU_ASSERT_EQUAL(arena_get(a, "k", swapped, 2, 0, NULL, NULL), 0);
	CU_ASSERT(p == 2 && q == 1);
	CU_ASSERT_EQUAL(arena_get(a, "k", renamed, 2, 0, NULL, NULL), 0);
	CU_ASSERT(p == 1 && q == 2);
	CU_ASSERT_EQUAL(arena_get(a, "k", &only_y, 1, 0, NULL, NULL), 0);
	CU_ASSERT_EQUAL(p, 2);
	arena_unmap(a);
}

/* One variable: small under one sum, in one block, and in two. The bytes behind it are not its own. */
static void one_variable_of_any_size_comes_back(void)
{
	enum { MOST = 5000 };
	struct arena *a = fresh(1 << 20);
	static uint8_t in[MOST], out[MOST + 8];
	int wrong = 0;

	for (size_t i = 0; i < MOST; i++)
		in[i] = (uint8_t)(i * 7 >> 2);
	for (size_t bytes = 0; bytes <= MOST; bytes += bytes % 1024 < 2 || bytes % 1024 > 1021 ? 1 : 13) {
		struct arena_var w = {"x", in, bytes, ARENA_BYTES}, r = {"x", out, bytes, ARENA_BYTES};

		memset(out, 0xa5, sizeof out);
		wrong += arena_put(a, "key", &w, 1, NULL) != 0 || arena_get(a, "key", &r, 1, 0, NULL, NULL) != 0 ||
			 memcmp(in, out, bytes) != 0 || out[bytes] != 0xa5;
	}
	CU_ASSERT_EQUAL(wrong, 0);
	arena_unmap(a);
}

/* Each has a name of another length, and they are asked for from the last to the first. */
static void a_hundred_variables_of_one_version_keep_their_names(void)
{
	enum { N = 100 };
	struct arena *a = fresh(1 << 20);
	struct arena_var w[N], r[N];
	uint32_t in[N], out[N] = {0};
	char names[N][N + 2];

	for (uint32_t i = 0; i < N; i++) {
		memset(names[i], 'a' + (int)(i % 26), i + 1);
		names[i][i + 1] = '\0';
		in[i] = i + 1;
		w[i] = (struct arena_var){names[i], &in[i], 1, ARENA_U32};
		r[N - 1 - i] = (struct arena_var){names[i], &out[i], 1, ARENA_U32};
	}
	CU_ASSERT_EQUAL(arena_put(a, "key", w, N, NULL), 0);
	CU_ASSERT_EQUAL(arena_get(a, "key", r, N, 0, NULL, NULL), 0);
	CU_ASSERT_EQUAL(memcmp(in, out, sizeof in), 0);
	arena_unmap(a);
}

static void versions_grow_by_one_and_a_steady_value_takes_no_new_room(void)
{
	struct arena *a = fresh(1 << 20);
	struct arena_record *r;
	uint64_t free_at, i;

	put_u64(a, "k", 0);
	put_u64(a, "k", 1);
	free_at = a->head->free_at;
	for (i = 2; i < 1000; i++)
		CU_ASSERT_EQUAL(put_u64(a, "k", i), 0);
	CU_ASSERT_EQUAL(a->head->free_at, free_at);
	CU_ASSERT_EQUAL(arena_newest(a, "k", &r), 1000);
	arena_unmap(a);
}

static void a_value_may_grow_and_shrink_within_the_budget_for_ever(void)
{
	struct arena *a = fresh(1 << 20);
	uint8_t *data = calloc(1, 1 << 20), *back = malloc(1 << 20);
	uint32_t i;

	for (i = 1; i < 3000; i++) {
		size_t bytes = (i * 7919u) % 300000;
		struct arena_var v = {"v", data, bytes, ARENA_BYTES};

		data[0] = (uint8_t)i;
		CU_ASSERT_EQUAL_FATAL(arena_put(a, "k", &v, 1, NULL), 0);
		v.data = back;
		CU_ASSERT_EQUAL_FATAL(arena_get(a, "k", &v, 1, 0, NULL, NULL), 0);
		CU_ASSERT(bytes == 0 || back[0] == (uint8_t)i);
	}
	free(data);
	free(back);
	arena_unmap(a);
}

static void when_the_budget_is_spent_the_call_says_so_and_the_version_before_stands(void)
{
	struct arena *a = fresh(256 << 10);
	uint8_t *data = calloc(1, 200 << 10), back[16];
	struct arena_var v = {"v", data, 100 << 10, ARENA_BYTES};
	uint64_t value, i;

	data[5] = 42;
	CU_ASSERT_EQUAL(arena_put(a, "big", &v, 1, NULL), 0);
	v.count = 200 << 10;
	CU_ASSERT_EQUAL(arena_put(a, "big", &v, 1, NULL), -ENOSPC);
	CU_ASSERT_EQUAL(arena_newest(a, "big", NULL), 1);
	memset(data, 0, 16);
	v.count = 100 << 10;
	CU_ASSERT_EQUAL(arena_get(a, "big", &v, 1, 0, NULL, NULL), 0);
	CU_ASSERT_EQUAL(data[5], 42);
	for (i = 0; i < 10000; i++) {
		char key[16];

		snprintf(key, sizeof key, "k%lu", i);
		if (put_u64(a, key, i) != 0)
			break;
	}
	CU_ASSERT(i > 100 && i < 10000);
	CU_ASSERT_EQUAL(put_u64(a, "one more", 1), -ENOSPC);
	CU_ASSERT_EQUAL(get_u64(a, "k99", &value), 0);
	CU_ASSERT_EQUAL(value, 99);
	CU_ASSERT_EQUAL(arena_reset(a, "big"), 0);
	CU_ASSERT_EQUAL(put_u64(a, "one more", 1), 0);
	free(data);
	(void)back;
	arena_unmap(a);
}

/* After one checkpoint of 64 bytes each, as people name things. */
static void a_hundred_thousand_keys_cost_no_more_than_200_bytes_each(void)
{
	struct arena *a = fresh(256 << 20);
	struct arena_reader r;
	struct arena_keys keys;
	uint64_t data[8] = {0}, i, tables;
	static const char *const names[] = {"x", "u", "step", "rho"};
	struct arena_var v = {"x", data, 8, ARENA_U64};
	char key[16];

	for (i = 0; i < 100000; i++) {
		snprintf(key, sizeof key, "key %lu", i);
		v.name = names[i % 4];
		data[3] = i;
		CU_ASSERT_EQUAL_FATAL(arena_put(a, key, &v, 1, NULL), 0);
	}
	tables = 4 * ((uint64_t)ARENA_TABLE0 << a->head->table); /* smaller ones are given back */
	CU_ASSERT(a->head->free_at + tables <= 100000 * (64 + 200));
	for (i = 0; i < 100000; i += 97) {
		snprintf(key, sizeof key, "key %lu", i);
		v.name = names[i % 4];
		CU_ASSERT_EQUAL_FATAL(arena_get(a, key, &v, 1, 0, NULL, NULL), 0);
		CU_ASSERT_EQUAL(data[3], i);
	}
	r = reader_of(a);
	CU_ASSERT_EQUAL(arena_read_keys(&r, 1, &keys), 0);
	CU_ASSERT_EQUAL(keys.n, 100000);
	CU_ASSERT_EQUAL(keys.broken, 0);
	arena_keys_free(&keys);
	arena_unmap(a);
}

/* How many words a key's value has in a version. */
static uint64_t words_of(uint64_t key, uint64_t version)
{
	return (key * 7919 + version * 104729) % 150;
}

static void thousands_of_keys_whose_sizes_change_keep_their_values(void)
{
	struct arena *a = fresh(32 << 20);
	uint64_t data[150], key, version, i;
	struct arena_var v = {"x", data, 0, ARENA_U64};
	char name[16];

	for (version = 1; version <= 4; version++)
		for (key = 0; key < 3000; key++) {
			snprintf(name, sizeof name, "key %lu", key);
			v.count = words_of(key, version);
			for (i = 0; i < v.count; i++)
				data[i] = key << 32 | version << 16 | i;
			CU_ASSERT_EQUAL_FATAL(arena_put(a, name, &v, 1, NULL), 0);
		}
	for (key = 0; key < 3000; key++) {
		snprintf(name, sizeof name, "key %lu", key);
		v.count = words_of(key, 4);
		CU_ASSERT_EQUAL_FATAL(arena_get(a, name, &v, 1, 0, NULL, NULL), 0);
		for (i = 0; i < v.count; i++)
			CU_ASSERT_EQUAL_FATAL(data[i], key << 32 | UINT64_C(4) << 16 | i);
	}
	arena_unmap(a);
}

static void keys_that_come_and_go_do_not_use_the_arena_up(void)
{
	struct arena *a = fresh(128 << 10);
	char key[24], old[24];
	uint64_t i, value;

	for (i = 0; i < 50000; i++) {
		snprintf(key, sizeof key, "step %lu", i);
		CU_ASSERT_EQUAL_FATAL(put_u64(a, key, i), 0);
		if (i < 20)
			continue;
		snprintf(old, sizeof old, "step %lu", i - 20);
		CU_ASSERT_EQUAL_FATAL(get_u64(a, old, &value), 0);
		CU_ASSERT_EQUAL_FATAL(value, i - 20);
		CU_ASSERT_EQUAL_FATAL(arena_reset(a, old), 0);
		CU_ASSERT_EQUAL_FATAL(get_u64(a, old, &value), -ENOENT);
	}
	CU_ASSERT_EQUAL(arena_reset_all(a), 0);
	CU_ASSERT_EQUAL(a->head->keys, 0);
	CU_ASSERT_EQUAL(get_u64(a, key, &value), -ENOENT);
	arena_unmap(a);
}

static void impossible_arguments_are_refused(void)
{
	struct arena *a = fresh(1 << 20);
	uint64_t x = 1;
	struct arena_var huge = {"v", &x, UINT64_MAX / 4, ARENA_U64}, untyped = {"v", &x, 1, 77},
			 null = {"v", NULL, 1, ARENA_U64};
	char key[300];

	memset(key, 'k', sizeof key);
	key[256] = '\0';
	CU_ASSERT_EQUAL(put_u64(a, key, 1), -EINVAL);
	key[255] = '\0';
	CU_ASSERT_EQUAL(put_u64(a, key, 1), 0);
	CU_ASSERT_EQUAL(put_u64(a, "", 1), -EINVAL);
	CU_ASSERT_EQUAL(put_u64(a, NULL, 1), -EINVAL);
	CU_ASSERT_EQUAL(put_u64(a, "bad \xff utf-8", 1), -EINVAL);
	CU_ASSERT_EQUAL(put_u64(a, "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x8c\x8d", 1), 0);
	CU_ASSERT_EQUAL(arena_put(a, "k", &huge, 1, NULL), -EINVAL);
	CU_ASSERT_EQUAL(arena_put(a, "k", &untyped, 1, NULL), -EINVAL);
	CU_ASSERT_EQUAL(arena_put(a, "k", &null, 1, NULL), -EINVAL);
	CU_ASSERT_EQUAL(arena_put(a, "k", &null, 0, NULL), -EINVAL);
	CU_ASSERT_EQUAL(arena_create("/dev/shm/never", 100, 0600), -EINVAL);
	CU_ASSERT_EQUAL(arena_create(path, 1 << 20, 0600), -EEXIST);
	arena_unmap(a);
}

static void a_damaged_byte_is_found_and_the_version_before_is_given(void)
{
	struct arena *a = fresh(8 << 20);
	uint8_t *data = calloc(1, 1 << 20);
	struct arena_var v = {"v", data, 1 << 20, ARENA_BYTES};
	struct arena_record *r;
	struct arena_extent *e;
	uint64_t got, value;

	data[70000] = 1;
	arena_put(a, "big", &v, 1, NULL);
	data[70000] = 2;
	arena_put(a, "big", &v, 1, NULL);
	arena_newest(a, "big", &r);
	e = (struct arena_extent *)(void *)(r + 1) + (r->commit & 1);
	a->heap[e->at + e->length / 2] ^= 4;
	CU_ASSERT_EQUAL(arena_get(a, "big", &v, 1, 0, &got, NULL), 1);
	CU_ASSERT_EQUAL(got, 1);
	CU_ASSERT_EQUAL(data[70000], 1);
	put_u64(a, "small", 5);
	put_u64(a, "small", 6);
	arena_newest(a, "small", &r);
	e = (struct arena_extent *)(void *)(r + 1) + (r->commit & 1);
	a->heap[e->at + 70] ^= 1;
	CU_ASSERT_EQUAL(get_u64(a, "small", &value), 1);
	CU_ASSERT_EQUAL(value, 5);
	e = (struct arena_extent *)(void *)(r + 1) + !(r->commit & 1);
	a->heap[e->at + 70] ^= 1;
	CU_ASSERT_EQUAL(get_u64(a, "small", &value), -EBADMSG);
	free(data);
	arena_unmap(a);
}

static void an_arena_is_filled_from_keys_collected_elsewhere(void)
{
	struct arena *a = fresh(4 << 20), *b;
	struct arena_reader r;
	struct arena_value v;
	uint64_t value, i;
	char other[128];
	double *u = calloc(10000, sizeof *u);
	int32_t step = 3;
	struct arena_var vars[] = {{"step", &step, 1, ARENA_I32}, {"u", u, 10000, ARENA_F64}};

	u[9999] = 2.5;
	for (i = 0; i < 6; i++)
		CU_ASSERT_EQUAL(arena_put(a, "state", vars, 2, NULL), 0);
	r = reader_of(a);
	CU_ASSERT_EQUAL_FATAL(arena_read_value(&r, "state", 0, &v, NULL), 0);
	CU_ASSERT_EQUAL(v.info.version, 6);
	CU_ASSERT_EQUAL(v.info.n, 2);
	CU_ASSERT_STRING_EQUAL(v.info.vars[1].name, "u");
	snprintf(other, sizeof other, "%s.2", path);
	CU_ASSERT_EQUAL_FATAL(arena_create(other, 4 << 20, 0600), 0);
	CU_ASSERT_EQUAL_FATAL(arena_map(&b, other), 0);
	CU_ASSERT_EQUAL(arena_load(b, "state", v.info.vars, v.info.n, v.info.version, 3, v.info.time_ns), 0);
	CU_ASSERT_EQUAL(arena_load(b, "state", v.info.vars, v.info.n, 5, 3, 0), -EEXIST);
	u[9999] = 0;
	step = 0;
	CU_ASSERT_EQUAL(arena_get(b, "state", vars, 2, 0, &value, NULL), 0);
	CU_ASSERT(value == 6 && step == 3 && u[9999] == 2.5);
	arena_put(b, "state", vars, 2, &value);
	CU_ASSERT_EQUAL(value, 7);
	arena_value_free(&v);
	unlink(other);
	free(u);
	arena_unmap(a);
	arena_unmap(b);
}

static void a_clone_holds_the_same_and_takes_no_more_memory(void)
{
	struct arena *a = fresh(64 << 20), *b;
	char other[128];
	uint64_t i, value;
	struct stat st, st2;
	int fd;

	for (i = 0; i < 1000; i++)
		put_u64(a, "k", i);
	snprintf(other, sizeof other, "%s.2", path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	CU_ASSERT_EQUAL_FATAL(arena_clone(fd, other, 0600), 0);
	CU_ASSERT_EQUAL(arena_clone(fd, other, 0600), -EEXIST);
	fstat(fd, &st);
	stat(other, &st2);
	CU_ASSERT_EQUAL(st.st_size, st2.st_size);
	CU_ASSERT(st2.st_blocks <= st.st_blocks + 64);
	CU_ASSERT_EQUAL_FATAL(arena_map(&b, other), 0);
	CU_ASSERT_EQUAL(get_u64(b, "k", &value), 0);
	CU_ASSERT_EQUAL(value, 999);
	close(fd);
	unlink(other);
	arena_unmap(a);
	arena_unmap(b);
}

static void files_that_are_no_arena_are_told_apart(void)
{
	struct arena *a = fresh(1 << 20), *b;
	uint32_t other = ARENA_FORMAT + 1;
	int fd = open(path, O_RDWR | O_CLOEXEC);

	CU_ASSERT_EQUAL(pwrite(fd, &other, 4, offsetof(struct arena_header, format)), 4);
	CU_ASSERT_EQUAL(arena_map(&b, path), -EPROTONOSUPPORT);
	other = ARENA_FORMAT;
	CU_ASSERT_EQUAL(pwrite(fd, &other, 4, offsetof(struct arena_header, format)), 4);
	CU_ASSERT_EQUAL(arena_map(&b, path), 0);
	arena_unmap(b);
	CU_ASSERT_EQUAL(pwrite(fd, "x", 1, offsetof(struct arena_header, heap_bytes)), 1);
	CU_ASSERT_EQUAL(arena_map(&b, path), -EPROTO);
	CU_ASSERT_EQUAL(ftruncate(fd, 100), 0);
	CU_ASSERT_EQUAL(arena_map(&b, path), -EPROTO);
	CU_ASSERT_EQUAL(arena_map(&b, "/dev/null"), -EPROTO);
	CU_ASSERT_EQUAL(arena_map(&b, "/nonexistent/arena"), -ENOENT);
	close(fd);
	arena_unmap(a);
}

static const struct test tests[] = {
	{"every type comes back as it went in", every_type_comes_back_as_it_went_in},
	{"values of every size come back and nothing beyond their end is written",
	 values_of_every_size_come_back_and_nothing_beyond_their_end_is_written},
	{"a variable that differs is named and nothing is written",
	 a_variable_that_differs_is_named_and_nothing_is_written},
	{"variables are found by name and else by their place", variables_are_found_by_name_and_else_by_their_place},
	{"one variable of any size comes back", one_variable_of_any_size_comes_back},
	{"a hundred variables of one version keep their names", a_hundred_variables_of_one_version_keep_their_names},
	{"versions grow by one and a steady value takes no new room",
	 versions_grow_by_one_and_a_steady_value_takes_no_new_room},
	{"a value may grow and shrink within the budget for ever",
	 a_value_may_grow_and_shrink_within_the_budget_for_ever},
	{"when the budget is spent the call says so and the version before stands",
	 when_the_budget_is_spent_the_call_says_so_and_the_version_before_stands},
	{"a hundred thousand keys cost no more than 200 bytes each",
	 a_hundred_thousand_keys_cost_no_more_than_200_bytes_each},
	{"thousands of keys whose sizes change keep their values",
	 thousands_of_keys_whose_sizes_change_keep_their_values},
	{"keys that come and go do not use the arena up", keys_that_come_and_go_do_not_use_the_arena_up},
	{"impossible arguments are refused", impossible_arguments_are_refused},
	{"a damaged byte is found and the version before is given",
	 a_damaged_byte_is_found_and_the_version_before_is_given},
	{"an arena is filled from keys collected elsewhere", an_arena_is_filled_from_keys_collected_elsewhere},
	{"a clone holds the same and takes no more memory", a_clone_holds_the_same_and_takes_no_more_memory},
	{"files that are no arena are told apart", files_that_are_no_arena_are_told_apart},
};

int main(void)
{
	int rc;

	snprintf(dir, sizeof dir, "/dev/shm/test_arena.XXXXXX");
	if (!mkdtemp(dir))
		return 1;
	snprintf(path, sizeof path, "%s/arena", dir);
	rc = harness_run("arena", tests, sizeof tests / sizeof *tests);
	unlink(path);
	rmdir(dir);
	return rc;
}
