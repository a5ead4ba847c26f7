/* The registry's records: durable when put, whole after any kill, a sentence when the disk is full. */
#include <signal.h>
#include <string.h>

#include "agent/ports/records.h"
#include "lib/base/scoped.h"
#include "tests/unit/harness.h"
#include "tests/unit/scratch.h"
#include "tests/unit/tiny_fs.h"

static char dir[FS_PATH_MAX], seen[4096];

static int see(void *ctx, const char *uuid, const void *data, size_t len)
{
	size_t at = strlen(seen);

	snprintf(seen + at, sizeof seen - at, "%s=%.*s ", uuid, (int)len, (const char *)data);
	return ctx ? 5 : 0;
}

static struct records *reopen(struct records *r)
{
	struct err e = { 0 };

	records_close(r);
	CU_ASSERT_EQUAL_FATAL(records_open(dir, &r, &e), 0);
	return r;
}

static const char *all(struct records *r)
{
	seen[0] = '\0';
	CU_ASSERT_EQUAL(records_each(r, see, NULL, NULL), 0);
	return seen;
}

static void records_are_put_replaced_deleted_and_found_again(void)
{
	struct err e = { 0 };

	scratch_path(dir);
	struct records *r = reopen(NULL);
	CU_ASSERT_STRING_EQUAL(all(r), "");
	CU_ASSERT_EQUAL(records_put(r, "b", "2", 1, &e), 0);
	CU_ASSERT_EQUAL(records_put(r, "a", "1", 1, &e), 0);
	CU_ASSERT_EQUAL(records_put(r, "c", "", 0, &e), 0);
	CU_ASSERT_EQUAL(records_put(r, "b", "two", 3, &e), 0);
	CU_ASSERT_STRING_EQUAL(all(r), "a=1 b=two c= ");
	CU_ASSERT_EQUAL(records_del(r, "c", &e), 0);
	CU_ASSERT_EQUAL(records_del(r, "c", &e), 0);
	r = reopen(r);
	CU_ASSERT_STRING_EQUAL(all(r), "a=1 b=two ");
	seen[0] = '\0';
	CU_ASSERT_EQUAL(records_each(r, see, r, &e), 5);
	CU_ASSERT_STRING_EQUAL(seen, "a=1 ");
	CU_ASSERT_EQUAL(records_put(r, "", "x", 1, &e), ERR_USAGE);
	records_close(r);
	records_close(NULL);
}

static void facts_are_no_records(void)
{
	struct err e = { 0 };
	char *data;
	size_t len;

	scratch_path(dir);
	struct records *r = reopen(NULL);
	CU_ASSERT_EQUAL(records_get_fact(r, "epoch", &data, &len, &e), ERR_NOT_FOUND);
	CU_ASSERT_EQUAL(records_put_fact(r, "epoch", "7", 1, &e), 0);
	CU_ASSERT_EQUAL(records_put(r, "j", "1", 1, &e), 0);
	r = reopen(r);
	CU_ASSERT_EQUAL_FATAL(records_get_fact(r, "epoch", &data, &len, &e), 0);
	CU_ASSERT_STRING_EQUAL(data, "7");
	free(data);
	CU_ASSERT_STRING_EQUAL(all(r), "j=1 ");
	records_close(r);
}

static void several_writes_are_one(void)
{
	const struct records_change good[] = { { "a", "1", 1, 0 }, { "b", NULL, 0, 0 }, { "epoch", "8", 1, 1 } };
	const struct records_change bad[] = { { "a", "2", 1, 0 }, { "", "x", 1, 0 } };
	struct err e = { 0 };
	char *data;
	size_t len;

	scratch_path(dir);
	struct records *r = reopen(NULL);
	CU_ASSERT_EQUAL(records_put(r, "b", "2", 1, &e), 0);
	CU_ASSERT_EQUAL(records_write(r, good, 3, &e), 0);
	CU_ASSERT_EQUAL(records_write(r, bad, 2, &e), ERR_USAGE);
	CU_ASSERT_EQUAL(records_write(r, NULL, 0, &e), 0);
	r = reopen(r);
	CU_ASSERT_STRING_EQUAL(all(r), "a=1 ");
	CU_ASSERT_EQUAL_FATAL(records_get_fact(r, "epoch", &data, &len, &e), 0);
	CU_ASSERT_STRING_EQUAL(data, "8");
	free(data);
	records_close(r);
}

static void the_map_grows_with_what_is_put(void)
{
	struct err e = { 0 };
	size_t n = (size_t)1 << 20;
	scoped_free char *big = calloc(1, n);
	int bad = 0;

	scratch_path(dir);
	struct records *r = reopen(NULL);
	for (int i = 0; i < 100; i++) { /* more than the map it starts with */
		char name[16];
		snprintf(name, sizeof name, "%d", i);
		bad += records_put(r, name, big, n, &e) != 0;
	}
	CU_ASSERT_EQUAL(bad, 0);
	records_close(r);
}

