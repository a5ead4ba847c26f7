/* Death in the arena: writers killed at every instruction (single-stepped) and at random moments, several on one
 * key, several threads; whoever comes next finds whole versions and free locks. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/arena/internal.h"
#include "lib/arena/reader.h"
#include "tests/unit/harness.h"

#define WORDS 24
#define BIG 6000 /* words of a value that has block sums */

static char dir[64], path[96];
static uint32_t seed = 1;

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#elif __has_feature(thread_sanitizer)
#define __SANITIZE_THREAD__ 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SLOW 8    /* fewer turns, and … */
#define STRIDE 41 /* … a look after so many of the many more instructions */
#else
#define SLOW 1
#define STRIDE 1
#endif

#if defined(__SANITIZE_THREAD__)
#define STEPPED 0 /* instrumented copies take more instructions than anyone would step through */
#else
#define STEPPED 1
#endif

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

/* A value whose words are all the same number, so that a torn one shows. */
static int put(struct arena *a, const char *key, size_t words, uint64_t number)
{
	static __thread uint64_t data[BIG];
	struct arena_var v = {"v", data, words, ARENA_U64};
	size_t i;

	for (i = 0; i < words; i++)
		data[i] = number;
	return arena_put(a, key, &v, 1, NULL);
}

/* The number, or 0 for a torn or unreadable value; UINT64_MAX for no such key. */
static uint64_t get(struct arena *a, const char *key, size_t words)
{
	static __thread uint64_t data[BIG];
	struct arena_var v = {"v", data, words, ARENA_U64};
	size_t i;
	int rc = arena_get(a, key, &v, 1, 0, NULL, NULL);

	if (rc == -ENOENT)
		return UINT64_MAX;
	if (rc != 0)
		return 0;
	for (i = 1; i < words; i++)
		if (data[i] != data[0])
			return 0;
	return data[0];
}

/* What the index reaches lies apart from each other, and the hostile reader finds all of it whole. */
static void check_all(struct arena *a, size_t keys)
{
	struct arena_reader r = {.fd = -1, .image = a->base, .image_bytes = a->file_bytes};
	struct arena_keys list;

	CU_ASSERT_EQUAL_FATAL(arena_read_open(&r), 0);
	CU_ASSERT_EQUAL_FATAL(arena_read_keys(&r, 1, &list), 0);
	CU_ASSERT_EQUAL(list.broken, 0);
	CU_ASSERT(list.n >= keys);
	arena_keys_free(&list);
}

/* ---- at every instruction: what a death there would leave is what the arena holds there ---- */

struct scene {
	struct arena *a;    /* acted on by a child, one instruction at a time */
	struct arena *left; /* after each: a copy of it, with locks that the kernel has handed on */
	uint64_t keys;
};

static void copy_scene(struct scene *s)
{
	memcpy(s->left->base, s->a->base, ARENA_LOCKS);
	memcpy(s->left->base + ARENA_INDEX, s->a->base + ARENA_INDEX, s->a->file_bytes - ARENA_INDEX);
}

static struct scene scene_open(uint64_t budget)
{
	struct scene s = {fresh(budget), NULL, 0};
	char other[128];

	snprintf(other, sizeof other, "%s.left", path);
	CU_ASSERT_EQUAL_FATAL(arena_create(other, budget, 0600), 0);
	CU_ASSERT_EQUAL_FATAL(arena_map(&s.left, other), 0);
	unlink(other);
	return s;
}

static void scene_close(struct scene *s)
{
	arena_unmap(s->a);
	arena_unmap(s->left);
}

/* Step a child through act, and look after every stride-th instruction. Returns the instructions it took. */
static uint64_t step_through(struct scene *s, void (*act)(struct arena *), void (*look)(struct scene *),
			     uint64_t stride)
{
	int status, stopped;
	uint64_t steps;
	pid_t pid = fork();

	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		act(s->a);
		_exit(0);
	}
	stopped = waitpid(pid, &status, 0) == pid && WIFSTOPPED(status);
	for (steps = 0; stopped; steps++) {
		if (steps % stride == 0) {
			copy_scene(s);
			look(s);
		}
		ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL);
		stopped = waitpid(pid, &status, 0) == pid && WIFSTOPPED(status);
	}
	CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	return steps;
}

