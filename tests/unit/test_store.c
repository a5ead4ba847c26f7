/* The chunk store in quiet times: what goes in comes out, what is shared stays, what nobody needs goes. */
#include <pthread.h>

#include "tests/unit/harness.h"
#include "tests/unit/store_sample.h"

static char dir[FS_PATH_MAX];

static struct store *fresh(uint64_t budget)
{
	struct store *s;
	struct err e = { 0 };

	CU_ASSERT_EQUAL_FATAL(store_open(scratch_path(dir), budget, sample_key, &s, &e), 0);
	return s;
}

static size_t held(struct store *s, const char *job)
{
	struct store_item *items;
	size_t n;

	CU_ASSERT_EQUAL_FATAL(store_list(s, job, &items, &n, NULL), 0);
	free(items);
	return n;
}

static void a_generation_goes_in_once_and_comes_out_byte_for_byte(void)
{
	struct store *s = fresh(0);
	struct err e = { 0 };

	CU_ASSERT_EQUAL_FATAL(sample_put(s, "j1", 4, 0, 1000, &e), 0);
	uint64_t used = store_used(s);
	CU_ASSERT(used > 0 && used < SAMPLE_BYTES);
	CU_ASSERT_EQUAL(sample_put(s, "j1", 4, 0, 1000, &e), 0);
	CU_ASSERT_EQUAL(store_used(s), used);
	CU_ASSERT_EQUAL(held(s, "j1"), 1);
	CU_ASSERT(sample_all_whole(s));
	store_close(s);
	CU_ASSERT_EQUAL_FATAL(store_open(dir, 0, sample_key, &s, &e), 0);
	CU_ASSERT_EQUAL(store_used(s), used);
	CU_ASSERT_EQUAL(held(s, NULL), 1);
	CU_ASSERT(sample_all_whole(s));
	store_close(s);
}

static void a_manifest_whose_chunks_are_not_all_there_is_refused(void)
{
	struct store *s = fresh(0);
	struct err e = { 0 };
	uint8_t *sealed;
	size_t len, n;
	struct manifest m;
	struct chunk_id *ids;

	sample_manifest("j1", 1, 0, 1000, &sealed, &len, &m);
	CU_ASSERT_EQUAL_FATAL(store_missing(s, &m, &ids, &n, &e), 0);
	CU_ASSERT_EQUAL_FATAL(n, 5); /* four of pages-1.img, without the zeros, and files/0 */
	for (size_t i = 0; i < n; i++) {
		CU_ASSERT_EQUAL(store_put_manifest(s, m.what, sealed, len, &e), ERR_FAILED);
		CU_ASSERT_PTR_NOT_NULL(strstr(e.text, "not complete"));
		CU_ASSERT_EQUAL(held(s, NULL), 0);
		CU_ASSERT_EQUAL(sample_put_chunk(s, 1000, &ids[i], &e), 0);
	}
	CU_ASSERT_EQUAL(store_put_manifest(s, m.what, sealed, len, &e), 0);
	CU_ASSERT_EQUAL(held(s, NULL), 1);
	free(ids);
	CU_ASSERT_EQUAL(store_missing(s, &m, &ids, &n, &e), 0);
	CU_ASSERT_EQUAL(n, 0);
	CU_ASSERT_PTR_NULL(ids);
	manifest_free(&m);
	free(sealed);
	store_close(s);
}

static void a_chunk_that_does_not_match_its_id_is_refused(void)
{
	struct store *s = fresh(0);
	struct err e = { 0 };
	struct chunk_id id = chunk_id("abc", 3);

	CU_ASSERT_EQUAL(store_put_chunk(s, 7, id.b, "abd", 3, false, 3, &e), ERR_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, "does not match"));
	CU_ASSERT_EQUAL(store_put_chunk(s, 7, id.b, "abc", 3, true, 3, &e), ERR_FAILED);
	CU_ASSERT_EQUAL(store_put_chunk(s, 7, id.b, "abc", 3, false, 4, &e), ERR_FAILED);
	CU_ASSERT_EQUAL(store_put_chunk(s, 7, id.b, "abc", 0, false, 0, &e), ERR_FAILED);
	CU_ASSERT_EQUAL(store_put_chunk(s, 7, id.b, "abc", CHUNK_BYTES + 1, false, 3, &e), ERR_FAILED);
	CU_ASSERT(!store_has(s, 7, id.b));
	CU_ASSERT_EQUAL(store_used(s), 0);
	CU_ASSERT_EQUAL(store_put_chunk(s, 7, id.b, "abc", 3, false, 3, &e), 0);
	CU_ASSERT(store_has(s, 7, id.b));
	store_close(s);
}

