/* Where a program's arena lies, by which name, and every reason why it cannot be opened. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cpagent.h>

#include "lib/arena/arena.h"
#include "tests/unit/harness.h"
#include "tests/unit/tiny_fs.h"

#define NOBODY 65534
#define SOMEBODY 65533

static char dir[FS_PATH_MAX];

static const char *in_dir(const char *name, char path[256])
{
	snprintf(path, 256, "%s/%s", dir, name);
	return path;
}

/* The code that opening it gives, the sentence having all of those words; 1 if it does not. */
static int refused(const char *where, const char *name, uint64_t budget, const char *word, const char *other)
{
	cpa *cp = NULL;
	int rc = cpa_open_named(&cp, where, name, budget);

	if (rc == 0) {
		cpa_close(cp);
		return 0;
	}
	if (cp || !strstr(cpa_strerror(rc), word) || !strstr(cpa_strerror(rc), other)) {
		fprintf(stderr, "%s\n", cpa_strerror(rc));
		return 1;
	}
	return rc;
}

/* In a child, so that it can become somebody else. */
static int in_child(int (*body)(void))
{
	int status = -1;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0)
		_exit(body());
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

static int become(uid_t uid)
{
	return setresgid(uid, uid, uid) == 0 && setresuid(uid, uid, uid) == 0 ? 0 : -1;
}

static void a_later_run_finds_the_arena_of_its_name(void)
{
	struct stat st;
	char path[256];
	int x = 42;
	cpa *cp;

	CU_ASSERT_EQUAL_FATAL(cpa_open_named(&cp, dir, "n\xc3\xa4me 1", 1 << 20), 0);
	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "x", 1, CPA_VAR(x)), 0);
	cpa_close(cp);
	CU_ASSERT_EQUAL(stat(in_dir("n\xc3\xa4me 1.arena", path), &st), 0);
	CU_ASSERT_EQUAL(st.st_mode & 07777, 0600);
	CU_ASSERT_EQUAL((uint64_t)st.st_size, arena_file_bytes(1 << 20));
	CU_ASSERT_EQUAL_FATAL(cpa_open_named(&cp, dir, "another", 0), 0);
	CU_ASSERT_EQUAL(cpa_restore(cp, "x", 0, CPA_VAR(x)), CPA_ERR_KEY);
	cpa_close(cp);
	x = 0;
	CU_ASSERT_EQUAL_FATAL(cpa_open_named(&cp, dir, "n\xc3\xa4me 1", 2 << 20), 0); /* as large as it was made */
	CU_ASSERT_EQUAL(cpa_restore(cp, "x", 0, CPA_VAR(x)), 0);
	CU_ASSERT_EQUAL(x, 42);
	cpa_close(cp);
	CU_ASSERT_EQUAL_FATAL(cpa_open(&cp, dir), 0); /* under the program's name */
	cpa_close(cp);
	CU_ASSERT_EQUAL(access(in_dir("test_hooks_open.arena", path), F_OK), 0);
	setenv("XDG_STATE_HOME", dir, 1);
	CU_ASSERT_EQUAL_FATAL(cpa_open_named(&cp, NULL, "named", 1 << 20), 0);
	cpa_close(cp);
	unsetenv("XDG_STATE_HOME");
	CU_ASSERT_EQUAL(access(in_dir("cpagent/named.arena", path), F_OK), 0);
}

