/* The hooks and the levels above: carried, waited for, read back from where a level has it; and what a program asks of
 * its agent. The agent is a thread of this program. */
#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cpagent.h>

#include "hooks/internal.h"
#include "lib/base/fs.h"
#include "tests/unit/harness.h"
#include "tests/unit/hooks_agent.h"

static char dir[64];
static struct agent agent;

static cpa *served(uint32_t incarnation, enum arena_start how)
{
	cpa *cp = NULL;

	agent_start(&agent, dir, incarnation, how);
	CU_ASSERT_EQUAL_FATAL(cpa_open(&cp, agent.arena), 0);
	return cp;
}

static void ended(cpa *cp)
{
	cpa_close(cp);
	agent_stop(&agent);
}

static int says_no(struct agent *a, enum arena_ask_kind kind, struct arena_ask *q)
{
	(void)a, (void)kind;
	q->result = -3;
	return 1;
}

/* What the levels above hold, as the agent of a test brings it. */
static struct {
	const char *key; /* what it writes; NULL: what was asked for */
	uint64_t version;
	int values[3];
	uint32_t level;  /* that was asked for last */
	int first_wrong; /* so many answers name another version than the file has */
} above;

static int brings(struct agent *a, enum arena_ask_kind kind, struct arena_ask *q)
{
	struct arena_var v = {"x", above.values, 3, ARENA_I32};
	char path[192], aside[192];
	struct arena *f;

	if (kind != ARENA_ASK_FETCH)
		return says_no(a, kind, q);
	above.level = q->level;
	snprintf(path, sizeof path, "%s/fetched", a->dir);
	snprintf(aside, sizeof aside, "%s/fetched.new", a->dir);
	unlink(aside);
	if (arena_create(aside, 64 << 10, 0600) != 0 || arena_map(&f, aside) != 0)
		return says_no(a, kind, q);
	arena_load(f, above.key ? above.key : q->text, &v, 1, above.version, 0, 1);
	arena_unmap(f);
	rename(aside, path);
	q->number = above.version + (above.first_wrong-- > 0);
	return 1;
}

static void hold_above(uint64_t version, int value, int wrong, const char *key)
{
	pthread_mutex_lock(&agent.lock);
	memset(&above, 0, sizeof above);
	above.version = version;
	above.values[0] = above.values[1] = above.values[2] = value;
	above.first_wrong = wrong;
	above.key = key;
	pthread_mutex_unlock(&agent.lock);
}

static uint32_t asked_level(void)
{
	uint32_t level;

	pthread_mutex_lock(&agent.lock);
	level = above.level;
	pthread_mutex_unlock(&agent.lock);
	return level;
}

static void a_level_above_is_asked_for_and_waited_for(void)
{
	struct arena_reader r;
	struct arena_keys list;
	int x = 3, y = 0;
	cpa *cp = served(0, ARENA_FRESH);

	agent_does(&agent, says_no);
	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "x", 2, CPA_VAR(x)), 0);
	CU_ASSERT_EQUAL(cpa_wait(cp, "x", 2, 0.01), CPA_ERR_TIMEOUT);
	CU_ASSERT_EQUAL(cpa_restore(cp, "x", 2, CPA_NAMED("x", &y, 1)), CPA_ERR_LEVEL);
	r = (struct arena_reader){.fd = agent.fd};
	CU_ASSERT_EQUAL_FATAL(arena_read_open(&r), 0);
	CU_ASSERT_EQUAL_FATAL(arena_read_keys(&r, 0, &list), 0);
	CU_ASSERT_EQUAL(list.key[0].want_level, 2);
	CU_ASSERT_EQUAL(arena_set_held(&r, &list.key[0], 1, 2), 0);
	CU_ASSERT_EQUAL(cpa_wait(cp, "x", 2, 0.01), 0);
	x = 4;
	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "x", 1, CPA_VAR(x)), 0);
	CU_ASSERT_EQUAL(cpa_restore(cp, "x", 2, CPA_NAMED("x", &y, 1)), 0);
	CU_ASSERT_EQUAL(y, 3); /* the version that level 2 holds, not the newest */
	CU_ASSERT_EQUAL(cpa_restore(cp, "x", 0, CPA_NAMED("x", &y, 1)), 0);
	CU_ASSERT_EQUAL(y, 4);
	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "x", 1, CPA_VAR(x)), 0);
	CU_ASSERT_EQUAL(cpa_restore(cp, "x", 2, CPA_NAMED("x", &y, 1)), CPA_ERR_LEVEL);
	arena_keys_free(&list);
	ended(cp);
}

