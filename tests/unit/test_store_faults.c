/* The chunk store under fire: killed at random moments, damaged byte by byte, on a full file system. */
#include <errno.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>

#include "tests/unit/harness.h"
#include "tests/unit/store_sample.h"
#include "tests/unit/tiny_fs.h"

#define ROUNDS 12

static char dir[FS_PATH_MAX], disk[FS_PATH_MAX];
static unsigned seed = 20260122;

static unsigned chance(unsigned n)
{
	seed = seed * 1103515245 + 12345;
	return seed / 65536 % n;
}

/* ---- kill -9 ---- */

/* Puts generation after generation, keeps two, saves if asked to; tells each one that was acknowledged. */
static void writer(int fd, bool save)
{
	struct store *s;

	if (store_open(dir, 0, sample_key, &s, NULL) < 0)
		_exit(1);
	struct store_item it;
	uint64_t n = store_newest(s, "j1", CPA__WHAT__GENERATION, &it) ? it.number : 0;
	for (;;) {
		n++;
		if (sample_put(s, "j1", n, 0, 1000, NULL) < 0 || sample_put(s, "j2", n, 0, 1000, NULL) < 0)
			_exit(2);
		if (save && store_save(s, disk, NULL, NULL, NULL, NULL) < 0)
			_exit(3);
		if (write(fd, &n, sizeof n) != sizeof n)
			_exit(4);
		if (store_keep(s, "j1", CPA__WHAT__GENERATION, 2, NULL) < 0 ||
		    store_keep(s, "j2", CPA__WHAT__GENERATION, 2, NULL) < 0 || store_gc(s, NULL, NULL) < 0)
			_exit(5);
	}
}

/* Let it acknowledge a few, then kill it somewhere within the next. The newest acknowledged number, 0 on error. */
static uint64_t run_and_kill(bool save)
{
	int p[2], status;
	uint64_t n, last = 0;

	if (pipe(p) < 0)
		return 0;
	pid_t pid = fork();
	if (pid == 0) {
		close(p[0]);
		writer(p[1], save);
	}
	close(p[1]);
	for (unsigned acks = 1 + chance(3); acks > 0; acks--)
		if (fs_read_full(p[0], &n, sizeof n) == 0)
			last = n;
	/* the moment does not matter for the outcome: any will do, and each round takes another */
	struct pollfd none = { .fd = -1 };
	poll(&none, 1, (int)chance(12));
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	while (read(p[0], &n, sizeof n) == sizeof n)
		last = n;
	close(p[0]);
	return WIFSIGNALED(status) ? last : 0;
}

static int plain_files;

static int count_file(const char *path, const struct stat *st, int type, struct FTW *where)
{
	(void)path, (void)st, (void)where;
	plain_files += type == FTW_F;
	return 0;
}

static int files_below(const char *path)
{
	plain_files = 0;
	nftw(path, count_file, 8, FTW_PHYS);
	return plain_files;
}

static void killed_at_any_moment_it_holds_what_it_acknowledged_and_only_whole_things(void)
{
	char path[FS_PATH_MAX];

	scratch_path(dir);
	for (int round = 0; round < ROUNDS; round++) {
		struct store *s;
		struct store_item it;
		struct err e = { 0 };
		uint64_t acked = run_and_kill(false);
		CU_ASSERT_FATAL(acked > 0);
		CU_ASSERT_EQUAL_FATAL(store_open(dir, 0, sample_key, &s, &e), 0);
		CU_ASSERT(store_newest(s, "j1", CPA__WHAT__GENERATION, &it) && it.number >= acked);
		CU_ASSERT(store_newest(s, "j2", CPA__WHAT__GENERATION, &it) && it.number >= acked);
		CU_ASSERT(sample_all_whole(s));
		CU_ASSERT_EQUAL(files_below(fs_path(path, "%s/aside", dir)), 0);
		CU_ASSERT_EQUAL(store_gc(s, NULL, &e), 0);
		store_close(s);
	}
}

static void killed_in_a_save_the_disk_has_the_last_complete_one(void)
{
	scratch_path(dir);
	scratch_path(disk);
	for (int round = 0; round < ROUNDS; round++) {
		struct store *s;
		struct store_item it;
		struct store_saved sum;
		struct err e = { 0 };
		char again[FS_PATH_MAX];
		uint64_t acked = run_and_kill(true);
		CU_ASSERT_FATAL(acked > 0);
		CU_ASSERT_EQUAL_FATAL(store_open(scratch_path(again), 0, sample_key, &s, &e), 0);
		CU_ASSERT_EQUAL_FATAL(store_load(s, disk, &sum, NULL, NULL, &e), 0);
		CU_ASSERT_EQUAL(sum.skipped, 0);
		CU_ASSERT(store_newest(s, "j1", CPA__WHAT__GENERATION, &it) && it.number >= acked);
		CU_ASSERT(store_newest(s, "j2", CPA__WHAT__GENERATION, &it) && it.number >= acked);
		CU_ASSERT(sample_all_whole(s));
		store_close(s);
	}
}

