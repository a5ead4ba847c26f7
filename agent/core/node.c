/* A node's standing: registering, renewing, fencing. Owns struct node; its jobs are in node_jobs.c. */
#include "agent/core/node_impl.h"

#include <stdlib.h>

const char *standing_name(enum standing s)
{
	static const char *const names[] = {
		[STANDING_ALONE] = "alone",
		[STANDING_SEEKING] = "seeking",
		[STANDING_LEASED] = "leased",
		[STANDING_FENCED] = "fenced",
	};
	return (unsigned)s < sizeof names / sizeof *names ? names[s] : "?";
}

const char *verdict_name(enum verdict v)
{
	static const char *const names[] = {
		[VERDICT_KEEP] = "keep",
		[VERDICT_ADOPT] = "adopt",
		[VERDICT_KILL] = "kill",
		[VERDICT_FORGET] = "forget",
	};
	return (unsigned)v < sizeof names / sizeof *names ? names[v] : "?";
}

/* ---- actions ------------------------------------------------------------------------------------ */
static struct node_action *add(struct node *n, struct node_actions *acts, enum node_do todo)
{
	if (acts->n == acts->size) {
		acts->size = acts->size ? acts->size * 2 : 8;
		acts->v = realloc(acts->v, acts->size * sizeof *acts->v);
		if (!acts->v)
			abort();
	}
	struct node_action *a = &acts->v[acts->n++];
	*a = (struct node_action){.todo = todo, .parent = n->parent, .term = n->term};
	return a;
}

void node_actions_clear(struct node_actions *acts)
{
	acts->n = 0;
}

void node_actions_free(struct node_actions *acts)
{
	free(acts->v);
	*acts = (struct node_actions){0};
}

static void stand(struct node *n, enum standing to, struct node_actions *acts)
{
	if (n->standing == to)
		return;
	struct node_action *a = add(n, acts, NODE_STANDING);
	a->old = n->standing;
	a->now_is = n->standing = to;
}

static void set_deadline(struct node *n, struct node_actions *acts)
{
	add(n, acts, NODE_SET_DEADLINE)->deadline = n->run_isolated ? 0 : n->lease.deadline;
}

/* ---- life --------------------------------------------------------------------------------------- */
void node_init(struct node *n, int parents, int64_t guess, int64_t deadline, uint64_t first_term,
	       bool run_isolated, unsigned jitter)
{
	*n = (struct node){.parents = parents, .run_isolated = run_isolated, .jitter = jitter, .term = first_term};
	lease_init(&n->lease, guess, deadline);
	/* without parents, but with a deadline of an earlier life, a registry may still know of jobs here */
	n->standing = parents > 0 || deadline ? STANDING_SEEKING : STANDING_ALONE;
}

void node_free(struct node *n)
{
	node_jobs_free(n);
}

void node_parents(struct node *n, int parents, int first, int64_t now, struct node_actions *acts)
{
	n->parents = parents;
	n->parent = first < parents ? first : 0;
	n->tries = 0;
	n->asked_seq = 0;
	n->try_at = now;
	if (parents > 0 || n->lease.deadline)
		stand(n, n->standing == STANDING_FENCED ? STANDING_FENCED : STANDING_SEEKING, acts);
	else
		stand(n, STANDING_ALONE, acts);
	node_tick(n, now, acts);
}

/* ---- looking for a parent ------------------------------------------------------------------------- */
/* How long an answer may take: generous once it was not in time, because a slow answer is dropped when the next
 * question is out. */
static int64_t patience(const struct node *n)
{
	int64_t t = n->lease.length / 10;
	t = t < 100 * CORE_MS ? 100 * CORE_MS : t > 2 * CORE_S ? 2 * CORE_S : t;
	return t << (n->tries < 4 ? n->tries : 4);
}

/* Nobody answered in a whole round of parents: wait a little longer each time, up to 2 s. */
static int64_t back_off(const struct node *n)
{
	unsigned rounds = n->parents > 0 ? n->tries / (unsigned)n->parents : n->tries;
	if (!rounds)
		return 0;
	int64_t t = (50 * CORE_MS) << (rounds < 6 ? rounds : 6);
	t = t < 2 * CORE_S ? t : 2 * CORE_S;
	return t + t * (int64_t)(n->jitter % 256) / 512;
}

static void try_failed(struct node *n, bool next, int64_t now)
{
	n->asked_seq = 0;
	n->tries++;
	if (next && n->parents > 0)
		n->parent = (n->parent + 1) % n->parents;
	n->try_at = now + back_off(n);
}

static void ask(struct node *n, int64_t now, struct node_actions *acts)
{
	n->term++;
	lease_forget_pending(&n->lease);
	n->asked_seq = lease_sent(&n->lease, now);
	n->answer_by = now + patience(n);
	struct node_action *a = add(n, acts, n->lease.deadline ? NODE_SEND_REGISTER : NODE_SEND_HELLO);
	a->seq = n->asked_seq;
	a->held = n->lease.deadline > now ? n->lease.deadline - now : 1;
}

