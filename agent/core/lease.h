/* The lease, as each of its two ends counts it.
 *
 * The node counts from the moment it sent the renewal that was granted, the registry from the moment it
 * received it, plus a margin. Sending comes before receiving, so the node's end comes first, whatever the
 * two clocks show. docs/leases.md has the whole argument. */
#ifndef CPA_CORE_LEASE_H
#define CPA_CORE_LEASE_H

#include "agent/core/words.h"

/* How much longer than the node the registry waits: 1 % of the length, because two boot clocks that count
 * the same lease differ by at most twice the 0.05 % that the kernel lets a clock be slewed (ten times that is
 * kept in reserve), plus 100 ms, within which cpfence must wake and the freeze must have taken effect. */
int64_t lease_margin(int64_t length);

enum { LEASE_PENDING = 32 };

/* The node's end. */
struct lease {
	int64_t deadline; /* jobs may run before it; 0: no registry has ever been told of this node's jobs */
	int64_t length;   /* as last granted; before that, as guessed by lease_init */
	int64_t last_sent;
	int64_t granted_sent; /* when the renewal that was last granted was sent */
	uint64_t next_seq;
	struct {
		uint64_t seq;
		int64_t sent;
	} pending[LEASE_PENDING]; /* a ring: the newest renewals not yet answered */
};

void lease_init(struct lease *l, int64_t guess, int64_t deadline);
/* A number for a renewal that is sent now. */
uint64_t lease_sent(struct lease *l, int64_t now);
/* Renewal seq was granted for length. False when it is unknown or answered already; the deadline never
 * goes back. */
bool lease_granted(struct lease *l, uint64_t seq, int64_t length);
/* Forget what is pending: grants of an earlier registration count no more. */
void lease_forget_pending(struct lease *l);
/* When the next renewal is due: a tenth of the length after the last. */
int64_t lease_next(const struct lease *l);
/* It ran out (never true while deadline is 0). */
bool lease_over(const struct lease *l, int64_t now);

/* The registry's end: from when on a node that was heard at `received` may be considered gone. */
int64_t lease_expiry(int64_t received, int64_t length);

#endif
