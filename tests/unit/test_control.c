/* The control socket from the client's side: a thread runs the loop with a small agent behind it, the tests speak
 * over real sockets. Every wait is for an answer or an end of file. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/control.h"
#include "agent/control_frame.h"
#include "lib/base/fs.h"
#include "tests/unit/harness.h"

/* ---- an agent that echoes, holds and counts ------------------------------------------------------ */

static struct {
	uv_loop_t loop;
	uv_async_t stop;
	pthread_t thread;
	struct control *control;
	char dir[64], path[108];
	atomic_int cancelled;
	int told[2]; /* one byte for each request that is held, one for each that is cancelled */
	struct control_request *silent; /* held without on_cancel */
} agent;

static void tell(char what)
{
	CU_ASSERT_EQUAL_FATAL(write(agent.told[1], &what, 1), 1);
}

static char told(void)
{
	char what = 0;

	CU_ASSERT_EQUAL_FATAL(read(agent.told[0], &what, 1), 1);
	return what;
}

static void on_cancel(struct control_request *rq)
{
	(void)rq;
	agent.cancelled++;
	tell('c');
}

static void serve(void *ctx, struct control_request *rq)
{
	struct err e;

	(void)ctx;
	if (!strcmp(rq->verb, "echo")) {
		control_reply(rq, json_pack("{s:i}", "uid", (int)rq->uid), rq->data, rq->len);
	} else if (!strcmp(rq->verb, "hold")) {
		rq->on_cancel = on_cancel;
		tell('h');
	} else if (!strcmp(rq->verb, "silent")) {
		agent.silent = rq;
		tell('s');
	} else if (!strcmp(rq->verb, "speak")) {
		control_reply(agent.silent, NULL, "late", 4);
		control_reply(rq, NULL, NULL, 0);
	} else if (!strcmp(rq->verb, "launch")) {
		err_set(&e, ERR_NOT_FOUND, "no such command");
		control_fail_launch(rq, 127, &e);
	} else {
		control_fail(rq, ERR_USAGE, "'%s\xff' is no verb", rq->verb);
	}
}

static void on_stop(uv_async_t *a)
{
	control_close(agent.control);
	uv_close((uv_handle_t *)a, NULL);
}

static void *run(void *arg)
{
	(void)arg;
	uv_run(&agent.loop, UV_RUN_DEFAULT);
	return NULL;
}

static void start(void)
{
	struct err e = { 0 };

	snprintf(agent.dir, sizeof agent.dir, "/tmp/test_control.XXXXXX");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(agent.dir));
	snprintf(agent.path, sizeof agent.path, "%s/control.sock", agent.dir);
	CU_ASSERT_EQUAL_FATAL(chmod(agent.dir, 0755), 0);
	CU_ASSERT_EQUAL_FATAL(pipe(agent.told), 0);
	agent.cancelled = 0;
	uv_loop_init(&agent.loop);
	uv_async_init(&agent.loop, &agent.stop, on_stop);
	CU_ASSERT_EQUAL_FATAL(control_open(&agent.control, &agent.loop, agent.path, serve, NULL, &e), 0);
	pthread_create(&agent.thread, NULL, run, NULL);
}

static void stop(void)
{
	uv_async_send(&agent.stop);
	pthread_join(agent.thread, NULL);
	CU_ASSERT_EQUAL(uv_loop_close(&agent.loop), 0);
	CU_ASSERT_EQUAL(access(agent.path, F_OK), -1);
	CU_ASSERT_EQUAL(fs_remove_tree(agent.dir, NULL), 0);
	close(agent.told[0]);
	close(agent.told[1]);
}

/* ---- a client ------------------------------------------------------------------------------------ */

static int dial(void)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	struct timeval tv = { .tv_sec = 20 }; /* a test that hangs fails instead */
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(at.sun_path, sizeof at.sun_path, "%s", agent.path);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
	CU_ASSERT_EQUAL_FATAL(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
	return fd;
}

static int send_frame(int fd, const char *json, const void *data, uint32_t len)
{
	uint8_t head[CONTROL_HEAD];

	control_head_put(head, (uint32_t)strlen(json), len);
	return send(fd, head, sizeof head, MSG_NOSIGNAL) == (ssize_t)sizeof head &&
	       send(fd, json, strlen(json), MSG_NOSIGNAL) == (ssize_t)strlen(json) &&
	       (!len || fs_write_full(fd, data, len) == 0);
}

