/* Numbers in the arena that many processes add to: read, and committed as the very next version, which the arena
 * gives to one of them; the others read again. No lock is held in between, so nobody can die with it. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "hooks/memo_impl.h"

static int read_numbers(cpa *cp, const char *key, uint64_t version, uint64_t now[2])
{
	struct arena_var v = {"numbers", now, 2, ARENA_U64};
	int rc = arena_get(cp->arena, key, &v, 1, version, NULL, NULL);

	if (rc)
		now[0] = now[1] = 0; /* damaged, or replaced meanwhile: then the commit says so */
	return rc;
}

int memo_numbers(cpa *cp, const char *key, uint64_t now[2])
{
	uint64_t version = arena_newest(cp->arena, key, NULL);

	now[0] = now[1] = 0;
	return version ? read_numbers(cp, key, version, now) : -ENOENT;
}

static uint64_t sum(uint64_t n, int64_t add)
{
	return add < 0 && (uint64_t)-add > n ? 0 : n + (uint64_t)add;
}

int memo_add(cpa *cp, const char *key, int make, const int64_t add[2], uint64_t now[2])
{
	uint64_t numbers[2] = {0, 0}, version;
	struct arena_var v = {"numbers", numbers, 2, ARENA_U64};
	struct arena *a = cp->arena;
	struct timespec t;
	int rc;

	clock_gettime(CLOCK_REALTIME_COARSE, &t);
	do {
		version = arena_newest(a, key, NULL);
		if (!version && !make)
			return -ENOENT;
		numbers[0] = numbers[1] = 0;
		if (version)
			read_numbers(cp, key, version, numbers);
		numbers[0] = sum(numbers[0], add[0]);
		numbers[1] = sum(numbers[1], add[1]);
		rc = arena_load(a, key, &v, 1, version + 1, __atomic_load_n(&a->head->incarnation, __ATOMIC_RELAXED),
				(int64_t)t.tv_sec * 1000000000 + t.tv_nsec);
	} while (rc == -EEXIST);
	if (now)
		memcpy(now, numbers, sizeof numbers);
	return rc;
}

/* What comes of it changes nothing for the caller: a full arena may lose a count, never a result. */
void memo_counted(cpa *cp, const char *name, int hit)
{
	const int64_t add[2] = {hit, !hit};
	char key[CPA_KEY_MAX + 1];

	if (cp->arena->read_only)
		return;
	memo_count_key(key, name);
	(void)memo_add(cp, key, 1, add, NULL);
}
