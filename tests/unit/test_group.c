/* Groups: what a job may ask about one and what may be a rank (core/group.h), how the next versions are numbered, and
 * cpa_version() with an agent that is a thread of this program. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cpagent.h>

#include "agent/core/group.h"
#include "hooks/internal.h"
#include "lib/base/fs.h"
#include "tests/unit/harness.h"
#include "tests/unit/hooks_agent.h"

#define UUID "01234567-89ab-cdef-0123-456789abcdef"

static char long_text[512];

static void a_question_names_a_group_and_a_key(void)
{
	struct group_question q;

	CU_ASSERT(group_parse("solver\nstate", &q));
	CU_ASSERT_STRING_EQUAL(q.group, "solver");
	CU_ASSERT_STRING_EQUAL(q.key, "state");
	CU_ASSERT(group_parse("\nstate of\nall", &q));
	CU_ASSERT_STRING_EQUAL(q.group, "");
	CU_ASSERT_STRING_EQUAL(q.key, "state of\nall");
	CU_ASSERT(group_parse("\n", &q));
	CU_ASSERT_STRING_EQUAL(q.key, "");
}

static void what_is_no_question_is_refused(void)
{
	struct group_question q;

	CU_ASSERT(!group_parse("", &q));
	CU_ASSERT(!group_parse("solver", &q));
	CU_ASSERT(!group_parse("a b\nstate", &q));
	CU_ASSERT(!group_parse("../x\nstate", &q));
	CU_ASSERT(!group_parse("\xff\nstate", &q));
	snprintf(long_text, sizeof long_text, "%065d\nk", 0);
	CU_ASSERT(!group_parse(long_text, &q));
	CU_ASSERT(group_parse(long_text + 1, &q));
	CU_ASSERT_EQUAL(strlen(q.group), 64);
	snprintf(long_text, sizeof long_text, "g\n%0256d", 0);
	CU_ASSERT(!group_parse(long_text, &q));
	snprintf(long_text, sizeof long_text, "g\n%0255d", 0);
	CU_ASSERT(group_parse(long_text, &q));
	CU_ASSERT_EQUAL(strlen(q.key), 255);
}

static void a_rank_is_one_of_its_group_or_there_is_no_group(void)
{
	CU_ASSERT_PTR_NULL(group_unfit("", 0, 0, ""));
	CU_ASSERT_PTR_NULL(group_unfit("g", 0, 1, UUID));
	CU_ASSERT_PTR_NULL(group_unfit("g", 4095, 4096, UUID));
	CU_ASSERT_PTR_NOT_NULL(group_unfit("", 1, 0, ""));
	CU_ASSERT_PTR_NOT_NULL(group_unfit("", 0, 2, ""));
	CU_ASSERT_PTR_NOT_NULL(group_unfit("", 0, 0, UUID));
	CU_ASSERT_PTR_NOT_NULL(group_unfit("g g", 0, 1, UUID));
	CU_ASSERT_PTR_NOT_NULL(group_unfit("g", 0, 0, UUID));
	CU_ASSERT_PTR_NOT_NULL(group_unfit("g", 2, 2, UUID));
	CU_ASSERT_PTR_NOT_NULL(group_unfit("g", 0, 4097, UUID));
	CU_ASSERT_PTR_NOT_NULL(group_unfit("g", 0, 1, ""));
	CU_ASSERT_PTR_NOT_NULL(group_unfit("g", 0, 1, "01234567-89ab-cdef-0123-456789abcde/"));
}

/* ---- with an agent ---- */

static char dir[64];
static struct agent agent;

static cpa *served(void)
{
	cpa *cp = NULL;

	agent_start(&agent, dir, 0, ARENA_FRESH);
	CU_ASSERT_EQUAL_FATAL(cpa_open(&cp, agent.arena), 0);
	return cp;
}

static void ended(cpa *cp)
{
	cpa_close(cp);
	agent_stop(&agent);
}

static char text[384];
static uint64_t patience;

static int answers_seven(struct agent *a, enum arena_ask_kind kind, struct arena_ask *ask)
{
	(void)a;
	snprintf(text, sizeof text, "%s", ask->text);
	patience = ask->number;
	ask->number = 7;
	return kind == ARENA_ASK_VERSION;
}

static void the_agent_is_asked_for_group_and_key(void)
{
	cpa *cp = served();
	char key[CPA_KEY_MAX + 1], group[65];

	agent_does(&agent, answers_seven);
	CU_ASSERT_EQUAL(cpa_version(cp, NULL), 7);
	CU_ASSERT_STRING_EQUAL(text, "\n");
	CU_ASSERT_EQUAL(patience, 60000);
	CU_ASSERT_EQUAL(cpa_version(cp, NULL, "state"), 7);
	CU_ASSERT_STRING_EQUAL(text, "\nstate");
	CU_ASSERT_EQUAL(cpa_version_within(cp, "solver", "state", 0), 7);
	CU_ASSERT_STRING_EQUAL(text, "solver\nstate");
	CU_ASSERT_EQUAL(patience, 1);
	CU_ASSERT_EQUAL(cpa_version_within(cp, "solver", NULL, -1), 7);
	CU_ASSERT_EQUAL(patience, UINT64_MAX);
	memset(key, 'k', CPA_KEY_MAX);
	key[CPA_KEY_MAX] = '\0';
	memset(group, 'g', 64);
	group[64] = '\0';
	CU_ASSERT_EQUAL(cpa_version(cp, group, key), 7);
	CU_ASSERT_EQUAL(strlen(text), 320);
	ended(cp);
}

