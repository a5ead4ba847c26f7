/* What a job asks of its agent is answered once, and to who asked: asks_answer() on an arena of its own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/asks.h"
#include "lib/arena/mailbox.h"
#include "lib/base/fs.h"
#include "lib/base/log.h"
#include "tests/unit/harness.h"

static struct job job;

/* The job has asked for so many snapshots, and the last one is being carried out. */
static struct arena *asking(uint32_t asked, uint32_t incarnation)
{
	char path[FS_PATH_MAX + 8];
	struct arena *a;
	snprintf(path, sizeof path, "%s/arena", job.job_dir);
	unlink(path);
	CU_ASSERT_EQUAL_FATAL(arena_create(path, 1 << 20, 0600), 0);
	CU_ASSERT_EQUAL_FATAL(arena_map(&a, path), 0);
	a->head->ask[ARENA_ASK_SNAPSHOT].asked = asked;
	job.asking[ARENA_ASK_SNAPSHOT] = (struct ask_flight){ true, asked, incarnation };
	job.incarnation = incarnation;
	job.state = JOB_RUNNING;
	return a;
}

static void answer(uint32_t asked)
{
	asks_answer(&job, ARENA_ASK_SNAPSHOT, asked, -7, 17, "no");
}

static void who_asked_is_answered(void)
{
	struct arena *a = asking(3, 2);
	struct arena_ask *q = &a->head->ask[ARENA_ASK_SNAPSHOT];
	answer(3);
	CU_ASSERT(q->answered == 3 && q->result == -7 && q->number == 17 && !strcmp(q->why, "no"));
	CU_ASSERT_FALSE(job.asking[ARENA_ASK_SNAPSHOT].busy);
	arena_unmap(a);
}

/* It was restored meanwhile from a snapshot in which it had asked less often: its next ask has a smaller number. */
static void another_incarnation_is_not_told_what_an_older_one_asked(void)
{
	struct arena *a = asking(3, 2);
	struct arena_ask *q = &a->head->ask[ARENA_ASK_SNAPSHOT];
	job.incarnation = 3;
	q->asked = 2;
	answer(3);
	CU_ASSERT(q->answered == 0 && q->result == 0 && q->number == 0);
	CU_ASSERT_FALSE(job.asking[ARENA_ASK_SNAPSHOT].busy); /* and may ask */
	arena_unmap(a);
}

static void a_job_that_has_ended_is_not_told(void)
{
	struct arena *a = asking(3, 2);
	job.state = JOB_EXITED;
	answer(3);
	CU_ASSERT_EQUAL(a->head->ask[ARENA_ASK_SNAPSHOT].answered, 0);
	CU_ASSERT_FALSE(job.asking[ARENA_ASK_SNAPSHOT].busy);
	arena_unmap(a);
}

static void a_second_answer_and_one_to_another_ask_are_dropped(void)
{
	struct arena *a = asking(3, 2);
	answer(2);
	CU_ASSERT_EQUAL(a->head->ask[ARENA_ASK_SNAPSHOT].answered, 0);
	CU_ASSERT_TRUE(job.asking[ARENA_ASK_SNAPSHOT].busy);
	answer(3);
	a->head->ask[ARENA_ASK_SNAPSHOT].number = 0;
	answer(3);
	CU_ASSERT_EQUAL(a->head->ask[ARENA_ASK_SNAPSHOT].number, 0);
	arena_unmap(a);
}

static const struct test tests[] = {
	{"who asked is answered", who_asked_is_answered},
	{"another incarnation is not told what an older one asked", another_incarnation_is_not_told_what_an_older_one_asked},
	{"a job that has ended is not told", a_job_that_has_ended_is_not_told},
	{"a second answer and one to another ask are dropped", a_second_answer_and_one_to_another_ask_are_dropped},
};

int main(void)
{
	struct err e;
	int rc;
	job.id = "job";
	snprintf(job.job_dir, sizeof job.job_dir, "/dev/shm/test_asks.XXXXXX");
	if (!mkdtemp(job.job_dir))
		return 1;
	rc = harness_run("asks", tests, sizeof tests / sizeof *tests);
	fs_remove_tree(job.job_dir, &e);
	return rc;
}
