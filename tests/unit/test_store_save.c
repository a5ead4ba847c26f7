/* To disk and back: what a save keeps, what it writes, what it removes, and what a damaged one falls back to. */
#include "tests/unit/harness.h"
#include "tests/unit/store_sample.h"

static char dir[FS_PATH_MAX], disk[FS_PATH_MAX];
static char skipped_job[STORE_JOB_MAX], skipped_why[ERR_TEXT_MAX];
static uint64_t skipped_number;
static int skipped_count;

static void note_skipped(void *ctx, const char *job, Cpa__What what, uint64_t number, const char *why)
{
	(void)ctx, (void)what;
	snprintf(skipped_job, sizeof skipped_job, "%s", job);
	snprintf(skipped_why, sizeof skipped_why, "%s", why);
	skipped_number = number;
	skipped_count++;
}

static struct store *fresh(uint64_t budget, const uint8_t *key)
{
	struct store *s;

	CU_ASSERT_EQUAL_FATAL(store_open(scratch_path(dir), budget, key, &s, NULL), 0);
	return s;
}

/* Two jobs with two generations each and a note, saved; the store they came from is closed. */
static void saved_sample(void)
{
	struct store *s = fresh(0, sample_key);
	struct store_saved sum;
	struct err e = { 0 };

	scratch_path(disk);
	for (uint64_t n = 1; n <= 2; n++) {
		CU_ASSERT_EQUAL_FATAL(sample_put(s, "j1", n, 0, 1000, &e), 0);
		CU_ASSERT_EQUAL_FATAL(sample_put(s, "j2", n, 0, 1001, &e), 0);
	}
	CU_ASSERT_EQUAL_FATAL(store_put_note(s, "j1", "spec", "argv", 4, &e), 0);
	CU_ASSERT_EQUAL_FATAL(store_save(s, disk, &sum, NULL, NULL, &e), 0);
	CU_ASSERT_EQUAL(sum.items, 4);
	CU_ASSERT_EQUAL(sum.skipped, 0);
	CU_ASSERT(sum.bytes_written > 2 * CHUNK_BYTES);
	store_close(s);
	skipped_count = 0;
}

static struct store *loaded(uint64_t budget, const uint8_t *key, struct store_saved *sum)
{
	struct store *s = fresh(budget, key);
	struct err e = { 0 };

	CU_ASSERT_EQUAL_FATAL(store_load(s, disk, sum, note_skipped, NULL, &e), 0);
	return s;
}

static void flip(const char *path, off_t at)
{
	char c;
	scoped_fd int fd = open(path, O_RDWR);

	CU_ASSERT_EQUAL_FATAL(pread(fd, &c, 1, at), 1);
	c ^= 1;
	CU_ASSERT_EQUAL_FATAL(pwrite(fd, &c, 1, at), 1);
}

/* The file of a chunk on disk that only this generation of j1 has. */
static const char *own_chunk(uint64_t number, char *path)
{
	char hex[CHUNK_HEX_MAX];

	sample_fill("j1", number);
	struct chunk_id id = chunk_id(sample_data + 3 * CHUNK_BYTES, CHUNK_BYTES);
	chunk_hex(id.b, hex);
	return fs_path(path, "%s/chunks/1000/%.2s/%s", disk, hex, hex);
}

static void everything_comes_back_after_memory_is_lost(void)
{
	struct store_saved sum;
	uint8_t *note;
	size_t len;

	saved_sample();
	struct store *s = loaded(0, sample_key, &sum);
	CU_ASSERT_EQUAL(sum.items, 4);
	CU_ASSERT_EQUAL(skipped_count, 0);
	CU_ASSERT(sample_all_whole(s));
	CU_ASSERT_EQUAL_FATAL(store_get_note(s, "j1", "spec", &note, &len, NULL), 0);
	CU_ASSERT_STRING_EQUAL((char *)note, "argv");
	free(note);
	store_close(s);
}

static void a_save_writes_only_what_the_disk_lacks_and_removes_what_is_dropped(void)
{
	struct store_saved sum;
	struct err e = { 0 };
	char path[FS_PATH_MAX];

	saved_sample();
	struct store *s = loaded(0, sample_key, &sum);
	CU_ASSERT_EQUAL(store_save(s, disk, &sum, NULL, NULL, &e), 0);
	CU_ASSERT_EQUAL(sum.bytes_written, 0);
	CU_ASSERT_EQUAL(access(own_chunk(1, path), F_OK), 0);
	CU_ASSERT_EQUAL_FATAL(sample_put(s, "j1", 3, 0, 1000, &e), 0);
	CU_ASSERT_EQUAL(store_keep(s, "j1", CPA__WHAT__GENERATION, 2, &e), 0);
	CU_ASSERT_EQUAL(store_drop_job(s, "j2", &e), 0);
	CU_ASSERT_EQUAL(store_save(s, disk, &sum, NULL, NULL, &e), 0);
	CU_ASSERT_EQUAL(sum.items, 2);
	CU_ASSERT(sum.bytes_written > 0 && sum.bytes_written < 3 * CHUNK_BYTES);
	CU_ASSERT(access(own_chunk(1, path), F_OK) < 0);
	CU_ASSERT_EQUAL(access(own_chunk(2, path), F_OK), 0);
	CU_ASSERT(access(fs_path(path, "%s/jobs/j2", disk), F_OK) < 0);
	store_close(s);
	s = loaded(0, sample_key, &sum);
	CU_ASSERT_EQUAL(sum.items, 2);
	CU_ASSERT(sample_all_whole(s));
	store_close(s);
}