static void the_launchers_arena_comes_first_and_has_to_be_there(void)
{
	char path[256];
	int x = 3;
	cpa *cp;

	in_dir("launched", path);
	setenv("CPAGENT_ARENA", path, 1);
	CU_ASSERT_EQUAL(refused(NULL, NULL, 0, path, "CPAGENT_ARENA"), CPA_ERR_SYSTEM);
	CU_ASSERT_EQUAL_FATAL(arena_create(path, 1 << 20, 0600), 0);
	CU_ASSERT_EQUAL_FATAL(cpa_open_named(&cp, NULL, "a/b", 1 << 30), 0); /* a name and a budget change nothing */
	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "x", 1, CPA_VAR(x)), 0);
	cpa_close(cp);
	CU_ASSERT_EQUAL_FATAL(cpa_open(&cp, path), 0);
	CU_ASSERT_EQUAL(cpa_restore(cp, "x", 1, CPA_VAR(x)), 0);
	cpa_close(cp);
	CU_ASSERT_EQUAL_FATAL(cpa_open_named(&cp, dir, "not launched", 1 << 20), 0);
	CU_ASSERT_EQUAL(cpa_restore(cp, "x", 1, CPA_VAR(x)), CPA_ERR_KEY);
	cpa_close(cp);
	unsetenv("CPAGENT_ARENA");
}

static void an_arena_that_is_not_there_is_no_directory_to_be_made(void)
{
	char path[256];

	in_dir("mistyped.arena", path);
	CU_ASSERT_EQUAL(refused(path, NULL, 0, path, "no such file"), CPA_ERR_SYSTEM);
	CU_ASSERT_EQUAL(access(path, F_OK), -1);
	in_dir("a file", path);
	CU_ASSERT_EQUAL_FATAL(close(open(path, O_WRONLY | O_CREAT, 0600)), 0);
	in_dir("a file/below.arena", path);
	CU_ASSERT_EQUAL(refused(path, NULL, 0, path, "Not a directory"), CPA_ERR_SYSTEM);
}

