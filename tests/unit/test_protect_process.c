/* Protected regions and who else is there: children, threads, handlers, other processes on the same key, an agent that
 * wants the userfaultfds back, a full arena, SIGKILL. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include "lib/arena/mailbox.h"
#include "tests/unit/protect_sample.h"

#define N 64 /* pages of most regions */

static int restored_is(cpa *cp, const char *key, const char *name, const void *is, size_t bytes)
{
	void *room = malloc(bytes);
	int right;

	right = cpa_restore(cp, key, 0, CPA_NAMED(name, room, bytes)) == 0 && memcmp(room, is, bytes) == 0;
	free(room);
	return right;
}

/* How many userfaultfds this process holds: what CRIU would stumble over. */
static int userfaultfds(void)
{
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;
	char path[300], to[64];
	int found = 0;

	while (d && (e = readdir(d)) != NULL) {
		snprintf(path, sizeof path, "/proc/self/fd/%s", e->d_name);
		memset(to, 0, sizeof to);
		if (readlink(path, to, sizeof to - 1) > 0 && strstr(to, "userfaultfd"))
			found++;
	}
	closedir(d);
	return found;
}

/* ---- fork ---- */

static int child_of_its_own(cpa *cp, uint8_t *u)
{
	int i;

	if (userfaultfds() != 0)
		return 1;
	for (i = 0; i < 5; i++) {
		u[i * 5001] = (uint8_t)(100 + i);
		if (cpa_checkpoint_protected(cp, "child", 1) != 0 || !restored_is(cp, "child", "u", u, N * PAGE))
			return 2;
		if (i == 0 && how_of(cp, "child") != ARENA_WHOLE)
			return 3;
	}
	/* the parent's key: what the parent knew of it is not the child's */
	if (cpa_checkpoint_protected(cp, "k", 1) != 0 || how_of(cp, "k") != ARENA_WHOLE)
		return 4;
	if (!restored_is(cp, "k", "u", u, N * PAGE))
		return 5;
	if (can_track(cp) && (how_of(cp, "child") != ARENA_DIRTY || userfaultfds() != 1))
		return 6;
	cpa_close(cp);
	return userfaultfds() == 0 ? 0 : 7;
}

