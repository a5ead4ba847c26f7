/* cpagent: what its commands show, as documents and as text for people; keys and doctor. */
#include <sys/stat.h>

#include "tests/unit/cli_agent.h"

static void logs_and_wait_show_output_and_status(void)
{
	start();
	CU_ASSERT_EQUAL(CPAGENT("logs", "j"), 0);
	CU_ASSERT_STRING_EQUAL(out, stdout_text);
	CU_ASSERT_EQUAL(CPAGENT("logs", "--stderr", "j"), 0);
	CU_ASSERT_STRING_EQUAL(out, stderr_text);
	CU_ASSERT_STRING_EQUAL(err_text, "");
	CU_ASSERT_EQUAL(CPAGENT("logs", "nojob"), 3);
	CU_ASSERT_EQUAL(CPAGENT("wait", "j"), 7);
	CU_ASSERT_EQUAL(CPAGENT("wait", "--timeout", "10ms", "j"), 6);
	CU_ASSERT_EQUAL(CPAGENT("stop", "j"), 5);
	CU_ASSERT_EQUAL(CPAGENT("signal", "sigusr1", "j"), 0);
	CU_ASSERT_EQUAL(asked("signal"), SIGUSR1);
	CU_ASSERT_EQUAL(CPAGENT("wait", "j"), 128 + SIGUSR1);
	stop();
}

static void show_commands_print_the_document_with_json_and_aligned_text_without(void)
{
	json_t *doc;

	start();
	CU_ASSERT_EQUAL(CPAGENT("--json", "ps"), 0);
	doc = json_loads(out, 0, NULL);
	CU_ASSERT_EQUAL(json_array_size(json_object_get(doc, "jobs")), 2);
	CU_ASSERT_PTR_NULL(json_object_get(doc, "ok"));
	json_decref(doc);
	CU_ASSERT_EQUAL(CPAGENT("ps"), 0);
	CU_ASSERT(says(out, "NAME      JOB       STATE    NODE  INC   PID  SNAPSHOT  KEYS           AGE\n"));
	CU_ASSERT(says(out, "heat      11111111  running  n1      2  4711  12@2      3 (2.0 KiB)@1  "));
	CU_ASSERT(says(out, "evil?[2J")); /* a name must not steer the terminal */
	CU_ASSERT_PTR_NULL(strchr(out, '\033'));
	CU_ASSERT(strstr(out, "evil") < strstr(out, "heat")); /* by name, however the agent has them */
	CU_ASSERT_EQUAL(CPAGENT("history", "j"), 0);
	CU_ASSERT(says(out, "12.5 ms  1,2     yes\n"));
	CU_ASSERT_EQUAL(CPAGENT("history", "noted"), 0);
	CU_ASSERT(says(out, "RESTORABLE  NOTE\n"));
	CU_ASSERT(says(out, "no          no snapshot, the job runs on\n"));
	CU_ASSERT_EQUAL(CPAGENT("keys"), 0);
	CU_ASSERT(says(out, "KEY          VERSION  LEVEL  BYTES  AGE  VARIABLES\n"));
	CU_ASSERT(says(out, "i32 step, f64 u[100]\n"));
	CU_ASSERT_EQUAL(CPAGENT("keys", "--all"), 0);
	CU_ASSERT(says(out, "KEY     VERSION  LEVEL    BYTES  AGE  HOW          VARIABLES\n"));
	CU_ASSERT(says(out, "dirty pages") && says(out, "memo:1"));
	stop();
}

static void status_shows_a_tree_and_survives_a_circle(void)
{
	start();
	CU_ASSERT_EQUAL(CPAGENT("status"), 0);
	CU_ASSERT(says(out, "\ntop "));
	CU_ASSERT(says(out, "\n├─ n1 "));
	CU_ASSERT(says(out, "\n└─ n2 "));
	CU_ASSERT(says(out, "\nc1 "));
	CU_ASSERT(says(out, "\n└─ c2 "));
	stop();
}

static void get_prints_typed_values_and_writes_their_bytes(void)
{
	char path[FS_PATH_MAX];
	struct stat st;

	start();
	CU_ASSERT_EQUAL(CPAGENT("get", "j", "k"), 0);
	CU_ASSERT_STRING_EQUAL(out, "i32 step = -5\nchar t[6] = \"a\\\"b\\x0a\"\nf64 u[3] = [0.5, 1, -2]\n");
	fs_path(path, "%s/value", dir);
	CU_ASSERT_EQUAL(CPAGENT("get", "j", "k", "-o", path), 0);
	CU_ASSERT_STRING_EQUAL(out, "");
	CU_ASSERT_EQUAL(stat(path, &st), 0);
	CU_ASSERT_EQUAL(st.st_size, 34);
	CU_ASSERT_EQUAL(CPAGENT("get", "j", "k", "--level", "2"), 1); /* more is said than comes with it */
	CU_ASSERT(says(err_text, "does not fit"));
	stop();
}