static int result;

static int refuses(struct agent *a, enum arena_ask_kind kind, struct arena_ask *ask)
{
	(void)a;
	ask->result = result;
	snprintf(ask->why, sizeof ask->why, "rank 3 is lost");
	return kind == ARENA_ASK_VERSION;
}

static void what_the_agent_says_becomes_a_code_and_its_sentence(void)
{
	static const struct {
		int result, code;
	} cases[] = {{-2, CPA_ERR_ARG}, {-3, CPA_ERR_KEY}, {-6, CPA_ERR_TIMEOUT}, {-1, CPA_ERR_SYSTEM}, {17, CPA_ERR_SYSTEM}};
	cpa *cp = served();

	agent_does(&agent, refuses);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		result = cases[i].result;
		CU_ASSERT_EQUAL(cpa_version(cp, NULL), cases[i].code);
		CU_ASSERT_PTR_NOT_NULL(strstr(cpa_strerror(cases[i].code), "rank 3 is lost"));
	}
	ended(cp);
}

/* ---- numbers ---- */

static uint64_t number(cpa *cp, const char *key)
{
	struct cpa_entry *e = NULL;
	uint64_t version = cpa_query(cp, key, &e) == 0 ? e->version : 0;

	cpa_list_free(e);
	return version;
}

static void the_next_versions_are_numbered_from_what_the_agent_says(void)
{
	cpa *cp = served();
	int x = 1;
	struct cpa_var var = CPA_VAR(x);

	CU_ASSERT_EQUAL(cpa_keep(cp, "a", 2), 0);
	for (int i = 0; i < 3; i++)
		CU_ASSERT_EQUAL(cpa_checkpoint(cp, "a", 1, CPA_VAR(x)), 0);
	CU_ASSERT_EQUAL(arena_set_number_from(agent.fd, 3), 0); /* it is beyond that already */
	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "a", 1, CPA_VAR(x)), 0);
	CU_ASSERT_EQUAL(number(cp, "a"), 4);
	CU_ASSERT_EQUAL(arena_set_number_from(agent.fd, 9), 0);
	CU_ASSERT_EQUAL(number(cp, "a"), 4);
	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "a", 1, CPA_VAR(x)), 0);
	CU_ASSERT_EQUAL(number(cp, "a"), 9);
	CU_ASSERT_EQUAL(cpa_restore_version(cp, "a", 4, &var, 1), 0);
	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "a", 1, CPA_VAR(x)), 0);
	CU_ASSERT_EQUAL(number(cp, "a"), 10);
	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "new", 1, CPA_VAR(x)), 0);
	CU_ASSERT_EQUAL(number(cp, "new"), 9);
	ended(cp);
}

static void a_number_that_no_version_can_have_is_refused(void)
{
	cpa *cp = served();
	uint64_t wild = UINT64_MAX;
	int x = 1;

	CU_ASSERT_EQUAL(arena_set_number_from(agent.fd, UINT64_C(1) << 56), -EINVAL);
	CU_ASSERT_EQUAL(pwrite(agent.fd, &wild, sizeof wild, offsetof(struct arena_header, number_from)), 8);
	CU_ASSERT_EQUAL(cpa_checkpoint(cp, "a", 1, CPA_VAR(x)), 0);
	CU_ASSERT_EQUAL(number(cp, "a"), 1);
	ended(cp);
}

static const struct test tests[] = {
	{"a question names a group and a key", a_question_names_a_group_and_a_key},
	{"what is no question is refused", what_is_no_question_is_refused},
	{"a rank is one of its group, or there is no group", a_rank_is_one_of_its_group_or_there_is_no_group},
	{"the agent is asked for group and key", the_agent_is_asked_for_group_and_key},
	{"what the agent says becomes a code and its sentence", what_the_agent_says_becomes_a_code_and_its_sentence},
	{"the next versions are numbered from what the agent says", the_next_versions_are_numbered_from_what_the_agent_says},
	{"a number that no version can have is refused", a_number_that_no_version_can_have_is_refused},
};

int main(void)
{
	struct err e;
	int rc;

	snprintf(dir, sizeof dir, "/dev/shm/test_group.XXXXXX");
	if (!mkdtemp(dir))
		return 1;
	rc = harness_run("group", tests, sizeof tests / sizeof *tests);
	fs_remove_tree(dir, &e);
	return rc;
}
