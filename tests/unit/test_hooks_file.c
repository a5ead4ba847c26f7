/* Checkpoints that a program writes as files: routed, done, restored, and what is left over when it dies. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cpagent.h>

#include "lib/base/fs.h"
#include "tests/unit/harness.h"
#include "tests/unit/hooks_agent.h"

static char dir[64];

static cpa *opened(void)
{
	cpa *cp = NULL;

	CU_ASSERT_EQUAL_FATAL(cpa_open_named(&cp, dir, "program", 64 << 20), 0);
	CU_ASSERT_EQUAL_FATAL(cpa_reset(cp, NULL), 0);
	return cp;
}

static void write_file(const char *path, const char *text, size_t bytes)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	CU_ASSERT_FATAL(fd >= 0);
	CU_ASSERT_EQUAL(write(fd, text, bytes), (ssize_t)bytes);
	close(fd);
}

static int has(const char *path, const char *text)
{
	char got[256];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, got, sizeof got);

	if (fd >= 0)
		close(fd);
	return n == (ssize_t)strlen(text) && memcmp(got, text, (size_t)n) == 0;
}

static int files_in(const char *name)
{
	char path[256];
	struct dirent *e;
	int n = 0;
	DIR *d;

	snprintf(path, sizeof path, "%s/%s", dir, name);
	d = opendir(path);
	while (d && (e = readdir(d)))
		n += e->d_name[0] != '.';
	if (d)
		closedir(d);
	return n;
}

static void a_file_becomes_a_version_and_a_file_again(void)
{
	char path[4096], again[4096];
	struct cpa_entry *e;
	cpa *cp = opened();

	CU_ASSERT_EQUAL(cpa_route_file(cp, "mesh", path, sizeof path), 0);
	CU_ASSERT_EQUAL(path[0], '/');
	CU_ASSERT_NOT_EQUAL(access(path, F_OK), 0);
	write_file(path, "first", 5);
	CU_ASSERT_EQUAL(cpa_restore_file(cp, "mesh", 0, again, sizeof again), CPA_ERR_KEY); /* not before it is done */
	CU_ASSERT_EQUAL(cpa_file_done(cp, "mesh", 1), 0);
	CU_ASSERT_NOT_EQUAL(access(path, F_OK), 0);
	CU_ASSERT_EQUAL(cpa_route_file(cp, "mesh", path, sizeof path), 0);
	write_file(path, "second, longer", 14);
	CU_ASSERT_EQUAL(cpa_restore_file(cp, "mesh", 0, again, sizeof again), 0);
	CU_ASSERT(has(again, "first"));
	CU_ASSERT_EQUAL(cpa_file_done(cp, "mesh", 1), 0);
	CU_ASSERT_EQUAL(cpa_restore_file(cp, "mesh", 1, again, sizeof again), 0);
	CU_ASSERT(has(again, "second, longer"));
	CU_ASSERT_EQUAL_FATAL(cpa_query(cp, "mesh", &e), 0);
	CU_ASSERT(e->version == 2 && e->bytes == 14 && e->n == 1);
	CU_ASSERT(e->vars[0].type == CPA_BYTE && e->vars[0].count == 14);
	CU_ASSERT_STRING_EQUAL(e->vars[0].name, "file");
	cpa_list_free(e);
	cpa_close(cp);
	CU_ASSERT_NOT_EQUAL(access(again, F_OK), 0);
	CU_ASSERT_EQUAL(files_in("program.arena.files"), 0);
}

static void a_program_may_change_its_directory(void)
{
	char path[4096], was[4096];
	cpa *cp;

	CU_ASSERT_PTR_NOT_NULL_FATAL(getcwd(was, sizeof was));
	CU_ASSERT_EQUAL_FATAL(chdir(dir), 0);
	CU_ASSERT_EQUAL_FATAL(cpa_open_named(&cp, ".", "program", 0), 0);
	CU_ASSERT_EQUAL(chdir(was), 0);
	CU_ASSERT_EQUAL(cpa_route_file(cp, "mesh", path, sizeof path), 0);
	CU_ASSERT_EQUAL(strncmp(path, dir, strlen(dir)), 0);
	write_file(path, "x", 1);
	CU_ASSERT_EQUAL(cpa_file_done(cp, "mesh", 1), 0);
	cpa_close(cp);
}

