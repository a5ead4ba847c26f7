/* cpa_save and cpa_load as a program calls them: the library that they load, what they say when it is not there, and
 * memos that a later run finds in an archive. */
#include <fcntl.h>
#include <sys/wait.h>

#include "hooks/memo_impl.h"
#include "lib/archive/plugin.h"
#include "tests/unit/archive_sample.h"

static char file[FS_PATH_MAX], build[FS_PATH_MAX], junk[FS_PATH_MAX];

static cpa *opened(uint64_t budget)
{
	char path[FS_PATH_MAX];
	cpa *cp = NULL;

	scratch_path(path);
	CU_ASSERT_EQUAL_FATAL(arena_create(path, budget, 0600), 0);
	CU_ASSERT_EQUAL_FATAL(cpa_open(&cp, path), 0);
	return cp;
}

static int square(cpa *cp, double x, size_t n)
{
	double *in = calloc(n, sizeof *in), *out = calloc(n, sizeof *out);
	cpa_memo *m;
	size_t i;
	int known;

	for (i = 0; i < n; i++)
		in[i] = x + (double)i;
	known = cpa_memo_begin(cp, &m, "square 1", CPA_IN(CPA_ARRAY(in, n)), CPA_OUT(CPA_ARRAY(out, n)));
	for (i = 0; i < n; i++) {
		if (known == 1 && out[i] != in[i] * in[i])
			known = -100;
		out[i] = in[i] * in[i];
	}
	cpa_memo_end(m);
	free(in);
	free(out);
	return known;
}

static void a_program_takes_its_keys_to_another_arena(void)
{
	double u[3] = {1.5, 2.5, 3.5}, back[3] = {0};
	int step = 7, step_back = 0;
	cpa *a = opened(1 << 20), *b = opened(1 << 20);

	CU_ASSERT_EQUAL(cpa_checkpoint(a, "state", 1, CPA_VAR(step), CPA_ARRAY(u, 3)), 0);
	CU_ASSERT_EQUAL(cpa_checkpoint(a, "other", 1, CPA_VAR(step)), 0);
	CU_ASSERT_EQUAL(cpa_save(a, file), 2);
	CU_ASSERT_EQUAL(cpa_load(b, file), 2);
	CU_ASSERT_EQUAL(cpa_restore(b, "state", 0, CPA_NAMED("step", &step_back, 1), CPA_NAMED("u", back, 3)), 0);
	CU_ASSERT(step_back == 7 && back[2] == 3.5);
	cpa_close(a);
	cpa_close(b);
}

static void protected_regions_come_along(void)
{
	static double u[20000], v[100];
	cpa *a = opened(4 << 20), *b = opened(4 << 20);
	int i;

	for (i = 0; i < 20000; i++)
		u[i] = i;
	v[99] = 5;
	CU_ASSERT_EQUAL(cpa_protect(a, "u", u, 20000, CPA_F64), 0);
	CU_ASSERT_EQUAL(cpa_protect(a, "v", v, 100, CPA_F64), 0);
	CU_ASSERT_EQUAL(cpa_checkpoint_protected(a, "regions", 1), 0);
	u[7] = -7;
	CU_ASSERT_EQUAL(cpa_checkpoint_protected(a, "regions", 1), 0);
	CU_ASSERT_EQUAL(cpa_save(a, file), 1);
	cpa_close(a);
	memset(u, 0, sizeof u);
	memset(v, 0, sizeof v);
	CU_ASSERT_EQUAL(cpa_load(b, file), 1);
	CU_ASSERT_EQUAL(cpa_protect(b, "u", u, 20000, CPA_F64), 0);
	CU_ASSERT_EQUAL(cpa_protect(b, "v", v, 100, CPA_F64), 0);
	CU_ASSERT_EQUAL(cpa_restore_protected(b, "regions", 0), 0);
	CU_ASSERT(u[7] == -7 && u[19999] == 19999 && v[99] == 5);
	CU_ASSERT_EQUAL(cpa_load(b, file), 1);
	CU_ASSERT_EQUAL(arena_newest(b->arena, "regions", NULL), 1);
	cpa_close(b);
}

