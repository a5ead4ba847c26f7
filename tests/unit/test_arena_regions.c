/* Protected regions in the arena: versions that share blocks. Random histories of everything that can happen to
 * a key are compared with a model that keeps each version whole. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/arena/internal.h"
#include "lib/arena/reader.h"
#include "tests/unit/harness.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define TURNS 60u
#endif
#endif
#if !defined(TURNS) && (defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__))
#define TURNS 60u
#endif
#ifndef TURNS
#define TURNS 250u
#endif

#define VARS 3u
#define BYTES_MAX (96u << 10) /* of one variable */
#define VERSIONS 80u

static char dir[64], path[96];
static uint32_t seed = 1;

static uint32_t rnd(void)
{
	seed = seed * 1664525u + 1013904223u;
	return seed >> 8;
}

static struct arena *fresh(uint64_t budget)
{
	struct arena *a = NULL;

	unlink(path);
	CU_ASSERT_EQUAL_FATAL(arena_create(path, budget, 0600), 0);
	CU_ASSERT_EQUAL_FATAL(arena_map(&a, path), 0);
	return a;
}

/* ---- the model ---- */

struct layout {
	size_t n;
	uint64_t count[VARS];
	uint32_t pad[VARS];
	uint8_t how; /* ARENA_PLAIN: no regions */
};

/* One version as it must come back. */
struct model {
	uint64_t version;
	struct layout l;
	uint8_t *data[VARS];
};

struct world {
	struct arena *a;
	struct model was[VERSIONS]; /* by version % VERSIONS */
	uint64_t newest;
	uint32_t keep;
	struct layout now;
	uint8_t *data[VARS];   /* the program's memory */
	uint64_t base, base_sum; /* of the program's own last put of this layout */
	uint64_t changed[VARS * BYTES_MAX / 4096 / 64 + 2];
	uint64_t full; /* how often there was no room */
};

static const char *const names[VARS] = {"u", "velocity", "p"};

static size_t to_vars(const struct layout *l, uint8_t *const *data, struct arena_var *vars)
{
	for (size_t i = 0; i < l->n; i++)
		vars[i] = (struct arena_var){names[i], data[i], l->count[i], ARENA_BYTES};
	return l->n;
}

static void remember(struct world *w, uint64_t version)
{
	struct model *m = &w->was[version % VERSIONS];

	m->version = version;
	m->l = w->now;
	for (size_t i = 0; i < VARS; i++)
		memcpy(m->data[i], w->data[i], BYTES_MAX);
	w->newest = version;
}

/* Other sizes, pads and numbers of variables, more than 32 KiB or not. */
static void lay_out(struct world *w)
{
	w->now.n = 1 + rnd() % VARS;
	for (size_t i = 0; i < w->now.n; i++) {
		w->now.count[i] = rnd() % 4 ? rnd() % BYTES_MAX : rnd() % 5000;
		w->now.pad[i] = rnd() % 2 ? rnd() % 4096 : 0;
	}
	w->now.how = rnd() % 4 ? ARENA_DIRTY : ARENA_WHOLE;
	w->base = 0;
}

/* Change bytes here and there, and note their blocks as the kernel would. */
static void compute(struct world *w)
{
	struct arena_var vars[VARS];
	uint64_t at[VARS], bytes = arena_offsets(vars, w->now.pad, to_vars(&w->now, w->data, vars), at), i, j;
	uint32_t n = rnd() % 3 ? rnd() % 12 : rnd() % 200;

	if (!w->base)
		memset(w->changed, 0, sizeof w->changed);
	for (; n; n--) {
		i = rnd() % w->now.n;
		if (w->now.count[i] == 0)
			continue;
		j = rnd() % w->now.count[i];
		w->data[i][j] = (uint8_t)rnd();
		w->changed[(at[i] + j) / 4096 / 64] |= UINT64_C(1) << (at[i] + j) / 4096 % 64;
	}
	for (i = bytes / 4096 + 1; i < 8 * sizeof w->changed; i++) /* what lies behind is not looked at */
		if (rnd() % 2)
			w->changed[i / 64] |= UINT64_C(1) << i % 64;
}