static void a_level_beyond_the_top_is_the_top(void)
{
	struct arena_reader r;
	struct arena_keys list;
	int x = 3, y = 0;
	cpa *cp = served(0, ARENA_FRESH);

	agent_does(&agent, says_no);
	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "x", 8, CPA_VAR(x)), 0);
	CU_ASSERT_EQUAL(arena_set_top(agent.fd, 3), 0);
	CU_ASSERT_EQUAL(cpa_wait(cp, "x", 8, 0.01), CPA_ERR_TIMEOUT);
	r = (struct arena_reader){.fd = agent.fd};
	CU_ASSERT_EQUAL_FATAL(arena_read_open(&r), 0);
	CU_ASSERT_EQUAL_FATAL(arena_read_keys(&r, 0, &list), 0);
	CU_ASSERT_EQUAL(arena_set_held(&r, &list.key[0], 1, 2), 0);
	CU_ASSERT_EQUAL(cpa_wait(cp, "x", 8, 0.01), CPA_ERR_TIMEOUT);
	CU_ASSERT_EQUAL(arena_set_held(&r, &list.key[0], 1, 3), 0);
	CU_ASSERT_EQUAL(cpa_wait(cp, "x", 8, -1), 0);
	CU_ASSERT_EQUAL(cpa_restore(cp, "x", 8, CPA_NAMED("x", &y, 1)), 0);
	CU_ASSERT_EQUAL(y, 3);
	x = 4;
	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "x", 2, CPA_VAR(x)), 0);
	CU_ASSERT_EQUAL(cpa_wait(cp, "x", 2, 0.01), CPA_ERR_TIMEOUT);
	CU_ASSERT_EQUAL(arena_set_top(agent.fd, 1), 0);
	CU_ASSERT_EQUAL(cpa_wait(cp, "x", 2, -1), 0);
	CU_ASSERT_EQUAL(cpa_restore(cp, "x", 2, CPA_NAMED("x", &y, 1)), 0);
	CU_ASSERT_EQUAL(y, 4);
	CU_ASSERT_EQUAL(arena_set_start(agent.fd, 1, ARENA_FROM_KEYS, 0), 0); /* elsewhere, perhaps */
	CU_ASSERT_EQUAL(cpa_wait(cp, "x", 2, 0.01), CPA_ERR_TIMEOUT);
	arena_keys_free(&list);
	ended(cp);
}

static void without_an_agent_nothing_is_above(void)
{
	int x = 3;
	cpa *cp = NULL;

	CU_ASSERT_EQUAL_FATAL(cpa_open(&cp, dir), 0);
	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "x", 2, CPA_VAR(x)), 0);
	CU_ASSERT_EQUAL(cpa_wait(cp, "x", 1, 0), 0);
	CU_ASSERT_EQUAL(cpa_wait(cp, "x", 2, -1), CPA_ERR_LEVEL);
	CU_ASSERT_EQUAL(cpa_wait(cp, "x", 2, (double)NAN), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_wait(cp, "y", 2, 0), CPA_ERR_KEY);
	CU_ASSERT_EQUAL(cpa_restore(cp, "x", 2, CPA_VAR(x)), CPA_ERR_LEVEL);
	CU_ASSERT_EQUAL(cpa_restore(cp, "y", 0, CPA_VAR(x)), CPA_ERR_KEY);
	CU_ASSERT_EQUAL(cpa_reset(cp, NULL), 0);
	cpa_close(cp);
}