static void a_loaded_memo_is_known_at_once(void)
{
	struct cpa_memo_stats *list;
	uint64_t numbers[2];
	cpa *a = opened(1 << 20), *b = opened(1 << 20);
	int i;

	for (i = 0; i < 10; i++)
		CU_ASSERT_EQUAL(square(a, i, 6000), 0);
	CU_ASSERT_EQUAL(square(a, 3, 6000), 1);
	CU_ASSERT_EQUAL(cpa_save(a, file), 10);
	CU_ASSERT_EQUAL(cpa_load(b, file), 10);
	for (i = 0; i < 10; i++)
		CU_ASSERT_EQUAL(square(b, i, 6000), 1);
	CU_ASSERT_EQUAL(cpa_memo_list(b, &list), 1); /* its own counts, not those of the other arena */
	CU_ASSERT(list[0].hits == 10 && list[0].misses == 0 && list[0].results == 10 && list[0].bytes == 480000);
	cpa_memo_list_free(list);
	CU_ASSERT(memo_numbers(b, MEMO_PREFIX, numbers) == 0 && numbers[0] == 480000 && numbers[1] == 10);
	cpa_close(a);
	cpa_close(b);
}

static void loaded_memos_keep_to_the_limit(void)
{
	struct cpa_memo_stats *list;
	cpa *a = opened(1 << 20), *b = opened(1 << 20);
	int i;

	for (i = 0; i < 10; i++)
		CU_ASSERT_EQUAL(square(a, i, 1000), 0);
	CU_ASSERT_EQUAL(cpa_save(a, file), 10);
	CU_ASSERT_EQUAL(cpa_memo_set(b, CPA_MEMO_LIMIT, 24000), 0);
	CU_ASSERT_EQUAL(cpa_load(b, file), 10);
	CU_ASSERT_EQUAL(cpa_memo_list(b, &list), 1);
	CU_ASSERT_EQUAL(list[0].results, 3);
	cpa_memo_list_free(list);
	cpa_close(a);
	cpa_close(b);
}

static void keys_find_room_where_memos_were(void)
{
	static uint8_t noise[600000];
	cpa *a = opened(1 << 20), *b = opened(1 << 20);
	int i;

	memset(noise, 7, sizeof noise);
	CU_ASSERT_EQUAL(cpa_checkpoint(a, "noise", 1, CPA_ARRAY(noise, sizeof noise)), 0);
	CU_ASSERT_EQUAL(cpa_save(a, file), 1);
	for (i = 0; i < 120; i++)
		CU_ASSERT_EQUAL(square(b, i, 1000), 0);
	CU_ASSERT_EQUAL(cpa_load(b, file), 1);
	memset(noise, 0, sizeof noise);
	CU_ASSERT_EQUAL(cpa_restore(b, "noise", 0, CPA_ARRAY(noise, sizeof noise)), 0);
	CU_ASSERT_EQUAL(noise[599999], 7);
	cpa_close(a);
	cpa_close(b);
}

