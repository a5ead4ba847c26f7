/* The bad network: what is lost, late, or comes twice; and who a message is for. */
#include "tests/sim/sim.h"

#include <stdlib.h>
#include <string.h>

static uint32_t life_of(struct sim *s, int agent)
{
	return agent < s->opt.tops ? s->tops[agent].life : node_of(s, agent)->life;
}

static bool is_cut(struct sim *s, int from, int to)
{
	if (from < s->opt.tops && to < s->opt.tops)
		return s->tops[from].cut_out & 1U << to;
	if (to < s->opt.tops)
		return node_of(s, from)->cut_out & 1U << to;
	return node_of(s, to)->cut_in & 1U << from;
}

void msg_free(struct msg *m)
{
	if (!m)
		return;
	free(m->claims);
	free(m->verdicts);
	free(m);
}

static void *copy_of(const void *p, size_t size)
{
	if (!p)
		return NULL;
	void *q = malloc(size ? size : 1);
	if (!q)
		abort();
	return memcpy(q, p, size);
}

static void post(struct sim *s, const struct msg *m)
{
	int64_t delay = 100000 + (int64_t)sim_random(s, 900000);
	if (sim_chance(s, s->opt.slow))
		delay += (int64_t)sim_random(s, (uint64_t)s->opt.slow_max);
	struct msg *q = copy_of(m, sizeof *m);
	q->claims = copy_of(m->claims, m->n * sizeof *m->claims);
	q->verdicts = copy_of(m->verdicts, m->n * sizeof *m->verdicts);
	sim_push(s, (struct event){.at = s->now + delay, .kind = EV_MSG, .who = m->to, .msg = q});
}

void sim_send(struct sim *s, struct msg m)
{
	m.from_life = life_of(s, m.from);
	m.to_life = life_of(s, m.to);
	s->messages++;
	if (!is_cut(s, m.from, m.to) && !sim_chance(s, s->opt.loss)) {
		post(s, &m);
		if (sim_chance(s, s->opt.duplicate))
			post(s, &m);
	}
	free(m.claims);
	free(m.verdicts);
}

static bool is_old(uint32_t *heard, uint32_t life)
{
	if (life < *heard)
		return true;
	*heard = life;
	return false;
}

static void deliver_top(struct sim *s, struct msg *m)
{
	struct sim_top *t = &s->tops[m->to];
	if (t->up && !is_old(&t->heard_life[m->from], m->from_life))
		top_message(s, m->to, m);
}

static void deliver_node(struct sim *s, struct msg *m)
{
	struct sim_node *n = node_of(s, m->to);
	if (n->agent_up && !is_old(&n->heard_life[m->from], m->from_life))
		node_message(s, n, m);
}

void sim_deliver(struct sim *s, struct msg *m)
{
	/* a standing agent finds its messages when it goes on */
	if (m->to >= s->opt.tops && node_of(s, m->to)->stalled_until > s->now) {
		sim_push(s, (struct event){.at = node_of(s, m->to)->stalled_until, .kind = EV_MSG, .who = m->to, .msg = m});
		return;
	}
	/* what was cut off while it was on its way is lost too */
	if (m->to_life == life_of(s, m->to) && !is_cut(s, m->from, m->to)) {
		if (m->to < s->opt.tops)
			deliver_top(s, m);
		else
			deliver_node(s, m);
	}
	msg_free(m);
}