static void an_empty_file_is_a_checkpoint_and_a_missing_one_is_none(void)
{
	char path[4096], again[4096];
	cpa *cp = opened();

	CU_ASSERT_EQUAL(cpa_file_done(cp, "k", 1), CPA_ERR_KEY);
	CU_ASSERT_EQUAL(cpa_route_file(cp, "k", path, sizeof path), 0);
	CU_ASSERT_EQUAL(cpa_file_done(cp, "k", 1), CPA_ERR_KEY);
	CU_ASSERT_PTR_NOT_NULL(strstr(cpa_strerror(CPA_ERR_KEY), path));
	write_file(path, "", 0); /* after that error it can still be written */
	CU_ASSERT_EQUAL(cpa_file_done(cp, "k", 1), 0);
	CU_ASSERT_EQUAL(cpa_restore_file(cp, "k", 0, again, sizeof again), 0);
	CU_ASSERT(has(again, ""));
	cpa_close(cp);
}

static void a_file_that_does_not_fit_stays_and_the_version_before_stands(void)
{
	char path[4096], again[4096];
	cpa *cp;

	CU_ASSERT_EQUAL_FATAL(cpa_open_named(&cp, dir, "little", 256 << 10), 0);
	CU_ASSERT_EQUAL(cpa_route_file(cp, "k", path, sizeof path), 0);
	write_file(path, "small", 5);
	CU_ASSERT_EQUAL(cpa_file_done(cp, "k", 1), 0);
	CU_ASSERT_EQUAL(cpa_route_file(cp, "k", path, sizeof path), 0);
	write_file(path, "", 0);
	CU_ASSERT_EQUAL(truncate(path, 1 << 20), 0);
	CU_ASSERT_EQUAL(cpa_file_done(cp, "k", 1), CPA_ERR_FULL);
	CU_ASSERT_EQUAL(access(path, F_OK), 0);
	CU_ASSERT_EQUAL(cpa_restore_file(cp, "k", 0, again, sizeof again), 0);
	CU_ASSERT(has(again, "small"));
	CU_ASSERT_EQUAL(truncate(path, 3), 0);
	CU_ASSERT_EQUAL(cpa_file_done(cp, "k", 1), 0);
	cpa_close(cp);
}

static void calls_that_make_no_sense_are_refused(void)
{
	char path[4096];
	int x = 1;
	cpa *cp = opened();

	CU_ASSERT_EQUAL(cpa_route_file(NULL, "k", path, sizeof path), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_route_file(cp, "", path, sizeof path), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_route_file(cp, "k", NULL, 0), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_route_file(cp, "k", path, 10), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_file_done(cp, "k", 1), CPA_ERR_KEY);
	CU_ASSERT_EQUAL(cpa_file_done(cp, NULL, 1), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_file_done(cp, "k", 99), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "vars", 1, CPA_VAR(x)), 0);
	CU_ASSERT_EQUAL(cpa_restore_file(cp, "vars", 0, path, sizeof path), CPA_ERR_VAR);
	CU_ASSERT_PTR_NOT_NULL(strstr(cpa_strerror(CPA_ERR_VAR), "key vars"));
	CU_ASSERT_EQUAL(cpa_restore_file(cp, "vars", 0, NULL, 0), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_route_file(cp, "d", path, sizeof path), 0);
	CU_ASSERT_EQUAL(mkdir(path, 0700), 0);
	CU_ASSERT_EQUAL(cpa_file_done(cp, "d", 1), CPA_ERR_SYSTEM);
	CU_ASSERT_EQUAL(rmdir(path), 0);
	CU_ASSERT_EQUAL(symlink("/etc/passwd", path), 0);
	CU_ASSERT_EQUAL(cpa_file_done(cp, "d", 1), CPA_ERR_SYSTEM);
	cpa_close(cp);
}

static void any_key_makes_a_file_name(void)
{
	static const char *const keys[] = {"a/b", "..", ".", "a b\n", "\xc3\xa9\xc3\xa9", "x.1.2.3.part",
					   "%41", "A", "-"};
	char path[64][4096], longest[2][CPA_KEY_MAX + 1];
	size_t n = sizeof keys / sizeof *keys, i, j;
	cpa *cp = opened();

	for (i = 0; i < n; i++)
		CU_ASSERT_EQUAL(cpa_route_file(cp, keys[i], path[i], sizeof path[i]), 0);
	for (i = 0; i < 2; i++, n++) {
		memset(longest[i], '/', CPA_KEY_MAX);
		longest[i][CPA_KEY_MAX] = '\0';
		longest[i][CPA_KEY_MAX - 1] = (char)('a' + i);
		CU_ASSERT_EQUAL(cpa_route_file(cp, longest[i], path[n], sizeof path[n]), 0);
	}
	for (i = 0; i < n; i++) {
		write_file(path[i], "x", 1);
		CU_ASSERT(strlen(strrchr(path[i], '/')) < 256);
		for (j = 0; j < i; j++)
			CU_ASSERT_STRING_NOT_EQUAL(path[i], path[j]);
	}
	CU_ASSERT_EQUAL(files_in("program.arena.files"), (int)n);
	for (i = 0; i < n; i++)
		CU_ASSERT_EQUAL(cpa_file_done(cp, i < n - 2 ? keys[i] : longest[i + 2 - n], 1), 0);
	CU_ASSERT_EQUAL(files_in("program.arena.files"), 0);
	cpa_close(cp);
}

