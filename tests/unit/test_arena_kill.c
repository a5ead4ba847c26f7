/* Death at random moments: writers of one thread and of several, of plain values and of protected regions,
 * killed by a timer of their own; holders of every kind of lock. Whoever comes next finds whole versions and
 * free locks. */
#include <fcntl.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>

#include "lib/arena/mailbox.h"
#include "tests/unit/arena_death.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SLOW 8 /* fewer turns */
#else
#define SLOW 1
#endif

static uint32_t seed = 1;

static uint32_t rnd(void)
{
	seed = seed * 1664525u + 1013904223u;
	return seed >> 8;
}

/* Shared with the children that die. */
struct tally {
	uint64_t acked[16]; /* versions or numbers that a call has returned for, by key */
};

static struct tally *tally_open(void)
{
	struct tally *t = mmap(NULL, sizeof *t, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	CU_ASSERT_FATAL(t != MAP_FAILED);
	return t;
}

static void ack(struct tally *t, uint32_t key, uint64_t number)
{
	__atomic_store_n(&t->acked[key], number, __ATOMIC_RELEASE);
}

/* This process is killed so many nanoseconds from now, wherever it is by then. */
static void die_after(long ns)
{
	struct sigevent how = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL};
	struct itimerspec when = {.it_value = {0, ns}};
	timer_t t;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (timer_create(CLOCK_MONOTONIC, &how, &t) != 0 || timer_settime(t, 0, &when, NULL) != 0)
		_exit(4);
}

/* A child that runs act until its death at a random moment, at the latest after so many nanoseconds; in later
 * turns more, because the slower the build and the machine, the later it is when anything has been written. */