/* The reply's JSON as a new reference, NULL at the end of the connection; data into a buffer of *len. */
static json_t *receive(int fd, void *data, size_t *len)
{
	uint8_t head[CONTROL_HEAD];
	uint32_t j, d;
	char *text;
	json_t *json;

	if (fs_read_full(fd, head, sizeof head))
		return NULL;
	control_head_get(head, &j, &d);
	text = malloc((size_t)j + 1);
	CU_ASSERT_EQUAL_FATAL(fs_read_full(fd, text, j), 0);
	json = json_loadb(text, j, 0, NULL);
	free(text);
	if (len) {
		CU_ASSERT_FATAL(d <= *len);
		*len = d;
		CU_ASSERT_EQUAL_FATAL(fs_read_full(fd, data, d), 0);
	}
	return json;
}

static int is_ok(json_t *reply)
{
	int ok = json_is_true(json_object_get(reply, "ok"));

	json_decref(reply);
	return ok;
}

static int is_error(json_t *reply, int code)
{
	json_t *e = json_object_get(reply, "error");
	int same = e && json_integer_value(json_object_get(e, "code")) == code && json_object_get(e, "text");

	json_decref(reply);
	return same;
}

static int still_serves(void)
{
	int fd = dial(), ok;

	send_frame(fd, "{\"verb\":\"echo\"}", NULL, 0);
	ok = is_ok(receive(fd, NULL, NULL));
	close(fd);
	return ok;
}

/* ---- tests --------------------------------------------------------------------------------------- */

static void a_request_is_answered_with_its_data_and_the_kernels_uid(void)
{
	static char big[3 << 20], back[3 << 20];
	size_t len = sizeof back;
	json_t *reply;
	int fd;

	start();
	fd = dial();
	memset(big, 'x', sizeof big);
	big[sizeof big - 1] = 'y';
	CU_ASSERT(send_frame(fd, "{\"verb\":\"echo\"}", big, sizeof big));
	reply = receive(fd, back, &len);
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(reply, "uid")), getuid());
	CU_ASSERT(json_is_true(json_object_get(reply, "ok")));
	CU_ASSERT_EQUAL(len, sizeof big);
	CU_ASSERT_EQUAL(memcmp(big, back, len), 0);
	json_decref(reply);
	CU_ASSERT(send_frame(fd, "{\"verb\":\"echo\"}", NULL, 0)); /* and the next on the same connection */
	CU_ASSERT(is_ok(receive(fd, NULL, NULL)));
	close(fd);
	stop();
}

static void a_user_who_is_not_the_agents_may_connect_and_is_known_by_uid(void)
{
	int status = -1;
	pid_t child;

	if (getuid() != 0)
		return;
	start();
	child = fork();
	if (child == 0) {
		int fd, ok;
		json_t *reply;

		if (setgid(65534) || setuid(65534))
			_exit(2);
		fd = dial();
		ok = send_frame(fd, "{\"verb\":\"echo\"}", NULL, 0);
		reply = receive(fd, NULL, NULL);
		ok = ok && json_integer_value(json_object_get(reply, "uid")) == 65534;
		_exit(ok ? 0 : 1);
	}
	waitpid(child, &status, 0);
	CU_ASSERT_EQUAL(status, 0);
	stop();
}

static void an_error_carries_code_text_and_launch_status_whatever_bytes_it_quotes(void)
{
	json_t *reply, *e;
	int fd;

	start();
	fd = dial();
	send_frame(fd, "{\"verb\":\"nonsense\"}", NULL, 0);
	CU_ASSERT(is_error(receive(fd, NULL, NULL), ERR_USAGE));
	send_frame(fd, "{\"verb\":\"launch\"}", NULL, 0);
	reply = receive(fd, NULL, NULL);
	e = json_object_get(reply, "error");
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(e, "launch_status")), 127);
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(e, "code")), ERR_NOT_FOUND);
	CU_ASSERT_PTR_NULL(json_object_get(reply, "ok"));
	json_decref(reply);
	close(fd);
	stop();
}

static void what_is_no_json_object_is_refused_and_the_connection_goes_on(void)
{
	static const char *const bad[] = { "[1,2]", "{\"verb\":", "\xff\xfe\x00", "3", "{\"verb\":\"a\"}x" };
	int fd;

	start();
	fd = dial();
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		send_frame(fd, bad[i], NULL, 0);
		CU_ASSERT(is_error(receive(fd, NULL, NULL), ERR_USAGE));
	}
	send_frame(fd, "{\"verb\":5}", NULL, 0);
	CU_ASSERT(is_error(receive(fd, NULL, NULL), ERR_USAGE));
	CU_ASSERT(send_frame(fd, "{\"verb\":\"echo\"}", NULL, 0));
	CU_ASSERT(is_ok(receive(fd, NULL, NULL)));
	close(fd);
	stop();
}