static void put(struct world *w)
{
	struct arena_var vars[VARS];
	struct arena_regions g = {vars, w->now.pad, to_vars(&w->now, w->data, vars), w->base, w->base_sum, w->changed,
				  w->now.how};
	uint64_t version = 0, sum = 0;
	int rc = arena_put_regions(w->a, "key", &g, &version, &sum);

	if (rc == -ENOSPC) {
		w->full++;
		return;
	}
	CU_ASSERT_EQUAL_FATAL(rc, 0);
	CU_ASSERT_EQUAL_FATAL(version, w->newest + 1);
	remember(w, version);
	w->base = version;
	w->base_sum = sum;
	memset(w->changed, 0, sizeof w->changed);
}

static void put_plain(struct world *w)
{
	struct arena_var vars[VARS];
	uint64_t version;
	uint8_t how = w->now.how;
	int rc;

	compute(w);
	rc = arena_put(w->a, "key", vars, to_vars(&w->now, w->data, vars), &version);
	if (rc == -ENOSPC) {
		w->full++;
		return;
	}
	CU_ASSERT_EQUAL_FATAL(rc, 0);
	w->now.how = ARENA_PLAIN;
	remember(w, version);
	w->now.how = how;
}

/* Somebody else's regions of the same layout, with other data, under the same key: our base is not the newest. */
static void put_foreign(struct world *w)
{
	struct arena_var vars[VARS];
	struct arena_regions g = {vars, w->now.pad, to_vars(&w->now, w->data, vars), 0, 0, NULL, ARENA_WHOLE};
	uint8_t *mine[VARS], how = w->now.how;
	uint64_t version;
	pid_t pid;
	int status;

	for (size_t i = 0; i < VARS; i++) {
		mine[i] = malloc(BYTES_MAX);
		memcpy(mine[i], w->data[i], BYTES_MAX);
		for (uint32_t j = 0; j < BYTES_MAX; j += 1 + rnd() % 9000)
			w->data[i][j] ^= 0x55;
	}
	pid = fork();
	if (pid == 0)
		_exit(arena_put_regions(w->a, "key", &g, &version, NULL) == 0 ? 0 : 1);
	CU_ASSERT_EQUAL_FATAL(waitpid(pid, &status, 0), pid);
	CU_ASSERT_FATAL(WIFEXITED(status));
	w->now.how = ARENA_WHOLE;
	if (WEXITSTATUS(status) == 0)
		remember(w, w->newest + 1);
	w->now.how = how;
	for (size_t i = 0; i < VARS; i++) {
		memcpy(w->data[i], mine[i], BYTES_MAX);
		free(mine[i]);
	}
}

static void keep(struct world *w)
{
	uint32_t versions = 1 + rnd() % (rnd() % 3 ? 3 : 9);
	int rc = arena_keep(w->a, "key", versions);

	CU_ASSERT_FATAL(rc == 0 || rc == -ENOSPC);
	if (rc == 0)
		w->keep = versions;
	w->full += rc != 0;
}

static void reset(struct world *w)
{
	int rc = arena_reset(w->a, "key");

	CU_ASSERT_FATAL(rc == 0 || rc == -ENOENT);
	w->newest = 0;
	w->keep = 1;
}

/* ---- looking ---- */

