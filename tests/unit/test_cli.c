/* cpagent against a small agent in a thread that answers with canned documents: usage, rendering, exit statuses,
 * and the foreground run with its output, signals and an agent that is restarted in between. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/cli/cli.h"
#include "agent/control.h"
#include "lib/base/fs.h"
#include "lib/wire/cpagent.pb-c.h"
#include "tests/unit/harness.h"

#define ARGS_MAX 40
#define UUID "11111111-2222-4333-8444-555555555555"

/* ---- running cpagent ------------------------------------------------------------------------------ */

static char dir[64];
static char *out, *err_text; /* what the last run printed */

static void keep_and_redirect(int fd, const char *name, int *kept)
{
	char path[FS_PATH_MAX];
	int to = open(fs_path(path, "%s/%s", dir, name), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_APPEND, 0600);

	*kept = dup(fd);
	CU_ASSERT_FATAL(to >= 0 && *kept >= 0);
	dup2(to, fd);
	close(to);
}

static void restore_and_read(int fd, const char *name, int kept, char **text)
{
	char path[FS_PATH_MAX];
	size_t len;

	fflush(NULL);
	dup2(kept, fd);
	close(kept);
	free(*text);
	*text = NULL;
	CU_ASSERT_EQUAL_FATAL(fs_read(fs_path(path, "%s/%s", dir, name), 1 << 24, text, &len, NULL), 0);
}

/* The exit status of `cpagent --run DIR ARGS…`; what it printed is in out and err_text. */
static int cpagent(const char *const *args)
{
	char *argv[ARGS_MAX] = { (char *)(uintptr_t) "cpagent", (char *)(uintptr_t) "--run", dir };
	int argc = 3, kept_out, kept_err, status;

	while (*args && argc < ARGS_MAX - 1)
		argv[argc++] = (char *)(uintptr_t)*args++;
	fflush(NULL);
	keep_and_redirect(1, "out", &kept_out);
	keep_and_redirect(2, "err", &kept_err);
	status = cli_main(argc, argv);
	restore_and_read(1, "out", kept_out, &out);
	restore_and_read(2, "err", kept_err, &err_text);
	return status;
}

#define CPAGENT(...) cpagent((const char *const[]){ __VA_ARGS__, NULL })

static int says(const char *text, const char *what)
{
	if (strstr(text, what))
		return 1;
	printf("    '%s' lacks '%s'\n", text, what);
	return 0;
}

/* ---- an agent ------------------------------------------------------------------------------------- */

static struct {
	uv_loop_t loop;
	uv_async_t stop;
	pthread_t thread;
	struct control *control;
	char path[108];
	Cpa__Spec *spec;
	json_t *last; /* the last request but follow */
	atomic_int signalled;
	struct control_request *waiting; /* a follow that waits for the job's end */
	bool vanish;                     /* end the connection at the next follow, once */
} agent;

static const char stdout_text[] = "one\ntwo\n", stderr_text[] = "oops\n";

static json_t *exited(void)
{
	return agent.signalled ? json_pack("{s:s,s:{s:i,s:i}}", "state", "exited", "exit", "code", 0, "signal",
	                                   (int)agent.signalled)
	                       : json_pack("{s:s,s:{s:i,s:i}}", "state", "exited", "exit", "code", 7, "signal", 0);
}

static void end_follow(struct control_request *rq)
{
	json_t *reply = exited();

	json_object_update_new(reply, json_pack("{s:i,s:i,s:b}", "stdout", 0, "stderr", 0, "ended", 1));
	control_reply(rq, reply, NULL, 0);
}

static void cancelled(struct control_request *rq)
{
	(void)rq;
	agent.waiting = NULL;
}