static void one_users_chunks_are_not_anothers(void)
{
	static unsigned char buf[CHUNK_BYTES];
	struct store *s = fresh(0);
	struct err e = { 0 };
	struct chunk_id id = chunk_id("abc", 3);
	size_t len;

	CU_ASSERT_EQUAL_FATAL(store_put_chunk(s, 1000, id.b, "abc", 3, false, 3, &e), 0);
	CU_ASSERT(store_has(s, 1000, id.b));
	CU_ASSERT(!store_has(s, 1001, id.b));
	CU_ASSERT_EQUAL(store_get_chunk(s, 1001, id.b, buf, &len, &e), ERR_NOT_FOUND);
	CU_ASSERT_EQUAL(store_get_chunk(s, 1000, id.b, buf, &len, &e), 0);
	CU_ASSERT_EQUAL(len, 3);
	CU_ASSERT_EQUAL_FATAL(sample_put(s, "j1", 1, 0, 1000, &e), 0);
	uint64_t one = store_used(s);
	CU_ASSERT_EQUAL_FATAL(sample_put(s, "j2", 1, 0, 1001, &e), 0);
	CU_ASSERT(store_used(s) > one + one / 2);
	CU_ASSERT(sample_all_whole(s));
	store_close(s);
}

static void packed_bytes_go_on_as_they_came(void)
{
	static unsigned char buf[CHUNK_BYTES], raw[CHUNK_BYTES];
	struct store *s = fresh(0);
	size_t len, raw_len;
	bool compressed;

	CU_ASSERT_EQUAL_FATAL(sample_put(s, "j1", 1, 0, 1000, NULL), 0);
	sample_fill("j1", 1);
	struct chunk_id id = chunk_id(sample_data + 2 * CHUNK_BYTES, CHUNK_BYTES);
	CU_ASSERT_EQUAL_FATAL(store_get_packed(s, 1000, id.b, buf, &len, &compressed, &raw_len, NULL), 0);
	CU_ASSERT(compressed && len < CHUNK_BYTES && raw_len == CHUNK_BYTES);
	CU_ASSERT_EQUAL(chunk_unpack(buf, len, compressed, raw, raw_len, NULL), 0);
	CU_ASSERT_EQUAL(memcmp(raw, sample_data + 2 * CHUNK_BYTES, CHUNK_BYTES), 0);
	store_close(s);
}

static void the_newest_are_kept_and_a_later_incarnation_is_newer(void)
{
	struct store *s = fresh(0);
	struct store_item it;
	struct err e = { 0 };

	CU_ASSERT(!store_newest(s, "j1", CPA__WHAT__GENERATION, &it));
	for (uint64_t n = 1; n <= 4; n++)
		CU_ASSERT_EQUAL_FATAL(sample_put(s, "j1", n, 0, 1000, &e), 0);
	CU_ASSERT_EQUAL_FATAL(sample_put(s, "j1", 3, 1, 1000, &e), 0); /* replaces the other 3 */
	CU_ASSERT_EQUAL(held(s, "j1"), 4);
	CU_ASSERT_EQUAL(sample_put(s, "j1", 3, 0, 1000, &e), ERR_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, "later incarnation"));
	CU_ASSERT(store_newest(s, "j1", CPA__WHAT__GENERATION, &it));
	CU_ASSERT_EQUAL(it.number, 3);
	CU_ASSERT_EQUAL(it.incarnation, 1);
	CU_ASSERT_EQUAL(store_keep(s, "j1", CPA__WHAT__GENERATION, 2, &e), 0);
	struct store_item *items;
	size_t n;
	CU_ASSERT_EQUAL_FATAL(store_list(s, "j1", &items, &n, &e), 0);
	CU_ASSERT_EQUAL_FATAL(n, 2);
	CU_ASSERT_EQUAL(items[0].number, 3);
	CU_ASSERT_EQUAL(items[1].number, 4);
	free(items);
	CU_ASSERT_EQUAL(store_drop(s, "j1", CPA__WHAT__GENERATION, 1, &e), ERR_NOT_FOUND);
	CU_ASSERT(sample_all_whole(s));
	store_close(s);
}

