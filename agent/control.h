/* The agent's control socket: framed requests of local users, each with the kernel's word on who asks.
 *
 * A frame is {u32 json_len, u32 data_len, json, data}, little-endian, in both directions; a request is a JSON
 * object {"verb":…}, a reply {"ok":true,…} or {"error":{"code":-3,"text":"…"}}. A connection carries one request
 * at a time: a client that sends on before it has its reply is dropped. A client that goes, or shuts down its
 * writing side, cancels its request. libuv writes without MSG_NOSIGNAL: the process must ignore SIGPIPE (and give
 * it back to what it starts). */
#ifndef CPA_AGENT_CONTROL_H
#define CPA_AGENT_CONTROL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <jansson.h>
#include <uv.h>

#include "lib/base/err.h"

#define CONTROL_CLIENTS_MAX 512
#define CONTROL_CLIENTS_PER_USER 128 /* of one uid other than root: one user does not lock out the rest */

/* A request, from control_fn until control_reply(), control_fail() or on_cancel. All of it but user and
 * on_cancel belongs to the control module. */
struct control_request {
	uid_t uid; /* who asks: SO_PEERCRED */
	gid_t gid;
	pid_t pid;
	gid_t *groups; /* supplementary: SO_PEERGROUPS */
	size_t n_groups;
	json_t *json;        /* an object; borrowed */
	const char *verb;    /* its "verb"; "" when it has none */
	const uint8_t *data; /* borrowed; NULL when len is 0 */
	size_t len;
	void *user;
	/* The client has gone, or the socket is being closed. The request is gone when this returns, and must not
	 * be replied to. NULL: nobody needs to know; the request stays until its reply, which is then dropped. */
	void (*on_cancel)(struct control_request *);
};

/* Called in the loop for each whole request; replies now or later. */
typedef void control_fn(void *ctx, struct control_request *rq);

struct control;

/* Listen on path (mode 0666). A socket left by a dead agent is taken over. ERR_FAILED: another agent answers
 * on it ("already running"); ERR_DENIED; ERR_FAILED: path too long, directory missing. *c owned. */
int control_open(struct control **c, uv_loop_t *loop, const char *path, control_fn *fn, void *ctx, struct err *e);

/* Answer; {"ok":true} is added to the reply. reply: adopted, NULL for none; data: copied. The request is gone
 * after. */
void control_reply(struct control_request *rq, json_t *reply, const void *data, size_t len);

/* Answer with an error. code: enum err_code. The request is gone after. */
void control_fail(struct control_request *rq, int code, const char *fmt, ...)
        __attribute__((format(printf, 3, 4)));

/* The same from a filled struct err. */
void control_fail_err(struct control_request *rq, const struct err *e);

/* The same, with a status between 125 and 127 for `cpagent run` to exit with. */
void control_fail_launch(struct control_request *rq, int launch_status, const struct err *e);

/* Stop listening, cancel what is pending, remove the socket. NULL is fine; the struct is gone after. The memory
 * goes as the loop runs on: run it once more (uv_run) before uv_loop_close(). */
void control_close(struct control *c);

#endif