static void act_commit(struct arena *a)
{
	put(a, "key", WORDS, 2);
}

static void look_at_commit(struct scene *s)
{
	uint64_t number = get(s->left, "key", WORDS);

	CU_ASSERT_FATAL(number == 1 || number == 2);
	CU_ASSERT_EQUAL_FATAL(put(s->left, "key", WORDS, 3), 0);
	CU_ASSERT_EQUAL_FATAL(get(s->left, "key", WORDS), 3);
	CU_ASSERT_EQUAL_FATAL(put(s->left, "key", WORDS, 4), 0);
	CU_ASSERT_EQUAL_FATAL(get(s->left, "key", WORDS), 4);
}

static void a_commit_cut_off_at_any_instruction_leaves_a_whole_version(void)
{
	struct scene s = scene_open(64 << 10);

	put(s.a, "key", WORDS, 1); /* its second slot is made in the first step through, and reused in the second */
	CU_ASSERT(step_through(&s, act_commit, look_at_commit, STRIDE) > 200);
	CU_ASSERT_EQUAL(put(s.a, "key", WORDS, 1), 0);
	CU_ASSERT(step_through(&s, act_commit, look_at_commit, STRIDE) > 200);
	CU_ASSERT_EQUAL(get(s.a, "key", WORDS), 2);
	scene_close(&s);
}

static void act_insert(struct arena *a)
{
	put(a, "new", WORDS, 2);
}

static void look_at_insert(struct scene *s)
{
	uint64_t number = get(s->left, "new", WORDS);

	CU_ASSERT_FATAL(number == 2 || number == UINT64_MAX);
	CU_ASSERT_EQUAL_FATAL(get(s->left, "key", WORDS), 1);
	CU_ASSERT_EQUAL_FATAL(put(s->left, "third", WORDS, 3), 0);
	CU_ASSERT_EQUAL_FATAL(put(s->left, "new", WORDS, 4), 0);
	CU_ASSERT_EQUAL_FATAL(get(s->left, "key", WORDS), 1);
	CU_ASSERT_EQUAL_FATAL(get(s->left, "third", WORDS), 3);
	CU_ASSERT_EQUAL_FATAL(get(s->left, "new", WORDS), 4);
	check_all(s->left, 3);
}

static void look_at_insert_in_the_middle(struct scene *s)
{
	look_at_insert(s);
	(void)put(s->left, "more than the gap", 2600, 1);
	CU_ASSERT_EQUAL_FATAL(get(s->left, "behind", 2000), 9);
}

static void an_insert_cut_off_at_any_instruction_leaves_all_keys_and_room(void)
{
	struct scene s = scene_open(64 << 10);
	char key[32];
	size_t n = 0;

	put(s.a, "key", WORDS, 1);
	CU_ASSERT(step_through(&s, act_insert, look_at_insert, STRIDE) > 500);
	/* once more in a heap that is full but for a gap in its middle: the search for it is part of the insert */
	arena_reset(s.a, "new");
	CU_ASSERT_EQUAL(put(s.a, "new", 100, 1), 0);
	CU_ASSERT_EQUAL(put(s.a, "new", 100, 1), 0);
	CU_ASSERT_EQUAL(put(s.a, "behind", 2000, 8), 0);
	CU_ASSERT_EQUAL(put(s.a, "behind", 2000, 9), 0);
	do
		snprintf(key, sizeof key, "k%zu", n++);
	while (put(s.a, key, 1, 1) == 0);
	arena_reset(s.a, "new");
	s.a->head->free_at = s.a->head->free_end = s.a->heap_bytes;
	CU_ASSERT(step_through(&s, act_insert, look_at_insert_in_the_middle, STRIDE) > 500);
	scene_close(&s);
}

static uint64_t twos[BIG];

static void act_grow_value(struct arena *a)
{
	struct arena_var v = {"v", twos, BIG, ARENA_U64};

	arena_put(a, "key", &v, 1, NULL);
}