static void cleaning_up_keeps_what_is_shared_or_pinned_and_nothing_else(void)
{
	struct store *s = fresh(0);
	struct err e = { 0 };
	struct manifest m;
	uint8_t *sealed;
	uint64_t freed;
	size_t len, n;
	struct chunk_id *ids;

	CU_ASSERT_EQUAL_FATAL(sample_put(s, "j1", 1, 0, 1000, &e), 0);
	uint64_t one = store_used(s);
	CU_ASSERT_EQUAL_FATAL(sample_put(s, "j1", 2, 0, 1000, &e), 0);
	CU_ASSERT_EQUAL(store_gc(s, &freed, &e), 0);
	CU_ASSERT_EQUAL(freed, 0);
	CU_ASSERT_EQUAL_FATAL(store_drop(s, "j1", CPA__WHAT__GENERATION, 2, &e), 0);
	sample_manifest("j1", 2, 0, 1000, &sealed, &len, &m);
	struct store_pin *pin = store_pin(s, &m);
	CU_ASSERT_EQUAL(store_gc(s, &freed, &e), 0);
	CU_ASSERT_EQUAL(freed, 0); /* pinned: a fetch of it is under way */
	store_unpin(s, pin);
	CU_ASSERT_EQUAL(store_gc(s, &freed, &e), 0);
	CU_ASSERT(freed > 0);
	CU_ASSERT_EQUAL(store_used(s), one);
	CU_ASSERT_EQUAL(store_missing(s, &m, &ids, &n, &e), 0);
	CU_ASSERT_EQUAL(n, 3); /* its own; what it shares with the other is here */
	CU_ASSERT(sample_all_whole(s));
	free(ids);
	free(sealed);
	manifest_free(&m);
	CU_ASSERT_EQUAL(store_drop_job(s, "j1", &e), 0);
	CU_ASSERT_EQUAL(store_gc(s, &freed, &e), 0);
	CU_ASSERT_EQUAL(store_used(s), 0);
	store_close(s);
}

static void a_spent_budget_refuses_what_is_new_and_harms_nothing(void)
{
	struct store *s = fresh(3 * CHUNK_BYTES / 2);
	struct err e = { 0 };

	CU_ASSERT_EQUAL_FATAL(sample_put(s, "j1", 1, 0, 1000, &e), 0);
	uint64_t used = store_used(s);
	CU_ASSERT_EQUAL(sample_put(s, "j2", 1, 0, 1001, &e), ERR_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, "--memory"));
	CU_ASSERT_EQUAL(held(s, "j2"), 0);
	CU_ASSERT_EQUAL(held(s, "j1"), 1);
	CU_ASSERT_EQUAL(store_gc(s, NULL, &e), 0);
	CU_ASSERT_EQUAL(store_used(s), used); /* nothing half-kept */
	/* what may go makes room by itself */
	CU_ASSERT_EQUAL(store_drop(s, "j1", CPA__WHAT__GENERATION, 1, &e), 0);
	CU_ASSERT_EQUAL(sample_put(s, "j2", 1, 0, 1001, &e), 0);
	CU_ASSERT(sample_all_whole(s));
	store_close(s);
}

