/* Which of a job's sockets are connected, and to whom. See precheck_sockets.h. */
#include "agent/ports/precheck_sockets.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/ports/sockets.h"

void job_sockets_add(struct job_sockets *s, const struct job_process *p, int fd, uint32_t inode)
{
	for (size_t i = 0; i < s->count; i++)
		if (s->list[i].inode == inode)
			return; /* inherited: said once */
	struct job_socket *more = realloc(s->list, (s->count + 1) * sizeof *more);
	if (!more)
		return;
	s->list = more;
	s->list[s->count++] = (struct job_socket){.p = p, .fd = fd, .inode = inode};
}

void job_sockets_free(struct job_sockets *s)
{
	free(s->list);
	*s = (struct job_sockets){0};
}

static bool is_in_job(const struct job_sockets *s, uint32_t inode)
{
	for (size_t i = 0; i < s->count; i++)
		if (s->list[i].inode == inode)
			return true;
	return false;
}

static bool is_same_end(const struct socket_end *a, const struct socket_end *b)
{
	return a->port == b->port && !memcmp(&a->addr, &b->addr, sizeof a->addr);
}

/* Is the other end of this TCP connection in the job too? */
static bool is_within_job(const struct job_sockets *s, const struct sockets *all, const struct socket_info *one)
{
	for (size_t i = 0; i < all->count; i++) {
		const struct socket_info *other = &all->list[i];
		if (other->family == one->family && is_same_end(&other->local, &one->remote) &&
		    is_same_end(&other->remote, &one->local))
			return is_in_job(s, other->inode);
	}
	return false;
}

static void check(const struct job_sockets *s, const struct job_socket *js, const struct sockets *all,
		  struct precheck *found)
{
	char to[SOCKET_TEXT_MAX];
	const struct socket_info *i = sockets_find(all, js->inode);
	if (!i)
		return;
	if (i->family == AF_UNIX) {
		if (i->peer && !is_in_job(s, i->peer))
			precheck_add(found, true, js->p, "is connected to a process outside the job by a unix socket "
				     "(fd %d)", js->fd);
		return;
	}
	socket_end_text(i->family, &i->remote, to);
	if (is_within_job(s, all, i))
		precheck_add(found, false, js->p, "has a connection within the job to %s (fd %d), which ends at a "
			     "restore unless the job runs with --tcp established", to, js->fd);
	else
		precheck_add(found, false, js->p, "has an established connection to %s outside the job (fd %d), which "
			     "ends at a restore", to, js->fd);
}

int job_sockets_check(const struct job_sockets *s, struct precheck *found, struct err *e)
{
	struct sockets all;
	if (!s->count)
		return ERR_OK;
	if (sockets_read(&all, e))
		return ERR_FAILED;
	for (size_t i = 0; i < s->count; i++)
		check(s, &s->list[i], &all, found);
	sockets_free(&all);
	return ERR_OK;
}
