/* How this life of the program began, and what it wants to be told: cpa_incarnation(), cpa_on_init(), cpa_on_restart();
 * and notice_slow(), by which a restored process learns that it was. */
#include <stdlib.h>

#include "hooks/life.h"
#include "lib/arena/mailbox.h"

struct life *life_of(cpa *cp)
{
	struct life *l = __atomic_load_n(&cp->life, __ATOMIC_ACQUIRE), *none = NULL;

	if (l)
		return l;
	l = calloc(1, sizeof *l);
	if (l && !__atomic_compare_exchange_n(&cp->life, &none, l, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
		free(l); /* another thread was first */
		l = none;
	}
	return l;
}

void life_free(cpa *cp)
{
	term_forget(cp);
	free(cp->life);
	cp->life = NULL;
}

static void restarted(cpa *cp, uint32_t incarnation)
{
	struct life *l = __atomic_load_n(&cp->life, __ATOMIC_ACQUIRE);
	cpa_restart_fn *fn;
	size_t i;

	if (!l)
		return;
	due_anew(&l->due);
	for (i = 0; i < CALLBACKS_MAX; i++) {
		fn = __atomic_load_n(&l->restart[i].fn, __ATOMIC_ACQUIRE);
		if (fn)
			fn(cp, (int)incarnation, l->restart[i].arg);
	}
}

void notice_slow(cpa *cp)
{
	const struct arena_header *h = cp->arena->head;
	uint32_t known = __atomic_load_n(&cp->incarnation, __ATOMIC_RELAXED);
	uint32_t now = __atomic_load_n(&h->incarnation, __ATOMIC_ACQUIRE);

	if (cp->regions && __atomic_load_n(&h->give_up, __ATOMIC_RELAXED))
		regions_let_go(cp);
	/* one thread tells; it may call the library meanwhile, and finds nothing to notice */
	if (now != known && __atomic_compare_exchange_n(&cp->incarnation, &known, now, 0, __ATOMIC_ACQ_REL,
							 __ATOMIC_RELAXED) &&
	    __atomic_load_n(&h->start, __ATOMIC_RELAXED) == ARENA_FROM_SNAPSHOT)
		restarted(cp, now);
}

/* How: as the agent says; without one, whether the arena held keys when it was opened. */
static enum cpa_began began(const cpa *cp)
{
	const struct arena_header *h = cp->arena->head;
	uint32_t start = __atomic_load_n(&h->start, __ATOMIC_RELAXED);

	if (!(__atomic_load_n(&h->agent_flags, __ATOMIC_RELAXED) & ARENA_SERVED))
		return (enum cpa_began)cp->began;
	return start <= ARENA_FROM_KEYS ? (enum cpa_began)start : CPA_FRESH;
}

int cpa_incarnation(cpa *cp, enum cpa_began *how)
{
	if (!cp)
		return fail(CPA_ERR_ARG, "cpa_incarnation: no handle; has cpa_open() failed, or is it closed?");
	notice(cp);
	if (how)
		*how = began(cp);
	return (int)(__atomic_load_n(&cp->incarnation, __ATOMIC_RELAXED) & INT32_MAX);
}

int cpa_on_init(cpa *cp, cpa_init_fn *fn, void *arg)
{
	if (!cp || !fn)
		return fail(CPA_ERR_ARG, "cpa_on_init: no handle, or no function");
	notice(cp);
	arena_say_restores(cp->arena);
	return fn(cp, began(cp), arg);
}

int cpa_on_restart(cpa *cp, cpa_restart_fn *fn, void *arg)
{
	struct life *l;
	uint32_t i;

	if (!cp || !fn)
		return fail(CPA_ERR_ARG, "cpa_on_restart: no handle, or no function");
	notice(cp);
	l = life_of(cp);
	if (!l)
		return fail(CPA_ERR_MEMORY, "cpa_on_restart: out of memory");
	i = __atomic_fetch_add(&l->restarts, 1, __ATOMIC_RELAXED);
	if (i < CALLBACKS_MAX) {
		l->restart[i].arg = arg;
		__atomic_store_n(&l->restart[i].fn, fn, __ATOMIC_RELEASE);
		return 0;
	}
	__atomic_fetch_sub(&l->restarts, 1, __ATOMIC_RELAXED);
	return fail(CPA_ERR_ARG, "cpa_on_restart: at most %d functions", CALLBACKS_MAX);
}