static void assembling_reuses_files_in_place_makes_holes_and_removes_the_rest(void)
{
	struct store *s = fresh(0);
	struct err e = { 0 };
	char img[FS_PATH_MAX], path[FS_PATH_MAX];
	struct store_item it;
	struct stat before, after;

	CU_ASSERT_EQUAL_FATAL(sample_put(s, "j1", 1, 0, 1000, &e), 0);
	CU_ASSERT_EQUAL_FATAL(fs_mkdirs(scratch_path(img), 0700, &e), 0);
	sample_fill("x", 9);
	memset(sample_data, 'o', sizeof sample_data);
	CU_ASSERT_EQUAL_FATAL(
	        fs_write_aside(fs_path(path, "%s/pages-1.img", img), sample_data, SAMPLE_BYTES, 0600, 0, &e), 0);
	CU_ASSERT_EQUAL(stat(path, &before), 0);
	CU_ASSERT_EQUAL_FATAL(fs_write_aside(fs_path(path, "%s/core-9.img", img), "old", 3, 0600, 0, &e), 0);
	CU_ASSERT_EQUAL_FATAL(fs_mkdirs(fs_path(path, "%s/files/7", img), 0700, &e), 0);
	CU_ASSERT(store_newest(s, "j1", CPA__WHAT__GENERATION, &it));
	CU_ASSERT(sample_whole(s, &it, img));
	CU_ASSERT_EQUAL(stat(fs_path(path, "%s/pages-1.img", img), &after), 0);
	CU_ASSERT_EQUAL(before.st_ino, after.st_ino);
	CU_ASSERT(after.st_blocks * 512 < (long)(SAMPLE_BYTES - CHUNK_BYTES / 2));
	CU_ASSERT(access(fs_path(path, "%s/core-9.img", img), F_OK) < 0);
	CU_ASSERT(access(fs_path(path, "%s/files/7", img), F_OK) < 0);
	CU_ASSERT(access(fs_path(path, "%s/files/0", img), F_OK) == 0);
	store_close(s);
}

static void a_keys_value_comes_out_across_chunks(void)
{
	struct store *s = fresh(0);
	struct err e = { 0 };
	Cpa__Key k = CPA__KEY__INIT, *ks[] = { &k };
	Cpa__Keyset keys = CPA__KEYSET__INIT;
	uint8_t *sealed;
	size_t len, n;
	static unsigned char out[SAMPLE_BYTES];
	struct manifest m;
	struct chunk_id *ids;

	sample_fill("j1", 1);
	k.key = (char *)"u";
	k.offset = CHUNK_BYTES - 64;
	k.bytes = SAMPLE_BYTES - k.offset;
	keys.job = (char *)"j1";
	keys.serial = 3;
	keys.by_keys = 1;
	keys.uid = 5;
	keys.keys = ks;
	keys.n_keys = 1;
	keys.values = images_file_of("", sample_data, SAMPLE_BYTES);
	CU_ASSERT_EQUAL_FATAL(manifest_pack_keyset(&keys, sample_key, &sealed, &len, &e), 0);
	CU_ASSERT_EQUAL_FATAL(manifest_unpack(CPA__WHAT__KEYSET, sealed, len, sample_key, &m, &e), 0);
	CU_ASSERT_EQUAL_FATAL(store_missing(s, &m, &ids, &n, &e), 0);
	for (size_t i = 0; i < n; i++)
		CU_ASSERT_EQUAL_FATAL(sample_put_chunk(s, 5, &ids[i], &e), 0);
	CU_ASSERT_EQUAL(store_put_manifest(s, CPA__WHAT__KEYSET, sealed, len, &e), 0);
	CU_ASSERT_EQUAL(store_key_value(s, m.keys, 0, out, &e), 0);
	CU_ASSERT_EQUAL(memcmp(out, sample_data + k.offset, k.bytes), 0);
	CU_ASSERT_EQUAL(store_key_value(s, m.keys, 1, out, &e), ERR_NOT_FOUND);
	struct store_item it;
	CU_ASSERT(store_newest(s, "j1", CPA__WHAT__KEYSET, &it) && it.by_keys);
	free(ids);
	free(sealed);
	manifest_free(&m);
	cpa__file__free_unpacked(keys.values, NULL);
	store_close(s);
}

