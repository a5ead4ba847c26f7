/* See turns.h. */
#include "agent/core/turns.h"

#define PAUSE_TIMES 3
#define PAUSE_MOST (60 * CORE_S)
#define PAUSE_LEAST (50 * CORE_MS) /* also after what was refused at once */

/* When it could have begun: from then on it waits. */
static int64_t ready(const struct turn *t)
{
	return t->since > t->from ? t->since : t->from;
}

int turns_next(const struct turn *const turns[], size_t n, size_t at_once, int64_t now)
{
	size_t under_way = 0;
	int next = -1;
	for (size_t i = 0; i < n; i++) {
		under_way += turns[i]->began != 0;
		if (!turns[i]->since || turns[i]->began || ready(turns[i]) > now)
			continue;
		if (next < 0 || ready(turns[i]) < ready(turns[next]))
			next = (int)i;
	}
	return under_way < at_once ? next : -1;
}

void turn_begin(struct turn *t, int64_t now)
{
	t->since = 0;
	t->began = now;
}

void turn_end(struct turn *t, int64_t now)
{
	int64_t pause = PAUSE_TIMES * (now - t->began);
	pause = pause > PAUSE_LEAST ? pause : PAUSE_LEAST;
	t->began = 0;
	t->from = now + (pause < PAUSE_MOST ? pause : PAUSE_MOST);
}