static void names_and_budgets_that_make_no_sense_are_refused(void)
{
	static const char *const names[] = {"", ".", "..", "a/b", "/", "a\nb", "\x7f", "\x01"};
	char path[256], longest[202];
	size_t i;

	for (i = 0; i < sizeof names / sizeof *names; i++)
		CU_ASSERT_EQUAL(refused(dir, names[i], 1 << 20, "name", "cpa_open_named"), CPA_ERR_ARG);
	memset(longest, 'n', sizeof longest);
	longest[201] = '\0';
	CU_ASSERT_EQUAL(refused(dir, longest, 1 << 20, "200 bytes", ""), CPA_ERR_ARG);
	longest[200] = '\0';
	CU_ASSERT_EQUAL(refused(dir, longest, 1 << 20, "", ""), 0);
	CU_ASSERT_EQUAL(refused(dir, "n", 1, "budget", "64 KiB"), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(refused(dir, "n", UINT64_MAX, "budget", "512 GiB"), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(refused("", "n", 0, "empty path", ""), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_open_named(NULL, dir, "n", 0), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(mkfifo(in_dir("fifo", path), 0600), 0);
	CU_ASSERT_EQUAL(refused(path, "n", 0, "neither a directory nor a file", path), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(refused("/dev/null", "n", 0, "neither", "/dev/null"), CPA_ERR_ARG);
}

/* ---- files that are no arena of ours ---- */

static void spoil(const char *path, off_t at, const void *bytes, size_t n)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	CU_ASSERT_EQUAL(pwrite(fd, bytes, n, at), (ssize_t)n);
	close(fd);
}

static void a_file_that_is_no_arena_is_refused_with_a_reason(void)
{
	const uint32_t format = ARENA_FORMAT + 1;
	char path[256], link[256];
	struct arena_header h;
	int fd;

	in_dir("bad.arena", path);
	CU_ASSERT_EQUAL_FATAL(arena_create(path, 1 << 20, 0600), 0);
	CU_ASSERT_EQUAL(symlink(path, in_dir("link.arena", link)), 0);
	CU_ASSERT_EQUAL(refused(dir, "link", 0, "symbolic link", link), CPA_ERR_DENIED);
	CU_ASSERT_EQUAL(symlink("nowhere", in_dir("dangling.arena", link)), 0);
	CU_ASSERT_EQUAL(refused(dir, "dangling", 0, "symbolic link", link), CPA_ERR_DENIED);
	fd = open(path, O_RDWR | O_CLOEXEC);
	CU_ASSERT_EQUAL(pread(fd, &h, sizeof h, 0), (ssize_t)sizeof h);
	close(fd);
	h.format = format;
	h.sum = arena_header_sum(&h);
	spoil(path, 0, &h, sizeof h);
	CU_ASSERT_EQUAL(refused(dir, "bad", 0, "another version", path), CPA_ERR_FORMAT);
	spoil(path, 0, "no arena", 8);
	CU_ASSERT_EQUAL(refused(dir, "bad", 0, "no arena", path), CPA_ERR_BROKEN);
	CU_ASSERT_EQUAL(truncate(path, 5000), 0);
	CU_ASSERT_EQUAL(refused(path, NULL, 0, "damaged", path), CPA_ERR_BROKEN);
	CU_ASSERT_EQUAL(truncate(path, 0), 0);
	CU_ASSERT_EQUAL(refused(path, NULL, 0, "damaged", path), CPA_ERR_BROKEN);
	CU_ASSERT_EQUAL(unlink(path), 0);
}

static int finds_it_full(const char *tiny)
{
	return refused(tiny, "n", 1 << 20, "make room", tiny) == CPA_ERR_FULL ? 0 : 1;
}

static void a_full_file_system_is_named(void)
{
	CU_ASSERT(tiny_fs_ok(tiny_fs_run("32k", finds_it_full)));
}

/* ---- other users ---- */

static char planted[256];

static int finds_a_planted_one(void)
{
	if (become(SOMEBODY))
		return 1;
	/* found by its name: never; named itself: not another common user's */
	if (refused(dir, "planted", 0, "another user", "65534") != CPA_ERR_DENIED)
		return 2;
	return refused(planted, NULL, 0, "another user", planted) == CPA_ERR_DENIED ? 0 : 3;
}

static int finds_one_of_root(void)
{
	int x = 0;
	cpa *cp;

	if (become(SOMEBODY))
		return 1;
	if (refused(dir, "roots", 0, "another user", "uid 0") != CPA_ERR_DENIED)
		return 2;
	if (cpa_open(&cp, planted) != 0) /* named itself: for reading */
		return 3;
	if (cpa_restore(cp, "x", 0, CPA_VAR(x)) != 0 || x != 9)
		return 4;
	if (cpa_checkpoint(cp, "x", 1, CPA_VAR(x)) != CPA_ERR_DENIED || cpa_reset(cp, NULL) != CPA_ERR_DENIED ||
	    cpa_keep(cp, "x", 2) != CPA_ERR_DENIED)
		return 5;
	return 0;
}

static int may_not_even_read(void)
{
	if (become(SOMEBODY))
		return 1;
	return refused(planted, NULL, 0, "permission denied", planted) == CPA_ERR_DENIED ? 0 : 2;
}

static int has_no_place(void)
{
	char path[256];

	if (become(SOMEBODY))
		return 1;
	if (refused(dir, "n", 0, "cannot be made", "directory of your own") != CPA_ERR_DENIED)
		return 2;
	in_dir("below/it", path);
	return refused(path, "n", 0, "cannot be made", "directory of your own") == CPA_ERR_DENIED ? 0 : 3;
}

static void another_users_arena_is_not_used(void)
{
	int x = 9;
	cpa *cp;

	if (geteuid() != 0)
		return;
	CU_ASSERT_EQUAL(chmod(scratch_root, 0755), 0);
	CU_ASSERT_EQUAL(chmod(dir, 01777), 0);
	in_dir("planted.arena", planted);
	CU_ASSERT_EQUAL_FATAL(arena_create(planted, 1 << 20, 0666), 0);
	CU_ASSERT_EQUAL(chown(planted, NOBODY, NOBODY), 0);
	CU_ASSERT_EQUAL(in_child(finds_a_planted_one), 0);
	CU_ASSERT_EQUAL(refused(dir, "planted", 0, "another user", "65534"), CPA_ERR_DENIED); /* nor by root */
	CU_ASSERT_EQUAL(refused(planted, NULL, 0, "", ""), 0); /* who may look at anybody's when told to */
	in_dir("roots.arena", planted);
	CU_ASSERT_EQUAL_FATAL(cpa_open_named(&cp, dir, "roots", 1 << 20), 0);
	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "x", 1, CPA_VAR(x)), 0);
	cpa_close(cp);
	CU_ASSERT_EQUAL(chmod(planted, 0644), 0);
	CU_ASSERT_EQUAL(in_child(finds_one_of_root), 0);
	CU_ASSERT_EQUAL(chmod(planted, 0600), 0);
	CU_ASSERT_EQUAL(in_child(may_not_even_read), 0);
	CU_ASSERT_EQUAL(chmod(dir, 0755), 0);
	CU_ASSERT_EQUAL(in_child(has_no_place), 0);
}

static int is_short_of_address_space(void)
{
	struct rlimit limit = {UINT64_C(1) << 30, UINT64_C(1) << 30};

	if (refused(dir, "large", UINT64_C(4) << 30, "", "") != 0)
		return 1;
	if (setrlimit(RLIMIT_AS, &limit) != 0)
		return 2;
	if (refused(dir, "large", 0, "address space", "ulimit -v") != CPA_ERR_MEMORY)
		return 3;
	return refused(dir, "fits", 0, "", "") == 0 ? 0 : 4; /* a new one is made to fit */
}

static void a_limit_of_address_space_is_named(void)
{
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	CU_ASSERT_EQUAL(in_child(is_short_of_address_space), 0);
#else
	(void)is_short_of_address_space;
#endif
}

static int closes_its_copy(cpa *cp)
{
	int x = 5;

	if (cpa_checkpoint(cp, "x", 1, CPA_VAR(x)) != 0)
		return 1;
	cpa_close(cp);
	return 0;
}

static void a_forked_child_may_close_its_copy(void)
{
	int x = 0, status = -1;
	pid_t pid;
	cpa *cp;

	CU_ASSERT_EQUAL_FATAL(cpa_open_named(&cp, dir, "forked", 1 << 20), 0);
	CU_ASSERT(cpa_should_checkpoint(cp) >= 0);
	pid = fork();
	if (pid == 0)
		_exit(closes_its_copy(cp));
	waitpid(pid, &status, 0);
	CU_ASSERT_EQUAL(status, 0);
	CU_ASSERT_EQUAL(cpa_restore(cp, "x", 0, CPA_VAR(x)), 0);
	CU_ASSERT_EQUAL(x, 5);
	cpa_close(cp);
	cpa_close(NULL);
}

static const struct test tests[] = {
	{"a later run finds the arena of its name", a_later_run_finds_the_arena_of_its_name},
	{"the launcher's arena comes first and has to be there", the_launchers_arena_comes_first_and_has_to_be_there},
	{"an arena that is not there is no directory to be made", an_arena_that_is_not_there_is_no_directory_to_be_made},
	{"names and budgets that make no sense are refused", names_and_budgets_that_make_no_sense_are_refused},
	{"a file that is no arena is refused with a reason", a_file_that_is_no_arena_is_refused_with_a_reason},
	{"a full file system is named", a_full_file_system_is_named},
	{"another user's arena is not used", another_users_arena_is_not_used},
	{"a limit of address space is named", a_limit_of_address_space_is_named},
	{"a forked child may close its copy", a_forked_child_may_close_its_copy},
};

int main(void)
{
	scratch_path(dir);
	unsetenv("CPAGENT_ARENA");
	if (fs_mkdirs(dir, 0700, NULL) < 0)
		return 1;
	return harness_run("hooks_open", tests, sizeof tests / sizeof *tests);
}