static void seek(struct node *n, int64_t now, bool next, struct node_actions *acts)
{
	n->tries = 0;
	n->asked_seq = 0;
	n->try_at = now;
	if (next && n->parents > 0)
		n->parent = (n->parent + 1) % n->parents;
	stand(n, STANDING_SEEKING, acts);
}

static void tick_seeking(struct node *n, int64_t now, struct node_actions *acts)
{
	if (n->standing == STANDING_SEEKING && lease_over(&n->lease, now)) {
		stand(n, STANDING_FENCED, acts);
		if (!n->run_isolated)
			add(n, acts, NODE_FREEZE_ALL);
	}
	if (n->parents <= 0)
		return;
	if (n->asked_seq && now >= n->answer_by)
		try_failed(n, true, now);
	if (!n->asked_seq && now >= n->try_at)
		ask(n, now, acts);
}

/* ---- leased --------------------------------------------------------------------------------------- */
static void tick_leased(struct node *n, int64_t now, struct node_actions *acts)
{
	/* half the lease without an answer: look for another parent while there is time */
	if (now - n->lease.granted_sent >= n->lease.length / 2) {
		seek(n, now, true, acts);
		tick_seeking(n, now, acts);
	} else if (now >= lease_next(&n->lease)) {
		add(n, acts, NODE_SEND_RENEWAL)->seq = lease_sent(&n->lease, now);
	}
}

void node_tick(struct node *n, int64_t now, struct node_actions *acts)
{
	switch (n->standing) {
	case STANDING_ALONE:
		break;
	case STANDING_LEASED:
		tick_leased(n, now, acts);
		break;
	case STANDING_SEEKING:
	case STANDING_FENCED:
		tick_seeking(n, now, acts);
		break;
	}
}

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

int64_t node_next(const struct node *n)
{
	int64_t t = CORE_NEVER;
	if (n->standing == STANDING_LEASED)
		return earlier(lease_next(&n->lease), n->lease.granted_sent + n->lease.length / 2);
	if (n->standing == STANDING_SEEKING && n->lease.deadline)
		t = n->lease.deadline;
	if (n->standing != STANDING_ALONE && n->parents > 0)
		t = earlier(t, n->asked_seq ? n->answer_by : n->try_at);
	return t;
}

/* ---- answers -------------------------------------------------------------------------------------- */
void node_granted(struct node *n, uint64_t term, uint64_t seq, int64_t length, int64_t now, struct node_actions *acts)
{
	bool hello = n->standing == STANDING_SEEKING && !n->lease.deadline && seq == n->asked_seq;
	if (term != n->term || !(hello || n->standing == STANDING_LEASED) || !lease_granted(&n->lease, seq, length))
		return;
	set_deadline(n, acts);
	if (hello) {
		n->asked_seq = 0;
		n->try_at = now;
	}
	node_tick(n, now, acts);
}

static void judge(struct node *n, const struct job_verdict *v, struct node_actions *acts)
{
	if (v->verdict == VERDICT_KILL || v->verdict == VERDICT_FORGET)
		core_copy(add(n, acts, v->verdict == VERDICT_KILL ? NODE_KILL : NODE_FORGET)->job, CORE_UUID, v->job);
}

void node_registered(struct node *n, uint64_t term, uint64_t seq, int64_t length, const struct job_verdict *v,
		     size_t count, int64_t now, struct node_actions *acts)
{
	if (term != n->term || !n->asked_seq || seq != n->asked_seq || !n->lease.deadline ||
	    !lease_granted(&n->lease, seq, length))
		return;
	n->asked_seq = 0;
	for (size_t i = 0; i < count; i++)
		judge(n, &v[i], acts);
	if (lease_over(&n->lease, now)) {
		/* the answer took longer than the lease it brings */
		try_failed(n, false, now);
		node_tick(n, now, acts);
		return;
	}
	n->tries = 0;
	node_jobs_sweep(n);
	stand(n, STANDING_LEASED, acts);
	set_deadline(n, acts);
	add(n, acts, NODE_THAW_ALL);
	/* at once, because it shows the registry that its answer was heard */
	add(n, acts, NODE_SEND_RENEWAL)->seq = lease_sent(&n->lease, now);
	node_tick(n, now, acts);
}

void node_refused(struct node *n, uint64_t term, bool again, int64_t now, struct node_actions *acts)
{
	if (term != n->term)
		return;
	if (n->standing == STANDING_LEASED)
		seek(n, now, !again, acts);
	else if (n->asked_seq)
		try_failed(n, !again, now);
	else
		return;
	node_tick(n, now, acts);
}

bool node_may_run(const struct node *n, int64_t now)
{
	return n->run_isolated || !lease_over(&n->lease, now);
}
