/* What kind of memory a region is, and what becomes of it: a region whose memory is not what was protected is an error
 * that names it, never a wrong checkpoint and never a signal; memory that cannot be tracked is copied whole, and the
 * library says why. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "tests/unit/protect_sample.h"

#define N 64 /* pages of most regions */

static double large_bss[100000];
static double large_data[20000] = {1};

static int restored_is(cpa *cp, const char *key, const char *name, const void *is, size_t bytes)
{
	void *room = malloc(bytes);
	int right;

	right = cpa_restore(cp, key, 0, CPA_NAMED(name, room, bytes)) == 0 && memcmp(room, is, bytes) == 0;
	free(room);
	return right;
}

/* A region "u" of N pages that is checkpointed once under "k", all ones. */
static uint8_t *protected_ones(cpa *cp)
{
	uint8_t *u = pages(N);

	memset(u, 1, N * PAGE);
	CU_ASSERT_EQUAL_FATAL(cpa_protect(cp, "u", u, N * PAGE, CPA_BYTE), 0);
	CU_ASSERT_EQUAL_FATAL(cpa_checkpoint_protected(cp, "k", 1), 0);
	return u;
}

/* The next checkpoint fails with a sentence about u, and the one before stands; after cpa_protect() all is well. */
static void expect_moved(cpa *cp, void *now, const char *says)
{
	uint8_t *ones = malloc(N * PAGE);
	int i;

	memset(ones, 1, N * PAGE);
	for (i = 0; i < 2; i++) {
		CU_ASSERT_EQUAL(cpa_checkpoint_protected(cp, "k", 1), CPA_ERR_REGION);
		CU_ASSERT_PTR_NOT_NULL(strstr(cpa_strerror(CPA_ERR_REGION), "region u"));
		CU_ASSERT_PTR_NOT_NULL(strstr(cpa_strerror(CPA_ERR_REGION), says));
		CU_ASSERT(restored_is(cp, "k", "u", ones, N * PAGE));
	}
	free(ones);
	if (!now) {
		CU_ASSERT_EQUAL(cpa_unprotect(cp, "u"), 0);
		return;
	}
	CU_ASSERT_EQUAL(cpa_protect(cp, "u", now, N * PAGE, CPA_BYTE), 0);
	for (i = 0; i < 3; i++) {
		((uint8_t *)now)[i * 9000] ^= 7;
		CU_ASSERT_EQUAL(cpa_checkpoint_protected(cp, "k", 1), 0);
		CU_ASSERT(restored_is(cp, "k", "u", now, N * PAGE));
	}
	CU_ASSERT(how_of(cp, "k") == ARENA_DIRTY || !can_track(cp));
}

static void unmapped_memory_is_an_error(void)
{
	cpa *cp = opened();
	uint8_t *u = protected_ones(cp);

	munmap(u + 5 * PAGE, PAGE);
	expect_moved(cp, NULL, "unmapped or moved");
	munmap(u, N * PAGE);
	cpa_close(cp);
}

static void memory_mapped_anew_at_the_same_place_is_an_error_where_changes_are_tracked(void)
{
	cpa *cp = opened();
	uint8_t *u = protected_ones(cp);

	munmap(u + PAGE, 2 * PAGE);
	CU_ASSERT_PTR_EQUAL_FATAL(mmap(u + PAGE, 2 * PAGE, PROT_READ | PROT_WRITE,
				       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0), u + PAGE);
	if (can_track(cp))
		expect_moved(cp, u, "unmapped or moved");
	cpa_close(cp);
	munmap(u, N * PAGE);
}