/* What cpagent get prints of one variable. */
static const char *printed(const char *type, const void *data, size_t bytes, int count)
{
	static char text[256];
	struct err e = { 0 };
	json_t *vars = json_pack("[{s:s,s:s,s:i}]", "name", "v", "type", type, "count", count);
	FILE *to = fmemopen(text, sizeof text, "w");

	memset(text, 0, sizeof text);
	CU_ASSERT_PTR_NOT_NULL_FATAL(to);
	CU_ASSERT_EQUAL(cli_render_values(to, vars, data, bytes, &e), 0);
	fclose(to);
	json_decref(vars);
	return text;
}

static void values_of_every_type_are_printed_as_numbers(void)
{
	const bool truth[2] = { true, false };
	const float _Complex c32 = 0.5f - 2 * 1.0if;
	const double _Complex c64[2] = { 0.25 + 3 * 1.0i, -1 };

	CU_ASSERT_STRING_EQUAL(printed("i8", "\xff", 1, 1), "i8 v = -1\n");
	CU_ASSERT_STRING_EQUAL(printed("u8", "\xff", 1, 1), "u8 v = 255\n");
	CU_ASSERT_STRING_EQUAL(printed("u64", "\xff\xff\xff\xff\xff\xff\xff\xff", 8, 1), "u64 v = 18446744073709551615\n");
	CU_ASSERT_STRING_EQUAL(printed("bool", truth, 2, 2), "bool v[2] = [true, false]\n");
	CU_ASSERT_STRING_EQUAL(printed("c32", &c32, sizeof c32, 1), "c32 v = (0.5, -2)\n");
	CU_ASSERT_STRING_EQUAL(printed("c64", c64, sizeof c64, 2), "c64 v[2] = [(0.25, 3), (-1, 0)]\n");
	CU_ASSERT_STRING_EQUAL(printed("bytes", "\x01\xfe", 2, 2), "bytes v[2] = 01fe\n");
#if defined(__x86_64__)
	const long double f80 = 1.5L;
	const long double _Complex c80 = 0.125L - 1.0il;
	static const uint8_t none[16] = { 1, [9] = 0x40 };

	CU_ASSERT_STRING_EQUAL(printed("f80", &f80, sizeof f80, 1), "f80 v = 1.5\n");
	CU_ASSERT_STRING_EQUAL(printed("c80", &c80, sizeof c80, 1), "c80 v = (0.125, -1)\n");
	CU_ASSERT_STRING_EQUAL(printed("f80", none, sizeof none, 1), "f80 v = 01000000000000000040\n");
	CU_ASSERT_STRING_EQUAL(printed("f128", none, sizeof none, 1), "f128 v = 01000000000000000040000000000000\n");
#endif
}

static void keygen_makes_a_key_once_and_doctor_reports(void)
{
	char path[FS_PATH_MAX];
	struct stat st;
	json_t *doc;

	fs_path(path, "%s/key", dir);
	CU_ASSERT_EQUAL(CPAGENT("keygen", path), 0);
	CU_ASSERT_EQUAL(stat(path, &st), 0);
	CU_ASSERT_EQUAL(st.st_mode & 07777, 0600);
	CU_ASSERT_NOT_EQUAL(CPAGENT("keygen", path), 0);
	CU_ASSERT_EQUAL(CPAGENT("keygen"), 0);
	CU_ASSERT_EQUAL(strncmp(out, "cpagent-key-1 ", 14), 0);
	CU_ASSERT_EQUAL(strlen(out), 14 + 64 + 1);
	CPAGENT("doctor", "--json", "--key", path);
	doc = json_loads(out, 0, NULL);
	CU_ASSERT(json_array_size(json_object_get(doc, "checks")) >= 10);
	json_decref(doc);
	chmod(path, 0644);
	CU_ASSERT_EQUAL(CPAGENT("doctor", "--key", path), 1);
	CU_ASSERT(says(out, "fail  cluster key: "));
}

static const struct test tests[] = {
	{ "logs and wait show output and status", logs_and_wait_show_output_and_status },
	{ "show commands print the document with --json, and aligned text without",
	  show_commands_print_the_document_with_json_and_aligned_text_without },
	{ "status shows a tree, and survives a circle", status_shows_a_tree_and_survives_a_circle },
	{ "get prints typed values and writes their bytes", get_prints_typed_values_and_writes_their_bytes },
	{ "values of every type are printed as numbers", values_of_every_type_are_printed_as_numbers },
	{ "keygen makes a key once, and doctor reports", keygen_makes_a_key_once_and_doctor_reports },
};

int main(void)
{
	return cli_tests_run("cli_show", tests, sizeof tests / sizeof *tests);
}
