/* Owns the conversation with the agent: one connection, one frame there, one back. Waits in one place, where
 * signals are heard too. */
#include "agent/cli/cli.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/control_frame.h"
#include "lib/base/clock.h"
#include "lib/base/scoped.h"

#define SEND_SECONDS 30
#define PATIENCE_NS (30 * NS_PER_S)
#define RETRY_MS 50

void cli_disconnect(struct cli *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

void cli_answer_free(struct cli_answer *a)
{
	json_decref(a->json);
	free(a->data);
	*a = (struct cli_answer){ 0 };
}

static int no_agent(const struct cli *c, const char *why, struct err *e)
{
	return err_set(e, ERR_NO_AGENT,
	               "cannot reach the agent at %s/control.sock: %s; start cpagentd or name its "
	               "directory with --run",
	               c->run, why);
}

static int dial(struct cli *c, struct err *e)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	struct timeval patience = { .tv_sec = SEND_SECONDS };
	scoped_fd int fd = -1;
	int n;

	if (c->fd >= 0)
		return 0;
	n = snprintf(at.sun_path, sizeof at.sun_path, "%s/control.sock", c->run);
	if (n < 0 || (size_t)n >= sizeof at.sun_path)
		return err_set(e, ERR_USAGE,
		               "--run: %s is too long for a socket's name; name the agent's directory", c->run);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_sys(e, ERR_FAILED, "cannot create a socket");
	/* also bounds connect(): an agent that is stopped lets its queue fill up */
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	if (connect(fd, (struct sockaddr *)&at, sizeof at)) {
		if (errno == EACCES || errno == EPERM)
			return err_sys(e, ERR_DENIED, "%s/control.sock: this user may not reach the agent",
			               c->run);
		return no_agent(c, errno == EAGAIN ? "it does not take connections" : strerror(errno), e);
	}
	c->fd = scoped_take_fd(fd);
	return 0;
}