static void a_restored_file_is_the_callers(void)
{
	char path[4096], again[4096], mine[128];
	cpa *cp = opened();

	CU_ASSERT_EQUAL(cpa_route_file(cp, "k", path, sizeof path), 0);
	write_file(path, "text", 4);
	CU_ASSERT_EQUAL(cpa_file_done(cp, "k", 1), 0);
	CU_ASSERT_EQUAL(cpa_restore_file(cp, "k", 0, again, sizeof again), 0);
	snprintf(mine, sizeof mine, "%s/mine", dir);
	CU_ASSERT_EQUAL(rename(again, mine), 0);
	CU_ASSERT_EQUAL(cpa_restore_file(cp, "k", 0, again, sizeof again), 0);
	CU_ASSERT_EQUAL(cpa_restore_file(cp, "k", 0, again, sizeof again), 0);
	cpa_close(cp);
	CU_ASSERT(has(mine, "text"));
	CU_ASSERT_EQUAL(files_in("program.arena.files"), 0);
}

/* ---- several processes, and dead ones ---- */

static int in_child(int (*body)(cpa *cp), cpa *cp)
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0)
		_exit(body(cp));
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

static char parents[4096];

static int routes_its_own(cpa *cp)
{
	char path[4096];

	if (cpa_file_done(cp, "k", 1) != CPA_ERR_KEY)
		return 1; /* the parent's is not its own */
	if (cpa_route_file(cp, "k", path, sizeof path) != 0 || strcmp(path, parents) == 0)
		return 2;
	write_file(path, "child", 5);
	if (cpa_file_done(cp, "k", 1) != 0)
		return 3;
	if (cpa_route_file(cp, "left", path, sizeof path) != 0)
		return 4;
	write_file(path, "left", 4);
	cpa_close(cp);
	return access(path, F_OK) == 0 ? 5 : 0;
}

static int dies_with_a_file(cpa *cp)
{
	char path[4096];

	if (cpa_route_file(cp, "k", path, sizeof path) != 0)
		return 1;
	write_file(path, "torn", 4);
	return 0; /* by _exit() */
}

static void each_process_has_its_own_file(void)
{
	char again[4096];
	cpa *cp = opened();

	CU_ASSERT_EQUAL(cpa_route_file(cp, "k", parents, sizeof parents), 0);
	write_file(parents, "parent", 6);
	CU_ASSERT_EQUAL(in_child(routes_its_own, cp), 0);
	CU_ASSERT(has(parents, "parent"));
	CU_ASSERT_EQUAL(cpa_restore_file(cp, "k", 0, again, sizeof again), 0);
	CU_ASSERT(has(again, "child"));
	CU_ASSERT_EQUAL(cpa_file_done(cp, "k", 1), 0);
	cpa_close(cp);
}

static int ending;

static void *asks_for_files(void *cp)
{
	while (!__atomic_load_n(&ending, __ATOMIC_RELAXED))
		(void)cpa_file_done(cp, "none", 1);
	return NULL;
}

static void a_fork_while_another_thread_is_at_the_files_leaves_a_child_that_works(void)
{
	char path[4096], key[8];
	int turn, status = 0;
	pthread_t thread;
	cpa *cp = opened();
	pid_t pid;

	for (turn = 0; turn < 40; turn++) { /* a list that takes a while */
		snprintf(key, sizeof key, "%d", turn);
		CU_ASSERT_EQUAL(cpa_route_file(cp, key, path, sizeof path), 0);
	}
	CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, asks_for_files, cp), 0);
	for (turn = 0; turn < 60 && status == 0; turn++) {
		pid = fork();
		if (pid == 0) {
			alarm(20);
			_exit(cpa_file_done(cp, "none", 1) == CPA_ERR_KEY ? 0 : 1);
		}
		CU_ASSERT_EQUAL_FATAL(waitpid(pid, &status, 0), pid);
	}
	CU_ASSERT_EQUAL(status, 0);
	__atomic_store_n(&ending, 1, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	cpa_close(cp);
}

