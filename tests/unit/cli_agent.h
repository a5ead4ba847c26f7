/* cpagent against a small agent in a thread that answers with canned documents. A program includes this once, and calls
 * cli_tests_run() instead of harness_run(). */
#ifndef TESTS_UNIT_CLI_AGENT_H
#define TESTS_UNIT_CLI_AGENT_H

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

static inline void keep_and_redirect(int fd, const char *name, int *kept)
{
	char path[FS_PATH_MAX];
	int to = open(fs_path(path, "%s/%s", dir, name), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_APPEND, 0600);

	*kept = dup(fd);
	CU_ASSERT_FATAL(to >= 0 && *kept >= 0);
	dup2(to, fd);
	close(to);
}

static inline void restore_and_read(int fd, const char *name, int kept, char **text)
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
static inline int cpagent(const char *const *args)
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

static inline int says(const char *text, const char *what)
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

static inline json_t *exited(void)
{
	return agent.signalled ? json_pack("{s:s,s:{s:i,s:i}}", "state", "exited", "exit", "code", 0, "signal",
	                                   (int)agent.signalled)
	                       : json_pack("{s:s,s:{s:i,s:i}}", "state", "exited", "exit", "code", 7, "signal", 0);
}

static inline void end_follow(struct control_request *rq)
{
	json_t *reply = exited();

	json_object_update_new(reply, json_pack("{s:i,s:i,s:b}", "stdout", 0, "stderr", 0, "ended", 1));
	control_reply(rq, reply, NULL, 0);
}

static inline void cancelled(struct control_request *rq)
{
	(void)rq;
	agent.waiting = NULL;
}

/* The job "held" runs until it is signalled; any other has ended with 7. Output comes in two pieces. */
static inline void follow(struct control_request *rq)
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

static inline void serve_run(struct control_request *rq)
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

static inline void serve(void *ctx, struct control_request *rq)
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
	static const char noted[] =
	        "{\"generations\":[{\"generation\":2,\"levels\":[],\"restorable\":false,\"note\":"
	        "\"no snapshot, the job runs on\"}]}";
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
	} else if (!strcmp(rq->verb, "history") &&
	           !strcmp(json_string_value(json_object_get(rq->json, "job")), "noted")) {
		control_reply(rq, json_loads(noted, 0, NULL), NULL, 0);
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

static inline void on_stop(uv_async_t *a)
{
	control_close(agent.control);
	uv_close((uv_handle_t *)a, NULL);
}

/* The main thread alone takes signals, as in the real cpagent. */
static inline void *loop_thread(void *arg)
{
	(void)arg;
	uv_run(&agent.loop, UV_RUN_DEFAULT);
	return NULL;
}

static inline void start(void)
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

static inline void stop(void)
{
	uv_async_send(&agent.stop);
	pthread_join(agent.thread, NULL);
	CU_ASSERT_EQUAL(uv_loop_close(&agent.loop), 0);
}

static inline json_int_t asked(const char *field)
{
	return json_integer_value(json_object_get(agent.last, field));
}

static inline int cli_tests_run(const char *suite, const struct test *tests, size_t n)
{
	int status;

	signal(SIGPIPE, SIG_IGN);
	unsetenv("CPAGENT_RUN");
	snprintf(dir, sizeof dir, "/tmp/test_cli.XXXXXX");
	if (!mkdtemp(dir))
		return 1;
	status = harness_run(suite, tests, n);
	fs_remove_tree(dir, NULL);
	if (agent.spec)
		cpa__spec__free_unpacked(agent.spec, NULL);
	json_decref(agent.last);
	free(out);
	free(err_text);
	return status;
}

#endif