static pid_t fork_by_hand(void)
{
	return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

static void a_child_begins_with_a_whole_copy_and_the_parent_goes_on(void)
{
	cpa *cp = opened();
	uint8_t *u = pages(N);
	int round;
	pid_t pid;

	CU_ASSERT_EQUAL(cpa_protect(cp, "u", u, N * PAGE, CPA_BYTE), 0);
	for (round = 0; round < 6; round++) {
		u[round * 9000]++;
		CU_ASSERT_EQUAL(cpa_checkpoint_protected(cp, "k", 1), 0);
		CU_ASSERT(round % 2 == 0 || how_of(cp, "k") == ARENA_DIRTY || !can_track(cp));
		u[round * 11000]++; /* marked before the fork */
		pid = fork();
		if (pid == 0)
			_exit(child_of_its_own(cp, u));
		u[round * 12000]++; /* marked while the page is shared with the child */
		CU_ASSERT(ended_well(pid));
		u[round * 13000]++;
		CU_ASSERT_EQUAL(cpa_checkpoint_protected(cp, "k", 1), 0);
		CU_ASSERT(restored_is(cp, "k", "u", u, N * PAGE));
	}
	cpa_close(cp);
	munmap(u, N * PAGE);
}

static int child_by_hand(cpa *cp, uint8_t *u, int more)
{
	pid_t pid;

	if (more) { /* of a child that has not called, and of one that has */
		pid = fork_by_hand();
		if (pid == 0)
			_exit(child_by_hand(cp, u, more - 1));
		if (!ended_well(pid))
			return 1;
	}
	u[5] = (uint8_t)(77 + more);
	return cpa_checkpoint_protected(cp, "child", 1) == 0 && restored_is(cp, "child", "u", u, N * PAGE) &&
			       how_of(cp, "child") == ARENA_WHOLE && userfaultfds() <= 1
		       ? 0
		       : 2;
}

static void a_child_made_without_the_c_library_is_known_too(void)
{
	cpa *cp = opened();
	uint8_t *u = pages(N);
	pid_t pid;

	CU_ASSERT_EQUAL(cpa_protect(cp, "u", u, N * PAGE, CPA_BYTE), 0);
	CU_ASSERT_EQUAL(cpa_checkpoint_protected(cp, "child", 1), 0);
	pid = fork_by_hand();
	if (pid == 0)
		_exit(child_by_hand(cp, u, 2));
	CU_ASSERT(ended_well(pid));
	u[6] = 78;
	CU_ASSERT_EQUAL(cpa_checkpoint_protected(cp, "k", 1), 0);
	CU_ASSERT(restored_is(cp, "k", "u", u, N * PAGE));
	cpa_close(cp);
	munmap(u, N * PAGE);
}

/* ---- threads ---- */

struct worker {
	cpa *cp;
	int number, rounds;
	uint8_t *u;
	char name[16];
	int wrong;
};

static void *checkpoint_own(void *arg)
{
	struct worker *w = arg;
	const char *names[] = {w->name};
	int i;

	for (i = 0; i < w->rounds && !w->wrong; i++) {
		w->u[(size_t)i * 1021 % (N * PAGE)]++;
		if (i % 50 == 49 && cpa_protect(w->cp, w->name, w->u, N * PAGE, CPA_BYTE) != 0)
			w->wrong = 1;
		if (cpa_checkpoint_regions(w->cp, w->name, 1, names, 1) != 0 ||
		    !restored_is(w->cp, w->name, w->name, w->u, N * PAGE))
			w->wrong = 2;
	}
	return NULL;
}

#define WORKERS 4

static void start_workers(cpa *cp, struct worker *w, pthread_t *t, int rounds, uint8_t *memory)
{
	int i;

	for (i = 0; i < WORKERS; i++) {
		/* side by side, so that each shares a page with the next */
		w[i] = (struct worker){cp, i, rounds, memory + 100 + (size_t)i * N * PAGE, "", 0};
		snprintf(w[i].name, sizeof w[i].name, "w%d", i);
		CU_ASSERT_EQUAL_FATAL(cpa_protect(cp, w[i].name, w[i].u, N * PAGE, CPA_BYTE), 0);
	}
	for (i = 0; i < WORKERS; i++)
		CU_ASSERT_EQUAL_FATAL(pthread_create(&t[i], NULL, checkpoint_own, &w[i]), 0);
}

static void threads_checkpoint_their_regions_at_once(void)
{
	cpa *cp = opened();
	uint8_t *memory = pages(WORKERS * N + 1);
	struct worker w[WORKERS];
	pthread_t t[WORKERS];
	int i;

	start_workers(cp, w, t, 300, memory);
	for (i = 0; i < WORKERS; i++) {
		pthread_join(t[i], NULL);
		CU_ASSERT_EQUAL(w[i].wrong, 0);
	}
	cpa_close(cp);
	munmap(memory, (WORKERS * N + 1) * PAGE);
}

struct scribbler {
	uint8_t *u;
	size_t bytes;
	int stop;
};

static void *scribble(void *arg)
{
	struct scribbler *s = arg;
	size_t i;

	for (i = 0; !__atomic_load_n(&s->stop, __ATOMIC_RELAXED); i++)
		__atomic_fetch_add(&s->u[i * 8209 % s->bytes], 1, __ATOMIC_RELAXED);
	return NULL;
}

/* Such a checkpoint is of no moment; but the next one has to be right. Under the thread sanitizer this is a race, as it
 * is one of the program's. */
static void what_is_written_during_a_checkpoint_is_in_the_next_one(void)
{
	struct scribbler s = {pages(8 * N), 8 * N * PAGE, 0};
	cpa *cp = opened();
	pthread_t t;
	int i, turn;

	if (UNDER_TSAN) {
		cpa_close(cp);
		munmap(s.u, s.bytes);
		return;
	}
	CU_ASSERT_EQUAL(cpa_protect(cp, "u", s.u, s.bytes, CPA_BYTE), 0);
	for (turn = 0; turn < 30; turn++) {
		s.stop = 0;
		CU_ASSERT_EQUAL_FATAL(pthread_create(&t, NULL, scribble, &s), 0);
		for (i = 0; i < 20; i++)
			CU_ASSERT_EQUAL(cpa_checkpoint_protected(cp, "k", 1), 0);
		__atomic_store_n(&s.stop, 1, __ATOMIC_RELAXED);
		pthread_join(t, NULL);
		CU_ASSERT_EQUAL(cpa_checkpoint_protected(cp, "k", 1), 0);
		CU_ASSERT(how_of(cp, "k") == ARENA_DIRTY || !can_track(cp));
		CU_ASSERT_FATAL(restored_is(cp, "k", "u", s.u, s.bytes));
	}
	cpa_close(cp);
	munmap(s.u, s.bytes);
}

/* The child has one thread; whatever lock another held at that moment, it is not held there. */
static void a_fork_amid_other_threads_checkpoints_leaves_a_child_that_works(void)
{
	uint8_t *memory = pages(WORKERS * N + 1), *own = pages(N);
	const char *names[] = {"own"};
	cpa *cp = opened();
	struct worker w[WORKERS];
	pthread_t t[WORKERS];
	int i;
	pid_t pid;

	if (UNDER_ASAN) { /* its allocator (of gcc 12) may be locked in the child for ever */
		cpa_close(cp);
		munmap(memory, (WORKERS * N + 1) * PAGE);
		munmap(own, N * PAGE);
		return;
	}
	CU_ASSERT_EQUAL(cpa_protect(cp, "own", own, N * PAGE, CPA_BYTE), 0);
	start_workers(cp, w, t, 300, memory);
	for (i = 0; i < 40; i++) {
		pid = fork();
		if (pid == 0) {
			signal(SIGALRM, SIG_DFL);
			alarm(60); /* a lock that nobody gives back */
			own[i * 77]++;
			if (cpa_checkpoint_regions(cp, "own", 1, names, 1) != 0 || userfaultfds() > 1)
				_exit(1);
			_exit(restored_is(cp, "own", "own", own, N * PAGE) ? 0 : 2);
		}
		CU_ASSERT(ended_well(pid));
	}
	for (i = 0; i < WORKERS; i++) {
		pthread_join(t[i], NULL);
		CU_ASSERT_EQUAL(w[i].wrong, 0);
	}
	cpa_close(cp);
	munmap(memory, (WORKERS * N + 1) * PAGE);
	munmap(own, N * PAGE);
}

/* ---- a handler ---- */

static cpa *handler_cp;
static volatile sig_atomic_t handled, busy, odd;

static void on_alarm(int signal)
{
	int rc = cpa_checkpoint_protected(handler_cp, "handler", 1);

	(void)signal;
	handled++;
	busy += rc == CPA_ERR_BUSY;
	odd += rc != CPA_ERR_BUSY && rc != 0;
}

static void a_handler_that_interrupts_a_checkpoint_is_told_so(void)
{
	struct sigaction act = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
	struct itimerval every = {{0, 500}, {0, 500}}, off = {{0, 0}, {0, 0}};
	const size_t n = 4096;
	cpa *cp = opened();
	uint8_t *u = pages(n);
	int rounds;

	handler_cp = cp;
	handled = busy = odd = 0;
	memset(u, 1, n * PAGE);
	CU_ASSERT_EQUAL(cpa_protect(cp, "u", u, n * PAGE, CPA_BYTE), 0);
	CU_ASSERT_EQUAL(cpa_checkpoint_protected(cp, "handler", 1), 0);
	/* only where the program is between calls, or inside the copy: nothing here allocates meanwhile */
	sigaction(SIGALRM, &act, NULL);
	setitimer(ITIMER_REAL, &every, NULL);
	for (rounds = 0; rounds < 100000 && busy < 5; rounds++) {
		const char *why;

		u[(size_t)rounds % n * PAGE]++;
		CU_ASSERT_EQUAL(cpa_tracking(cp, "u", &why) < 0, 0);
		CU_ASSERT_EQUAL(cpa_checkpoint_protected(cp, "k", 1), 0);
	}
	setitimer(ITIMER_REAL, &off, NULL);
	signal(SIGALRM, SIG_IGN); /* one may be on its way */
	CU_ASSERT(busy >= 5);
	CU_ASSERT_EQUAL(odd, 0);
	CU_ASSERT(restored_is(cp, "k", "u", u, n * PAGE));
	cpa_close(cp);
	munmap(u, n * PAGE);
}

/* ---- other processes on the key ---- */

static int write_as_another(const char *key, uint8_t value, int reset, int times)
{
	cpa *cp = NULL;
	uint8_t *u = pages(N);
	int i;

	memset(u, value, N * PAGE);
	if (open_arena(&cp) != 0 || cpa_protect(cp, "u", u, N * PAGE, CPA_BYTE) != 0)
		return 1;
	if (reset && cpa_reset(cp, key) != 0)
		return 2;
	for (i = 0; i < times; i++)
		if (cpa_checkpoint_protected(cp, key, 1) != 0)
			return 3;
	cpa_close(cp);
	return 0;
}

static void expect_right_after_another(cpa *cp, uint8_t *u, uint8_t value, int reset, int times)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(write_as_another("k", value, reset, times));
	CU_ASSERT(ended_well(pid));
	u[7 * PAGE]++;
	CU_ASSERT_EQUAL(cpa_checkpoint_protected(cp, "k", 1), 0);
	CU_ASSERT(restored_is(cp, "k", "u", u, N * PAGE));
}

