/* Owns the bells: one datagram means "look into my mailbox". What it carries is not looked at, how many came does
 * not matter, and the mailbox is read as everything in an arena is: copied, bounded, checked. */
#include "agent/bell.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/asks.h"
#include "agent/wishes.h"
#include "lib/base/log.h"

#define PAUSE_MS 10 /* between two looks: a job that never stops ringing must not be all that the agent does */

struct bell {
	uv_poll_t poll;
	uv_timer_t pause;
	int fd;
	int handles; /* not yet closed */
	bool look;   /* once more when the pause is over, rung or not */
	struct job *job;
};

static void free_bell(uv_handle_t *h)
{
	struct bell *b = h->data;
	if (--b->handles == 0)
		free(b);
}

static void on_pause_over(uv_timer_t *t);

static void pause_ringing(struct bell *b)
{
	uv_poll_stop(&b->poll);
	if (!uv_is_active((uv_handle_t *)&b->pause))
		uv_timer_start(&b->pause, on_pause_over, PAUSE_MS, 0);
}

static void on_ring(uv_poll_t *p, int status, int events)
{
	struct bell *b = p->data;
	char sink[64];
	(void)status, (void)events;
	for (int i = 0; i < 64 && recv(b->fd, sink, sizeof sink, MSG_DONTWAIT) >= 0; i++) {
		/* however often it rang */
	}
	pause_ringing(b);
	wishes_look(b->job);
	asks_look(b->job);
}

static void on_pause_over(uv_timer_t *t)
{
	struct bell *b = t->data;
	uv_poll_start(&b->poll, UV_READABLE, on_ring);
	if (!b->look)
		return;
	b->look = false;
	wishes_look(b->job);
	asks_look(b->job);
}

void bell_look(struct job *j)
{
	if (!j->bell)
		return;
	j->bell->look = true;
	pause_ringing(j->bell);
}

static int bind_bell(const struct job *j)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int n = snprintf(sa.sun_path, sizeof sa.sun_path, "%s/bell", j->job_dir);
	if (n < 0 || (size_t)n >= sizeof sa.sun_path) {
		errno = ENAMETOOLONG;
		return -1;
	}
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	unlink(sa.sun_path);
	if (bind(fd, (struct sockaddr *)&sa, sizeof sa) == 0 && chmod(sa.sun_path, 0600) == 0 &&
	    (!j->agent->root || lchown(sa.sun_path, j->spec->uid, j->spec->gid) == 0))
		return fd;
	close(fd);
	return -1;
}

void bell_open(struct job *j)
{
	bell_close(j);
	struct bell *b = calloc(1, sizeof *b);
	int fd = b ? bind_bell(j) : -1;
	if (fd < 0 || uv_poll_init(&j->agent->loop, &b->poll, fd) != 0) {
		log_warn("no_bell", "job=%s why=\"%s\"", j->id, strerror(errno));
		if (fd >= 0)
			close(fd);
		free(b);
		return;
	}
	uv_timer_init(&j->agent->loop, &b->pause);
	b->fd = fd;
	b->handles = 2;
	b->job = j;
	b->poll.data = b->pause.data = b;
	j->bell = b;
	bell_look(j); /* what was asked while nobody listened */
}

void bell_close(struct job *j)
{
	struct bell *b = j->bell;
	if (!b)
		return;
	j->bell = NULL;
	uv_poll_stop(&b->poll);
	close(b->fd);
	uv_close((uv_handle_t *)&b->poll, free_bell);
	uv_close((uv_handle_t *)&b->pause, free_bell);
}
