/* What a handle knows of its process's life: job.c makes it, job_due.c and job_term.c use their parts of it. */
#ifndef CPA_HOOKS_LIFE_H
#define CPA_HOOKS_LIFE_H

#include "hooks/internal.h"

#define CALLBACKS_MAX 16

/* When the next checkpoint is due: job_due.c. Times are of the coarse monotonic clock. */
struct due {
	uint32_t counting; /* cpa_should_checkpoint() was called: costs are of interest */
	int64_t next_ns;   /* DUE_GIVEN: one was announced and is not settled */
	int64_t given_ns;  /* when the last one was announced */
	int64_t spent_ns;  /* on checkpoints since they were last settled */
	int64_t cost_ns;   /* decayed mean of that; 0: not known */
	double every_s;    /* by the caller; 0: reckon */
	double mtbf_s;     /* by the caller; 0: look it up */
};

struct life {
	struct due due;
	uint32_t restarts; /* entries of restart that are taken */
	struct {
		cpa_restart_fn *fn;
		void *arg;
	} restart[CALLBACKS_MAX];
};

/* The handle's life, made when it is first asked for; NULL: out of memory. */
struct life *life_of(cpa *cp);

/* Does anybody reckon with the cost of checkpoints? */
static inline int life_counts(const cpa *cp)
{
	const struct life *l = __atomic_load_n(&cp->life, __ATOMIC_ACQUIRE);

	return l && __atomic_load_n(&l->due.counting, __ATOMIC_RELAXED);
}

/* This process goes on in another place or time: the clocks may have jumped. */
void due_anew(struct due *d);

/* Forget the handle's callbacks of cpa_on_term(): job_term.c. */
void term_forget(const cpa *cp);

#endif