static void errors_say_what_is_wrong(void)
{
	static uint8_t noise[600000];
	char none[FS_PATH_MAX];
	cpa *a = opened(1 << 20), *b = opened(1 << 17);
	int fd;

	CU_ASSERT_EQUAL(cpa_save(NULL, file), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_save(a, NULL), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_load(a, ""), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_load(a, scratch_path(none)), CPA_ERR_SYSTEM);
	CU_ASSERT_PTR_NOT_NULL(strstr(cpa_strerror(CPA_ERR_SYSTEM), none));
	CU_ASSERT_PTR_NOT_NULL(strstr(cpa_strerror(CPA_ERR_SYSTEM), "No such file"));
	fd = open(none, O_WRONLY | O_CREAT, 0600);
	CU_ASSERT_EQUAL(write(fd, "no archive", 10), 10);
	close(fd);
	CU_ASSERT_EQUAL(cpa_load(a, none), CPA_ERR_CORRUPT);
	CU_ASSERT_PTR_NOT_NULL(strstr(cpa_strerror(CPA_ERR_CORRUPT), none));
	CU_ASSERT_EQUAL(cpa_checkpoint(a, "noise", 1, CPA_ARRAY(noise, sizeof noise)), 0);
	CU_ASSERT_EQUAL(cpa_save(a, file), 1);
	CU_ASSERT_EQUAL(cpa_load(b, file), CPA_ERR_FULL);
	a->arena->read_only = 1;
	CU_ASSERT_EQUAL(cpa_load(a, file), CPA_ERR_DENIED);
	CU_ASSERT_EQUAL(cpa_save(a, file), 1);
	a->arena->read_only = 0;
	cpa_close(a);
	cpa_close(b);
}

/* ---- the library that is loaded ---- */

/* In a process that has not loaded it: 0, or what is wrong. */
static int in_a_child(int (*fn)(cpa *cp))
{
	cpa *cp = opened(1 << 20);
	pid_t child = fork();
	int status = -1;

	if (child == 0)
		_exit(fn(cp));
	waitpid(child, &status, 0);
	cpa_close(cp);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int by_itself(cpa *cp)
{
	unsetenv("CPAGENT_LIBDIR");
	return cpa_save(cp, file) != 0;
}

static int without_it(cpa *cp)
{
	char bad[2 * FS_PATH_MAX];
	int fd;

	/* something of that name that is no library: tried first, and named, when nothing else is found */
	fs_mkdirs(junk, 0700, NULL);
	snprintf(bad, sizeof bad, "%s/" ARCHIVE_PLUGIN, junk);
	fd = open(bad, O_WRONLY | O_CREAT, 0600);
	if (fd < 0 || write(fd, "junk", 4) != 4 || close(fd) != 0)
		return 1;
	setenv("CPAGENT_LIBDIR", junk, 1);
	if (cpa_save(cp, file) == 0)
		return 0; /* found beside the program all the same */
	if (!strstr(cpa_strerror(CPA_ERR_SYSTEM), ARCHIVE_PLUGIN) || !strstr(cpa_strerror(CPA_ERR_SYSTEM), bad))
		return 2;
	return 0;
}

static void the_library_is_found_beside_the_program_or_named(void)
{
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* whose dlopen() does not know the program's path */
	CU_ASSERT_EQUAL(in_a_child(by_itself), 0);
#else
	(void)by_itself;
#endif
	CU_ASSERT_EQUAL(in_a_child(without_it), 0);
}

static const struct test tests[] = {
	/* first: the others load it into this process, and so into its children */
	{"the library is found beside the program, or named", the_library_is_found_beside_the_program_or_named},
	{"a program takes its keys to another arena", a_program_takes_its_keys_to_another_arena},
	{"protected regions come along", protected_regions_come_along},
	{"a loaded memo is known at once", a_loaded_memo_is_known_at_once},
	{"loaded memos keep to the limit", loaded_memos_keep_to_the_limit},
	{"keys find room where memos were", keys_find_room_where_memos_were},
	{"errors say what is wrong", errors_say_what_is_wrong},
};

int main(void)
{
	char self[FS_PATH_MAX] = "", *slash;
	int up;

	if (readlink("/proc/self/exe", self, sizeof self - 1) < 0)
		return 1;
	for (up = 0; up < 3 && (slash = strrchr(self, '/')); up++)
		*slash = '\0';
	fs_path(build, "%s", self);
	setenv("CPAGENT_LIBDIR", build, 0); /* two directories up from tests/unit */
	scratch_path(file);
	scratch_path(junk);
	return harness_run("archive_hooks", tests, sizeof tests / sizeof *tests);
}
