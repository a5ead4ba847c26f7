/* One client of the control socket: frames in, replies out. Shared by control.c, which owns the socket and the
 * list of clients, and control_client.c, which owns what happens on a connection. */
#ifndef CPA_AGENT_CONTROL_CLIENT_H
#define CPA_AGENT_CONTROL_CLIENT_H

#include <stdbool.h>

#include "agent/control.h"
#include "agent/control_frame.h"

enum client_state { READS, BUSY, WRITES, CLOSING };

struct client {
	struct control_request rq; /* first: a request is its client */
	uv_pipe_t pipe;
	struct control *owner; /* NULL once closing */
	struct client *next, **link;
	enum client_state state;
	bool handle_gone; /* its close callback has run */
	bool unanswered;  /* the agent still holds rq */
	bool last;        /* close after the reply */
	uint8_t head[CONTROL_HEAD];
	size_t head_have;
	uint8_t *body; /* json, then data */
	size_t body_have, body_room, body_len, json_len;
	uint8_t *reply;
	size_t reply_len, reply_queue;
	uv_write_t write;
	uint64_t moved_ms; /* when something last went on */
	char scratch;
};

struct control {
	uv_pipe_t pipe;
	uv_timer_t sweep;
	control_fn *fn;
	void *ctx;
	struct client *clients;
	unsigned n_clients;
	size_t held;
	int lock;
	int handles;
	bool closing;
	char path[108];
};

/* Begin to read requests. 0 or a libuv error. */
int client_start(struct client *cl);

/* Say why and close. */
void client_refuse(struct client *cl, const char *why);

/* Cancel what is pending and close; the memory goes later. Idempotent. */
void client_close(struct client *cl);

#endif