/* The job "held" runs until it is signalled; any other has ended with 7. Output comes in two pieces. */
static void follow(struct control_request *rq)
{
	json_int_t o = json_integer_value(json_object_get(rq->json, "stdout"));
	json_int_t m = json_integer_value(json_object_get(rq->json, "stderr"));
	const char *job = json_string_value(json_object_get(rq->json, "job"));
	char data[64];
	size_t n = o < 8 ? 4 : 0, k = m < 5 ? sizeof stderr_text - 1 : 0;

	if (!strcmp(job, "nojob")) {
		control_fail(rq, ERR_NOT_FOUND, "nojob: there is no such job; see cpagent ps -a");
	} else if (n || k) {
		memcpy(data, stdout_text + o, n);
		memcpy(data + n, stderr_text + m, k);
		control_reply(rq,
		              json_pack("{s:i,s:i,s:s,s:b}", "stdout", (int)n, "stderr", (int)k, "state",
		                        "running", "ended", 0),
		              data, n + k);
	} else if (!strcmp(job, "held") && !agent.signalled) {
		rq->on_cancel = cancelled;
		agent.waiting = rq;
		kill(getpid(), SIGTERM); /* what a user's Ctrl-C would do, now that all output is there */
	} else {
		end_follow(rq);
	}
}

static void serve_run(struct control_request *rq)
{
	const char *name;
	struct err e;

	if (agent.spec)
		cpa__spec__free_unpacked(agent.spec, NULL);
	agent.spec = cpa__spec__unpack(NULL, rq->len, rq->data);
	name = agent.spec && *agent.spec->name ? agent.spec->name : UUID;
	if (agent.spec && agent.spec->n_argv && agent.spec->argv[0].data[0] == '!') {
		err_set(&e, ERR_NOT_FOUND, "%.*s: there is no such command; check the path",
		        (int)agent.spec->argv[0].len, agent.spec->argv[0].data);
		control_fail_launch(rq, 127, &e);
		return;
	}
	control_reply(rq, json_pack("{s:s,s:s,s:s}", "job", name, "name", name, "node", "n1"), NULL, 0);
}

