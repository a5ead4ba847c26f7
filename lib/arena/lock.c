/* The arena's locks: robust process-shared mutexes of the C library, so that the kernel itself passes on the lock
 * of a holder that dies, at any instruction, also as a zombie or in another pid namespace. They hold no order
 * beyond "a key's lock before lock 0" and guard nothing that would need repair. */
#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "lib/arena/internal.h"

#define WAIT_S 60 /* longer than any checkpoint: whoever holds a lock for so long is stopped, or never took it */

_Static_assert(sizeof(pthread_mutex_t) <= ARENA_LINE, "a lock fits in its cache line");

static pthread_mutex_t *lock_at(struct arena *a, uint32_t lock)
{
	return (pthread_mutex_t *)(void *)(a->base + ARENA_LOCKS + (size_t)lock * ARENA_LINE);
}

static int wait_for(pthread_mutex_t *m)
{
#if defined(__SANITIZE_THREAD__) /* gcc 12's does not know that a timed lock may be handed on by the dead */
	return pthread_mutex_lock(m);
#else
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += WAIT_S;
	return pthread_mutex_timedlock(m, &until);
#endif
}

int lock_take(struct arena *a, uint32_t lock)
{
	pthread_mutex_t *m = lock_at(a, lock);
	int rc = pthread_mutex_trylock(m);

	if (rc == EBUSY)
		rc = wait_for(m);
	if (rc == EOWNERDEAD)
		rc = pthread_mutex_consistent(m);
	switch (rc) {
	case 0:
		return 0;
	case EDEADLK:
	case ETIMEDOUT:
		return -rc;
	default: /* no mutex any more: somebody wrote over it */
		return -EPROTO;
	}
}

void lock_give(struct arena *a, uint32_t lock)
{
	pthread_mutex_unlock(lock_at(a, lock));
}

void lock_make_all(void *area)
{
	pthread_mutexattr_t attr;
	uint32_t i;

	memset(area, 0, (size_t)ARENA_LOCK_COUNT * ARENA_LINE);
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK);
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	for (i = 0; i < ARENA_LOCK_COUNT; i++)
		pthread_mutex_init((pthread_mutex_t *)(void *)((uint8_t *)area + (size_t)i * ARENA_LINE), &attr);
	pthread_mutexattr_destroy(&attr);
}