static void a_version_that_only_a_level_above_has_is_brought(void)
{
	int x[3] = {0};
	cpa *cp = served(0, ARENA_FRESH);

	hold_above(7, 42, 0, NULL);
	agent_does(&agent, brings);
	CU_ASSERT_EQUAL(cpa_restore(cp, "state", 3, CPA_ARRAY(x, 3)), 0);
	CU_ASSERT(x[0] == 42 && x[2] == 42);
	CU_ASSERT_EQUAL(asked_level(), 3);
	CU_ASSERT_EQUAL(cpa_restore(cp, "state", 2, CPA_NAMED("x", x, 2)), CPA_ERR_VAR);
	CU_ASSERT_STRING_EQUAL(cpa_strerror(CPA_ERR_VAR),
			       "key state: variable x: the checkpoint has 3 i32, the program 2 i32");
	ended(cp);
}

static void versions_go_on_after_one_that_was_brought(void)
{
	struct cpa_entry *e;
	int x[3] = {0};
	cpa *cp = served(1, ARENA_FROM_KEYS);

	hold_above(7, 42, 0, NULL);
	agent_does(&agent, brings);
	CU_ASSERT_EQUAL(cpa_restore(cp, "state", 0, CPA_ARRAY(x, 3)), 0);
	CU_ASSERT_EQUAL(x[1], 42);
	CU_ASSERT_EQUAL(asked_level(), 0);
	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "state", 1, CPA_ARRAY(x, 3)), 0);
	CU_ASSERT_EQUAL_FATAL(cpa_query(cp, "state", &e), 0);
	CU_ASSERT_EQUAL(e->version, 8);
	cpa_list_free(e);
	ended(cp);
}

static void what_only_a_level_above_has_can_be_asked_about_before_it_is_restored(void)
{
	struct cpa_entry *e = NULL;
	cpa *cp = served(1, ARENA_FROM_KEYS);

	agent_does(&agent, says_no);
	CU_ASSERT_EQUAL(cpa_query(cp, "state", &e), CPA_ERR_KEY);
	CU_ASSERT_PTR_NULL(e);
	hold_above(7, 42, 0, NULL);
	agent_does(&agent, brings);
	CU_ASSERT_EQUAL_FATAL(cpa_query(cp, "state", &e), 0);
	CU_ASSERT_EQUAL(e->version, 7);
	CU_ASSERT_EQUAL(e->vars[0].count, 3);
	CU_ASSERT_EQUAL(cp->arena->head->job_flags & ARENA_RESTORES, 0); /* asking is not restoring */
	cpa_list_free(e);
	ended(cp);
}

static void an_answer_that_another_process_replaced_is_asked_for_again(void)
{
	int x[3] = {0};
	cpa *cp = served(0, ARENA_FRESH);

	agent_does(&agent, brings);
	hold_above(7, 42, 3, NULL);
	CU_ASSERT_EQUAL(cpa_restore(cp, "state", 2, CPA_ARRAY(x, 3)), 0);
	CU_ASSERT_EQUAL(x[1], 42);
	CU_ASSERT_EQUAL(agent_asked(&agent, ARENA_ASK_FETCH), 4);
	hold_above(7, 42, 0, "another");
	CU_ASSERT_EQUAL(cpa_restore(cp, "state", 2, CPA_ARRAY(x, 3)), CPA_ERR_BUSY);
	ended(cp);
}