static void a_frame_too_large_or_of_length_zero_is_refused_and_the_connection_ends(void)
{
	static const uint32_t bad[][2] = { { CONTROL_JSON_MAX + 1, 0 },
		                           { 10, CONTROL_DATA_MAX + 1 },
		                           { 0, 0 },
		                           { UINT32_MAX, UINT32_MAX },
		                           { 0x20544547, 0x50545448 } };

	start();
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		uint8_t head[CONTROL_HEAD];
		int fd = dial();

		control_head_put(head, bad[i][0], bad[i][1]);
		CU_ASSERT_EQUAL(send(fd, head, sizeof head, 0), (ssize_t)sizeof head);
		CU_ASSERT(is_error(receive(fd, NULL, NULL), ERR_FAILED));
		CU_ASSERT_PTR_NULL(receive(fd, NULL, NULL));
		close(fd);
	}
	CU_ASSERT(still_serves());
	stop();
}

static void seeded_garbage_in_pieces_never_stops_the_agent(void)
{
	unsigned seed = 4711;

	start();
	for (int i = 0; i < 300; i++) {
		uint8_t junk[600];
		size_t n = (size_t)rand_r(&seed) % sizeof junk, cut;
		int fd = dial();

		for (size_t k = 0; k < n; k++)
			junk[k] = (uint8_t)rand_r(&seed);
		if (i % 2 && n > 8) /* a head that may be believed */
			control_head_put(junk, (uint32_t)rand_r(&seed) % 500 + 1, (uint32_t)rand_r(&seed) % 500);
		cut = n ? (size_t)rand_r(&seed) % n : 0;
		(void)!send(fd, junk, cut, MSG_NOSIGNAL);
		(void)!send(fd, junk + cut, n - cut, MSG_NOSIGNAL);
		close(fd);
	}
	CU_ASSERT(still_serves());
	stop();
}

static void a_client_that_goes_cancels_its_request(void)
{
	int fd;

	start();
	fd = dial();
	send_frame(fd, "{\"verb\":\"hold\"}", NULL, 0);
	CU_ASSERT_EQUAL(told(), 'h');
	CU_ASSERT_EQUAL(agent.cancelled, 0);
	close(fd);
	CU_ASSERT_EQUAL(told(), 'c');
	CU_ASSERT_EQUAL(agent.cancelled, 1);
	stop();
}

static void a_client_that_shuts_down_its_side_or_sends_on_cancels_too(void)
{
	int fd;

	start();
	fd = dial();
	send_frame(fd, "{\"verb\":\"hold\"}", NULL, 0);
	CU_ASSERT_EQUAL(told(), 'h');
	shutdown(fd, SHUT_WR);
	CU_ASSERT_EQUAL(told(), 'c');
	close(fd);
	fd = dial();
	send_frame(fd, "{\"verb\":\"hold\"}", NULL, 0);
	CU_ASSERT_EQUAL(told(), 'h');
	send_frame(fd, "{\"verb\":\"echo\"}", NULL, 0);
	CU_ASSERT_EQUAL(told(), 'c');
	CU_ASSERT_PTR_NULL(receive(fd, NULL, NULL));
	close(fd);
	stop();
}

static void a_reply_to_a_client_that_has_gone_is_dropped(void)
{
	int fd;

	start();
	fd = dial();
	send_frame(fd, "{\"verb\":\"silent\"}", NULL, 0);
	CU_ASSERT_EQUAL(told(), 's');
	close(fd);
	CU_ASSERT(still_serves());
	fd = dial();
	send_frame(fd, "{\"verb\":\"speak\"}", NULL, 0);
	CU_ASSERT(is_ok(receive(fd, NULL, NULL)));
	close(fd);
	stop();
}

static void closing_cancels_what_is_pending_and_ends_the_clients(void)
{
	int fd;

	start();
	fd = dial();
	send_frame(fd, "{\"verb\":\"hold\"}", NULL, 0);
	CU_ASSERT_EQUAL(told(), 'h');
	uv_async_send(&agent.stop);
	CU_ASSERT_EQUAL(told(), 'c');
	CU_ASSERT_PTR_NULL(receive(fd, NULL, NULL));
	close(fd);
	pthread_join(agent.thread, NULL);
	CU_ASSERT_EQUAL(uv_loop_close(&agent.loop), 0);
	fs_remove_tree(agent.dir, NULL);
}

static void a_second_agent_is_refused_and_the_first_goes_on(void)
{
	struct control *second = NULL;
	struct err e = { 0 };
	uv_loop_t loop;

	start();
	uv_loop_init(&loop);
	CU_ASSERT_EQUAL(control_open(&second, &loop, agent.path, serve, NULL, &e), ERR_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, "already running"));
	CU_ASSERT_PTR_NULL(second);
	uv_loop_close(&loop);
	CU_ASSERT(still_serves());
	stop();
}