static void serve(void *ctx, struct control_request *rq)
{
	static const char ps[] =
	        "{\"jobs\":[{\"job\":\"" UUID "\",\"name\":\"heat\",\"state\":\"running\",\"node\":\"n1\","
	        "\"incarnation\":2,\"pid\":4711,\"snapshot\":{\"generation\":12,\"level\":2,\"size_bytes\":"
	        "1048576,"
	        "\"time\":\"2026-01-31T12:00:00.123Z\"},\"keys\":{\"count\":3,\"bytes\":2048,\"level\":1}},"
	        "{\"job\":\"x\",\"name\":\"evil\\u001b[2J\",\"state\":\"lost\"}]}";
	static const char status[] =
	        "{\"agents\":[{\"name\":\"n1\",\"level\":1,\"state\":\"up\",\"parent\":\"top\",\"jobs\":2},"
	        "{\"name\":\"top\",\"level\":2,\"state\":\"up\",\"parent\":null,\"memory_bytes\":1024,"
	        "\"memory_budget_bytes\":2048,\"lag_seconds\":0.25},"
	        "{\"name\":\"n2\",\"level\":1,\"state\":\"down\",\"parent\":\"top\"},"
	        "{\"name\":\"c1\",\"parent\":\"c2\"},{\"name\":\"c2\",\"parent\":\"c1\"}]}";
	static const char history[] =
	        "{\"generations\":[{\"generation\":3,\"time\":\"2026-01-31T12:00:00.000Z\",\"reason\":\"every\","
	        "\"size_bytes\":2097152,\"frozen_seconds\":0.0125,\"levels\":[1,2],\"restorable\":true},"
	        "{\"generation\":2,\"levels\":[],\"restorable\":false}]}";
	static const char keys[] =
	        "{\"keys\":[{\"key\":\"heat_main_u\",\"version\":40,\"level\":2,\"bytes\":808,\"vars\":["
	        "{\"name\":\"step\",\"type\":\"i32\",\"count\":1},{\"name\":\"u\",\"type\":\"f64\",\"count\":100}]"
	        "}]}";
	static const char all_keys[] =
	        "{\"keys\":[{\"key\":\"plate\",\"version\":7,\"level\":1,\"bytes\":4096,\"how\":\"dirty pages\"},"
	        "{\"key\":\"memo:1\",\"version\":1,\"level\":1,\"bytes\":8,\"how\":\"plain\"}]}";

	(void)ctx;
	if (strcmp(rq->verb, "follow")) {
		json_decref(agent.last);
		agent.last = json_deep_copy(rq->json);
	} else if (agent.vanish) {
		/* as an agent that is killed and started again */
		agent.vanish = false;
		rq->on_cancel = cancelled;
		control_close(agent.control);
		CU_ASSERT_EQUAL(control_open(&agent.control, &agent.loop, agent.path, serve, NULL, NULL), 0);
		return;
	}
	if (!strcmp(rq->verb, "run")) {
		serve_run(rq);
	} else if (!strcmp(rq->verb, "follow")) {
		follow(rq);
	} else if (!strcmp(rq->verb, "signal")) {
		agent.signalled = (int)json_integer_value(json_object_get(rq->json, "signal"));
		control_reply(rq, NULL, NULL, 0);
		if (agent.waiting)
			end_follow(agent.waiting);
		agent.waiting = NULL;
	} else if (!strcmp(rq->verb, "wait") && json_object_get(rq->json, "timeout")) {
		control_fail(rq, ERR_TIMEOUT, "it still runs; wait longer");
	} else if (!strcmp(rq->verb, "wait")) {
		control_reply(rq, exited(), NULL, 0);
	} else if (!strcmp(rq->verb, "checkpoint")) {
		control_reply(rq, json_pack("{s:i,s:i}", "generation", 13, "level", 1), NULL, 0);
	} else if (!strcmp(rq->verb, "restore")) {
		control_reply(rq, json_pack("{s:s,s:s,s:i}", "job", UUID, "node", "n2", "incarnation", 3), NULL,
		              0);
	} else if (!strcmp(rq->verb, "stop")) {
		control_fail(rq, ERR_DENIED, "heat: it is another user's job; ask them");
	} else if (!strcmp(rq->verb, "get")) {
		struct {
			int32_t step;
			char text[6];
			double u[3];
		} __attribute__((packed)) v = { -5, "a\"b\n", { 0.5, 1, -2 } };

		control_reply(rq,
		              json_pack("{s:[{s:s,s:s,s:i},{s:s,s:s,s:i},{s:s,s:s,s:i}]}", "vars", "name", "step",
		                        "type", "i32", "count", 1, "name", "t", "type", "char", "count", 6, "name",
		                        "u", "type", "f64", "count", json_object_get(rq->json, "level") ? 300 : 3),
		              &v, sizeof v);
	} else {
		const char *doc = !strcmp(rq->verb, "ps")        ? ps
		                  : !strcmp(rq->verb, "status")  ? status
		                  : !strcmp(rq->verb, "history") ? history
		                  : !strcmp(rq->verb, "keys")
		                          ? json_is_true(json_object_get(rq->json, "all")) ? all_keys : keys
		                                                 : "{}";
		control_reply(rq, json_loads(doc, 0, NULL), NULL, 0);
	}
}

static void on_stop(uv_async_t *a)
{
	control_close(agent.control);
	uv_close((uv_handle_t *)a, NULL);
}

/* The main thread alone takes signals, as in the real cpagent. */
static void *loop_thread(void *arg)
{
	(void)arg;
	uv_run(&agent.loop, UV_RUN_DEFAULT);
	return NULL;
}