static void what_dead_processes_left_goes_with_the_next_route(void)
{
	char path[4096], other[4096], planted[4200];
	struct agent agent;
	char *dot;
	cpa *cp, *second;

	agent_start(&agent, dir, 0, ARENA_FRESH);
	CU_ASSERT_EQUAL_FATAL(cpa_open(&cp, agent.arena), 0);
	CU_ASSERT_EQUAL_FATAL(cpa_open(&second, agent.arena), 0);
	CU_ASSERT_EQUAL(cpa_route_file(second, "alive", other, sizeof other), 0);
	write_file(other, "alive", 5);
	CU_ASSERT_EQUAL(in_child(dies_with_a_file, cp), 0);
	CU_ASSERT_EQUAL(files_in("files"), 2);
	CU_ASSERT_EQUAL(cpa_route_file(cp, "k", path, sizeof path), 0);
	CU_ASSERT_EQUAL(files_in("files"), 1);
	CU_ASSERT(has(other, "alive")); /* of the same process, through another handle */
	/* of a process that had this pid in an earlier life of the job */
	snprintf(planted, sizeof planted, "%s", path);
	dot = strrchr(planted, '.');
	snprintf(dot - 1, sizeof planted - (size_t)(dot - 1 - planted), "%c.part", dot[-1] == '0' ? '1' : '0');
	write_file(planted, "x", 1);
	snprintf(planted, sizeof planted, "%s/files/not-ours.txt", dir);
	write_file(planted, "x", 1);
	CU_ASSERT_EQUAL(files_in("files"), 3);
	CU_ASSERT_EQUAL(cpa_route_file(cp, "k", path, sizeof path), 0);
	CU_ASSERT_EQUAL(files_in("files"), 2);
	CU_ASSERT_EQUAL(access(planted, F_OK), 0);
	cpa_close(cp);
	cpa_close(second);
	agent_stop(&agent);
}

static void a_routed_file_that_was_never_done_is_gone_at_the_next_route(void)
{
	char path[4096];
	cpa *cp = opened();

	CU_ASSERT_EQUAL(cpa_route_file(cp, "k", path, sizeof path), 0);
	write_file(path, "torn", 4);
	CU_ASSERT_EQUAL(cpa_route_file(cp, "k", path, sizeof path), 0);
	CU_ASSERT_NOT_EQUAL(access(path, F_OK), 0);
	CU_ASSERT_EQUAL(cpa_file_done(cp, "k", 1), CPA_ERR_KEY);
	write_file(path, "torn", 4);
	cpa_close(cp);
	CU_ASSERT_NOT_EQUAL(access(path, F_OK), 0);
}

/* ---- a file that is not finished ---- */

struct writer {
	pthread_t thread;
	const char *path;
	int grows; /* else it shrinks, and grows again */
	int stop;
};

/* By its name: nobody has it open but for moments. */
static void *keeps_writing(void *arg)
{
	struct writer *w = arg;
	off_t bytes = 2 << 20;

	while (!__atomic_load_n(&w->stop, __ATOMIC_ACQUIRE)) {
		bytes = w->grows ? bytes + 1 : bytes ^ (3 << 20);
		if (truncate(w->path, bytes) != 0)
			break;
	}
	return NULL;
}

static void writer_start(struct writer *w, const char *path, int grows)
{
	*w = (struct writer){.path = path, .grows = grows};
	write_file(path, "x", 1);
	CU_ASSERT_EQUAL(truncate(path, 2 << 20), 0);
	CU_ASSERT_EQUAL_FATAL(pthread_create(&w->thread, NULL, keeps_writing, w), 0);
}

static void writer_stop(struct writer *w)
{
	__atomic_store_n(&w->stop, 1, __ATOMIC_RELEASE);
	pthread_join(w->thread, NULL);
}

