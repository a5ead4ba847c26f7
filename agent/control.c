/* Owns the control socket: who may connect, how many, for how long. What happens on a connection is in
 * control_client.c; how the socket's name is come by, in control_listen.c. All of it runs in the loop's thread. */
#include "agent/control.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/control_client.h"
#include "agent/control_listen.h"
#include "lib/base/log.h"

#define SWEEP_MS 5000
#define STALL_MS 30000 /* a frame or a reply must make progress within this */
#define IDLE_MS 600000 /* a connection without any request */

/* A reply that drains, however slowly, is progress. */
static bool is_stuck(struct client *cl, uint64_t now)
{
	size_t queue = cl->state == WRITES ? uv_stream_get_write_queue_size((uv_stream_t *)&cl->pipe) : 0;

	if (cl->state == WRITES && queue != cl->reply_queue) {
		cl->reply_queue = queue;
		cl->moved_ms = now;
	}
	if (cl->state == BUSY)
		return false;
	if (cl->state == READS && cl->head_have == 0)
		return now - cl->moved_ms > IDLE_MS;
	return now - cl->moved_ms > STALL_MS;
}

static void on_sweep(uv_timer_t *t)
{
	struct control *c = t->data;
	uint64_t now = uv_now(t->loop);

	for (struct client *cl = c->clients, *next; cl; cl = next) {
		next = cl->next;
		if (is_stuck(cl, now))
			client_close(cl);
	}
}

static void client_link(struct control *c, struct client *cl)
{
	cl->owner = c;
	cl->next = c->clients;
	cl->link = &c->clients;
	if (cl->next)
		cl->next->link = &cl->next;
	c->clients = cl;
	if (c->n_clients++ == 0)
		uv_timer_start(&c->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
}

#define GROUPS_MAX 65536 /* NGROUPS_MAX of Linux */

static int who_is_it(struct client *cl)
{
	struct ucred who;
	socklen_t len = sizeof who;
	int fd;

	if (uv_fileno((const uv_handle_t *)&cl->pipe, &fd) || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len))
		return -1;
	cl->rq.uid = who.uid;
	cl->rq.gid = who.gid;
	cl->rq.pid = who.pid;
	len = GROUPS_MAX * sizeof(gid_t);
	cl->rq.groups = malloc(len);
	if (!cl->rq.groups || getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, cl->rq.groups, &len))
		return -1;
	cl->rq.n_groups = len / sizeof(gid_t);
	gid_t *fit = realloc(cl->rq.groups, len ? len : sizeof(gid_t));
	if (fit)
		cl->rq.groups = fit;
	return 0;
}

static unsigned clients_of(const struct control *c, uid_t uid)
{
	unsigned n = 0;

	for (const struct client *cl = c->clients; cl; cl = cl->next)
		n += cl->rq.uid == uid;
	return n;
}

static void on_connection(uv_stream_t *s, int status)
{
	struct control *c = s->data;
	struct client *cl;

	if (status < 0) {
		log_warn("control_accept_failed", "why=\"%s\"", uv_strerror(status));
		return;
	}
	cl = calloc(1, sizeof *cl);
	if (!cl)
		return; /* libuv holds this connection back, and those behind it: without memory, nothing goes on
		         */
	uv_pipe_init(s->loop, &cl->pipe, 0);
	cl->pipe.data = cl;
	cl->moved_ms = uv_now(s->loop);
	client_link(c, cl);
	if (uv_accept(s, (uv_stream_t *)&cl->pipe) || who_is_it(cl))
		client_close(cl);
	else if (c->n_clients > CONTROL_CLIENTS_MAX)
		client_refuse(cl, "the agent serves as many clients as it can; try again when some have ended");
	else if (cl->rq.uid != 0 && clients_of(c, cl->rq.uid) > CONTROL_CLIENTS_PER_USER)
		client_refuse(cl, "you have as many connections to the agent as one user may; end some of them");
	else if (client_start(cl))
		client_close(cl);
}

/* ---- open and close ------------------------------------------------------------------------------ */

static void on_handle_closed(uv_handle_t *h)
{
	struct control *c = h->data;

	if (--c->handles == 0)
		free(c);
}

void control_close(struct control *c)
{
	if (!c || c->closing)
		return;
	c->closing = true;
	while (c->clients)
		client_close(c->clients);
	unlink(c->path);
	uv_close((uv_handle_t *)&c->pipe, on_handle_closed);
	uv_close((uv_handle_t *)&c->sweep, on_handle_closed);
	close(c->lock); /* last: from here on, another agent may take the name */
}

int control_open(struct control **out, uv_loop_t *loop, const char *path, control_fn *fn, void *ctx, struct err *e)
{
	struct control *c = calloc(1, sizeof *c);
	int fd, r;

	if (!c)
		return err_set(e, ERR_FAILED, "out of memory");
	r = control_listen(path, &fd, &c->lock, e);
	if (r) {
		free(c);
		return r;
	}
	snprintf(c->path, sizeof c->path, "%s", path);
	c->fn = fn;
	c->ctx = ctx;
	c->handles = 2;
	uv_pipe_init(loop, &c->pipe, 0);
	uv_timer_init(loop, &c->sweep);
	c->pipe.data = c->sweep.data = c;
	r = uv_pipe_open(&c->pipe, fd);
	if (r)
		close(fd);
	else
		r = uv_listen((uv_stream_t *)&c->pipe, 128, on_connection);
	if (r) {
		err_set(e, ERR_FAILED, "%s: cannot listen: %s", path, uv_strerror(r));
		control_close(c);
		return ERR_FAILED;
	}
	*out = c;
	return 0;
}