static void kill_one(void (*act)(struct arena *, struct tally *), struct arena *a, struct tally *t, uint32_t at_most,
		     uint32_t turn)
{
	uint64_t most = at_most + (uint64_t)turn * (at_most / 4000) * SLOW * SLOW;
	long ns = 1 + (long)(rnd() % (most < 900000000 ? most : 900000000));
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		die_after(ns);
		act(a, t);
		_exit(3);
	}
	CU_ASSERT_EQUAL_FATAL(waitpid(pid, &status, 0), pid);
	CU_ASSERT_FATAL(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static const char *const keys[] = {"a", "b", "c", "d", "e", "f", "g", "h"};

/* Two sizes that change from turn to turn, on four keys. */
static void write_plain(struct arena *a, struct tally *t)
{
	for (uint32_t n = 0;; n++) {
		uint32_t k = n & 3;

		if (put(a, keys[k], k & 1 ? BIG : WORDS, t->acked[k] + 1) != 0)
			return;
		ack(t, k, t->acked[k] + 1);
	}
}

/* The newest version, or the one that the killed one had not yet been told of. */
static void check_plain(struct arena *a, struct tally *t, uint32_t k)
{
	uint64_t number = get(a, keys[k], k & 1 ? BIG : WORDS);

	if (number == UINT64_MAX)
		number = 0;
	CU_ASSERT_FATAL((number || !t->acked[k]) && (number == t->acked[k] || number == t->acked[k] + 1));
	t->acked[k] = number;
}

static void writers_killed_at_random_moments_leave_the_newest_version_or_the_one_before(void)
{
	struct arena *a = fresh(1 << 20);
	struct tally *t = tally_open();

	for (uint32_t turn = 0; turn < 4000 / SLOW || t->acked[0] < 100 || !t->acked[3]; turn++) {
		kill_one(write_plain, a, t, 120000, turn);
		for (uint32_t k = 0; k < 4; k++)
			check_plain(a, t, k);
	}
	check_all(a, 4);
	munmap(t, sizeof *t);
	arena_unmap(a);
}

/* Regions that start from what the arena has, as a restarted program does; sometimes a plain version, sometimes
 * other pads, so that slots are cleared and given up. Key 5 keeps three versions. */
static void write_regions(struct arena *a, struct tally *t)
{
	static __thread struct region g[2];

	for (uint64_t n = 0;; n++) {
		uint32_t k = 4 + (n & 1);
		uint64_t v = t->acked[k];
		struct region *mine = &g[n & 1];
		uint32_t pad = v % 23 < 12 ? 0 : 64;
		int rc;

		if (n < 2)
			mine->version = mine->base = 0;
		if (v % 9 == 8)
			rc = region_put_plain(a, keys[k], mine, v);
		else
			rc = region_put(a, keys[k], mine, v, pad);
		if (rc != 0)
			return;
		ack(t, k, v + 1);
	}
}

static void check_regions(struct arena *a, struct tally *t, uint32_t k, uint64_t kept)
{
	uint64_t version = arena_newest(a, keys[k], NULL);

	CU_ASSERT_FATAL(version == t->acked[k] || version == t->acked[k] + 1);
	for (uint64_t i = 0; i < kept && i < version; i++)
		CU_ASSERT_EQUAL_FATAL(region_get(a, keys[k], version - i), version - i);
	t->acked[k] = version;
}

static void so_do_writers_of_protected_regions(void)
{
	struct arena *a = fresh(2 << 20);
	struct tally *t = tally_open();

	CU_ASSERT_EQUAL_FATAL(arena_keep(a, keys[5], 3), 0);
	for (uint32_t turn = 0; turn < 3500 / SLOW || t->acked[5] < 200; turn++) {
		kill_one(write_regions, a, t, 250000, turn);
		check_regions(a, t, 4, 1);
		check_regions(a, t, 5, 3);
	}
	check_all(a, 2);
	munmap(t, sizeof *t);
	arena_unmap(a);
}

struct thread_job {
	struct arena *a;
	struct tally *t;
	void (*act)(struct arena *, struct tally *);
};

static void *run_job(void *arg)
{
	struct thread_job *j = arg;

	j->act(j->a, j->t);
	return NULL;
}

/* One key that comes and goes, beside the other threads' commits. */
static void come_and_go(struct arena *a, struct tally *t)
{
	for (uint64_t n = t->acked[6] + 1;; n++) {
		if (put(a, keys[6], WORDS, n) != 0)
			return;
		ack(t, 6, n);
		if (n % 3 == 0 && arena_reset(a, keys[6]) != 0)
			return;
		if (n % 5 == 0 && arena_keep(a, keys[7], 1 + (uint32_t)(n / 5 % 6)) != 0)
			return;
		if (put(a, keys[7], n % 7 ? WORDS : BIG, n) != 0)
			return;
	}
}

static void write_in_threads(struct arena *a, struct tally *t)
{
	struct thread_job j[] = {{a, t, write_plain}, {a, t, write_regions}, {a, t, come_and_go}};
	pthread_t id;

	for (size_t i = 1; i < sizeof j / sizeof *j; i++)
		if (pthread_create(&id, NULL, run_job, &j[i]) != 0)
			_exit(5);
	run_job(&j[0]);
}

static void so_do_writers_of_several_threads(void)
{
	struct arena *a = fresh(3 << 20);
	struct tally *t = tally_open();

	CU_ASSERT_EQUAL_FATAL(arena_keep(a, keys[5], 3), 0);
	for (uint32_t turn = 0; turn < 2500 / SLOW || t->acked[3] < 50 || t->acked[5] < 50 || t->acked[6] < 50; turn++) {
		kill_one(write_in_threads, a, t, 600000, turn);
		for (uint32_t k = 0; k < 4; k++)
			check_plain(a, t, k);
		check_regions(a, t, 4, 1);
		check_regions(a, t, 5, 3);
		CU_ASSERT_NOT_EQUAL_FATAL(get(a, keys[6], WORDS), 0);
	}
	check_all(a, 6);
	munmap(t, sizeof *t);
	arena_unmap(a);
}

static void spin(uint32_t turns)
{
	volatile uint32_t i;

	for (i = 0; i < turns; i++)
		;
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

/* ---- locks ---- */

static void hold(struct arena *a, uint32_t lock, int done)
{
	if (lock_take(a, lock) != 0)
		_exit(1);
	if (write(done, "", 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

/* Every kind of lock: of the index, of a key, of asks with a text. */
static void a_process_that_dies_holding_a_lock_hands_it_on(void)
{
	struct arena *a = fresh(1 << 20);
	const uint32_t locks[] = {0, lock_of(arena_hash("key", 3, 0)), ARENA_LOCK_ASKS};
	int status, pipes[2];
	struct arena_ask answer;
	char c;

	CU_ASSERT_EQUAL_FATAL(pipe(pipes), 0);
	for (size_t i = 0; i < 3; i++) {
		pid_t pid = fork();

		if (pid == 0)
			hold(a, locks[i], pipes[1]);
		CU_ASSERT_EQUAL_FATAL(read(pipes[0], &c, 1), 1);
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		CU_ASSERT(WIFSIGNALED(status));
		CU_ASSERT_EQUAL(put(a, "key", WORDS, i + 1), 0);
		CU_ASSERT_EQUAL(get(a, "key", WORDS), i + 1);
		CU_ASSERT_EQUAL(arena_reset(a, "key"), 0);
		a->head->agent_flags = ARENA_SERVED;
		CU_ASSERT_EQUAL(arena_ask(a, ARENA_ASK_FETCH, 2, 0, "key", 1, &answer), -ETIMEDOUT);
	}
	close(pipes[0]);
	close(pipes[1]);
	arena_unmap(a);
}

/* Until a thread or process sleeps in a futex. */
static void wait_sleeping(pid_t id)
{
	char path[64], text[32] = "", futex[16];
	ssize_t n;
	int fd;

	snprintf(path, sizeof path, "/proc/%d/syscall", (int)id);
	snprintf(futex, sizeof futex, "%d ", SYS_futex);
	while (strncmp(text, futex, strlen(futex)) != 0) {
		fd = open(path, O_RDONLY | O_CLOEXEC);
		n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
		CU_ASSERT_FATAL(n >= 0);
		text[n] = '\0';
		close(fd);
	}
}

/* A lock dies while somebody already waits for it. */
static void who_waits_for_a_lock_gets_it_when_its_holder_dies(void)
{
	struct arena *a = fresh(1 << 20);
	int status, pipes[2];
	pid_t holder, waiter;
	char c;

	CU_ASSERT_EQUAL_FATAL(pipe(pipes), 0);
	holder = fork();
	if (holder == 0)
		hold(a, lock_of(arena_hash("key", 3, 0)), pipes[1]);
	CU_ASSERT_EQUAL_FATAL(read(pipes[0], &c, 1), 1);
	waiter = fork();
	if (waiter == 0)
		_exit(write(pipes[1], "", 1) == 1 && put(a, "key", WORDS, 1) == 0 ? 0 : 1);
	CU_ASSERT_EQUAL_FATAL(read(pipes[0], &c, 1), 1);
	wait_sleeping(waiter);
	kill(holder, SIGKILL);
	waitpid(holder, &status, 0);
	waitpid(waiter, &status, 0);
	CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CU_ASSERT_EQUAL(get(a, "key", WORDS), 1);
	close(pipes[0]);
	close(pipes[1]);
	arena_unmap(a);
}

static pid_t ask_for(struct arena *a, const char *key)
{
	struct arena_ask answer;
	pid_t pid = fork();

	if (pid == 0)
		_exit(arena_ask(a, ARENA_ASK_FETCH, 2, 0, key, -1, &answer) == 0 && answer.number == (uint64_t)key[0] ? 0 : 1);
	return pid;
}

/* There is room for one text: an ask stays as it is until its answer was read. */
static void two_that_ask_with_a_text_take_turns(void)
{
	struct arena *a = fresh(1 << 20);
	struct arena_ask *q = &a->head->ask[ARENA_ASK_FETCH];
	int fd = open(death_path, O_RDWR | O_CLOEXEC), status;
	pid_t pid[2];

	a->head->agent_flags = ARENA_SERVED;
	pid[0] = ask_for(a, "x");
	wait_sleeping(pid[0]);
	pid[1] = ask_for(a, "y");
	wait_sleeping(pid[1]);
	for (uint32_t i = 1; i <= 2; i++) {
		while (__atomic_load_n(&q->asked, __ATOMIC_ACQUIRE) < i)
			;
		CU_ASSERT_EQUAL(q->asked, i);
		CU_ASSERT_STRING_EQUAL(q->text, i == 1 ? "x" : "y");
		CU_ASSERT_EQUAL(arena_answer(fd, ARENA_ASK_FETCH, i, 0, (uint64_t)q->text[0], NULL), 0);
	}
	for (int i = 0; i < 2; i++)
		CU_ASSERT(waitpid(pid[i], &status, 0) == pid[i] && WIFEXITED(status) && WEXITSTATUS(status) == 0);
	close(fd);
	arena_unmap(a);
}

static void a_call_within_an_interrupted_one_says_so_instead_of_waiting(void)
{
	struct arena *a = fresh(1 << 20);
	uint32_t lock = lock_of(arena_hash("key", 3, 0));

	CU_ASSERT_EQUAL(lock_take(a, lock), 0);
	CU_ASSERT_EQUAL(put(a, "key", WORDS, 1), -EDEADLK);
	lock_give(a, lock);
	CU_ASSERT_EQUAL(put(a, "key", WORDS, 1), 0);
	arena_unmap(a);
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
		if (arena_map(&b, death_path) != 0)
			_exit(2);
		_exit(put(b, "key", WORDS, 2) == 0 ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CU_ASSERT_EQUAL(get(a, "key", WORDS), 2);
	CU_ASSERT_EQUAL(lock_take(a, lock_of(k.hash)), 0); /* and as the copy of a live arena has them */
	CU_ASSERT_EQUAL(arena_unlock_all(death_path), 0);
	pid = fork();
	if (pid == 0)
		_exit(put(a, "key", WORDS, 3) == 0 ? 0 : 1);
	waitpid(pid, &status, 0);
	CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CU_ASSERT_EQUAL(get(a, "key", WORDS), 3);
	arena_unmap(a);
}

static const struct test tests[] = {
	{"writers killed at random moments leave the newest version or the one before",
	 writers_killed_at_random_moments_leave_the_newest_version_or_the_one_before},
	{"so do writers of protected regions", so_do_writers_of_protected_regions},
	{"so do writers of several threads", so_do_writers_of_several_threads},
	{"processes that insert and forget keys may die without stopping the others",
	 processes_that_insert_and_forget_keys_may_die_without_stopping_the_others},
	{"two processes on one key lose no version", two_processes_on_one_key_lose_no_version},
	{"threads on different keys do not disturb each other", threads_on_different_keys_do_not_disturb_each_other},
	{"a process that dies holding a lock hands it on", a_process_that_dies_holding_a_lock_hands_it_on},
	{"who waits for a lock gets it when its holder dies", who_waits_for_a_lock_gets_it_when_its_holder_dies},
	{"two that ask with a text take turns", two_that_ask_with_a_text_take_turns},
	{"a call within an interrupted one says so instead of waiting",
	 a_call_within_an_interrupted_one_says_so_instead_of_waiting},
	{"locks of another boot or of a copy are made anew", locks_of_another_boot_or_of_a_copy_are_made_anew},
};

int main(void)
{
	return death_main("arena kill", tests, sizeof tests / sizeof *tests);
}