/* ---- damage ---- */

static char victim[FS_PATH_MAX];
static long victim_skip;

static int pick_file(const char *path, const struct stat *st, int type, struct FTW *where)
{
	(void)st, (void)where;
	if (type == FTW_F && victim_skip-- == 0)
		fs_path(victim, "%s", path);
	return 0;
}

/* The nth file below path, into victim. */
static void pick(const char *path, long nth)
{
	victim[0] = '\0';
	victim_skip = nth;
	nftw(path, pick_file, 8, FTW_PHYS);
}

static void flip(off_t at)
{
	char c;
	scoped_fd int fd = open(victim, O_RDWR);

	CU_ASSERT_EQUAL_FATAL(pread(fd, &c, 1, at), 1);
	c ^= 0x10;
	CU_ASSERT_EQUAL_FATAL(pwrite(fd, &c, 1, at), 1);
}

/* Flip one byte of every chunk file in turn, header or content: never wrong bytes; the item is held no longer, and
 * comes back whole when it is put again. */
static void one_flipped_byte_in_a_chunk_is_found_never_returned_and_can_be_mended(void)
{
	char chunks[FS_PATH_MAX], out[FS_PATH_MAX];
	struct store *s;
	struct err e = { 0 };
	struct store_item it;

	CU_ASSERT_EQUAL_FATAL(store_open(scratch_path(dir), 0, sample_key, &s, &e), 0);
	CU_ASSERT_EQUAL_FATAL(sample_put(s, "j1", 1, 0, 1000, &e), 0);
	uint64_t used = store_used(s);
	int n = files_below(fs_path(chunks, "%s/chunks", dir));
	CU_ASSERT_EQUAL_FATAL(n, 5);
	scratch_path(out);
	for (int i = 0; i < n * 22; i++) {
		struct stat st;
		struct manifest m;
		pick(chunks, i % n);
		CU_ASSERT_EQUAL_FATAL(stat(victim, &st), 0);
		CU_ASSERT_EQUAL_FATAL(store_manifest_open(s, "j1", CPA__WHAT__GENERATION, 1, &m, &e), 0);
		int at = i / n; /* each byte of the header, then some of the content */
		flip(at < 16 ? at : 16 + (off_t)chance((unsigned)st.st_size - 16));
		int rc = store_assemble(s, m.gen, out, &e);
		/* a spare bit of the flags changes nothing: then what came out is right */
		if (rc == 0) {
			CU_ASSERT_EQUAL(images_verify(out, m.gen, &e), 0);
		} else {
			CU_ASSERT_PTR_NOT_NULL(strstr(e.text, "damaged"));
			CU_ASSERT(!store_newest(s, "j1", CPA__WHAT__GENERATION, &it));
		}
		manifest_free(&m);
		CU_ASSERT_EQUAL_FATAL(sample_put(s, "j1", 1, 0, 1000, &e), 0);
		CU_ASSERT_EQUAL(store_used(s), used);
	}
	CU_ASSERT(sample_all_whole(s));
	store_close(s);
}

static void a_damaged_manifest_or_a_lost_chunk_is_not_held_after_a_restart(void)
{
	char path[FS_PATH_MAX];
	struct store *s;
	struct err e = { 0 };
	struct store_item it;

	CU_ASSERT_EQUAL_FATAL(store_open(scratch_path(dir), 0, sample_key, &s, &e), 0);
	for (uint64_t n = 1; n <= 3; n++)
		CU_ASSERT_EQUAL_FATAL(sample_put(s, "j1", n, 0, 1000, &e), 0);
	store_close(s);
	fs_path(victim, "%s/jobs/j1/g-3", dir);
	flip(40);
	CU_ASSERT_EQUAL_FATAL(store_open(dir, 0, sample_key, &s, &e), 0);
	CU_ASSERT(store_newest(s, "j1", CPA__WHAT__GENERATION, &it) && it.number == 2);
	CU_ASSERT(sample_all_whole(s));
	/* a chunk that only generation 2 has */
	sample_fill("j1", 2);
	struct chunk_id id = chunk_id(sample_data + 3 * CHUNK_BYTES, CHUNK_BYTES);
	char hex[CHUNK_HEX_MAX];
	chunk_hex(id.b, hex);
	CU_ASSERT_EQUAL(unlink(fs_path(path, "%s/chunks/1000/%.2s/%s", dir, hex, hex)), 0);
	store_close(s);
	CU_ASSERT_EQUAL_FATAL(store_open(dir, 0, sample_key, &s, &e), 0);
	CU_ASSERT(store_newest(s, "j1", CPA__WHAT__GENERATION, &it) && it.number == 1);
	CU_ASSERT(sample_all_whole(s));
	store_close(s);
}

