/* A lock among the threads of one process, for lists that are whole at every instruction. A child may begin while
 * another thread of its parent has the lock, and nobody is going to give it back there: the child takes it. */
#ifndef CPA_HOOKS_OWN_LOCK_H
#define CPA_HOOKS_OWN_LOCK_H

#include <sched.h>
#include <unistd.h>

/* *lock: the process in which a thread has it; 0: none has. */
static inline void own_lock(pid_t *lock)
{
	pid_t me = getpid(), holder = 0;

	while (!__atomic_compare_exchange_n(lock, &holder, me, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
		if (holder != me)
			continue; /* with the holder that was found */
		sched_yield();
		holder = 0;
	}
}

static inline void own_unlock(pid_t *lock)
{
	__atomic_store_n(lock, 0, __ATOMIC_RELEASE);
}

#endif