static void a_damaged_chunk_on_disk_costs_its_generation_and_the_one_before_is_used(void)
{
	struct store_saved sum;
	struct store_item it;
	char path[FS_PATH_MAX];

	saved_sample();
	flip(own_chunk(2, path), 5000);
	struct store *s = loaded(0, sample_key, &sum);
	CU_ASSERT_EQUAL(sum.items, 3);
	CU_ASSERT_EQUAL(skipped_count, 1);
	CU_ASSERT_STRING_EQUAL(skipped_job, "j1");
	CU_ASSERT_EQUAL(skipped_number, 2);
	CU_ASSERT_PTR_NOT_NULL(strstr(skipped_why, "damaged"));
	CU_ASSERT(store_newest(s, "j1", CPA__WHAT__GENERATION, &it) && it.number == 1);
	CU_ASSERT(sample_all_whole(s));
	/* the next save mends the disk */
	CU_ASSERT_EQUAL_FATAL(sample_put(s, "j1", 2, 0, 1000, NULL), 0);
	CU_ASSERT_EQUAL(store_save(s, disk, &sum, NULL, NULL, NULL), 0);
	store_close(s);
	s = loaded(0, sample_key, &sum);
	CU_ASSERT_EQUAL(sum.items, 4);
	CU_ASSERT(sample_all_whole(s));
	store_close(s);
}

static void a_damaged_or_torn_manifest_on_disk_is_passed_over_with_a_reason(void)
{
	struct store_saved sum;
	struct store_item it;
	char path[FS_PATH_MAX];

	saved_sample();
	flip(fs_path(path, "%s/jobs/j1/g-2", disk), 60);
	CU_ASSERT_EQUAL(truncate(fs_path(path, "%s/jobs/j2/g-2", disk), 100), 0);
	struct store *s = loaded(0, sample_key, &sum);
	CU_ASSERT_EQUAL(sum.items, 2);
	CU_ASSERT_EQUAL(skipped_count, 2);
	CU_ASSERT(*skipped_why != '\0');
	CU_ASSERT(store_newest(s, "j2", CPA__WHAT__GENERATION, &it) && it.number == 1);
	CU_ASSERT(sample_all_whole(s));
	CU_ASSERT_EQUAL(store_save(s, disk, &sum, NULL, NULL, NULL), 0);
	CU_ASSERT(access(path, F_OK) < 0); /* there is a better one of that job */
	store_close(s);
}

static void a_save_under_another_key_is_passed_over_and_left_alone(void)
{
	static const uint8_t other[MANIFEST_KEY_BYTES] = { 1 };
	struct store_saved sum;

	saved_sample();
	struct store *s = loaded(0, other, &sum);
	CU_ASSERT_EQUAL(sum.items, 0);
	CU_ASSERT_EQUAL(skipped_count, 4);
	CU_ASSERT_PTR_NOT_NULL(strstr(skipped_why, "another key"));
	CU_ASSERT_EQUAL(store_save(s, disk, &sum, NULL, NULL, NULL), 0);
	store_close(s);
	s = loaded(0, sample_key, &sum);
	CU_ASSERT_EQUAL(sum.items, 4);
	CU_ASSERT(sample_all_whole(s));
	store_close(s);
}

static void what_exceeds_the_budget_is_passed_over_newest_first_and_stays_on_disk(void)
{
	struct store_saved sum;
	struct store_item it;

	saved_sample();
	struct store *s = loaded(5 * CHUNK_BYTES / 2, sample_key, &sum);
	CU_ASSERT_EQUAL(sum.items, 2);
	CU_ASSERT_EQUAL(skipped_count, 2);
	CU_ASSERT_PTR_NOT_NULL(strstr(skipped_why, "--memory"));
	CU_ASSERT(store_newest(s, "j1", CPA__WHAT__GENERATION, &it) && it.number == 2);
	CU_ASSERT(store_newest(s, "j2", CPA__WHAT__GENERATION, &it) && it.number == 2);
	store_close(s);
	s = loaded(1000, sample_key, &sum); /* room for nothing at all */
	CU_ASSERT_EQUAL(sum.items, 0);
	CU_ASSERT_EQUAL(store_save(s, disk, &sum, NULL, NULL, NULL), 0);
	store_close(s);
	s = loaded(0, sample_key, &sum);
	CU_ASSERT_EQUAL(sum.items, 4);
	store_close(s);
}