static void another_process_that_commits_the_key_in_between_is_noticed(void)
{
	cpa *cp = opened();
	uint8_t *u = pages(N);
	int x = 3;

	memset(u, 1, N * PAGE);
	CU_ASSERT_EQUAL(cpa_protect(cp, "u", u, N * PAGE, CPA_BYTE), 0);
	CU_ASSERT_EQUAL(cpa_checkpoint_protected(cp, "k", 1), 0);
	expect_right_after_another(cp, u, 50, 0, 1);
	/* the key is reset and counted up to the very version that we had last */
	expect_right_after_another(cp, u, 51, 1, 3);
	expect_right_after_another(cp, u, 52, 1, 4);
	/* and by ourselves, to other variables and back */
	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "k", 1, CPA_VAR(x)), 0);
	u[9]++;
	CU_ASSERT_EQUAL(cpa_checkpoint_protected(cp, "k", 1), 0);
	CU_ASSERT(restored_is(cp, "k", "u", u, N * PAGE));
	CU_ASSERT_EQUAL(cpa_reset(cp, "k"), 0);
	u[9 * PAGE]++;
	CU_ASSERT_EQUAL(cpa_checkpoint_protected(cp, "k", 1), 0);
	CU_ASSERT(restored_is(cp, "k", "u", u, N * PAGE));
	u[9 * PAGE]++;
	CU_ASSERT_EQUAL(cpa_checkpoint_protected(cp, "k", 1), 0);
	CU_ASSERT(how_of(cp, "k") == ARENA_DIRTY || !can_track(cp));
	CU_ASSERT(restored_is(cp, "k", "u", u, N * PAGE));
	cpa_close(cp);
	munmap(u, N * PAGE);
}