static void mremap_away_is_an_error(void)
{
	cpa *cp = opened();
	uint8_t *u = protected_ones(cp), *to = pages(2 * N);

	to = mremap(u, N * PAGE, 2 * N * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	CU_ASSERT_PTR_NOT_EQUAL_FATAL(to, MAP_FAILED);
	expect_moved(cp, to, "unmapped or moved");
	cpa_close(cp);
	munmap(to, 2 * N * PAGE);
}

static void realloc_and_free_of_a_large_block_are_an_error(void)
{
	const size_t bytes = 64 << 20;
	uint8_t *u = malloc(bytes), *wall;
	cpa *cp;

	if (UNDER_ASAN) { /* freed memory stays mapped, and is not to be touched */
		free(u);
		return;
	}
	cp = opened();
	CU_ASSERT_EQUAL_FATAL(cpa_protect(cp, "u", u, N * PAGE, CPA_BYTE), 0);
	memset(u, 1, N * PAGE);
	CU_ASSERT_EQUAL_FATAL(cpa_checkpoint_protected(cp, "k", 1), 0);
	/* so that it cannot grow where it is; where that is refused, something is there already */
	wall = mmap(u - 16 + bytes + PAGE, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	u = realloc(u, 4 * bytes);
	expect_moved(cp, u, "realloc");
	if (wall != MAP_FAILED)
		munmap(wall, PAGE);
	memset(u, 1, N * PAGE);
	CU_ASSERT_EQUAL_FATAL(cpa_checkpoint_protected(cp, "k", 1), 0);
	free(u);
	expect_moved(cp, NULL, "unmapped or moved");
	cpa_close(cp);
}

static void memory_that_cannot_be_read_is_an_error(void)
{
	cpa *cp = opened();
	uint8_t *u = protected_ones(cp), small[100] = {2};
	uint8_t *s = pages(1);
	const char *only[] = {"s"};

	CU_ASSERT_EQUAL(cpa_protect(cp, "s", s, 100, CPA_BYTE), 0);
	u[3 * PAGE] = 1;
	CU_ASSERT_EQUAL(mprotect(u + 3 * PAGE, PAGE, PROT_NONE), 0);
	CU_ASSERT_EQUAL(mprotect(s, PAGE, PROT_NONE), 0);
	CU_ASSERT_EQUAL(cpa_checkpoint_protected(cp, "k", 1), CPA_ERR_REGION);
	CU_ASSERT_PTR_NOT_NULL(strstr(cpa_strerror(CPA_ERR_REGION), "region u: its memory cannot be read"));
	CU_ASSERT_EQUAL(cpa_checkpoint_regions(cp, "k", 1, only, 1), CPA_ERR_REGION);
	CU_ASSERT_PTR_NOT_NULL(strstr(cpa_strerror(CPA_ERR_REGION), "region s"));
	CU_ASSERT_EQUAL(mprotect(u + 3 * PAGE, PAGE, PROT_READ), 0);
	CU_ASSERT_EQUAL(mprotect(s, PAGE, PROT_READ | PROT_WRITE), 0);
	CU_ASSERT_EQUAL(cpa_checkpoint_protected(cp, "k", 1), 0);
	CU_ASSERT(restored_is(cp, "k", "u", u, N * PAGE));
	/* and to restore into it, it has to be writable */
	CU_ASSERT_EQUAL(cpa_restore_protected(cp, "k", 0), CPA_ERR_REGION);
	CU_ASSERT_PTR_NOT_NULL(strstr(cpa_strerror(CPA_ERR_REGION), "cannot be written"));
	CU_ASSERT_EQUAL(mprotect(u, N * PAGE, PROT_READ | PROT_WRITE), 0);
	CU_ASSERT_EQUAL(cpa_restore_protected(cp, "k", 0), 0);
	CU_ASSERT_EQUAL(mprotect(s, PAGE, PROT_READ), 0);
	CU_ASSERT_EQUAL(cpa_protect(cp, "t", s, 100, CPA_BYTE), CPA_ERR_REGION);
	CU_ASSERT_EQUAL(cpa_protect(cp, "t", small, 100, CPA_BYTE), 0);
	munmap(s, PAGE);
	CU_ASSERT_EQUAL(cpa_protect(cp, "t", s, 100, CPA_BYTE), CPA_ERR_REGION);
	CU_ASSERT_PTR_NOT_NULL(strstr(cpa_strerror(CPA_ERR_REGION), "not mapped"));
	cpa_close(cp);
	munmap(u, N * PAGE);
}

/* ---- memory that is not tracked ---- */

static void expect_whole(cpa *cp, const char *name, const char *says)
{
	const char *why = "";

	CU_ASSERT_EQUAL(cpa_tracking(cp, name, &why), 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(why, says));
	CU_ASSERT_EQUAL(cpa_checkpoint_regions(cp, name, 1, &name, 1), 0);
	CU_ASSERT_EQUAL(cpa_checkpoint_regions(cp, name, 1, &name, 1), 0);
	CU_ASSERT_EQUAL(how_of(cp, name), ARENA_WHOLE);
}

static void small_and_foreign_memory_is_copied_whole_and_says_why(void)
{
	uint8_t small[1000] = {0}, *private_file;
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	cpa *cp = opened();

	private_file = mmap(NULL, 32 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	CU_ASSERT_PTR_NOT_EQUAL_FATAL(private_file, MAP_FAILED);
	close(fd);
	CU_ASSERT_EQUAL(cpa_protect(cp, "small", small, sizeof small, CPA_BYTE), 0);
	CU_ASSERT_EQUAL(cpa_protect(cp, "file", private_file, 17 * PAGE, CPA_BYTE), 0);
	CU_ASSERT_EQUAL(CPA_PROTECT(cp, "data", large_data, 20000), 0);
	CU_ASSERT_EQUAL(cpa_protect(cp, "empty", NULL, 0, CPA_F64), 0);
	expect_whole(cp, "small", "small");
	expect_whole(cp, "file", "mapping of a file");
	expect_whole(cp, "data", "mapping of a file");
	expect_whole(cp, "empty", "small");
	private_file[5] ^= 1;
	CU_ASSERT_EQUAL(cpa_checkpoint_protected(cp, "all", 1), 0);
	CU_ASSERT(restored_is(cp, "all", "file", private_file, 17 * PAGE));
	cpa_close(cp);
	munmap(private_file, 32 * PAGE);
}

static void a_static_array_is_tracked_but_for_its_ends(void)
{
	double *back = malloc(sizeof large_bss);
	cpa *cp = opened();
	size_t i;

	CU_ASSERT_EQUAL(CPA_PROTECT(cp, "u", large_bss, 100000), 0);
	CU_ASSERT_EQUAL(cpa_tracking(cp, "u", NULL), can_track(cp));
	for (i = 0; i < 20; i++) {
		large_bss[0] = large_bss[99999] = large_bss[i * 4999] = (double)i;
		CU_ASSERT_EQUAL(cpa_checkpoint_protected(cp, "k", 1), 0);
		CU_ASSERT_EQUAL(cpa_restore(cp, "k", 0, CPA_NAMED("u", back, 100000)), 0);
		CU_ASSERT_EQUAL(memcmp(back, large_bss, sizeof large_bss), 0);
	}
	CU_ASSERT(how_of(cp, "k") == ARENA_DIRTY || !can_track(cp));
	cpa_close(cp);
	free(back);
}

static void an_array_that_ends_in_other_memory_is_tracked_but_for_its_ends(void)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	uint8_t *u = pages(N);
	cpa *cp = opened();
	size_t i;

	CU_ASSERT_PTR_EQUAL(mmap(u, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd, 0), u);
	CU_ASSERT_PTR_EQUAL(mmap(u + (N - 2) * PAGE, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd, 0),
			    u + (N - 2) * PAGE);
	close(fd);
	CU_ASSERT_EQUAL(cpa_protect(cp, "u", u, N * PAGE, CPA_BYTE), 0);
	CU_ASSERT_EQUAL(cpa_tracking(cp, "u", NULL), can_track(cp));
	for (i = 0; i < 8; i++) {
		u[(i % 2) * PAGE]++;
		u[(N - 1 - i % 2) * PAGE]++;
		u[(2 + i) * PAGE]++;
		CU_ASSERT_EQUAL(cpa_checkpoint_protected(cp, "k", 1), 0);
		CU_ASSERT(restored_is(cp, "k", "u", u, N * PAGE));
	}
	CU_ASSERT(how_of(cp, "k") == ARENA_DIRTY || !can_track(cp));
	cpa_close(cp);
	munmap(u, N * PAGE);
}

static void what_another_process_writes_into_shared_memory_is_seen(void)
{
	cpa *cp = opened();
	uint8_t *u = mmap(NULL, N * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int i;
	pid_t pid;

	CU_ASSERT_PTR_NOT_EQUAL_FATAL(u, MAP_FAILED);
	CU_ASSERT_EQUAL(cpa_protect(cp, "u", u, N * PAGE, CPA_BYTE), 0);
	expect_whole(cp, "u", "MAP_SHARED");
	for (i = 0; i < 5; i++) {
		pid = fork();
		if (pid == 0) {
			u[i * 5000]++;
			_exit(0);
		}
		CU_ASSERT(ended_well(pid));
		CU_ASSERT_EQUAL(u[i * 5000], 1);
		CU_ASSERT_EQUAL(cpa_checkpoint_protected(cp, "k", 1), 0);
		CU_ASSERT(restored_is(cp, "k", "u", u, N * PAGE));
	}
	cpa_close(cp);
	munmap(u, N * PAGE);
}

static void a_mapped_file_that_was_cut_short_is_an_error_and_no_signal(void)
{
	char path[128];
	cpa *cp = opened();
	uint8_t *u;
	int fd;

	snprintf(path, sizeof path, "%s/file", dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	CU_ASSERT_EQUAL(ftruncate(fd, N * PAGE), 0);
	u = mmap(NULL, N * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CU_ASSERT_PTR_NOT_EQUAL_FATAL(u, MAP_FAILED);
	CU_ASSERT_EQUAL(cpa_protect(cp, "u", u, N * PAGE, CPA_BYTE), 0);
	CU_ASSERT_EQUAL(cpa_checkpoint_protected(cp, "k", 1), 0);
	CU_ASSERT_EQUAL(ftruncate(fd, 3 * PAGE), 0);
	CU_ASSERT_EQUAL(cpa_checkpoint_protected(cp, "k", 1), CPA_ERR_REGION);
	CU_ASSERT_EQUAL(ftruncate(fd, N * PAGE), 0);
	CU_ASSERT_EQUAL(cpa_checkpoint_protected(cp, "k", 1), 0);
	CU_ASSERT(restored_is(cp, "k", "u", u, N * PAGE));
	cpa_close(cp);
	munmap(u, N * PAGE);
	close(fd);
	unlink(path);
}

static void huge_pages_are_copied_whole(void)
{
	const size_t bytes = 2 << 20;
	uint8_t *u = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	cpa *cp = opened();

	if (u == MAP_FAILED) {
		printf("    (not looked at: no huge pages are set aside here)\n");
	} else {
		u[5] = 6;
		CU_ASSERT_EQUAL(cpa_protect(cp, "u", u, bytes, CPA_BYTE), 0);
		expect_whole(cp, "u", "huge pages");
		CU_ASSERT(restored_is(cp, "u", "u", u, bytes));
		munmap(u, bytes);
	}
	cpa_close(cp);
}

/* ---- what others do to the tracking ---- */

static void a_second_handle_on_the_same_memory_copies_whole_and_both_are_right(void)
{
	cpa *one = opened(), *two = NULL;
	uint8_t *u = protected_ones(one);
	const char *why = "";
	int i;

	CU_ASSERT_EQUAL_FATAL(open_arena(&two), 0);
	CU_ASSERT_EQUAL(cpa_protect(two, "u", u, N * PAGE, CPA_BYTE), 0);
	for (i = 0; i < 20; i++) {
		u[i * 7000] = (uint8_t)i;
		CU_ASSERT_EQUAL(cpa_checkpoint_protected(two, "k2", 1), 0);
		CU_ASSERT(restored_is(two, "k2", "u", u, N * PAGE));
		CU_ASSERT_EQUAL(cpa_checkpoint_protected(one, "k", 1), 0);
		CU_ASSERT(restored_is(one, "k", "u", u, N * PAGE));
	}
	if (can_track(one)) {
		CU_ASSERT_EQUAL(cpa_tracking(two, "u", &why), 0);
		CU_ASSERT_PTR_NOT_NULL(strstr(why, "another handle"));
		CU_ASSERT_EQUAL(how_of(one, "k"), ARENA_DIRTY);
		/* the memory becomes the other's: nothing says so but the other's tracking of it */
		CU_ASSERT_PTR_EQUAL(mmap(u, N * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
					 -1, 0), u);
		CU_ASSERT_EQUAL(cpa_checkpoint_protected(two, "k2", 1), 0);
		CU_ASSERT_EQUAL(cpa_tracking(two, "u", NULL), 1);
		CU_ASSERT_EQUAL(cpa_checkpoint_protected(one, "k", 1), CPA_ERR_REGION);
		u[9] = 9;
		CU_ASSERT_EQUAL(cpa_checkpoint_protected(two, "k2", 1), 0);
		CU_ASSERT(restored_is(two, "k2", "u", u, N * PAGE));
	}
	cpa_close(one);
	cpa_close(two);
	munmap(u, N * PAGE);
}

static void a_program_that_closes_every_file_loses_no_change_and_no_file_of_its_own(void)
{
	cpa *cp = opened();
	uint8_t *u = protected_ones(cp);
	int i, fd, kept[64];
	char c;

	fflush(stdout);
	for (fd = 3; fd < 100; fd++)
		close(fd);
	for (i = 0; i < 64; i++)
		kept[i] = open("/dev/zero", O_RDWR | O_CLOEXEC);
	for (i = 0; i < 4; i++) {
		u[i * 30000] = 9;
		CU_ASSERT_EQUAL(cpa_checkpoint_protected(cp, "k", 1), 0);
		CU_ASSERT(restored_is(cp, "k", "u", u, N * PAGE));
	}
	CU_ASSERT(how_of(cp, "k") == ARENA_DIRTY || !can_track(cp));
	cpa_close(cp);
	for (i = 0; i < 64; i++) {
		CU_ASSERT_EQUAL(read(kept[i], &c, 1), 1);
		close(kept[i]);
	}
	munmap(u, N * PAGE);
}

static void letting_one_region_go_leaves_its_neighbour_on_the_same_page_tracked(void)
{
	cpa *cp = opened();
	uint8_t *m = pages(2 * N);
	const char *b[] = {"b"};
	size_t i;

	CU_ASSERT_EQUAL(cpa_protect(cp, "a", m, N * PAGE + 100, CPA_BYTE), 0);
	CU_ASSERT_EQUAL(cpa_protect(cp, "b", m + N * PAGE + 100, N * PAGE - 100, CPA_BYTE), 0);
	for (i = 0; i < 12; i++) {
		if (i == 4) /* resized, and then let go */
			CU_ASSERT_EQUAL(cpa_protect(cp, "a", m, 20 * PAGE, CPA_BYTE), 0);
		if (i == 6)
			CU_ASSERT_EQUAL(cpa_protect(cp, "a", m, N * PAGE + 2000, CPA_BYTE), 0);
		if (i == 8)
			CU_ASSERT_EQUAL(cpa_unprotect(cp, "a"), 0);
		if (i < 8 && i % 2)
			CU_ASSERT_EQUAL(cpa_checkpoint_protected(cp, "both", 1), 0);
		m[N * PAGE + 100 + i] = (uint8_t)(i + 1);
		m[(N + 20 + i) * PAGE] = (uint8_t)(i + 1);
		CU_ASSERT_EQUAL(cpa_checkpoint_regions(cp, "k", 1, b, 1), 0);
		CU_ASSERT(restored_is(cp, "k", "b", m + N * PAGE + 100, N * PAGE - 100));
	}
	CU_ASSERT(how_of(cp, "k") == ARENA_DIRTY || !can_track(cp));
	cpa_close(cp);
	munmap(m, 2 * N * PAGE);
}

/* ---- sandboxes ---- */

/* From now on the system call nr fails with that error in this process. */
static int refuse(int nr, unsigned error)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof code / sizeof *code, code};

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static int sandboxed(int nr, unsigned error, const char *says, int first)
{
	const char *why = "";
	cpa *cp = NULL;
	uint8_t *u = pages(N);
	int i;

	if (open_arena(&cp) != 0 || cpa_protect(cp, "u", u, N * PAGE, CPA_BYTE) != 0)
		return 1;
	if (first && cpa_checkpoint_protected(cp, "k", 1) != 0)
		return 2;
	if (!refuse(nr, error))
		return 3;
	for (i = 0; i < 3; i++) {
		u[i * 9000] = 7;
		if (cpa_checkpoint_protected(cp, "k", 1) != 0 || !restored_is(cp, "k", "u", u, N * PAGE))
			return 4;
	}
	if (how_of(cp, "k") != ARENA_WHOLE || cpa_tracking(cp, "u", &why) != 0 || !strstr(why, says))
		return 5;
	cpa_close(cp);
	return 0;
}

static void expect_sandboxed(int nr, unsigned error, const char *says, int first)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(sandboxed(nr, error, says, first));
	CU_ASSERT(ended_well(pid));
}

static void where_tracking_is_refused_regions_are_copied_whole(void)
{
	cpa *cp = opened();
	int able = can_track(cp);

	cpa_close(cp);
	if (!able)
		return;
	expect_sandboxed(SYS_userfaultfd, EPERM, "not permitted", 0);
	expect_sandboxed(SYS_userfaultfd, ENOSYS, "no userfaultfd", 0);
	expect_sandboxed(SYS_ioctl, EPERM, "cannot track", 0);
	expect_sandboxed(SYS_ioctl, EPERM, "no longer", 1);
}

static void where_mappings_cannot_be_asked_for_they_are_read(void)
{
	pid_t pid;

	pid = fork();
	if (pid == 0) {
		cpa *cp = NULL;
		uint8_t *u = pages(N), small[100] = {1};

		if (!refuse(SYS_ioctl, ENOTTY) || open_arena(&cp) != 0)
			_exit(1);
		if (cpa_protect(cp, "u", u, N * PAGE, CPA_BYTE) != 0 || cpa_protect(cp, "s", small, 100, CPA_BYTE) != 0)
			_exit(2);
		if (cpa_checkpoint_protected(cp, "k", 1) != 0 || !restored_is(cp, "k", "u", u, N * PAGE))
			_exit(3);
		if (CPA_PROTECT(cp, "data", large_data, 20000) != 0 || CPA_PROTECT(cp, "b", large_bss, 100000) != 0)
			_exit(4);
		mprotect(u + PAGE, PAGE, PROT_NONE);
		if (cpa_checkpoint_protected(cp, "k", 1) != CPA_ERR_REGION)
			_exit(5);
		munmap(u + PAGE, PAGE);
		if (cpa_checkpoint_protected(cp, "k", 1) != CPA_ERR_REGION)
			_exit(6);
		_exit(0);
	}
	CU_ASSERT(ended_well(pid));
}

/* ---- arguments ---- */

static void calls_that_make_no_sense_are_refused_with_a_sentence(void)
{
	const char *twice[] = {"u", "u"}, *none[] = {"nobody"}, *null[] = {NULL};
	cpa *cp = opened();
	uint8_t *u = pages(N);
	char longest[258], name[16];
	int i;

	CU_ASSERT_EQUAL(cpa_checkpoint_protected(cp, "k", 1), CPA_ERR_REGION);
	CU_ASSERT_EQUAL(cpa_unprotect(cp, "u"), CPA_ERR_REGION);
	CU_ASSERT_EQUAL(cpa_unprotect(cp, NULL), 0);
	memset(longest, 'x', 257);
	longest[257] = '\0';
	CU_ASSERT_EQUAL(cpa_protect(NULL, "u", u, 1, CPA_BYTE), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_protect(cp, NULL, u, 1, CPA_BYTE), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_protect(cp, "", u, 1, CPA_BYTE), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_protect(cp, longest, u, 1, CPA_BYTE), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_protect(cp, longest + 2, u, 1, CPA_BYTE), 0);
	CU_ASSERT_EQUAL(cpa_protect(cp, "u", NULL, 1, CPA_BYTE), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_protect(cp, "u", u, 1, 0), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_protect(cp, "u", u, 1, -3), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_protect(cp, "u", u, 1, 99), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_protect(cp, "u", u, UINT64_MAX / 2, CPA_F64), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_protect(cp, "u", u, UINT64_MAX, CPA_BYTE), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_protect(cp, "u", u, (uint64_t)1 << 38, CPA_BYTE), CPA_ERR_REGION);
	CU_ASSERT_EQUAL(cpa_protect(cp, "u", u, 8, CPA_F64), 0);
	CU_ASSERT_EQUAL(cpa_unprotect(cp, longest + 2), 0);
	CU_ASSERT_EQUAL(cpa_checkpoint_protected(NULL, "k", 1), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_checkpoint_protected(cp, NULL, 1), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_checkpoint_protected(cp, "k", 99), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_checkpoint_protected(cp, "\xff", 1), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_checkpoint_regions(cp, "k", 1, NULL, 0), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_checkpoint_regions(cp, "k", 1, twice, 0), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_checkpoint_regions(cp, "k", 1, twice, 2), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_checkpoint_regions(cp, "k", 1, null, 1), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_checkpoint_regions(cp, "k", 1, none, 1), CPA_ERR_REGION);
	CU_ASSERT_EQUAL(cpa_restore_protected(cp, "k", 0), CPA_ERR_KEY);
	CU_ASSERT_EQUAL(cpa_restore_regions(cp, "k", 0, none, 1), CPA_ERR_REGION);
	CU_ASSERT_EQUAL(cpa_restore_regions(cp, "k", 0, NULL, 1), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_tracking(NULL, NULL, NULL), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_tracking(cp, "nobody", NULL), CPA_ERR_REGION);
	CU_ASSERT_EQUAL(cpa_checkpoint_protected(cp, "k", 1), 0);
	CU_ASSERT_EQUAL(cpa_protect(cp, "u", u, 9, CPA_F64), 0);
	CU_ASSERT_EQUAL(cpa_restore_protected(cp, "k", 0), CPA_ERR_VAR);
	CU_ASSERT_PTR_NOT_NULL(strstr(cpa_strerror(CPA_ERR_VAR), "variable u"));
	for (i = 1; i < (int)ARENA_VARS_MAX; i++) {
		snprintf(name, sizeof name, "r%d", i);
		CU_ASSERT_EQUAL_FATAL(cpa_protect(cp, name, u, 1, CPA_BYTE), 0);
	}
	CU_ASSERT_EQUAL(cpa_protect(cp, "more", u, 1, CPA_BYTE), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_protect(cp, "r7", u, 2, CPA_BYTE), 0);
	CU_ASSERT_EQUAL(cpa_checkpoint_protected(cp, "k", 1), 0);
	CU_ASSERT_EQUAL(cpa_unprotect(cp, NULL), 0);
	CU_ASSERT_EQUAL(cpa_unprotect(cp, "u"), CPA_ERR_REGION);
	cpa_close(cp);
	munmap(u, N * PAGE);
}

static const struct test tests[] = {
	{"unmapped memory is an error", unmapped_memory_is_an_error},
	{"memory mapped anew at the same place is an error where changes are tracked",
	 memory_mapped_anew_at_the_same_place_is_an_error_where_changes_are_tracked},
	{"mremap() away is an error", mremap_away_is_an_error},
	{"realloc() and free() of a large block are an error", realloc_and_free_of_a_large_block_are_an_error},
	{"memory that cannot be read is an error", memory_that_cannot_be_read_is_an_error},
	{"small and foreign memory is copied whole, and says why", small_and_foreign_memory_is_copied_whole_and_says_why},
	{"a static array is tracked but for its ends", a_static_array_is_tracked_but_for_its_ends},
	{"an array that ends in other memory is tracked but for its ends",
	 an_array_that_ends_in_other_memory_is_tracked_but_for_its_ends},
	{"what another process writes into shared memory is seen", what_another_process_writes_into_shared_memory_is_seen},
	{"a mapped file that was cut short is an error and no signal",
	 a_mapped_file_that_was_cut_short_is_an_error_and_no_signal},
	{"huge pages are copied whole", huge_pages_are_copied_whole},
	{"a second handle on the same memory copies whole, and both are right",
	 a_second_handle_on_the_same_memory_copies_whole_and_both_are_right},
	{"a program that closes every file loses no change and no file of its own",
	 a_program_that_closes_every_file_loses_no_change_and_no_file_of_its_own},
	{"letting one region go leaves its neighbour on the same page tracked",
	 letting_one_region_go_leaves_its_neighbour_on_the_same_page_tracked},
	{"where tracking is refused, regions are copied whole", where_tracking_is_refused_regions_are_copied_whole},
	{"where mappings cannot be asked for, they are read", where_mappings_cannot_be_asked_for_they_are_read},
	{"calls that make no sense are refused with a sentence", calls_that_make_no_sense_are_refused_with_a_sentence},
};

int main(void)
{
	return run_tests("protect_memory", tests, sizeof tests / sizeof *tests);
}