static void a_second_agent_on_the_same_database_is_refused(void)
{
	struct err e = { 0 };
	struct records *second;

	scratch_path(dir);
	struct records *r = reopen(NULL);
	CU_ASSERT_EQUAL(records_open(dir, &second, &e), ERR_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, "another agent"));
	records_close(r);
}

static void what_is_no_database_is_refused_with_a_sentence(void)
{
	struct err e = { 0 };
	struct records *r;
	char path[FS_PATH_MAX], junk[8192];

	memset(junk, 'j', sizeof junk);
	CU_ASSERT_EQUAL_FATAL(fs_mkdirs(scratch_path(dir), 0700, &e), 0);
	CU_ASSERT_EQUAL_FATAL(fs_write_aside(fs_path(path, "%s/data.mdb", dir), junk, sizeof junk, 0600, 0, &e),
	                      0);
	CU_ASSERT_EQUAL(records_open(dir, &r, &e), ERR_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, dir));
}

/* A child puts ever larger numbers into two records, one after the other, and tells what was acknowledged. */
static uint64_t put_and_be_killed(void)
{
	int p[2];
	uint64_t n = 0, last = 0;

	if (pipe(p) < 0)
		return 0;
	pid_t pid = fork();
	if (pid == 0) {
		struct records *r;
		if (records_open(dir, &r, NULL) < 0)
			_exit(1);
		for (n = 1;; n++)
			if (records_put(r, "j", &n, sizeof n, NULL) < 0 || write(p[1], &n, sizeof n) != sizeof n)
				_exit(2);
	}
	close(p[1]);
	while (last < 20 && fs_read_full(p[0], &n, sizeof n) == 0)
		last = n;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	while (read(p[0], &n, sizeof n) == sizeof n)
		last = n;
	close(p[0]);
	return last;
}

static int take_number(void *ctx, const char *uuid, const void *data, size_t len)
{
	(void)uuid;
	if (len != sizeof(uint64_t))
		return 1;
	memcpy(ctx, data, len);
	return 0;
}

static void a_killed_agent_leaves_the_newest_acknowledged_record_or_the_next(void)
{
	for (int round = 0; round < 5; round++) {
		scratch_path(dir);
		uint64_t acked = put_and_be_killed(), found = 0;
		CU_ASSERT_FATAL(acked >= 20);
		struct records *r = reopen(NULL);
		CU_ASSERT_EQUAL(records_each(r, take_number, &found, NULL), 0);
		CU_ASSERT(found == acked || found == acked + 1);
		records_close(r);
	}
}

static int count_one(void *ctx, const char *uuid, const void *data, size_t len)
{
	(void)uuid, (void)data;
	*(int *)ctx += 1;
	return len != 16384;
}

static int fill(const char *tmp)
{
	static char value[16384], big[1 << 20];
	struct err e = { 0 };
	struct records *r;
	char name[16];
	int n = 0;

	fs_path(dir, "%s/registry", tmp);
	if (records_open(dir, &r, &e) < 0)
		return 1;
	for (; n < 1000; n++) {
		snprintf(name, sizeof name, "%06d", n);
		if (records_put(r, name, value, sizeof value, &e) < 0)
			break;
	}
	if (n < 10 || n == 1000 || !strstr(e.text, "disk is full"))
		return 2;
	/* of several writes that do not fit together, the first is not there either */
	struct records_change two[] = { { "000000", "new", 3, 0 }, { "big", big, sizeof big, 0 } };
	if (records_write(r, two, 2, &e) == 0)
		return 5;
	/* the old records stand, and so does the database, also for the next agent */
	records_close(r);
	if (records_open(dir, &r, &e) < 0)
		return 3;
	int count = 0;
	if (records_each(r, count_one, &count, &e) < 0 || count != n)
		return 4;
	records_close(r);
	return 0;
}

static void a_full_disk_is_a_sentence_and_the_old_records_stand(void)
{
	CU_ASSERT(tiny_fs_ok(tiny_fs_run("2m", fill)));
}

static const struct test tests[] = {
	{ "records are put, replaced, deleted and found again", records_are_put_replaced_deleted_and_found_again },
	{ "facts are no records", facts_are_no_records },
	{ "several writes are one", several_writes_are_one },
	{ "the map grows with what is put", the_map_grows_with_what_is_put },
	{ "a second agent on the same database is refused", a_second_agent_on_the_same_database_is_refused },
	{ "what is no database is refused with a sentence", what_is_no_database_is_refused_with_a_sentence },
	{ "a killed agent leaves the newest acknowledged record or the next",
	  a_killed_agent_leaves_the_newest_acknowledged_record_or_the_next },
	{ "a full disk is a sentence, and the old records stand",
	  a_full_disk_is_a_sentence_and_the_old_records_stand },
};

int main(void)
{
	return harness_run("records", tests, sizeof tests / sizeof *tests);
}