static void look_at_grown_value(struct scene *s)
{
	uint64_t number = get(s->left, "key", BIG);

	if (number != 2)
		CU_ASSERT_EQUAL_FATAL(get(s->left, "key", WORDS), 1);
	CU_ASSERT_EQUAL_FATAL(put(s->left, "other", WORDS, 3), 0);
	CU_ASSERT_EQUAL_FATAL(put(s->left, "key", WORDS, 4), 0);
	CU_ASSERT_EQUAL_FATAL(get(s->left, "key", WORDS), 4);
	CU_ASSERT_EQUAL_FATAL(get(s->left, "other", WORDS), 3);
}

static void a_value_that_outgrows_its_slot_may_be_cut_off_anywhere(void)
{
	struct scene s = scene_open(128 << 10);

	for (size_t i = 0; i < BIG; i++)
		twos[i] = 2;
	put(s.a, "key", WORDS, 1);
	put(s.a, "key", WORDS, 1);
	if (STEPPED) {
		CU_ASSERT(step_through(&s, act_grow_value, look_at_grown_value, 13 * STRIDE) > 5000);
		CU_ASSERT_EQUAL(get(s.a, "key", BIG), 2);
	}
	scene_close(&s);
}

static void act_reset(struct arena *a)
{
	arena_reset(a, "key");
}

static void look_at_reset(struct scene *s)
{
	uint64_t number = get(s->left, "key", WORDS);

	CU_ASSERT_FATAL(number == 1 || number == UINT64_MAX);
	CU_ASSERT_EQUAL_FATAL(get(s->left, "other", WORDS), 3);
	CU_ASSERT_EQUAL_FATAL(put(s->left, "key", WORDS, 5), 0);
	CU_ASSERT_EQUAL_FATAL(get(s->left, "key", WORDS), 5);
	check_all(s->left, 2);
}

static void a_reset_cut_off_at_any_instruction_leaves_the_key_or_none(void)
{
	struct scene s = scene_open(64 << 10);

	put(s.a, "other", WORDS, 3);
	put(s.a, "key", WORDS, 1);
	CU_ASSERT(step_through(&s, act_reset, look_at_reset, STRIDE) > 100);
	CU_ASSERT_EQUAL(get(s.a, "key", WORDS), UINT64_MAX);
	scene_close(&s);
}

static void act_move(struct arena *a)
{
	put(a, "the key that moves the table", 1, 5);
}

static void look_at_move(struct scene *s)
{
	uint64_t number = get(s->left, "the key that moves the table", 1), i;
	char key[32];

	CU_ASSERT_FATAL(number == 5 || number == UINT64_MAX);
	CU_ASSERT_EQUAL_FATAL(put(s->left, "another", 1, 6), 0);
	CU_ASSERT_EQUAL_FATAL(get(s->left, "another", 1), 6);
	for (i = 0; i < s->keys; i++) {
		snprintf(key, sizeof key, "k%lu", i);
		CU_ASSERT_EQUAL_FATAL(get(s->left, key, 1), i + 1);
	}
}

static void growth_of_the_index_cut_off_anywhere_loses_no_key(void)
{
	struct scene s = scene_open(512 << 10);
	char key[32];

	while ((s.a->head->keys + 1) * 5 <= table_buckets(0) * 4) {
		snprintf(key, sizeof key, "k%lu", s.keys++);
		CU_ASSERT_EQUAL_FATAL(put(s.a, key, 1, s.keys), 0);
	}
	if (STEPPED)
		CU_ASSERT(step_through(&s, act_move, look_at_move, 53 * STRIDE) > 10000);
	act_move(s.a);
	CU_ASSERT_EQUAL(s.a->head->table, 1);
	copy_scene(&s);
	look_at_move(&s);
	check_all(s.a, s.keys + 1);
	scene_close(&s);
}

/* ---- at random moments ---- */

struct tally {
	uint64_t acked[4];
};

/* Two sizes that change from turn to turn, on four keys, until killed. */
static void write_on(struct arena *a, struct tally *t)
{
	static const char *const keys[] = {"a", "b", "c", "d"};
	uint64_t n;
	uint32_t k;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (n = 0;; n++) {
		k = (uint32_t)(n & 3);
		if (put(a, keys[k], k & 1 ? BIG : WORDS, t->acked[k] + 1) != 0)
			_exit(3);
		__atomic_store_n(&t->acked[k], t->acked[k] + 1, __ATOMIC_RELEASE);
	}
}