static void the_socket_of_a_dead_agent_is_taken_over(void)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	struct stat st;
	int fd;

	start();
	snprintf(at.sun_path, sizeof at.sun_path, "%s", agent.path);
	stop();
	CU_ASSERT_EQUAL_FATAL(mkdir(agent.dir, 0755), 0);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	CU_ASSERT_EQUAL_FATAL(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
	close(fd); /* its name stays, as after kill -9 */
	uv_loop_init(&agent.loop);
	CU_ASSERT_EQUAL_FATAL(control_open(&agent.control, &agent.loop, at.sun_path, serve, NULL, NULL), 0);
	CU_ASSERT_EQUAL(stat(at.sun_path, &st), 0);
	CU_ASSERT_EQUAL(st.st_mode & 0777, 0666);
	control_close(agent.control);
	uv_run(&agent.loop, UV_RUN_DEFAULT);
	CU_ASSERT_EQUAL(uv_loop_close(&agent.loop), 0);
	fs_remove_tree(agent.dir, NULL);
}

static void a_path_that_no_socket_can_have_is_refused_in_words(void)
{
	char path[300] = "/tmp/";
	struct control *c = NULL;
	struct err e = { 0 };
	uv_loop_t loop;

	uv_loop_init(&loop);
	memset(path + 5, 'a', 200);
	CU_ASSERT_EQUAL(control_open(&c, &loop, path, serve, NULL, &e), ERR_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, "shorter"));
	CU_ASSERT_EQUAL(control_open(&c, &loop, "/nonexistent/dir/control.sock", serve, NULL, &e), ERR_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, "/nonexistent/dir"));
	uv_loop_close(&loop);
}

static void more_clients_than_the_limit_are_refused_in_words_and_the_rest_served(void)
{
	static int fd[CONTROL_CLIENTS_MAX];
	int extra;

	start();
	for (int i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		fd[i] = dial();
		send_frame(fd[i], "{\"verb\":\"echo\"}", NULL, 0);
		CU_ASSERT(is_ok(receive(fd[i], NULL, NULL)));
	}
	extra = dial();
	CU_ASSERT(is_error(receive(extra, NULL, NULL), ERR_FAILED));
	CU_ASSERT_PTR_NULL(receive(extra, NULL, NULL));
	close(extra);
	send_frame(fd[7], "{\"verb\":\"echo\"}", NULL, 0);
	CU_ASSERT(is_ok(receive(fd[7], NULL, NULL)));
	for (int i = 0; i < CONTROL_CLIENTS_MAX; i++)
		close(fd[i]);
	stop();
}

static const struct test tests[] = {
	{ "a request is answered, with its data and the kernel's uid",
	  a_request_is_answered_with_its_data_and_the_kernels_uid },
	{ "a user who is not the agent's may connect, and is known by uid",
	  a_user_who_is_not_the_agents_may_connect_and_is_known_by_uid },
	{ "an error carries code, text and launch status, whatever bytes it quotes",
	  an_error_carries_code_text_and_launch_status_whatever_bytes_it_quotes },
	{ "what is no JSON object is refused, and the connection goes on",
	  what_is_no_json_object_is_refused_and_the_connection_goes_on },
	{ "a frame too large or of length zero is refused, and the connection ends",
	  a_frame_too_large_or_of_length_zero_is_refused_and_the_connection_ends },
	{ "seeded garbage in pieces never stops the agent", seeded_garbage_in_pieces_never_stops_the_agent },
	{ "a client that goes cancels its request", a_client_that_goes_cancels_its_request },
	{ "a client that shuts down its side or sends on cancels, too",
	  a_client_that_shuts_down_its_side_or_sends_on_cancels_too },
	{ "a reply to a client that has gone is dropped", a_reply_to_a_client_that_has_gone_is_dropped },
	{ "closing cancels what is pending and ends the clients",
	  closing_cancels_what_is_pending_and_ends_the_clients },
	{ "a second agent is refused, and the first goes on", a_second_agent_is_refused_and_the_first_goes_on },
	{ "the socket of a dead agent is taken over", the_socket_of_a_dead_agent_is_taken_over },
	{ "a path that no socket can have is refused in words",
	  a_path_that_no_socket_can_have_is_refused_in_words },
	{ "more clients than the limit are refused in words, and the rest served",
	  more_clients_than_the_limit_are_refused_in_words_and_the_rest_served },
};

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	return harness_run("control", tests, sizeof tests / sizeof *tests);
}