static void start(void)
{
	sigset_t all, old;
	struct err e = { 0 };

	snprintf(agent.path, sizeof agent.path, "%s/control.sock", dir);
	agent.signalled = 0;
	agent.waiting = NULL;
	agent.vanish = false;
	uv_loop_init(&agent.loop);
	uv_async_init(&agent.loop, &agent.stop, on_stop);
	CU_ASSERT_EQUAL_FATAL(control_open(&agent.control, &agent.loop, agent.path, serve, NULL, &e), 0);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_create(&agent.thread, NULL, loop_thread, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static void stop(void)
{
	uv_async_send(&agent.stop);
	pthread_join(agent.thread, NULL);
	CU_ASSERT_EQUAL(uv_loop_close(&agent.loop), 0);
}

static json_int_t asked(const char *field)
{
	return json_integer_value(json_object_get(agent.last, field));
}

/* ---- tests ----------------------------------------------------------------------------------------- */

static void wrong_usage_exits_with_2_and_one_sentence_that_says_what_to_do(void)
{
	CU_ASSERT_EQUAL(cpagent((const char *const[]){ NULL }), 2);
	CU_ASSERT(says(err_text, "cpagent: no command is given; see cpagent --help\n"));
	CU_ASSERT_EQUAL(CPAGENT("frobnicate"), 2);
	CU_ASSERT(says(err_text, "frobnicate: there is no such command"));
	CU_ASSERT_EQUAL(CPAGENT("migrate", "x", "--node", "y"), 2);
	CU_ASSERT(says(err_text, "not available in this version"));
	CU_ASSERT_EQUAL(CPAGENT("--frob", "ps"), 2);
	CU_ASSERT_EQUAL(CPAGENT("ps", "--frob"), 2);
	CU_ASSERT(says(err_text, "--frob: no such option"));
	CU_ASSERT_EQUAL(CPAGENT("ps", "extra"), 2);
	CU_ASSERT_EQUAL(CPAGENT("wait"), 2);
	CU_ASSERT(says(err_text, "wait: it takes [--timeout DUR] JOB"));
	CU_ASSERT_EQUAL(CPAGENT("wait", "--timeout"), 2);
	CU_ASSERT_EQUAL(CPAGENT("wait", "--timeout", "soon", "j"), 2);
	CU_ASSERT_EQUAL(CPAGENT("signal", "FOO", "j"), 2);
	CU_ASSERT_EQUAL(CPAGENT("signal", "0", "j"), 2);
	CU_ASSERT_EQUAL(CPAGENT("checkpoint", "--level", "0", "j"), 2);
	CU_ASSERT_EQUAL(CPAGENT("save", "file"), 2);
	CU_ASSERT_EQUAL(strlen(out), 0);
}

static void wrong_options_of_run_exit_with_2(void)
{
	static const char *const bad[][2] = {
		{ "--every", "auto" },
		{ "--every", "x" },
		{ "--level", "0" },
		{ "--keep", "0" },
		{ "--mode", "both" },
		{ "--restart", "never" },
		{ "--files", "everything" },
		{ "--tcp", "keep" },
		{ "--group", "g" },
		{ "--ranks", "2" },
		{ "--strategy", "one_for_all" },
		{ "--name", "a b" },
		{ "--name", UUID },
		{ "--spares", "a,b,c,d,e" },
		{ "--env", "NOVALUE" },
		{ "--env", "=x" },
		{ "--arena", "big" },
		{ "--arena", "1K" },
		{ "--arena", "513G" },
		{ "--max-restarts", "65" },
		{ "--max-seconds", "" },
		{ "--node", "../x" },
		{ "--unknown", "x" },
	};

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		int status = CPAGENT("run", bad[i][0], bad[i][1], "--", "true");

		CU_ASSERT_EQUAL(status, 2);
		CU_ASSERT(says(err_text, bad[i][0]));
	}
	CU_ASSERT_EQUAL(CPAGENT("run"), 2);
	CU_ASSERT_EQUAL(CPAGENT("run", "--"), 2);
}

static void help_of_every_command_has_an_example(void)
{
	for (size_t i = 0; cli_commands[i]; i++) {
		CU_ASSERT_EQUAL(CPAGENT(cli_commands[i]->name, "--help"), 0);
		CU_ASSERT(says(out, "Example:\n"));
		CU_ASSERT(says(out, cli_commands[i]->summary));
	}
	CU_ASSERT_EQUAL(CPAGENT("--help"), 0);
	CU_ASSERT_EQUAL(CPAGENT("--version"), 0);
	CU_ASSERT(says(out, "cpagent 0."));
}

static void without_an_agent_every_command_exits_with_4_and_says_what_to_do(void)
{
	CU_ASSERT_EQUAL(CPAGENT("ps"), 4);
	CU_ASSERT(says(err_text, "cpagent: cannot reach the agent at "));
	CU_ASSERT(says(
	        err_text,
	        "/control.sock: No such file or directory; start cpagentd or name its directory with --run\n"));
	CU_ASSERT_EQUAL(CPAGENT("run", "true"), 4);
	CU_ASSERT_EQUAL(CPAGENT("wait", "j"), 4);
	CU_ASSERT_EQUAL(CPAGENT("logs", "-f", "j"), 4);
}

static void run_passes_on_the_command_this_process_and_the_options(void)
{
	const Cpa__Spec *s;
	struct rlimit r;
	mode_t mask;
	int env = 0;

	start();
	setenv("CLI_TEST", "old", 1);
	mask = umask(027);
	CU_ASSERT_EQUAL(CPAGENT("run", "-d", "--name", "heat", "--every", "5s", "--keep", "3", "--mode", "keyed",
	                        "--restart", "permanent", "--spares", "n2,n3", "--env", "CLI_TEST=new", "--tcp",
	                        "established", "ls", "-l", "--name"),
	                0);
	umask(mask);
	CU_ASSERT_STRING_EQUAL(out, "heat\n");
	s = agent.spec;
	CU_ASSERT_PTR_NOT_NULL_FATAL(s);
	CU_ASSERT_EQUAL_FATAL(s->n_argv, 3);
	CU_ASSERT_EQUAL(memcmp(s->argv[2].data, "--name", 6), 0);
	CU_ASSERT_EQUAL(s->every_ns, UINT64_C(5000000000));
	CU_ASSERT_EQUAL(s->keep, 3);
	CU_ASSERT_EQUAL(s->level, 0);
	CU_ASSERT_EQUAL(s->mode, CPA__MODE__KEYED);
	CU_ASSERT_EQUAL(s->restart, CPA__RESTART__PERMANENT);
	CU_ASSERT_EQUAL(s->tcp, CPA__TCP__ESTABLISHED);
	CU_ASSERT_EQUAL(s->max_restarts, 3);
	CU_ASSERT_EQUAL_FATAL(s->n_spares, 2);
	CU_ASSERT_STRING_EQUAL(s->spares[1], "n3");
	CU_ASSERT_EQUAL(s->uid, getuid());
	CU_ASSERT_EQUAL(s->umask, 027);
	getrlimit(RLIMIT_NOFILE, &r);
	CU_ASSERT_EQUAL(s->limits[RLIMIT_NOFILE]->soft, r.rlim_cur);
	CU_ASSERT(s->affinity.len > 0);
	CU_ASSERT_EQUAL(s->cwd.data[0], '/');
	for (size_t i = 0; i < s->n_env; i++) {
		CU_ASSERT(s->env[i].len > 0);
		env += s->env[i].len == 12 && !memcmp(s->env[i].data, "CLI_TEST=new", 12);
		CU_ASSERT_FALSE(s->env[i].len == 12 && !memcmp(s->env[i].data, "CLI_TEST=old", 12));
	}
	CU_ASSERT_EQUAL(env, 1);
	stop();
}

static void run_in_the_foreground_is_the_job_to_the_shell(void)
{
	start();
	CU_ASSERT_EQUAL(CPAGENT("run", "--name", "j", "--", "cmd"), 7);
	CU_ASSERT_STRING_EQUAL(out, stdout_text);
	CU_ASSERT_STRING_EQUAL(err_text, stderr_text);
	CU_ASSERT_EQUAL(CPAGENT("run", "!nothing"), 127);
	CU_ASSERT_STRING_EQUAL(err_text, "cpagent: !nothing: there is no such command; check the path\n");
	stop();
}

static void run_in_the_foreground_forwards_a_signal_and_exits_as_the_job_does(void)
{
	start();
	CU_ASSERT_EQUAL(CPAGENT("run", "--name", "held", "cmd"), 128 + SIGTERM);
	CU_ASSERT_EQUAL(agent.signalled, SIGTERM);
	CU_ASSERT_STRING_EQUAL(out, stdout_text);
	stop();
}

static void run_in_the_foreground_goes_on_at_its_place_when_the_agent_is_restarted(void)
{
	start();
	agent.vanish = true;
	CU_ASSERT_EQUAL(CPAGENT("run", "--name", "j", "cmd"), 7);
	CU_ASSERT_STRING_EQUAL(out, stdout_text);
	CU_ASSERT_STRING_EQUAL(err_text, stderr_text);
	CU_ASSERT(!agent.vanish);
	stop();
}

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

static void checkpoint_and_restore_ask_for_what_was_said(void)
{
	start();
	CU_ASSERT_EQUAL(CPAGENT("checkpoint", "j"), 0);
	CU_ASSERT_STRING_EQUAL(out, "13\n");
	CU_ASSERT_EQUAL(asked("level"), 1);
	CU_ASSERT_EQUAL(CPAGENT("checkpoint", "j", "--level", "2", "--json"), 0);
	CU_ASSERT_EQUAL(asked("level"), 2);
	CU_ASSERT(says(out, "\"generation\": 13"));
	CU_ASSERT_EQUAL(CPAGENT("restore", "j", "--node", "n2", "--generation", "12", "--force"), 0);
	CU_ASSERT_STRING_EQUAL(out, "j runs on n2, incarnation 3\n");
	CU_ASSERT_EQUAL(asked("generation"), 12);
	CU_ASSERT(json_is_true(json_object_get(agent.last, "force")));
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
	CU_ASSERT_EQUAL(CPAGENT("history", "j"), 0);
	CU_ASSERT(says(out, "12.5 ms  1,2     yes\n"));
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
	{ "wrong usage exits with 2 and one sentence that says what to do",
	  wrong_usage_exits_with_2_and_one_sentence_that_says_what_to_do },
	{ "wrong options of run exit with 2", wrong_options_of_run_exit_with_2 },
	{ "help of every command has an example", help_of_every_command_has_an_example },
	{ "without an agent, every command exits with 4 and says what to do",
	  without_an_agent_every_command_exits_with_4_and_says_what_to_do },
	{ "run passes on the command, this process and the options",
	  run_passes_on_the_command_this_process_and_the_options },
	{ "run in the foreground is the job to the shell", run_in_the_foreground_is_the_job_to_the_shell },
	{ "run in the foreground forwards a signal and exits as the job does",
	  run_in_the_foreground_forwards_a_signal_and_exits_as_the_job_does },
	{ "run in the foreground goes on at its place when the agent is restarted",
	  run_in_the_foreground_goes_on_at_its_place_when_the_agent_is_restarted },
	{ "logs and wait show output and status", logs_and_wait_show_output_and_status },
	{ "checkpoint and restore ask for what was said", checkpoint_and_restore_ask_for_what_was_said },
	{ "show commands print the document with --json, and aligned text without",
	  show_commands_print_the_document_with_json_and_aligned_text_without },
	{ "status shows a tree, and survives a circle", status_shows_a_tree_and_survives_a_circle },
	{ "get prints typed values and writes their bytes", get_prints_typed_values_and_writes_their_bytes },
	{ "values of every type are printed as numbers", values_of_every_type_are_printed_as_numbers },
	{ "keygen makes a key once, and doctor reports", keygen_makes_a_key_once_and_doctor_reports },
};

int main(void)
{
	int status;

	signal(SIGPIPE, SIG_IGN);
	unsetenv("CPAGENT_RUN");
	snprintf(dir, sizeof dir, "/tmp/test_cli.XXXXXX");
	if (!mkdtemp(dir))
		return 1;
	status = harness_run("cli", tests, sizeof tests / sizeof *tests);
	fs_remove_tree(dir, NULL);
	if (agent.spec)
		cpa__spec__free_unpacked(agent.spec, NULL);
	json_decref(agent.last);
	free(out);
	free(err_text);
	return status;
}