/* ---- a full file system ---- */

static int fill_memory(const char *tmp)
{
	struct store *s;
	struct err e = { 0 };
	struct store_item it;
	uint64_t n = 1;

	if (store_open(tmp, 0, sample_key, &s, &e) < 0)
		return 1;
	while (n < 100 && sample_put(s, "j1", n, 0, 1000, &e) == 0)
		n++;
	if (n < 2 || n == 100 || !strstr(e.text, "No space left"))
		return 2;
	if (!store_newest(s, "j1", CPA__WHAT__GENERATION, &it) || it.number != n - 1 || !sample_all_whole(s))
		return 3;
	if (files_below(fs_path(dir, "%s/aside", tmp)) != 0)
		return 4;
	/* room again: it goes on */
	if (store_keep(s, "j1", CPA__WHAT__GENERATION, 1, &e) < 0 || store_gc(s, NULL, &e) < 0 ||
	    sample_put(s, "j1", n, 0, 1000, &e) < 0 || !sample_all_whole(s))
		return 5;
	store_close(s);
	return 0;
}

static void a_full_file_system_is_a_sentence_and_nothing_is_torn(void)
{
	CU_ASSERT(tiny_fs_ok(tiny_fs_run("4m", fill_memory)));
}

static int fill_disk(const char *tmp)
{
	struct store *s, *back;
	struct err e = { 0 };
	struct store_item it;
	uint64_t n = 1;
	char again[FS_PATH_MAX];

	if (store_open(scratch_path(dir), 0, sample_key, &s, &e) < 0)
		return 1;
	for (; n < 100; n++) {
		if (sample_put(s, "j1", n, 0, 1000, &e) < 0)
			return 2;
		if (store_save(s, tmp, NULL, NULL, NULL, &e) < 0)
			break;
	}
	if (n < 3 || !strstr(e.text, "No space left") || !strstr(e.text, "the one before it stands"))
		return 3;
	if (files_below(fs_path(again, "%s/aside", tmp)) != 0)
		return 4;
	if (store_open(scratch_path(again), 0, sample_key, &back, &e) < 0 ||
	    store_load(back, tmp, NULL, NULL, NULL, &e) < 0)
		return 5;
	if (!store_newest(back, "j1", CPA__WHAT__GENERATION, &it) || it.number != n - 1 || !sample_all_whole(back))
		return 6;
	store_close(back);
	/* fewer generations: the old ones go only when the new one is there, so there must be room for it */
	if (store_keep(s, "j1", CPA__WHAT__GENERATION, 1, &e) < 0 || sample_put(s, "j1", n - 1, 0, 1000, &e) < 0 ||
	    store_drop(s, "j1", CPA__WHAT__GENERATION, n, &e) < 0 ||
	    store_save(s, tmp, NULL, NULL, NULL, &e) < 0 || sample_put(s, "j1", n, 0, 1000, &e) < 0 ||
	    store_save(s, tmp, NULL, NULL, NULL, &e) < 0)
		return 7;
	store_close(s);
	return 0;
}

static void a_full_disk_fails_the_save_and_the_one_before_it_stands(void)
{
	CU_ASSERT(tiny_fs_ok(tiny_fs_run("6m", fill_disk)));
}

static const struct test tests[] = {
	{ "killed at any moment, it holds what it acknowledged and only whole things",
	  killed_at_any_moment_it_holds_what_it_acknowledged_and_only_whole_things },
	{ "killed in a save, the disk has the last complete one",
	  killed_in_a_save_the_disk_has_the_last_complete_one },
	{ "one flipped byte in a chunk is found, never returned, and can be mended",
	  one_flipped_byte_in_a_chunk_is_found_never_returned_and_can_be_mended },
	{ "a damaged manifest or a lost chunk is not held after a restart",
	  a_damaged_manifest_or_a_lost_chunk_is_not_held_after_a_restart },
	{ "a full file system is a sentence and nothing is torn",
	  a_full_file_system_is_a_sentence_and_nothing_is_torn },
	{ "a full disk fails the save, and the one before it stands",
	  a_full_disk_fails_the_save_and_the_one_before_it_stands },
};

int main(void)
{
	return harness_run("store_faults", tests, sizeof tests / sizeof *tests);
}
