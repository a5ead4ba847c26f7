/* What a simulated top agent does with messages. */
#include "tests/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct node_info info_of(struct sim *s, int top, const struct msg *m)
{
	const struct sim_node *n = node_of(s, m->from);
	struct node_info info = {.level = 1, .term = m->term, .held = m->length, .has = {.cpus = 2}};
	core_copy(info.name, sizeof info.name, n->name);
	memcpy(info.session, &m->from_life, sizeof m->from_life);
	for (int t = 0; t < s->opt.tops; t++)
		if (t != top)
			core_copy(info.others[info.other_count++], CORE_URL, s->tops[t].name);
	return info;
}

static void on_register(struct sim *s, int top, const struct msg *m, struct actions *acts)
{
	struct sim_top *t = &s->tops[top];
	struct node_info info = info_of(s, top, m);
	struct msg a = {.kind = MSG_REGISTERED, .from = top, .to = m->from, .term = m->term, .seq = m->seq, .n = m->n};
	a.verdicts = calloc(m->n + 1, sizeof *a.verdicts);
	if (!a.verdicts)
		abort();
	enum reg_answer answer = registry_register(&t->core, &info, m->claims, m->n, top_clock(s, t), a.verdicts,
						   &a.length, acts);
	for (size_t i = 0; answer == ANSWER_OK && i < m->n; i++)
		if (a.verdicts[i].verdict == VERDICT_ADOPT)
			sim_mark(s, MARK_ADOPTED);
	top_perform(s, top, acts);
	if (answer == ANSWER_OK && t->up)
		sim_send(s, a);
	else
		free(a.verdicts);
}

static void on_renew(struct sim *s, int top, const struct msg *m)
{
	struct sim_top *t = &s->tops[top];
	struct msg a = {.kind = MSG_GRANTED, .from = top, .to = m->from, .term = m->term, .seq = m->seq};
	uint8_t session[CORE_SESSION] = {0};
	memcpy(session, &m->from_life, sizeof m->from_life);
	if (registry_renew(&t->core, node_of(s, m->from)->name, session, m->term, top_clock(s, t), &a.length) !=
	    ANSWER_OK) {
		a.kind = MSG_REFUSED;
		a.flag = true;
	}
	sim_send(s, a);
}

static void on_report(struct sim *s, int top, const struct msg *m, struct actions *acts)
{
	struct sim_top *t = &s->tops[top];
	enum reg_answer answer = registry_report(&t->core, node_of(s, m->from)->name, s->jobs[m->job].uuid,
						 m->incarnation, (enum report)m->what, m->how, NULL,
						 top_clock(s, t), acts);
	top_perform(s, top, acts);
	if (t->up)
		sim_send(s, (struct msg){.kind = MSG_ANSWER, .from = top, .to = m->from, .job = m->job,
					 .what = m->what, .incarnation = m->incarnation,
					 .flag = answer == ANSWER_UNKNOWN, .length = answer == ANSWER_KILL});
}

static bool newer(const struct msg *m, const struct stored *than)
{
	return m->incarnation > than->incarnation ||
	       (m->incarnation == than->incarnation && m->generation > than->generation);
}

/* The top holds a snapshot as soon as it hears of it: one that is older than what it has is not taken. */
static void on_held(struct sim *s, int top, const struct msg *m)
{
	struct sim_top *t = &s->tops[top];
	const char *uuid = s->jobs[m->job].uuid;
	struct stored *st = &t->store[m->job];
	if (!registry_job(&t->core, uuid) || !newer(m, st))
		return;
	registry_dropped(&t->core, uuid, t->name, SOURCE_SNAPSHOT, st->generation);
	registry_dropped(&t->core, uuid, node_of(s, m->from)->name, SOURCE_SNAPSHOT, st->generation);
	*st = (struct stored){m->incarnation, m->generation};
	struct holding h = {.kind = SOURCE_SNAPSHOT, .level = 2, .number = m->generation,
			    .incarnation = m->incarnation};
	core_copy(h.holder, sizeof h.holder, t->name);
	registry_held(&t->core, uuid, &h);
	h.level = 1;
	core_copy(h.holder, sizeof h.holder, node_of(s, m->from)->name);
	registry_held(&t->core, uuid, &h);
	t->acked[m->job] = *st;
}

static void on_ask(struct sim *s, int top, const struct msg *m, struct actions *acts)
{
	struct sim_top *t = &s->tops[top];
	bool is_free = (m->flag ? registry_offered : registry_asked)(
		&t->core, s->jobs[m->job].uuid, m->incarnation, node_of(s, m->node)->name, m->term,
		s->tops[m->from].name, top_clock(s, t), acts);
	top_perform(s, top, acts);
	if (t->up)
		sim_send(s, (struct msg){.kind = MSG_ASKED, .from = top, .to = m->from, .job = m->job,
					 .incarnation = m->incarnation, .term = m->term, .flag = is_free});
}

void top_message(struct sim *s, int top, struct msg *m)
{
	struct sim_top *t = &s->tops[top];
	struct actions acts = {0};
	switch (m->kind) {
	case MSG_HELLO:
		sim_send(s, (struct msg){.kind = MSG_GRANTED, .from = top, .to = m->from, .term = m->term,
					 .seq = m->seq, .length = registry_hello(&t->core)});
		break;
	case MSG_REGISTER:
		on_register(s, top, m, &acts);
		break;
	case MSG_RENEW:
		on_renew(s, top, m);
		break;
	case MSG_REPORT:
		on_report(s, top, m, &acts);
		break;
	case MSG_HELD:
		on_held(s, top, m);
		break;
	case MSG_ASK:
		on_ask(s, top, m, &acts);
		break;
	case MSG_ASKED:
		registry_answered_in_term(&t->core, s->jobs[m->job].uuid, m->incarnation, m->term,
					  s->tops[m->from].name, m->flag, top_clock(s, t), &acts);
		top_perform(s, top, &acts);
		break;
	default:
		break;
	}
	actions_free(&acts);
}
