/* cpagent show and cpagent verify on archives: tables, documents, exit statuses. */
#include <fcntl.h>
#include <sys/stat.h>

#include <jansson.h>

#include "agent/cli/cli.h"
#include "tests/unit/archive_sample.h"

static char file[FS_PATH_MAX], said[FS_PATH_MAX], complained[FS_PATH_MAX];
static char *out, *err_text;

static int redirect(int fd, const char *to)
{
	int kept = dup(fd), n = open(to, O_RDWR | O_CREAT | O_TRUNC, 0600);

	CU_ASSERT_FATAL(kept >= 0 && n >= 0);
	dup2(n, fd);
	close(n);
	return kept;
}

static void restore(int fd, int kept, const char *from, char **text)
{
	size_t bytes;

	fflush(NULL);
	dup2(kept, fd);
	close(kept);
	free(*text);
	CU_ASSERT_EQUAL_FATAL(fs_read(from, 1 << 20, text, &bytes, NULL), 0);
}

/* The exit status; out and err_text are what it printed. */
static int cpagent(const char *a, const char *b, const char *c)
{
	char *argv[] = {(char *)(uintptr_t) "cpagent", (char *)(uintptr_t)a, (char *)(uintptr_t)b, (char *)(uintptr_t)c, NULL};
	int argc = 1 + (a != NULL) + (b != NULL) + (c != NULL), status, kept_out, kept_err;

	fflush(NULL);
	kept_out = redirect(1, said);
	kept_err = redirect(2, complained);
	status = cli_main(argc, argv);
	restore(1, kept_out, said, &out);
	restore(2, kept_err, complained, &err_text);
	return status;
}

static void an_archive(void)
{
	double u[3] = {1, 2, 3};
	struct arena_var v = {"u", u, 3, ARENA_F64};
	struct arena *a = sample_arena(1 << 20);
	struct err e = {0};

	CU_ASSERT_EQUAL(arena_put(a, "state", &v, 1, NULL), 0);
	CU_ASSERT_EQUAL(sample_put(a, "a\033key", "hello"), 0);
	CU_ASSERT_EQUAL(archive_save_arena(a, file, "prog", "node7", "heat", NULL, NULL, &e), 2);
	sample_drop(a);
}

static void show_prints_what_there_is(void)
{
	an_archive();
	CU_ASSERT_EQUAL(cpagent("show", file, NULL), 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(out, "2 keys"));
	CU_ASSERT_PTR_NOT_NULL(strstr(out, "by prog (job heat) on node7"));
	CU_ASSERT_PTR_NOT_NULL(strstr(out, "f64 u[3]"));
	CU_ASSERT_PTR_NULL(strchr(out, '\033')); /* nothing that a terminal would obey */
	CU_ASSERT_STRING_EQUAL(err_text, "");
}

static void show_as_a_document(void)
{
	json_t *doc, *key;

	an_archive();
	CU_ASSERT_EQUAL(cpagent("--json", "show", file), 0);
	doc = json_loads(out, 0, NULL);
	key = json_array_get(json_object_get(doc, "keys"), 1);
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(key, "key")), "state");
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(key, "version")), 1);
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(key, "bytes")), 24);
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(doc, "bytes")), 29);
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(doc, "job")), "heat");
	key = json_array_get(json_object_get(key, "vars"), 0);
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(key, "type")), "f64");
	json_decref(doc);
}

static void verify_says_whole(void)
{
	json_t *doc;

	an_archive();
	CU_ASSERT_EQUAL(cpagent("verify", file, NULL), 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(out, "whole: 2 keys"));
	CU_ASSERT_EQUAL(cpagent("--json", "verify", file), 0);
	doc = json_loads(out, 0, NULL);
	CU_ASSERT(json_is_true(json_object_get(doc, "whole")));
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(doc, "keys")), 2);
	json_decref(doc);
}

/* A value with one byte changed, in an archive that is in order otherwise. */
static void one_byte_in_a_value(void)
{
	static uint8_t noise[30000];
	struct arena_var v = {"noise", noise, sizeof noise, ARENA_BYTES};
	struct arena *a = sample_arena(1 << 20);
	struct err e = {0};
	struct stat st;
	unsigned seed = 1;
	size_t i;
	uint8_t byte;
	int fd;

	for (i = 0; i < sizeof noise; i++)
		noise[i] = (uint8_t)((seed = seed * 1103515245 + 12345) >> 16);
	CU_ASSERT_EQUAL(arena_put(a, "noise", &v, 1, NULL), 0);
	CU_ASSERT_EQUAL(sample_save(a, file, &e), 1);
	sample_drop(a);
	fd = open(file, O_RDWR);
	CU_ASSERT_FATAL(fd >= 0 && fstat(fd, &st) == 0);
	CU_ASSERT_EQUAL(pread(fd, &byte, 1, st.st_size / 2), 1);
	byte ^= 1;
	CU_ASSERT_EQUAL(pwrite(fd, &byte, 1, st.st_size / 2), 1);
	close(fd);
}

static void verify_says_damaged(void)
{
	one_byte_in_a_value();
	CU_ASSERT_EQUAL(cpagent("verify", file, NULL), 1);
	CU_ASSERT_STRING_EQUAL(out, "");
	CU_ASSERT(strncmp(err_text, "cpagent: ", 9) == 0 && strstr(err_text, file) && strstr(err_text, "damaged"));
	CU_ASSERT_PTR_NOT_NULL(strstr(err_text, "; use another copy of it"));
	CU_ASSERT_EQUAL(cpagent("show", file, NULL), 0); /* its list is whole */
}

static void no_such_file_and_no_archive(void)
{
	char none[FS_PATH_MAX];
	static const char *const commands[] = {"show", "verify"};
	size_t i;
	int fd;

	for (i = 0; i < 2; i++) {
		unlink(scratch_path(none));
		CU_ASSERT_EQUAL(cpagent(commands[i], none, NULL), 3);
		CU_ASSERT_PTR_NOT_NULL(strstr(err_text, none));
		fd = open(none, O_WRONLY | O_CREAT, 0600);
		CU_ASSERT_EQUAL(write(fd, "hello", 5), 5);
		close(fd);
		CU_ASSERT_EQUAL(cpagent(commands[i], none, NULL), 1);
		CU_ASSERT_EQUAL(cpagent(commands[i], NULL, NULL), 2);
		CU_ASSERT_EQUAL(cpagent(commands[i], none, none), 2);
	}
	CU_ASSERT_EQUAL(cpagent("verify", "heat", NULL), 3); /* a job's name */
	CU_ASSERT_PTR_NOT_NULL(strstr(err_text, "jobs cannot be verified"));
}

static const struct test tests[] = {
	{"show prints what there is", show_prints_what_there_is},
	{"show as a document", show_as_a_document},
	{"verify says whole", verify_says_whole},
	{"verify says damaged", verify_says_damaged},
	{"no such file, and no archive", no_such_file_and_no_archive},
};

int main(void)
{
	int rc;

	scratch_path(file);
	scratch_path(said);
	scratch_path(complained);
	rc = harness_run("archive_cli", tests, sizeof tests / sizeof *tests);
	free(out);
	free(err_text);
	return rc;
}