static void what_is_damaged_here_comes_from_a_level_above(void)
{
	int x[3] = {1, 1, 1};
	struct arena_record *r;
	struct arena *a;
	cpa *cp = served(0, ARENA_FRESH);

	agent_does(&agent, brings);
	hold_above(1, 42, 0, NULL);
	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "state", 1, CPA_ARRAY(x, 3)), 0);
	CU_ASSERT_EQUAL_FATAL(arena_map(&a, agent.arena), 0);
	CU_ASSERT_EQUAL(arena_newest(a, "state", &r), 1);
	for (uint64_t at = 0; at < a->heap_bytes - 8; at += 4)
		if (((int *)(void *)(a->heap + at))[0] == 1 && ((int *)(void *)(a->heap + at))[1] == 1)
			((int *)(void *)(a->heap + at))[0] = 2;
	CU_ASSERT_EQUAL(cpa_restore(cp, "state", 1, CPA_ARRAY(x, 3)), CPA_ERR_CORRUPT);
	CU_ASSERT_EQUAL(cpa_restore(cp, "state", 0, CPA_ARRAY(x, 3)), 0);
	CU_ASSERT_EQUAL(x[0], 42);
	agent_does(&agent, says_no);
	CU_ASSERT_EQUAL(cpa_restore(cp, "state", 0, CPA_ARRAY(x, 3)), CPA_ERR_CORRUPT);
	arena_unmap(a);
	ended(cp);
}

static void what_the_program_forgot_does_not_come_back(void)
{
	int x[3] = {0};
	cpa *cp = served(1, ARENA_FROM_KEYS);

	agent_does(&agent, brings);
	hold_above(7, 42, 0, NULL);
	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "state", 1, CPA_ARRAY(x, 3)), 0);
	CU_ASSERT_EQUAL(cpa_reset(cp, "state"), 0);
	CU_ASSERT_EQUAL(cpa_restore(cp, "state", 0, CPA_ARRAY(x, 3)), CPA_ERR_KEY);
	CU_ASSERT_EQUAL(agent_asked(&agent, ARENA_ASK_FETCH), 0);
	ended(cp);
	cp = served(0, ARENA_FRESH); /* nor is anything above in a first life */
	agent_does(&agent, brings);
	CU_ASSERT_EQUAL(cpa_restore(cp, "state", 0, CPA_ARRAY(x, 3)), CPA_ERR_KEY);
	CU_ASSERT_EQUAL(agent_asked(&agent, ARENA_ASK_FETCH), 0);
	ended(cp);
}

static int is_refused(struct agent *a, enum arena_ask_kind kind, struct arena_ask *q)
{
	(void)a, (void)kind;
	q->result = (int)q->number;
	snprintf(q->why, sizeof q->why, "because of %d", q->result);
	return 1;
}

static int denies(struct agent *a, enum arena_ask_kind kind, struct arena_ask *q)
{
	q->number = (uint64_t)-5;
	return is_refused(a, kind, q);
}

static int times_out(struct agent *a, enum arena_ask_kind kind, struct arena_ask *q)
{
	q->number = (uint64_t)-6;
	return is_refused(a, kind, q);
}

static int fails(struct agent *a, enum arena_ask_kind kind, struct arena_ask *q)
{
	q->number = (uint64_t)-1;
	return is_refused(a, kind, q);
}

static char registered[256];

static int registers(struct agent *a, enum arena_ask_kind kind, struct arena_ask *q)
{
	(void)a, (void)kind;
	snprintf(registered, sizeof registered, "%s", q->text);
	return 1;
}

