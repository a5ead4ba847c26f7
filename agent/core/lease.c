/* Counting a lease, from either end. See lease.h and docs/leases.md. */
#include "agent/core/lease.h"

int64_t lease_margin(int64_t length)
{
	return length / 100 + 100 * CORE_MS;
}

void lease_init(struct lease *l, int64_t guess, int64_t deadline)
{
	*l = (struct lease){.length = guess > 0 ? guess : 10 * CORE_S, .deadline = deadline, .next_seq = 1};
}

uint64_t lease_sent(struct lease *l, int64_t now)
{
	uint64_t seq = l->next_seq++;
	l->pending[seq % LEASE_PENDING].seq = seq;
	l->pending[seq % LEASE_PENDING].sent = now;
	l->last_sent = now;
	return seq;
}

bool lease_granted(struct lease *l, uint64_t seq, int64_t length)
{
	if (!seq || length <= 0 || l->pending[seq % LEASE_PENDING].seq != seq)
		return false;
	int64_t sent = l->pending[seq % LEASE_PENDING].sent;
	l->pending[seq % LEASE_PENDING].seq = 0;
	l->length = length;
	if (sent > l->granted_sent)
		l->granted_sent = sent;
	if (sent + length > l->deadline)
		l->deadline = sent + length;
	return true;
}

void lease_forget_pending(struct lease *l)
{
	for (unsigned i = 0; i < LEASE_PENDING; i++)
		l->pending[i].seq = 0;
}

int64_t lease_next(const struct lease *l)
{
	return l->last_sent + l->length / 10;
}

bool lease_over(const struct lease *l, int64_t now)
{
	return l->deadline && now >= l->deadline;
}

int64_t lease_expiry(int64_t received, int64_t length)
{
	return received + length + lease_margin(length);
}