static void spin(uint32_t turns)
{
	volatile uint32_t i;

	for (i = 0; i < turns; i++)
		;
}

static void writers_killed_at_random_moments_leave_the_newest_version_or_the_one_before(void)
{
	static const char *const keys[] = {"a", "b", "c", "d"};
	struct arena *a = fresh(1 << 20);
	struct tally *t = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status, turn, k;
	uint64_t number;

	CU_ASSERT_FATAL(t != MAP_FAILED);
	for (turn = 0; turn < 2500 / SLOW; turn++) {
		pid_t pid = fork();

		if (pid == 0)
			write_on(a, t);
		while (turn == 0 && !__atomic_load_n(&t->acked[3], __ATOMIC_ACQUIRE))
			;
		spin(rnd() % 200000);
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		CU_ASSERT_FATAL(WIFSIGNALED(status));
		for (k = 0; k < 4; k++) {
			number = get(a, keys[k], k & 1 ? BIG : WORDS);
			CU_ASSERT_FATAL(number == t->acked[k] || number == t->acked[k] + 1);
			t->acked[k] = number;
		}
	}
	CU_ASSERT(t->acked[0] > 200 / SLOW);
	check_all(a, 4);
	munmap(t, 4096);
	arena_unmap(a);
}

static void insert_on(struct arena *a, uint32_t who, uint64_t *acked)
{
	char key[32];
	uint64_t n;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (n = *acked;; n++) {
		snprintf(key, sizeof key, "p%u %lu", who, n);
		if (put(a, key, 1 + n % 40, n + 1) != 0)
			_exit(3);
		__atomic_store_n(acked, n + 1, __ATOMIC_RELEASE);
		if (n >= 200) {
			snprintf(key, sizeof key, "p%u %lu", who, n - 200);
			arena_reset(a, key);
		}
	}
}

static void processes_that_insert_and_forget_keys_may_die_without_stopping_the_others(void)
{
	struct arena *a = fresh(2 << 20);
	uint64_t *acked = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), i, low;
	int status, turn;
	pid_t pid[3] = {0};
	uint32_t w;
	char key[32];

	for (turn = 0; turn < 900 / SLOW; turn++) {
		w = (uint32_t)turn % 3;
		if (pid[w]) {
			spin(rnd() % 100000);
			kill(pid[w], SIGKILL);
			waitpid(pid[w], &status, 0);
			CU_ASSERT_FATAL(WIFSIGNALED(status));
		}
		pid[w] = fork();
		if (pid[w] == 0)
			insert_on(a, w, &acked[w * 8]);
	}
	for (w = 0; w < 3; w++) { /* whoever is left gets on: nobody holds a lock that is not given back */
		low = acked[w * 8];
		while (__atomic_load_n(&acked[w * 8], __ATOMIC_ACQUIRE) < low + 300)
			;
		kill(pid[w], SIGKILL);
		waitpid(pid[w], &status, 0);
		CU_ASSERT(WIFSIGNALED(status));
		for (i = acked[w * 8] - 190; i < acked[w * 8]; i++) {
			snprintf(key, sizeof key, "p%u %lu", w, i);
			CU_ASSERT_EQUAL_FATAL(get(a, key, 1 + i % 40), i + 1);
		}
	}
	check_all(a, 3 * 190);
	munmap(acked, 4096);
	arena_unmap(a);
}

static void two_processes_on_one_key_lose_no_version(void)
{
	struct arena *a = fresh(1 << 20);
	int status, i, w;
	pid_t pid[4];

	put(a, "key", WORDS, 1);
	for (w = 0; w < 4; w++) {
		pid[w] = fork();
		for (i = 0; pid[w] == 0 && i < 5000; i++) {
			if (put(a, "key", WORDS, (uint64_t)(w * 5000 + i + 1)) != 0 || get(a, "key", WORDS) == 0)
				_exit(1);
			if (i == 4999)
				_exit(0);
		}
	}
	for (w = 0; w < 4; w++) {
		waitpid(pid[w], &status, 0);
		CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	}
	CU_ASSERT_EQUAL(arena_newest(a, "key", NULL), 20001);
	arena_unmap(a);
}