static void an_agents_refusal_is_told_with_its_reason(void)
{
	char url[400];
	int x[3];
	cpa *cp = served(0, ARENA_FRESH);

	agent_does(&agent, registers);
	CU_ASSERT_EQUAL(cpa_register(cp, "tcp://127.0.0.1:5", 10), 0);
	CU_ASSERT_STRING_EQUAL(registered, "tcp://127.0.0.1:5");
	agent_does(&agent, denies);
	CU_ASSERT_EQUAL(cpa_register(cp, "tcp://127.0.0.1:5", 10), CPA_ERR_DENIED);
	CU_ASSERT_STRING_EQUAL(cpa_strerror(CPA_ERR_DENIED), "cpa_register: because of -5");
	CU_ASSERT_EQUAL(cpa_restore(cp, "k", 2, CPA_ARRAY(x, 3)), CPA_ERR_DENIED);
	agent_does(&agent, times_out);
	CU_ASSERT_EQUAL(cpa_register(cp, "tcp://127.0.0.1:5", 10), CPA_ERR_TIMEOUT);
	CU_ASSERT_EQUAL(cpa_restore(cp, "k", 2, CPA_ARRAY(x, 3)), CPA_ERR_TIMEOUT);
	agent_does(&agent, fails);
	CU_ASSERT_EQUAL(cpa_register(cp, "tcp://127.0.0.1:5", 10), CPA_ERR_SYSTEM);
	CU_ASSERT_EQUAL(cpa_restore(cp, "k", 2, CPA_ARRAY(x, 3)), CPA_ERR_SYSTEM);
	CU_ASSERT_STRING_EQUAL(cpa_strerror(CPA_ERR_SYSTEM), "key k: level 2: because of -1");
	agent_does(&agent, NULL);
	CU_ASSERT_EQUAL(cpa_register(cp, "tcp://127.0.0.1:5", 0.01), CPA_ERR_TIMEOUT);
	memset(url, 'u', sizeof url);
	url[399] = '\0';
	CU_ASSERT_EQUAL(cpa_register(cp, url, 1), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_register(cp, "", 1), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_register(cp, NULL, 1), CPA_ERR_ARG);
	ended(cp);
	CU_ASSERT_EQUAL_FATAL(cpa_open(&cp, dir), 0);
	CU_ASSERT_EQUAL(cpa_register(cp, "tcp://127.0.0.1:5", 1), CPA_ERR_LEVEL);
	CU_ASSERT_EQUAL(cpa_snapshot(cp, NULL, 1), CPA_ERR_LEVEL);
	cpa_close(cp);
}

static int takes(struct agent *a, enum arena_ask_kind kind, struct arena_ask *q)
{
	(void)a, (void)kind;
	q->number = 12;
	return 1;
}

static void a_snapshot_is_asked_for_and_returns_what_came_of_it(void)
{
	uint64_t generation = 0;
	cpa *cp = served(0, ARENA_FRESH);

	agent_does(&agent, takes);
	CU_ASSERT_EQUAL(cpa_snapshot(cp, &generation, 10), CPA_TAKEN);
	CU_ASSERT_EQUAL(generation, 12);
	CU_ASSERT_EQUAL(cpa_snapshot(cp, NULL, 10), CPA_TAKEN);
	agent_does(&agent, fails);
	generation = 0;
	CU_ASSERT_EQUAL(cpa_snapshot(cp, &generation, 10), CPA_ERR_SYSTEM);
	CU_ASSERT_STRING_EQUAL(cpa_strerror(CPA_ERR_SYSTEM), "cpa_snapshot: because of -1");
	CU_ASSERT_EQUAL(generation, 0);
	agent_does(&agent, NULL);
	CU_ASSERT_EQUAL(cpa_snapshot(cp, NULL, 0.01), CPA_ERR_TIMEOUT);
	CU_ASSERT_EQUAL(cpa_snapshot(cp, NULL, (double)NAN), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_snapshot(NULL, NULL, 1), CPA_ERR_ARG);
	ended(cp);
}

static int comes_back(struct agent *a, enum arena_ask_kind kind, struct arena_ask *q)
{
	(void)kind, (void)q;
	CU_ASSERT_EQUAL(arena_set_start(a->fd, 1, ARENA_FROM_SNAPSHOT, 12), 0);
	return 0;
}

static char told[128];

static void tell(cpa *cp, int incarnation, void *arg)
{
	size_t at = strlen(told);
	enum cpa_began how;

	snprintf(told + at, sizeof told - at, "%s %d/%d;", (const char *)arg, incarnation, cpa_incarnation(cp, &how));
	CU_ASSERT_EQUAL(how, CPA_FROM_SNAPSHOT);
}

