/* An agent for tests of the hooks: a thread that hears the bell beside an arena and answers what is asked, as each test
 * tells it to. */
#ifndef TESTS_UNIT_HOOKS_AGENT_H
#define TESTS_UNIT_HOOKS_AGENT_H

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/arena/mailbox.h"

struct agent;
/* What it does with an ask: returns 1 if it answers with what was put into the ask. */
typedef int agent_answer(struct agent *a, enum arena_ask_kind kind, struct arena_ask *ask);

struct agent {
	char arena[160], dir[128];
	int fd, bell;
	pthread_t thread;
	pthread_mutex_t lock;
	agent_answer *on_ask;
	int asked[ARENA_ASKS];
};

static void agent_look(struct agent *a)
{
	struct arena_reader r = {.fd = a->fd};
	struct arena_says says;

	if (arena_read_open(&r) != 0)
		return;
	arena_says(&r, &says);
	for (unsigned i = 0; i < ARENA_ASKS; i++) {
		struct arena_ask *q = &says.ask[i];

		if (q->asked == q->answered)
			continue;
		a->asked[i]++;
		q->result = 0;
		q->why[0] = '\0';
		if (a->on_ask && a->on_ask(a, (enum arena_ask_kind)i, q))
			arena_answer(a->fd, (enum arena_ask_kind)i, q->asked, q->result, q->number, q->why);
	}
}

static void *agent_main(void *arg)
{
	struct agent *a = arg;
	char c;

	while (recv(a->bell, &c, 1, 0) == 1 && c != 'q') {
		pthread_mutex_lock(&a->lock);
		agent_look(a);
		pthread_mutex_unlock(&a->lock);
	}
	return NULL;
}

/* Make dir's arena, mark it as an agent's, and listen. */
static inline void agent_start(struct agent *a, const char *dir, uint32_t incarnation, enum arena_start how)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};

	memset(a, 0, sizeof *a);
	snprintf(a->dir, sizeof a->dir, "%s", dir);
	snprintf(a->arena, sizeof a->arena, "%s/arena", dir);
	snprintf(at.sun_path, sizeof at.sun_path, "%s/bell", dir);
	unlink(a->arena);
	unlink(at.sun_path);
	CU_ASSERT_EQUAL_FATAL(arena_create(a->arena, 4 << 20, 0600), 0);
	a->fd = open(a->arena, O_RDWR | O_CLOEXEC);
	CU_ASSERT_EQUAL_FATAL(arena_set_start(a->fd, incarnation, how, 0), 0);
	a->bell = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	CU_ASSERT_EQUAL_FATAL(bind(a->bell, (struct sockaddr *)&at, sizeof at), 0);
	pthread_mutex_init(&a->lock, NULL);
	CU_ASSERT_EQUAL_FATAL(pthread_create(&a->thread, NULL, agent_main, a), 0);
}

static inline void agent_does(struct agent *a, agent_answer *on_ask)
{
	pthread_mutex_lock(&a->lock);
	a->on_ask = on_ask;
	pthread_mutex_unlock(&a->lock);
}

/* How often it was asked. */
static inline int agent_asked(struct agent *a, enum arena_ask_kind kind)
{
	int n;

	pthread_mutex_lock(&a->lock);
	n = a->asked[kind];
	pthread_mutex_unlock(&a->lock);
	return n;
}

static inline void agent_stop(struct agent *a)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int s = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(at.sun_path, sizeof at.sun_path, "%s/bell", a->dir);
	sendto(s, "q", 1, 0, (struct sockaddr *)&at, sizeof at);
	pthread_join(a->thread, NULL);
	close(s);
	close(a->bell);
	close(a->fd);
	unlink(at.sun_path);
	unlink(a->arena);
}

#endif