static void a_file_that_changes_while_it_is_read_is_refused(void)
{
	char path[4096];
	struct writer w;
	int grows, rc;
	cpa *cp = opened();

	for (grows = 0; grows < 2; grows++) {
		do { /* until the writer got in between */
			CU_ASSERT_EQUAL_FATAL(cpa_route_file(cp, "k", path, sizeof path), 0);
			writer_start(&w, path, grows);
			rc = cpa_file_done(cp, "k", 1);
			writer_stop(&w);
		} while (rc == 0 || strstr(cpa_strerror(rc), "open for writing"));
		CU_ASSERT_EQUAL(rc, CPA_ERR_SYSTEM);
		CU_ASSERT_PTR_NOT_NULL(strstr(cpa_strerror(rc), "changed while it was read"));
		CU_ASSERT_EQUAL(cpa_file_done(cp, "k", 1), 0);
	}
	cpa_close(cp);
}

static void a_file_that_is_not_closed_is_refused_and_may_be_done_when_it_is(void)
{
	char path[4096], back[4096];
	cpa *cp = opened();
	FILE *f;
	int rc;

	CU_ASSERT_EQUAL_FATAL(cpa_route_file(cp, "k", path, sizeof path), 0);
	f = fopen(path, "w");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	fputs("buffered", f);
	rc = cpa_file_done(cp, "k", 1);
	CU_ASSERT_EQUAL(rc, CPA_ERR_SYSTEM);
	CU_ASSERT_PTR_NOT_NULL(strstr(cpa_strerror(rc), "still open for writing"));
	CU_ASSERT_EQUAL(cpa_restore_file(cp, "k", 0, back, sizeof back), CPA_ERR_KEY);
	fclose(f);
	CU_ASSERT_EQUAL(cpa_file_done(cp, "k", 1), 0);
	CU_ASSERT_EQUAL(cpa_restore_file(cp, "k", 0, back, sizeof back), 0);
	CU_ASSERT(has(back, "buffered"));
	cpa_close(cp);
}

static int plants_a_directory(cpa *cp)
{
	char files[128], path[4096];
	int rc;

	snprintf(files, sizeof files, "%s/planted.arena.files", dir);
	if (mkdir(files, 0777) != 0 || chown(files, 65534, 65534) != 0)
		return 1;
	if (setresgid(65533, 65533, 65533) != 0 || setresuid(65533, 65533, 65533) != 0)
		return 2;
	if (cpa_open_named(&cp, dir, "planted", 1 << 20) != 0)
		return 3;
	rc = cpa_route_file(cp, "k", path, sizeof path);
	cpa_close(cp);
	return rc == CPA_ERR_DENIED ? 0 : 4;
}

static void another_users_directory_is_not_used(void)
{
	if (geteuid() != 0)
		return;
	CU_ASSERT_EQUAL(chmod(dir, 01777), 0);
	CU_ASSERT_EQUAL(in_child(plants_a_directory, NULL), 0);
	CU_ASSERT_EQUAL(chmod(dir, 0700), 0);
}

static const struct test tests[] = {
	{"a file becomes a version, and a file again", a_file_becomes_a_version_and_a_file_again},
	{"a program may change its directory", a_program_may_change_its_directory},
	{"an empty file is a checkpoint, and a missing one is none",
	 an_empty_file_is_a_checkpoint_and_a_missing_one_is_none},
	{"a file that does not fit stays, and the version before stands",
	 a_file_that_does_not_fit_stays_and_the_version_before_stands},
	{"calls that make no sense are refused", calls_that_make_no_sense_are_refused},
	{"any key makes a file name", any_key_makes_a_file_name},
	{"a restored file is the caller's", a_restored_file_is_the_callers},
	{"each process has its own file", each_process_has_its_own_file},
	{"a fork while another thread is at the files leaves a child that works",
	 a_fork_while_another_thread_is_at_the_files_leaves_a_child_that_works},
	{"what dead processes left goes with the next route", what_dead_processes_left_goes_with_the_next_route},
	{"a routed file that was never done is gone at the next route",
	 a_routed_file_that_was_never_done_is_gone_at_the_next_route},
	{"a file that changes while it is read is refused", a_file_that_changes_while_it_is_read_is_refused},
	{"a file that is not closed is refused, and may be done when it is",
	 a_file_that_is_not_closed_is_refused_and_may_be_done_when_it_is},
	{"another user's directory is not used", another_users_directory_is_not_used},
};

int main(void)
{
	struct err e;
	int rc;

	snprintf(dir, sizeof dir, "/dev/shm/test_hooks_file.XXXXXX");
	if (!mkdtemp(dir))
		return 1;
	rc = harness_run("hooks_file", tests, sizeof tests / sizeof *tests);
	fs_remove_tree(dir, &e);
	return rc;
}