static struct arena *shared;

static void *thread_on_its_keys(void *arg)
{
	char key[32];
	uint64_t i, bad = 0;

	for (i = 1; i < 4000; i++) {
		snprintf(key, sizeof key, "t%s %lu", (const char *)arg, i % 300);
		int rc = put(shared, key, WORDS, i);
		uint64_t got = get(shared, key, WORDS);
		if (rc != 0 || got != i)
			printf("    %s: put %d, got %lu instead of %lu\n", key, rc, got, i);
		bad += rc != 0 || got != i;
	}
	return bad ? arg : NULL;
}

static void threads_on_different_keys_do_not_disturb_each_other(void)
{
	static char *const names[] = {"0", "1", "2", "3"};
	pthread_t t[4];
	void *bad;
	int i;

	shared = fresh(8 << 20);
	for (i = 0; i < 4; i++)
		CU_ASSERT_EQUAL_FATAL(pthread_create(&t[i], NULL, thread_on_its_keys, names[i]), 0);
	for (i = 0; i < 4; i++) {
		pthread_join(t[i], &bad);
		CU_ASSERT_PTR_NULL(bad);
	}
	CU_ASSERT_EQUAL(shared->head->keys, 1200);
	arena_unmap(shared);
}

static void locks_of_another_boot_or_of_a_copy_are_made_anew(void)
{
	struct arena *a = fresh(1 << 20), *b;
	struct key k = {"key", 3, arena_hash("key", 3, 0)};
	int status;
	pid_t pid;

	put(a, "key", WORDS, 1);
	CU_ASSERT_EQUAL(lock_take(a, lock_of(k.hash)), 0);
	a->head->boot[0] ^= 1; /* as a power cut leaves it: held, and nobody to give it back */
	pid = fork();
	if (pid == 0) {
		if (arena_map(&b, path) != 0)
			_exit(2);
		_exit(put(b, "key", WORDS, 2) == 0 ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CU_ASSERT_EQUAL(get(a, "key", WORDS), 2);
	CU_ASSERT_EQUAL(lock_take(a, lock_of(k.hash)), 0); /* and as the copy of a live arena has them */
	CU_ASSERT_EQUAL(arena_unlock_all(path), 0);
	pid = fork();
	if (pid == 0)
		_exit(put(a, "key", WORDS, 3) == 0 ? 0 : 1);
	waitpid(pid, &status, 0);
	CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CU_ASSERT_EQUAL(get(a, "key", WORDS), 3);
	arena_unmap(a);
}

static const struct test tests[] = {
	{"a commit cut off at any instruction leaves a whole version",
	 a_commit_cut_off_at_any_instruction_leaves_a_whole_version},
	{"an insert cut off at any instruction leaves all keys and room",
	 an_insert_cut_off_at_any_instruction_leaves_all_keys_and_room},
	{"a value that outgrows its slot may be cut off anywhere",
	 a_value_that_outgrows_its_slot_may_be_cut_off_anywhere},
	{"a reset cut off at any instruction leaves the key or none",
	 a_reset_cut_off_at_any_instruction_leaves_the_key_or_none},
	{"growth of the index cut off anywhere loses no key", growth_of_the_index_cut_off_anywhere_loses_no_key},
	{"writers killed at random moments leave the newest version or the one before",
	 writers_killed_at_random_moments_leave_the_newest_version_or_the_one_before},
	{"processes that insert and forget keys may die without stopping the others",
	 processes_that_insert_and_forget_keys_may_die_without_stopping_the_others},
	{"two processes on one key lose no version", two_processes_on_one_key_lose_no_version},
	{"threads on different keys do not disturb each other", threads_on_different_keys_do_not_disturb_each_other},
	{"locks of another boot or of a copy are made anew", locks_of_another_boot_or_of_a_copy_are_made_anew},
};

int main(void)
{
	int rc;

	snprintf(dir, sizeof dir, "/dev/shm/test_kill.XXXXXX");
	if (!mkdtemp(dir))
		return 1;
	snprintf(path, sizeof path, "%s/arena", dir);
	rc = harness_run("arena kill", tests, sizeof tests / sizeof *tests);
	unlink(path);
	rmdir(dir);
	return rc;
}