static void check_version(struct world *w, const struct model *m)
{
	static uint8_t out[VARS][BYTES_MAX];
	uint8_t *to[VARS] = {out[0], out[1], out[2]};
	struct arena_var vars[VARS];
	uint64_t got;

	memset(out, 0xee, sizeof out);
	CU_ASSERT_EQUAL_FATAL(arena_get(w->a, "key", vars, to_vars(&m->l, to, vars), m->version, &got, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(got, m->version);
	for (size_t i = 0; i < m->l.n; i++)
		CU_ASSERT_EQUAL_FATAL(memcmp(out[i], m->data[i], m->l.count[i]), 0);
}

static void check_read(struct world *w, const struct model *m)
{
	struct arena_reader r = {.fd = -1, .image = w->a->base, .image_bytes = w->a->file_bytes};
	struct arena_value v;
	uint64_t bytes = 0;

	CU_ASSERT_EQUAL_FATAL(arena_read_open(&r), 0);
	CU_ASSERT_EQUAL_FATAL(arena_read_value(&r, "key", m->version, &v, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(v.info.version, m->version);
	CU_ASSERT_EQUAL_FATAL(v.info.n, m->l.n);
	for (size_t i = 0; i < m->l.n; i++) {
		CU_ASSERT_EQUAL_FATAL(v.info.vars[i].count, m->l.count[i]);
		CU_ASSERT_EQUAL_FATAL(memcmp(v.info.vars[i].data, m->data[i], m->l.count[i]), 0);
		bytes = ((bytes + 7) & ~UINT64_C(7)) + m->l.count[i];
	}
	CU_ASSERT_EQUAL_FATAL(v.info.bytes, bytes);
	arena_value_free(&v);
}

/* Every version that is kept is there, whole. */
static void check(struct world *w)
{
	uint64_t v;

	CU_ASSERT_EQUAL_FATAL(arena_newest(w->a, "key", NULL), w->newest);
	for (v = w->newest; v && v + w->keep > w->newest; v--) {
		const struct model *m = &w->was[v % VERSIONS];

		if (m->version != v)
			break; /* from before the key kept so many */
		check_version(w, m);
		check_read(w, m);
	}
}

static void world_open(struct world *w, uint64_t budget)
{
	*w = (struct world){.a = fresh(budget), .keep = 1};
	for (size_t i = 0; i < VARS; i++) {
		w->data[i] = calloc(1, BYTES_MAX);
		for (size_t v = 0; v < VERSIONS; v++)
			w->was[v].data[i] = malloc(BYTES_MAX);
	}
	lay_out(w);
}

static void world_close(struct world *w)
{
	arena_unmap(w->a);
	for (size_t i = 0; i < VARS; i++) {
		free(w->data[i]);
		for (size_t v = 0; v < VERSIONS; v++)
			free(w->was[v].data[i]);
	}
}

/* The versions that were there before the keeping of more was asked for, or that a full arena may have cost. */
static void forget_all_but_the_newest(struct world *w)
{
	for (uint64_t v = 0; v < VERSIONS; v++)
		if (w->was[v].version != w->newest)
			w->was[v].version = 0;
}

/* Returns how often there was no room. */
static uint64_t history(uint64_t budget, uint32_t turns)
{
	struct world w;

	world_open(&w, budget);
	for (uint32_t turn = 0; turn < turns; turn++) {
		uint64_t full = w.full;
		uint32_t keeps = w.keep;

		switch (rnd() % 24) {
		case 0:
			lay_out(&w);
			break;
		case 1:
		case 2:
			put_plain(&w);
			break;
		case 3:
			put_foreign(&w);
			break;
		case 4:
			keep(&w);
			break;
		case 5:
			if (rnd() % 4 == 0)
				reset(&w);
			break;
		default:
			compute(&w);
			put(&w);
		}
		if (w.full != full || w.keep > keeps || w.newest == 0)
			forget_all_but_the_newest(&w);
		check(&w);
	}
	world_close(&w);
	return w.full;
}

static void random_histories_of_regions_give_every_version_back(void)
{
	for (uint32_t s = 1; s <= 30; s++) {
		seed = s;
		CU_ASSERT_EQUAL(history(16 << 20, TURNS), 0);
	}
}

static void the_same_in_an_arena_that_is_often_full(void)
{
	uint64_t full = 0;

	for (uint32_t s = 100; s < 130; s++) {
		seed = s;
		full += history((320 + 64 * (s % 10)) << 10, TURNS);
	}
	CU_ASSERT(full > TURNS);
}

static const struct test tests[] = {
	{"random histories of regions give every version back", random_histories_of_regions_give_every_version_back},
	{"the same in an arena that is often full", the_same_in_an_arena_that_is_often_full},
};

int main(void)
{
	int rc;

	snprintf(dir, sizeof dir, "/dev/shm/test_regions.XXXXXX");
	if (!mkdtemp(dir))
		return 1;
	snprintf(path, sizeof path, "%s/arena", dir);
	rc = harness_run("arena regions", tests, sizeof tests / sizeof *tests);
	unlink(path);
	rmdir(dir);
	return rc;
}