static void a_chunk_damaged_in_memory_is_not_saved_and_the_rest_is(void)
{
	struct store_saved sum;
	char path[FS_PATH_MAX], hex[CHUNK_HEX_MAX];
	struct store *s = fresh(0, sample_key);
	struct err e = { 0 };

	scratch_path(disk);
	skipped_count = 0;
	CU_ASSERT_EQUAL_FATAL(sample_put(s, "j1", 1, 0, 1000, &e), 0);
	CU_ASSERT_EQUAL_FATAL(sample_put(s, "j1", 2, 0, 1000, &e), 0);
	sample_fill("j1", 2);
	struct chunk_id id = chunk_id(sample_data + 3 * CHUNK_BYTES, CHUNK_BYTES);
	chunk_hex(id.b, hex);
	flip(fs_path(path, "%s/chunks/1000/%.2s/%s", dir, hex, hex), 4000);
	CU_ASSERT_EQUAL(store_save(s, disk, &sum, note_skipped, NULL, &e), 0);
	CU_ASSERT_EQUAL(sum.items, 1);
	CU_ASSERT_EQUAL(skipped_count, 1);
	CU_ASSERT_EQUAL(skipped_number, 2);
	store_close(s);
	s = loaded(0, sample_key, &sum);
	CU_ASSERT_EQUAL(sum.items, 1);
	CU_ASSERT(sample_all_whole(s));
	store_close(s);
}

static void memory_that_lived_through_a_restart_is_not_loaded_over(void)
{
	struct store_saved sum;
	struct err e = { 0 };
	struct store_item it;

	saved_sample();
	struct store *s = loaded(0, sample_key, &sum);
	CU_ASSERT_EQUAL(store_drop_job(s, "j2", &e), 0);
	CU_ASSERT_EQUAL(store_keep(s, "j1", CPA__WHAT__GENERATION, 1, &e), 0);
	store_close(s);
	CU_ASSERT_EQUAL_FATAL(store_open(dir, 0, sample_key, &s, &e), 0);
	CU_ASSERT_EQUAL(store_load(s, disk, &sum, note_skipped, NULL, &e), 0);
	CU_ASSERT_EQUAL(sum.items, 0);
	CU_ASSERT(!store_newest(s, "j2", CPA__WHAT__GENERATION, &it));
	CU_ASSERT_EQUAL(store_drop(s, "j1", CPA__WHAT__GENERATION, 1, &e), ERR_NOT_FOUND);
	store_close(s);
}

static void a_load_that_was_cut_short_is_done_again(void)
{
	struct store_saved sum;
	struct err e = { 0 };
	char path[FS_PATH_MAX];

	saved_sample();
	struct store *s = loaded(0, sample_key, &sum);
	CU_ASSERT_EQUAL(store_drop(s, "j2", CPA__WHAT__GENERATION, 2, &e), 0);
	store_close(s);
	CU_ASSERT_EQUAL(unlink(fs_path(path, "%s/loaded", dir)), 0); /* as if killed in its midst */
	CU_ASSERT_EQUAL_FATAL(store_open(dir, 0, sample_key, &s, &e), 0);
	CU_ASSERT_EQUAL(store_load(s, disk, &sum, note_skipped, NULL, &e), 0);
	CU_ASSERT_EQUAL(sum.items, 4);
	CU_ASSERT_EQUAL(skipped_count, 0);
	CU_ASSERT(sample_all_whole(s));
	store_close(s);
}

static void a_directory_that_is_not_there_is_an_empty_save(void)
{
	struct store_saved sum;

	scratch_path(disk);
	struct store *s = loaded(0, sample_key, &sum);
	CU_ASSERT_EQUAL(sum.items, 0);
	store_close(s);
}

static const struct test tests[] = {
	{ "everything comes back after memory is lost", everything_comes_back_after_memory_is_lost },
	{ "a save writes only what the disk lacks, and removes what is dropped",
	  a_save_writes_only_what_the_disk_lacks_and_removes_what_is_dropped },
	{ "a damaged chunk on disk costs its generation, and the one before is used",
	  a_damaged_chunk_on_disk_costs_its_generation_and_the_one_before_is_used },
	{ "a damaged or torn manifest on disk is passed over with a reason",
	  a_damaged_or_torn_manifest_on_disk_is_passed_over_with_a_reason },
	{ "a save under another key is passed over and left alone",
	  a_save_under_another_key_is_passed_over_and_left_alone },
	{ "what exceeds the budget is passed over, newest first, and stays on disk",
	  what_exceeds_the_budget_is_passed_over_newest_first_and_stays_on_disk },
	{ "a chunk damaged in memory is not saved, and the rest is",
	  a_chunk_damaged_in_memory_is_not_saved_and_the_rest_is },
	{ "memory that lived through a restart is not loaded over",
	  memory_that_lived_through_a_restart_is_not_loaded_over },
	{ "a load that was cut short is done again", a_load_that_was_cut_short_is_done_again },
	{ "a directory that is not there is an empty save", a_directory_that_is_not_there_is_an_empty_save },
};

int main(void)
{
	return harness_run("store_save", tests, sizeof tests / sizeof *tests);
}
