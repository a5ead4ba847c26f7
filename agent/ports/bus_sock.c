/* Owns the PUSH socket of a link: opened when there is something to send, polled while it cannot be sent, closed
 * to be made anew or to give way to another. */
#include <nanomsg/nn.h>
#include <nanomsg/pipeline.h>
#include <nanomsg/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ports/bus_impl.h"

void bus_link_close(struct link *l)
{
	if (l->sock < 0)
		return;
	l->poll->data = l->bus;
	/* first libuv, which still knows the descriptor, then nanomsg, which closes it */
	uv_close((uv_handle_t *)l->poll, bus_handle_closed);
	while (nn_close(l->sock) < 0 && nn_errno() == EINTR)
		;
	l->bus->n_sockets--;
	l->sock = -1;
	l->poll = NULL;
	l->polling = 0;
	l->connections = 0;
}

static void sock_options(int sock, const char *url)
{
	int one = 1, zero = 0, first_ms = 50, most_ms = 500;

	nn_setsockopt(sock, NN_TCP, NN_TCP_NODELAY, &one, sizeof one);
	nn_setsockopt(sock, NN_SOL_SOCKET, NN_RECONNECT_IVL, &first_ms, sizeof first_ms);
	nn_setsockopt(sock, NN_SOL_SOCKET, NN_RECONNECT_IVL_MAX, &most_ms, sizeof most_ms);
	if (strchr(url, '['))
		nn_setsockopt(sock, NN_SOL_SOCKET, NN_IPV4ONLY, &zero, sizeof zero);
}

/* Sockets are few: the one unused for longest gives way, if nothing waits in it. */
static int evict_one(struct bus *bus)
{
	struct link *oldest = NULL;

	for (struct link *l = bus->links; l; l = l->next)
		if (l->sock >= 0 && !l->data.first && !l->control.first &&
		    (!oldest || l->used_at < oldest->used_at))
			oldest = l;
	if (oldest)
		bus_link_close(oldest);
	return oldest != NULL;
}

int bus_link_open(struct link *l)
{
	int fd;
	size_t size = sizeof fd;

	if (l->sock >= 0)
		return 0;
	if (l->bus->n_sockets >= SOCKETS_MAX && !evict_one(l->bus))
		return -1;
	int sock = nn_socket(AF_SP, NN_PUSH);

	if (sock < 0)
		return -1;
	sock_options(sock, l->url);
	uv_poll_t *poll = malloc(sizeof *poll);

	if (!poll || nn_connect(sock, l->url) < 0 ||
	    nn_getsockopt(sock, NN_SOL_SOCKET, NN_SNDFD, &fd, &size) < 0 ||
	    uv_poll_init(l->bus->loop, poll, fd) < 0) {
		free(poll);
		nn_close(sock);
		return -1;
	}
	poll->data = l;
	l->bus->handles++;
	l->bus->n_sockets++;
	l->sock = sock;
	l->poll = poll;
	l->opened_at = l->used_at = clock_boot_ns();
	if (!l->mine[0])
		bus_url_mine(l->bus, l->url, l->mine);
	return 0;
}

static void on_writable(uv_poll_t *poll, int status, int events)
{
	struct link *l = poll->data;

	(void)status;
	(void)events;
	bus_link_flush(l);
}

void bus_link_want(struct link *l, int want)
{
	if (want == l->polling || l->sock < 0)
		return;
	if (want)
		uv_poll_start(l->poll, UV_READABLE, on_writable); /* NN_SNDFD is readable when one can send */
	else
		uv_poll_stop(l->poll);
	l->polling = want;
}

int bus_link_writable(const struct link *l)
{
	int fd;
	size_t size = sizeof fd;
	struct pollfd p = { .events = POLLIN };

	if (nn_getsockopt(l->sock, NN_SOL_SOCKET, NN_SNDFD, &fd, &size) < 0)
		return 0;
	p.fd = fd;
	return poll(&p, 1, 0) == 1;
}