/* ---- the agent wants the userfaultfds back ---- */

static void before_a_snapshot_no_userfaultfd_is_left_open(void)
{
	cpa *cp = opened();
	uint8_t *u = pages(N);
	const char *why = "";
	int fd = open(cp->arena->path, O_RDWR | O_CLOEXEC), able = can_track(cp), round, x = 1;

	CU_ASSERT_EQUAL(cpa_protect(cp, "u", u, N * PAGE, CPA_BYTE), 0);
	CU_ASSERT_EQUAL(userfaultfds(), 0); /* none before it is of use */
	for (round = 0; round < 3; round++) {
		CU_ASSERT_EQUAL(cpa_checkpoint_protected(cp, "k", 1), 0);
		CU_ASSERT_EQUAL(how_of(cp, "k"), ARENA_WHOLE);
		u[round * 9000]++;
		CU_ASSERT_EQUAL(cpa_checkpoint_protected(cp, "k", 1), 0);
		CU_ASSERT_EQUAL(how_of(cp, "k"), able ? ARENA_DIRTY : ARENA_WHOLE);
		CU_ASSERT_EQUAL(userfaultfds(), able);
		u[round * 9000 + 1]++;
		CU_ASSERT_EQUAL(arena_set_give_up(fd, 1), 0);
		if (round == 0)
			CU_ASSERT_EQUAL(cpa_checkpoint(cp, "x", 1, CPA_VAR(x)), 0);
		if (round == 1)
			CU_ASSERT_EQUAL(cpa_tracking(cp, "u", &why), 0);
		if (round == 2)
			CU_ASSERT_EQUAL(cpa_checkpoint_protected(cp, "k", 1), 0);
		CU_ASSERT_EQUAL(userfaultfds(), 0);
		u[round * 9000 + 2]++;
		CU_ASSERT_EQUAL(cpa_checkpoint_protected(cp, "k", 1), 0);
		CU_ASSERT_EQUAL(how_of(cp, "k"), ARENA_WHOLE);
		CU_ASSERT(restored_is(cp, "k", "u", u, N * PAGE));
		CU_ASSERT_EQUAL(userfaultfds(), 0);
		u[round * 9000 + 3]++;
		CU_ASSERT_EQUAL(arena_set_give_up(fd, 0), 0);
	}
	CU_ASSERT(strstr(why, "snapshot") || !able);
	CU_ASSERT_EQUAL(cpa_checkpoint_protected(cp, "k", 1), 0);
	CU_ASSERT_EQUAL(cpa_unprotect(cp, NULL), 0);
	close(fd);
	cpa_close(cp);
	CU_ASSERT_EQUAL(userfaultfds(), 0);
	munmap(u, N * PAGE);
}