static void notes_and_jobs_are_listed_read_and_removed(void)
{
	struct store *s = fresh(0);
	struct err e = { 0 };
	uint8_t *data;
	size_t len, n;
	char(*jobs)[STORE_JOB_MAX];

	CU_ASSERT_EQUAL(store_put_note(s, "j1", "spec", "argv", 4, &e), 0);
	CU_ASSERT_EQUAL(store_put_note(s, "j1", "spec", "argv2", 5, &e), 0);
	CU_ASSERT_EQUAL(store_put_note(s, "../j1", "spec", "argv", 4, &e), ERR_USAGE);
	CU_ASSERT_EQUAL(store_put_note(s, "j1", "../spec", "argv", 4, &e), ERR_USAGE);
	CU_ASSERT_EQUAL(store_put_note(s, "j1", "g-1", "argv", 4, &e), ERR_USAGE);
	CU_ASSERT_EQUAL_FATAL(store_get_note(s, "j1", "spec", &data, &len, &e), 0);
	CU_ASSERT_EQUAL(len, 5);
	CU_ASSERT_STRING_EQUAL((char *)data, "argv2");
	free(data);
	CU_ASSERT_EQUAL(store_get_note(s, "j1", "record", &data, &len, &e), ERR_NOT_FOUND);
	CU_ASSERT_EQUAL_FATAL(store_jobs(s, &jobs, &n, &e), 0);
	CU_ASSERT_EQUAL_FATAL(n, 1);
	CU_ASSERT_STRING_EQUAL(jobs[0], "j1");
	free(jobs);
	CU_ASSERT_EQUAL(store_drop_job(s, "j1", &e), 0);
	CU_ASSERT_EQUAL(store_drop_job(s, "..", &e), ERR_USAGE);
	CU_ASSERT_EQUAL_FATAL(store_jobs(s, &jobs, &n, &e), 0);
	CU_ASSERT_EQUAL(n, 0);
	free(jobs);
	store_close(s);
}

/* The sample's helpers share one buffer, so each thread brings ready bytes. */
static void *hammer(void *arg)
{
	struct store *s = arg;
	scoped_free unsigned char *buf = malloc(CHUNK_BYTES);

	for (uint32_t i = 0; i < 300; i++) {
		char text[16];
		size_t len;
		int n = snprintf(text, sizeof text, "chunk %u", i % 50);
		struct chunk_id id = chunk_id(text, (size_t)n);
		if (store_put_chunk(s, 1, id.b, text, (size_t)n, false, (size_t)n, NULL) < 0)
			return (void *)1;
		/* the sweep of another thread may have taken it: gone is fine, wrong is not */
		int rc = store_get_chunk(s, 1, id.b, buf, &len, NULL);
		if (rc == ERR_FAILED || (rc == 0 && (len != (size_t)n || memcmp(buf, text, len) != 0)))
			return (void *)2;
		if (i % 64 == 0 && store_gc(s, NULL, NULL) < 0)
			return (void *)3;
	}
	return NULL;
}

static void several_threads_put_get_and_clean_up_at_once(void)
{
	struct store *s = fresh(0);
	pthread_t t[4];

	for (size_t i = 0; i < 4; i++)
		CU_ASSERT_EQUAL_FATAL(pthread_create(&t[i], NULL, hammer, s), 0);
	for (size_t i = 0; i < 4; i++) {
		void *r;
		pthread_join(t[i], &r);
		CU_ASSERT_PTR_NULL(r);
	}
	CU_ASSERT_EQUAL(store_gc(s, NULL, NULL), 0);
	CU_ASSERT_EQUAL(store_used(s), 0); /* every byte was counted in and out exactly once */
	store_close(s);
}

static const struct test tests[] = {
	{ "a generation goes in once and comes out byte for byte",
	  a_generation_goes_in_once_and_comes_out_byte_for_byte },
	{ "a manifest whose chunks are not all there is refused",
	  a_manifest_whose_chunks_are_not_all_there_is_refused },
	{ "a chunk that does not match its id is refused", a_chunk_that_does_not_match_its_id_is_refused },
	{ "one user's chunks are not another's", one_users_chunks_are_not_anothers },
	{ "packed bytes go on as they came", packed_bytes_go_on_as_they_came },
	{ "the newest are kept, and a later incarnation is newer",
	  the_newest_are_kept_and_a_later_incarnation_is_newer },
	{ "cleaning up keeps what is shared or pinned, and nothing else",
	  cleaning_up_keeps_what_is_shared_or_pinned_and_nothing_else },
	{ "a spent budget refuses what is new and harms nothing",
	  a_spent_budget_refuses_what_is_new_and_harms_nothing },
	{ "assembling reuses files in place, makes holes and removes the rest",
	  assembling_reuses_files_in_place_makes_holes_and_removes_the_rest },
	{ "a key's value comes out across chunks", a_keys_value_comes_out_across_chunks },
	{ "notes and jobs are listed, read and removed", notes_and_jobs_are_listed_read_and_removed },
	{ "several threads put, get and clean up at once", several_threads_put_get_and_clean_up_at_once },
};

int main(void)
{
	return harness_run("store", tests, sizeof tests / sizeof *tests);
}