/* An agent that refuses a request may close before it has read all of it: then its answer says why. */
static int send_all(const struct cli *c, const void *data, size_t len)
{
	for (const char *p = data; len > 0;) {
		ssize_t n = send(c->fd, p, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EPIPE ? 0 : -1;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int send_request(struct cli *c, const json_t *request, const void *data, size_t len, struct err *e)
{
	char *text = json_dumps(request, JSON_COMPACT);
	uint8_t head[CONTROL_HEAD];
	size_t n = text ? strlen(text) : 0;
	int r = 0;

	if (!n || n > CONTROL_JSON_MAX || len > CONTROL_DATA_MAX) {
		r = err_set(e, ERR_USAGE,
		            "what is asked for is too large, or is not UTF-8; shorten the arguments");
	} else {
		control_head_put(head, (uint32_t)n, (uint32_t)len);
		if (send_all(c, head, sizeof head) || send_all(c, text, n) || send_all(c, data, len))
			r = no_agent(c, strerror(errno), e);
	}
	free(text);
	return r;
}

static void hear_signal(struct cli *c)
{
	struct signalfd_siginfo si;

	if (read(c->signal_fd, &si, sizeof si) == (ssize_t)sizeof si && c->on_signal)
		c->on_signal(c, (int)si.ssi_signo);
}

/* Wait until fd (-1: none) can be read. 1: it can; 0: the deadline (0: none) has passed. Signals are heard. */
static int wait_readable(struct cli *c, int fd, int64_t deadline)
{
	for (;;) {
		struct pollfd p[2] = { { .fd = fd, .events = POLLIN }, { .fd = c->signal_fd, .events = POLLIN } };
		int64_t left = deadline - clock_boot_ns();

		if (deadline && left <= 0)
			return 0;
		if (poll(p, 2, deadline ? (int)((left + NS_PER_MS - 1) / NS_PER_MS) : -1) < 0 && errno != EINTR)
			return 1; /* the read will say what is wrong */
		if (p[0].revents)
			return 1;
		if (p[1].revents & POLLIN)
			hear_signal(c);
	}
}

static int receive(struct cli *c, void *buf, size_t len, int64_t deadline, struct err *e)
{
	for (uint8_t *p = buf; len > 0;) {
		ssize_t n;

		if (!wait_readable(c, c->fd, deadline))
			return no_agent(c, "it does not answer in time", e);
		n = recv(c->fd, p, len, MSG_DONTWAIT);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0)
			return no_agent(c, n ? strerror(errno) : "it ended the connection", e);
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* What the agent says went wrong becomes our error. */
static int take_error(struct cli_answer *a, struct err *e)
{
	json_t *error = json_object_get(a->json, "error");
	json_int_t code = json_integer_value(json_object_get(error, "code"));
	const char *text = json_string_value(json_object_get(error, "text"));

	if (!error) {
		json_object_del(a->json, "ok");
		return 0;
	}
	a->launch_status = (int)json_integer_value(json_object_get(error, "launch_status"));
	return err_set(e, code < 0 && code >= ERR_TIMEOUT ? (int)code : ERR_FAILED, "%s",
	               text ? text : "the agent gives no reason; its log may");
}

static int receive_answer(struct cli *c, int64_t deadline, struct cli_answer *a, struct err *e)
{
	scoped_free char *text = NULL;
	uint8_t head[CONTROL_HEAD];
	uint32_t n, len;

	if (receive(c, head, sizeof head, deadline, e))
		return e->code;
	control_head_get(head, &n, &len);
	if (n > CONTROL_REPLY_JSON_MAX || len > CONTROL_DATA_MAX)
		return no_agent(c, "what answers there is no agent", e);
	text = malloc((size_t)n + 1);
	a->data = malloc((size_t)len + 1);
	if (!text || !a->data)
		return err_set(e, ERR_FAILED, "out of memory for the agent's answer");
	if (receive(c, text, n, deadline, e) || receive(c, a->data, len, deadline, e))
		return e->code;
	a->len = len;
	a->json = json_loadb(text, n, 0, NULL);
	if (!json_is_object(a->json))
		return no_agent(c, "what answers there is no agent", e);
	c->reached = true;
	return 0;
}

int cli_send(struct cli *c, const json_t *request, struct err *e)
{
	int r = dial(c, e);

	if (!r)
		r = send_request(c, request, NULL, 0, e);
	if (r)
		cli_disconnect(c);
	return r;
}

int cli_receive(struct cli *c, unsigned seconds, struct cli_answer *a, struct err *e)
{
	int64_t deadline = seconds ? clock_boot_ns() + (int64_t)seconds * NS_PER_S : 0;
	int r;

	*a = (struct cli_answer){ 0 };
	r = receive_answer(c, deadline, a, e);
	if (!r)
		return take_error(a, e);
	cli_disconnect(c);
	cli_answer_free(a);
	return r;
}

/* request borrowed */
static int call_once(struct cli *c, const json_t *request, const void *data, size_t len, unsigned seconds,
                     struct cli_answer *a, struct err *e)
{
	int64_t deadline = seconds ? clock_boot_ns() + (int64_t)seconds * NS_PER_S : 0;
	int r;

	*a = (struct cli_answer){ 0 };
	r = dial(c, e);
	if (!r)
		r = send_request(c, request, data, len, e);
	if (!r)
		r = receive_answer(c, deadline, a, e);
	if (r) {
		cli_disconnect(c); /* an answer that comes late must not be taken for the next one's */
		cli_answer_free(a);
		return r;
	}
	return take_error(a, e);
}

int cli_call(struct cli *c, json_t *request, const void *data, size_t len, unsigned seconds, struct cli_answer *a,
             struct err *e)
{
	int r = call_once(c, request, data, len, seconds, a, e);

	json_decref(request);
	return r;
}

int cli_call_patient(struct cli *c, json_t *request, unsigned seconds, struct cli_answer *a, struct err *e)
{
	int64_t give_up = 0;
	int r;

	while ((r = call_once(c, request, NULL, 0, seconds, a, e)) == ERR_NO_AGENT && c->reached) {
		int64_t now = clock_boot_ns();

		if (!give_up)
			give_up = now + PATIENCE_NS;
		if (now >= give_up)
			break;
		wait_readable(c, -1, now + RETRY_MS * NS_PER_MS);
	}
	json_decref(request);
	return r;
}

int cli_show(struct cli *c, json_t *request, unsigned seconds, cli_render *render)
{
	struct cli_answer a;
	struct err e = { 0 };
	int status;

	if (cli_call(c, request, NULL, 0, seconds, &a, &e)) {
		status = cli_fail(&e);
	} else if (c->json) {
		status = cli_print_json(a.json);
	} else {
		render(stdout, a.json, c->color);
		status = 0;
	}
	cli_answer_free(&a);
	return status;
}