/* ---- a full arena ---- */

static void what_was_written_before_a_full_arena_refused_it_is_not_lost(void)
{
	char path[128];
	uint8_t *u = pages(N), *full = pages(4 * N);
	int round;
	cpa *cp;

	snprintf(path, sizeof path, "%s/small", dir);
	CU_ASSERT_EQUAL_FATAL(arena_create(path, 5 * N * PAGE, 0600), 0);
	CU_ASSERT_EQUAL_FATAL(cpa_open(&cp, path), 0);
	memset(full, 3, 4 * N * PAGE);
	CU_ASSERT_EQUAL(cpa_protect(cp, "u", u, N * PAGE, CPA_BYTE), 0);
	CU_ASSERT_EQUAL(cpa_checkpoint_protected(cp, "k", 1), 0);
	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "full", 1, CPA_NAMED("f", (void *)full, 3 * N * PAGE)), 0);
	for (round = 0; round < 3; round++) { /* there is no room for a second slot */
		u[round * 9000]++;
		CU_ASSERT_EQUAL(cpa_checkpoint_protected(cp, "k", 1), CPA_ERR_FULL);
	}
	CU_ASSERT(!restored_is(cp, "k", "u", u, N * PAGE));
	CU_ASSERT_EQUAL(cpa_reset(cp, "full"), 0);
	u[40000]++;
	CU_ASSERT_EQUAL(cpa_checkpoint_protected(cp, "k", 1), 0);
	CU_ASSERT(how_of(cp, "k") == ARENA_DIRTY || !can_track(cp));
	CU_ASSERT(restored_is(cp, "k", "u", u, N * PAGE));
	cpa_close(cp);
	unlink(path);
	munmap(u, N * PAGE);
	munmap(full, 4 * N * PAGE);
}

/* ---- SIGKILL ---- */