static void a_restored_process_is_told_once_by_the_first_call_that_notices(void)
{
	int x = 1;
	cpa *cp = served(0, ARENA_FRESH);

	told[0] = '\0';
	CU_ASSERT_EQUAL(cpa_on_restart(cp, tell, "a"), 0);
	CU_ASSERT_EQUAL(cpa_on_restart(cp, tell, "b"), 0);
	CU_ASSERT_EQUAL(cpa_on_restart(cp, NULL, NULL), CPA_ERR_ARG);
	agent_does(&agent, comes_back);
	CU_ASSERT_EQUAL(cpa_snapshot(cp, NULL, 10), CPA_RESTORED);
	CU_ASSERT_STRING_EQUAL(told, "a 1/1;b 1/1;");
	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "x", 1, CPA_VAR(x)), 0);
	CU_ASSERT_STRING_EQUAL(told, "a 1/1;b 1/1;");
	CU_ASSERT_EQUAL(arena_set_start(agent.fd, 4, ARENA_FROM_SNAPSHOT, 12), 0);
	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "x", 1, CPA_VAR(x)), 0);
	CU_ASSERT_STRING_EQUAL(told, "a 1/1;b 1/1;a 4/4;b 4/4;");
	notice_slow(cp); /* called for another reason */
	CU_ASSERT_STRING_EQUAL(told, "a 1/1;b 1/1;a 4/4;b 4/4;");
	for (x = 2; x < 16; x++)
		CU_ASSERT_EQUAL(cpa_on_restart(cp, tell, "c"), 0);
	CU_ASSERT_EQUAL(cpa_on_restart(cp, tell, "d"), CPA_ERR_ARG);
	ended(cp);
}

static void intervals_of_the_job_reach_its_agent(void)
{
	struct arena_reader r;
	struct arena_says says;
	double update = 1, save = 1;
	cpa *cp = served(0, ARENA_FRESH);

	CU_ASSERT_EQUAL(cpa_get_interval(cp, &update, &save), 0);
	CU_ASSERT(update == 0 && save == 0);
	CU_ASSERT_EQUAL(cpa_set_interval(cp, 2.5, 0.0001), 0);
	CU_ASSERT_EQUAL(cpa_stop(cp), 0);
	CU_ASSERT_EQUAL(cpa_get_interval(cp, &update, &save), 0);
	CU_ASSERT(update == 2.5 && save == 0.001);
	r = (struct arena_reader){.fd = agent.fd};
	CU_ASSERT_EQUAL_FATAL(arena_read_open(&r), 0);
	arena_says(&r, &says);
	CU_ASSERT(says.update_ms == 2500 && says.save_ms == 1 && says.periodic == ARENA_ON_DEMAND);
	CU_ASSERT_EQUAL(cpa_start(cp), 0);
	CU_ASSERT_EQUAL(cpa_set_interval(cp, 0, 60), 0);
	CU_ASSERT_EQUAL_FATAL(arena_read_open(&r), 0);
	arena_says(&r, &says);
	CU_ASSERT(says.update_ms == 0 && says.save_ms == 60000 && says.periodic == ARENA_PERIODIC);
	CU_ASSERT_EQUAL(cpa_set_interval(cp, -1, 0), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_set_interval(cp, 0, (double)NAN), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_set_interval(cp, (double)INFINITY, 0), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_start(NULL), CPA_ERR_ARG);
	ended(cp);
}

static int init(cpa *cp, enum cpa_began how, void *arg)
{
	*(enum cpa_began *)arg = how;
	return cp ? -77 : 0;
}

