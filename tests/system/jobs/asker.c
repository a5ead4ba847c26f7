/* asker MODE: asks its agent for things without libcpagent.
 *   silent   asks for snapshots and does not ring; prints the answers
 *   greedy   asks for one snapshot after another; prints the answers
 *   flood    asks for everything, with anything written where an ask is described, and rings all the time */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/arena/mailbox.h"

static void ask_greedily(struct arena *a)
{
	struct arena_ask answer;

	for (;;) {
		if (arena_ask(a, ARENA_ASK_SNAPSHOT, 0, 0, NULL, -1, &answer) == 0)
			printf("answered %d: %llu\n", answer.result, (unsigned long long)answer.number);
		fflush(stdout);
	}
}

static void ask_silently(struct arena *a)
{
	const struct timespec nap = {.tv_nsec = 5000000}, later = {.tv_nsec = 300000000};
	struct arena_ask *q = &a->head->ask[ARENA_ASK_SNAPSHOT];

	for (;;) {
		uint32_t mine = __atomic_add_fetch(&q->asked, 1, __ATOMIC_RELEASE);

		while (__atomic_load_n(&q->answered, __ATOMIC_ACQUIRE) != mine)
			nanosleep(&nap, NULL);
		printf("answered %d: %llu\n", q->result, (unsigned long long)q->number);
		fflush(stdout);
		nanosleep(&later, NULL); /* the agent looks for more right after an answer */
	}
}

static void flood(struct arena *a)
{
	puts("asking");
	fflush(stdout);
	for (;;) {
		uint8_t *q = (uint8_t *)&a->head->ask[random() % ARENA_ASKS];

		for (int i = 0; i < 16; i++)
			q[(size_t)random() % sizeof(struct arena_ask)] = (uint8_t)random();
		if (random() % 4 == 0)
			memset(q + offsetof(struct arena_ask, text), 'x', sizeof a->head->ask[0].text);
		arena_ring(a);
	}
}

int main(int argc, char **argv)
{
	const char *path = getenv("CPAGENT_ARENA");
	struct arena *a;

	if (argc < 2 || !path || arena_map(&a, path))
		return 1;
	if (!strcmp(argv[1], "silent"))
		ask_silently(a);
	if (!strcmp(argv[1], "greedy"))
		ask_greedily(a);
	flood(a);
}