#define COUNTS (N * PAGE / 8)

/* What round r writes follows from r alone. */
static void write_round(uint64_t *u, uint64_t round)
{
	unsigned seed = (unsigned)round;
	int i;

	u[0] = round;
	for (i = 0; i < 40; i++)
		u[1 + (size_t)rand_r(&seed) % (COUNTS - 1)] = round;
}

static void go_on_for_ever(int told)
{
	uint64_t *u = (uint64_t *)(void *)pages(N), round;
	cpa *cp;

	if (open_arena(&cp) != 0 || CPA_PROTECT(cp, "u", u, COUNTS) != 0)
		_exit(1);
	if (cpa_restore_protected(cp, "k", 0) != 0)
		_exit(2);
	for (round = u[0] + 1;; round++) {
		write_round(u, round);
		if (cpa_checkpoint_protected(cp, "k", 1) != 0)
			_exit(3);
		if (write(told, "x", 1) != 1)
			_exit(4);
	}
}

static void a_writer_killed_at_any_moment_leaves_a_whole_version_for_the_next(void)
{
	uint64_t *u = (uint64_t *)(void *)pages(N), *model = calloc(COUNTS, 8), round = 0, seen;
	struct timespec nap = {0, 0};
	int kills, told[2], status;
	cpa *cp = opened();
	unsigned seed = 7;
	char text[64];
	pid_t pid;

	CU_ASSERT_EQUAL(CPA_PROTECT(cp, "u", u, COUNTS), 0);
	CU_ASSERT_EQUAL(cpa_checkpoint_protected(cp, "k", 1), 0);
	for (kills = 0; kills < 60; kills++) {
		CU_ASSERT_EQUAL_FATAL(pipe(told), 0);
		pid = fork();
		if (pid == 0)
			go_on_for_ever(told[1]);
		close(told[1]);
		/* it has begun; and then any moment */
		CU_ASSERT(read(told[0], text, 1) == 1);
		nap.tv_nsec = rand_r(&seed) % 2000000;
		nanosleep(&nap, NULL);
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		CU_ASSERT(WIFSIGNALED(status));
		for (seen = 1; (status = (int)read(told[0], text, sizeof text)) > 0;)
			seen += (uint64_t)status;
		close(told[0]);
		CU_ASSERT_EQUAL_FATAL(cpa_restore_protected(cp, "k", 0), 0);
		CU_ASSERT(u[0] == round + seen || u[0] == round + seen + 1);
		while (round < u[0])
			write_round(model, ++round);
		CU_ASSERT_EQUAL_FATAL(memcmp(u, model, N * PAGE), 0);
	}
	cpa_close(cp);
	munmap(u, N * PAGE);
	free(model);
}

static const struct test tests[] = {
	{"a child begins with a whole copy, and the parent goes on", a_child_begins_with_a_whole_copy_and_the_parent_goes_on},
	{"a child made without the C library is known too", a_child_made_without_the_c_library_is_known_too},
	{"threads checkpoint their regions at once", threads_checkpoint_their_regions_at_once},
	{"what is written during a checkpoint is in the next one",
	 what_is_written_during_a_checkpoint_is_in_the_next_one},
	{"a fork amid other threads' checkpoints leaves a child that works",
	 a_fork_amid_other_threads_checkpoints_leaves_a_child_that_works},
	{"a handler that interrupts a checkpoint is told so", a_handler_that_interrupts_a_checkpoint_is_told_so},
	{"another process that commits the key in between is noticed",
	 another_process_that_commits_the_key_in_between_is_noticed},
	{"before a snapshot no userfaultfd is left open", before_a_snapshot_no_userfaultfd_is_left_open},
	{"what was written before a full arena refused it is not lost",
	 what_was_written_before_a_full_arena_refused_it_is_not_lost},
	{"a writer killed at any moment leaves a whole version for the next",
	 a_writer_killed_at_any_moment_leaves_a_whole_version_for_the_next},
};

int main(void)
{
	return run_tests("protect_process", tests, sizeof tests / sizeof *tests);
}