static void a_program_learns_how_its_life_began(void)
{
	struct arena_reader r;
	struct arena_says says;
	enum cpa_began how = CPA_FROM_KEYS;
	int x = 1;
	cpa *cp = served(0, ARENA_FRESH);

	CU_ASSERT_EQUAL(cpa_incarnation(cp, &how), 0);
	CU_ASSERT_EQUAL(how, CPA_FRESH);
	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "x", 1, CPA_VAR(x)), 0);
	ended(cp);
	cp = served(3, ARENA_FROM_KEYS);
	CU_ASSERT_EQUAL(cpa_incarnation(cp, &how), 3);
	CU_ASSERT_EQUAL(how, CPA_FROM_KEYS);
	r = (struct arena_reader){.fd = agent.fd};
	CU_ASSERT_EQUAL_FATAL(arena_read_open(&r), 0);
	arena_says(&r, &says);
	CU_ASSERT_EQUAL(says.flags & ARENA_RESTORES, 0);
	how = CPA_FRESH;
	CU_ASSERT_EQUAL(cpa_on_init(cp, init, &how), -77); /* returns what the function does */
	CU_ASSERT_EQUAL(how, CPA_FROM_KEYS);
	CU_ASSERT_EQUAL_FATAL(arena_read_open(&r), 0);
	arena_says(&r, &says);
	CU_ASSERT_EQUAL(says.flags & ARENA_RESTORES, ARENA_RESTORES);
	CU_ASSERT_EQUAL(cpa_on_init(cp, NULL, NULL), CPA_ERR_ARG);
	CU_ASSERT_EQUAL(cpa_incarnation(NULL, NULL), CPA_ERR_ARG);
	ended(cp);
	CU_ASSERT_EQUAL_FATAL(cpa_open_named(&cp, dir, "alone", 1 << 20), 0);
	CU_ASSERT_EQUAL(cpa_incarnation(cp, &how), 0);
	CU_ASSERT_EQUAL(how, CPA_FRESH);
	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "x", 1, CPA_VAR(x)), 0);
	CU_ASSERT_EQUAL(cpa_incarnation(cp, &how), 0);
	CU_ASSERT_EQUAL(how, CPA_FRESH);
	cpa_close(cp);
	CU_ASSERT_EQUAL_FATAL(cpa_open_named(&cp, dir, "alone", 1 << 20), 0);
	CU_ASSERT_EQUAL(cpa_incarnation(cp, &how), 0);
	CU_ASSERT_EQUAL(how, CPA_FROM_KEYS);
	cpa_close(cp);
}

static const struct test tests[] = {
	{"a level above is asked for and waited for", a_level_above_is_asked_for_and_waited_for},
	{"a level beyond the top is the top", a_level_beyond_the_top_is_the_top},
	{"without an agent nothing is above", without_an_agent_nothing_is_above},
	{"a version that only a level above has is brought", a_version_that_only_a_level_above_has_is_brought},
	{"versions go on after one that was brought", versions_go_on_after_one_that_was_brought},
	{"what only a level above has can be asked about before it is restored",
	 what_only_a_level_above_has_can_be_asked_about_before_it_is_restored},
	{"an answer that another process replaced is asked for again",
	 an_answer_that_another_process_replaced_is_asked_for_again},
	{"what is damaged here comes from a level above", what_is_damaged_here_comes_from_a_level_above},
	{"what the program forgot does not come back", what_the_program_forgot_does_not_come_back},
	{"an agent's refusal is told with its reason", an_agents_refusal_is_told_with_its_reason},
	{"a snapshot is asked for, and returns what came of it", a_snapshot_is_asked_for_and_returns_what_came_of_it},
	{"a restored process is told once, by the first call that notices",
	 a_restored_process_is_told_once_by_the_first_call_that_notices},
	{"intervals of the job reach its agent", intervals_of_the_job_reach_its_agent},
	{"a program learns how its life began", a_program_learns_how_its_life_began},
};

int main(void)
{
	struct err e;
	int rc;

	snprintf(dir, sizeof dir, "/dev/shm/test_hooks_levels.XXXXXX");
	if (!mkdtemp(dir))
		return 1;
	rc = harness_run("hooks_levels", tests, sizeof tests / sizeof *tests);
	fs_remove_tree(dir, &e);
	return rc;
}
