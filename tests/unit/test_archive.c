/* Archives as files: what comes back, what standard tools make of it, and what a damaged one, a full disk or a death in
 * between can do: nothing but be refused. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "lib/arena/walk.h"
#include "tests/unit/archive_sample.h"
#include "tests/unit/tiny_fs.h"

static char path[FS_PATH_MAX];

static int entries_beside(const char *file)
{
	char dir[FS_PATH_MAX], *slash;
	int n = 0;
	DIR *d;

	fs_path(dir, "%s", file);
	slash = strrchr(dir, '/');
	*slash = '\0';
	d = opendir(dir);
	while (d && readdir(d))
		n++;
	closedir(d);
	return n;
}

static char *read_file(const char *file, size_t *bytes)
{
	char *data = NULL;

	CU_ASSERT_EQUAL_FATAL(fs_read(file, 1 << 26, &data, bytes, NULL), 0);
	return data;
}

static void write_file(const char *file, const void *data, size_t bytes)
{
	int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	CU_ASSERT_FATAL(fd >= 0);
	CU_ASSERT_EQUAL(fs_write_full(fd, data, bytes), 0);
	close(fd);
}

/* ---- there and back ---- */

enum { BIG = 300000 };

static void fill(uint8_t *data, size_t bytes, unsigned seed)
{
	size_t i;

	for (i = 0; i < bytes; i++) {
		seed = seed * 1103515245 + 12345;
		data[i] = (uint8_t)(seed >> 16);
	}
}

static void every_type_and_size_comes_back(void)
{
	static uint8_t data[ARENA_TYPES][48], back[ARENA_TYPES][48], big[BIG], big_back[BIG];
	struct arena *a = sample_arena(4 << 20), *b = sample_arena(4 << 20);
	struct arena_var v[ARENA_TYPES], w[ARENA_TYPES], large[2] = {{"big", big, BIG, ARENA_BYTES}, {"none", NULL, 0, ARENA_F64}};
	char names[ARENA_TYPES][16], longest[ARENA_KEY_MAX + 1] = "x";
	struct err e = {0};
	size_t n = 0;
	uint32_t t;

	fill(data[0], sizeof data, 1);
	fill(big, sizeof big, 2);
	for (t = 1; t < ARENA_TYPES; t++) {
		if (!arena_type_size(t))
			continue;
		snprintf(names[n], sizeof names[n], "v/%u \"x\"", t);
		v[n] = (struct arena_var){names[n], data[t], 48 / arena_type_size(t), t};
		w[n] = (struct arena_var){names[n], back[t], 48 / arena_type_size(t), t};
		n++;
	}
	CU_ASSERT_EQUAL(arena_put(a, "types", v, n, NULL), 0);
	CU_ASSERT_EQUAL(arena_put(a, "../schön/\"key\"", large, 2, NULL), 0);
	for (size_t at = 1; at < ARENA_KEY_MAX; at += 2)
		memcpy(longest + at, "ä", 3);
	CU_ASSERT_EQUAL(arena_put(a, longest, v, 1, NULL), 0);
	CU_ASSERT_EQUAL(sample_save(a, path, &e), 3);
	CU_ASSERT_EQUAL(sample_load(b, path, &e), 3);
	CU_ASSERT_EQUAL(arena_get(b, longest, w, 1, 0, NULL, NULL), 0);
	CU_ASSERT_EQUAL(arena_get(b, "types", w, n, 0, NULL, NULL), 0);
	for (t = 0; t < n; t++)
		CU_ASSERT_EQUAL(memcmp(v[t].data, w[t].data, v[t].count * arena_type_size(v[t].type)), 0);
	large[0].data = big_back;
	CU_ASSERT_EQUAL(arena_get(b, "../schön/\"key\"", large, 2, 0, NULL, NULL), 0);
	CU_ASSERT_EQUAL(memcmp(big, big_back, BIG), 0);
	sample_drop(a);
	sample_drop(b);
}

static void an_arena_without_keys_makes_an_archive_without_keys(void)
{
	struct arena *a = sample_arena(1 << 20);
	struct err e = {0};

	CU_ASSERT_EQUAL(sample_save(a, path, &e), 0);
	CU_ASSERT_EQUAL(sample_load(a, path, &e), 0);
	sample_drop(a);
}

static void a_key_becomes_the_next_version_unless_it_has_that_content(void)
{
	struct arena *a = sample_arena(1 << 20);
	struct arena_found *found;
	struct err e = {0};
	size_t n;
	int i;

	for (i = 0; i < 5; i++)
		CU_ASSERT_EQUAL(sample_put(a, "k", "five"), 0);
	CU_ASSERT_EQUAL(sample_save(a, path, &e), 1);
	CU_ASSERT_EQUAL(sample_load(a, path, &e), 1);
	CU_ASSERT_EQUAL(arena_newest(a, "k", NULL), 5);
	CU_ASSERT_EQUAL(sample_put(a, "k", "four"), 0);
	CU_ASSERT_EQUAL(sample_load(a, path, &e), 1);
	CU_ASSERT_EQUAL(arena_newest(a, "k", NULL), 7);
	CU_ASSERT(sample_is(a, "k", "five"));
	CU_ASSERT_EQUAL(sample_load(a, path, &e), 1);
	CU_ASSERT_EQUAL(arena_newest(a, "k", NULL), 7);
	CU_ASSERT_EQUAL(arena_find(a, "k", &found, &n), 0);
	CU_ASSERT(n == 1 && found->used == 3 && found->version == 7); /* each load used it: a memo is not the next to go */
	arena_found_free(found);
	sample_drop(a);
}

static void the_archive_says_what_there_is(void)
{
	struct arena *a = sample_arena(1 << 20);
	const struct archive_info *info;
	struct archive_in *in;
	struct err e = {0};

	sample_put(a, "k", "one");
	sample_put(a, "k", "twoo");
	sample_put(a, "b", "x");
	CU_ASSERT_EQUAL(archive_save_arena(a, path, "prog", "node7", "heat", NULL, NULL, &e), 2);
	CU_ASSERT_EQUAL_FATAL(archive_in_open(&in, path, 0, &e), 0);
	info = archive_in_info(in);
	CU_ASSERT(strcmp(info->program, "prog") == 0 && strcmp(info->host, "node7") == 0 && strcmp(info->job, "heat") == 0);
	CU_ASSERT(info->n == 2 && info->bytes == 5 && !info->swapped && info->time_ns > 0);
	CU_ASSERT(strcmp(info->keys[1].key, "k") == 0 && info->keys[1].version == 2 && info->keys[1].bytes == 4);
	CU_ASSERT(info->keys[1].n == 1 && info->keys[1].vars[0].type == ARENA_CHAR && info->keys[1].vars[0].count == 4);
	archive_in_close(in);
	sample_drop(a);
}

static enum archive_wish not_b(void *arg, const char *key)
{
	(void)arg;
	return *key == 'b' ? ARCHIVE_NOT : ARCHIVE_MUST;
}

static void only_what_is_wished_for_is_saved_and_loaded(void)
{
	struct arena *a = sample_arena(1 << 20), *b = sample_arena(1 << 20);
	struct err e = {0};
	uint64_t needs;

	sample_put(a, "a", "one");
	sample_put(a, "b", "two");
	sample_put(a, "c", "three");
	CU_ASSERT_EQUAL(archive_save_arena(a, path, "", "", "", not_b, NULL, &e), 2);
	CU_ASSERT_EQUAL(sample_load(b, path, &e), 2);
	CU_ASSERT(sample_is(b, "a", "one") && sample_is(b, "c", "three") && !arena_newest(b, "b", NULL));
	CU_ASSERT_EQUAL(arena_reset_all(b), 0);
	CU_ASSERT_EQUAL(sample_save(a, path, &e), 3);
	CU_ASSERT_EQUAL(archive_load_arena(b, path, not_b, NULL, &needs, &e), 2);
	CU_ASSERT(sample_is(b, "a", "one") && sample_is(b, "c", "three") && !arena_newest(b, "b", NULL));
	sample_drop(a);
	sample_drop(b);
}

/* The exit status of a command line, its output discarded. */
static int shell(const char *fmt, const char *dir)
{
	char line[2 * FS_PATH_MAX];
	int status;
	pid_t child;

	snprintf(line, sizeof line, "exec >/dev/null 2>&1; cd '%s' && %s", dir, fmt);
	child = fork();
	if (child == 0) {
		execl("/bin/sh", "sh", "-c", line, (char *)NULL);
		_exit(127);
	}
	return waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void standard_tools_open_it(void)
{
	struct arena *a = sample_arena(1 << 20);
	struct err e = {0};
	char dir[FS_PATH_MAX], file[2 * FS_PATH_MAX], *data;
	size_t bytes;

	sample_put(a, "greeting", "hello");
	sample_put(a, "farewell", "good bye");
	fs_mkdirs(scratch_path(dir), 0700, NULL);
	snprintf(file, sizeof file, "%s/a.tar.zst", dir);
	CU_ASSERT_EQUAL(sample_save(a, file, &e), 2);
	CU_ASSERT_EQUAL(shell("tar --zstd -tf a.tar.zst | grep -q keys/000000/0-text", dir), 0);
	CU_ASSERT_EQUAL(shell("test \"$(tar --zstd -tf a.tar.zst | head -1)\" = manifest.json", dir), 0);
	CU_ASSERT_EQUAL(shell("tar --zstd -xf a.tar.zst && grep -q '\"hello\\|greeting\"' manifest.json", dir), 0);
	CU_ASSERT_EQUAL(shell("zstd -q -t a.tar.zst", dir), 0);
	CU_ASSERT_EQUAL(shell("python3 -c 'import json; d = json.load(open(\"manifest.json\")); "
			      "assert [k[\"key\"] for k in d[\"keys\"]] == [\"farewell\", \"greeting\"]; "
			      "assert open(d[\"keys\"][1][\"vars\"][0][\"file\"]).read() == \"hello\"'", dir), 0);
	if (shell("command -v xxh128sum", dir) == 0)
		CU_ASSERT_EQUAL(shell("xxh128sum -c XXH128SUMS", dir), 0);
	snprintf(file, sizeof file, "%s/keys/000000/0-text", dir);
	data = read_file(file, &bytes);
	CU_ASSERT(bytes == 8 && memcmp(data, "good bye", 8) == 0);
	free(data);
	sample_drop(a);
}

/* ---- damage ---- */

/* Into an empty arena: 1 when it is refused and nothing is there, 2 when all is there and right, 0 for a mixture. */
static int outcome(struct arena *b, const char *file)
{
	struct err e = {0};
	int rc, right;

	arena_reset_all(b);
	rc = sample_load(b, file, &e);
	right = sample_is(b, "greeting", "hello") && sample_is(b, "farewell", "good bye, and thanks");
	if (rc == 2 && right)
		return 2;
	return rc < 0 && *e.text && !arena_newest(b, "greeting", NULL) && !arena_newest(b, "farewell", NULL);
}

static char *small_archive(size_t *bytes)
{
	struct arena *a = sample_arena(1 << 20);
	struct err e = {0};

	sample_put(a, "greeting", "hello");
	sample_put(a, "farewell", "good bye, and thanks");
	CU_ASSERT_EQUAL(sample_save(a, path, &e), 2);
	sample_drop(a);
	return read_file(path, bytes);
}

static void a_changed_byte_anywhere_loads_nothing_wrong(void)
{
	struct arena *b = sample_arena(1 << 20);
	static const char flips[] = {1, 32, -1};
	size_t bytes, i, f, harmless = 0;
	char *data = small_archive(&bytes);
	int got;

	CU_ASSERT_EQUAL(outcome(b, path), 2);
	for (i = 0; i < bytes; i++)
		for (f = 0; f < sizeof flips; f++) {
			data[i] = (char)(data[i] ^ flips[f]);
			write_file(path, data, bytes);
			got = outcome(b, path);
			CU_ASSERT_FATAL(got != 0);
			harmless += got == 2;
			data[i] = (char)(data[i] ^ flips[f]);
		}
	CU_ASSERT(harmless < bytes); /* a third: owners, padding */
	free(data);
	sample_drop(b);
}

static void one_that_is_cut_short_anywhere_loads_nothing_wrong(void)
{
	struct arena *b = sample_arena(1 << 20);
	size_t bytes, i, harmless = 0;
	char *data = small_archive(&bytes);
	int got;

	for (i = 0; i < bytes; i++) {
		write_file(path, data, i);
		got = outcome(b, path);
		CU_ASSERT_FATAL(got != 0);
		harmless += got == 2;
	}
	CU_ASSERT(harmless < 16); /* the end of the compressed stream, behind the last byte of the tar */
	free(data);
	sample_drop(b);
}

static void what_is_no_archive_is_refused(void)
{
	struct arena *b = sample_arena(1 << 20);
	char dir[FS_PATH_MAX], file[2 * FS_PATH_MAX];
	struct err e = {0};

	fs_mkdirs(scratch_path(dir), 0700, NULL);
	CU_ASSERT_EQUAL(sample_load(b, dir, &e), -EBADMSG);
	CU_ASSERT_EQUAL(sample_load(b, "/dev/zero", &e), -EBADMSG);
	snprintf(file, sizeof file, "%s/none", dir);
	CU_ASSERT_EQUAL(sample_load(b, file, &e), -ENOENT);
	CU_ASSERT_EQUAL(e.code, ERR_NOT_FOUND);
	snprintf(file, sizeof file, "%s/fifo", dir);
	CU_ASSERT_EQUAL(mkfifo(file, 0600), 0);
	CU_ASSERT_EQUAL(sample_load(b, file, &e), -EBADMSG);
	snprintf(file, sizeof file, "%s/empty", dir);
	write_file(file, "", 0);
	CU_ASSERT_EQUAL(sample_load(b, file, &e), -EBADMSG);
	write_file(file, "hello", 5);
	CU_ASSERT_EQUAL(sample_load(b, file, &e), -EBADMSG);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, file));
	sample_drop(b);
}

/* ---- where it goes ---- */

static void a_place_that_cannot_be_written_is_refused_before_anything(void)
{
	struct arena *a = sample_arena(1 << 20);
	char dir[FS_PATH_MAX], file[2 * FS_PATH_MAX], to[2 * FS_PATH_MAX];
	struct err e = {0};
	struct stat st;

	sample_put(a, "k", "v");
	fs_mkdirs(scratch_path(dir), 0700, NULL);
	CU_ASSERT_EQUAL(sample_save(a, dir, &e), -EISDIR);
	snprintf(file, sizeof file, "%s/fifo", dir);
	CU_ASSERT_EQUAL(mkfifo(file, 0600), 0);
	CU_ASSERT_EQUAL(sample_save(a, file, &e), -EINVAL);
	CU_ASSERT(stat(file, &st) == 0 && S_ISFIFO(st.st_mode));
	unlink(file);
	CU_ASSERT_EQUAL(sample_save(a, "", &e), -EINVAL);
	snprintf(file, sizeof file, "%s/no/such/a.tar.zst", dir);
	CU_ASSERT_EQUAL(sample_save(a, file, &e), -ENOENT);
	snprintf(file, sizeof file, "%s/a.tar.zst", dir);
	snprintf(to, sizeof to, "%s/link", dir);
	CU_ASSERT_EQUAL(sample_save(a, file, &e), 1);
	CU_ASSERT_EQUAL(symlink("a.tar.zst", to), 0);
	sample_put(a, "k2", "v");
	CU_ASSERT_EQUAL(sample_save(a, to, &e), 2); /* through the link */
	CU_ASSERT(lstat(to, &st) == 0 && S_ISLNK(st.st_mode));
	CU_ASSERT_EQUAL(arena_reset_all(a), 0);
	CU_ASSERT_EQUAL(sample_load(a, file, &e), 2);
	CU_ASSERT_EQUAL(entries_beside(file), 4); /* . .. and these two */
	sample_drop(a);
}

static int save_on_a_full_disk(const char *dir)
{
	static uint8_t noise[4 << 20];
	struct arena_var v = {"noise", noise, sizeof noise, ARENA_BYTES};
	struct arena *a = sample_arena(16 << 20);
	char file[2 * FS_PATH_MAX];
	struct err e = {0};
	int rc = 0;

	snprintf(file, sizeof file, "%s/a.tar.zst", dir);
	sample_put(a, "k", "old");
	if (sample_save(a, file, &e) != 1)
		rc = 1;
	fill(noise, sizeof noise, 3);
	arena_put(a, "noise", &v, 1, NULL);
	if (!rc && (sample_save(a, file, &e) != -ENOSPC || !*e.text))
		rc = 2;
	if (!rc && entries_beside(file) != 3)
		rc = 3;
	arena_reset_all(a);
	if (!rc && (sample_load(a, file, &e) != 1 || !sample_is(a, "k", "old")))
		rc = 4;
	sample_drop(a);
	return rc;
}

static void a_full_disk_leaves_the_old_archive(void)
{
	int rc = tiny_fs_run("3m", save_on_a_full_disk); /* no room for the values */

	CU_ASSERT(tiny_fs_ok(rc));
	rc = tiny_fs_run("6m", save_on_a_full_disk); /* room for them, not for the archive */
	CU_ASSERT(tiny_fs_ok(rc));
}

static void killed_at_any_moment_it_leaves_the_old_or_the_new(void)
{
	static uint8_t noise[1 << 20];
	struct arena_var v = {"noise", noise, sizeof noise, ARENA_BYTES};
	struct arena *a = sample_arena(16 << 20), *b = sample_arena(16 << 20);
	char dir[FS_PATH_MAX], file[2 * FS_PATH_MAX];
	struct err e = {0};
	int round, status, saved[2];
	unsigned seed = 5;
	pid_t child;
	char c;

	fs_mkdirs(scratch_path(dir), 0700, NULL);
	snprintf(file, sizeof file, "%s/a.tar.zst", dir);
	sample_put(a, "k", "same");
	fill(noise, sizeof noise, 9);
	arena_put(a, "noise", &v, 1, NULL);
	CU_ASSERT_EQUAL(sample_save(a, file, &e), 2);
	for (round = 0; round < 30; round++) {
		CU_ASSERT_EQUAL_FATAL(pipe(saved), 0);
		child = fork();
		if (child == 0)
			for (;;)
				if (sample_save(a, file, &e) != 2 || write(saved[1], "", 1) != 1)
					_exit(1);
		CU_ASSERT_EQUAL(read(saved[0], &c, 1), 1);
		seed = seed * 1103515245 + 12345;
		usleep(seed % 20000); /* not a wait: a random moment */
		kill(child, SIGKILL);
		waitpid(child, &status, 0);
		close(saved[0]);
		close(saved[1]);
		CU_ASSERT(WIFSIGNALED(status));
		CU_ASSERT_EQUAL(arena_reset_all(b), 0);
		CU_ASSERT_EQUAL(sample_load(b, file, &e), 2);
	}
	sample_drop(a);
	sample_drop(b);
}

static void keys_that_change_meanwhile_are_saved_whole(void)
{
	static uint64_t words[5000];
	struct arena_var v = {"words", words, 5000, ARENA_U64};
	struct arena *a = sample_arena(4 << 20), *b = sample_arena(4 << 20);
	struct err e = {0};
	int round, status, i, ready[2];
	pid_t child;
	char c;

	CU_ASSERT_EQUAL_FATAL(pipe(ready), 0);
	child = fork();
	if (child == 0)
		for (words[0] = 1;; words[0]++) {
			for (i = 1; i < 5000; i++)
				words[i] = words[0];
			if (arena_put(a, "busy", &v, 1, NULL) != 0 || (words[0] == 1 && write(ready[1], "", 1) != 1))
				_exit(1);
		}
	CU_ASSERT_EQUAL(read(ready[0], &c, 1), 1);
	for (round = 0; round < 30; round++) {
		int n = sample_save(a, path, &e);

		if (n == -EAGAIN) /* said so: it never held still */
			continue;
		CU_ASSERT_EQUAL(n, 1);
		CU_ASSERT_EQUAL(sample_load(b, path, &e), 1);
		CU_ASSERT_EQUAL(arena_get(b, "busy", &v, 1, 0, NULL, NULL), 0);
		CU_ASSERT_EQUAL(words[0], words[4999]);
	}
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	close(ready[0]);
	close(ready[1]);
	sample_drop(a);
	sample_drop(b);
}

static void one_that_does_not_fit_changes_nothing(void)
{
	static uint8_t noise[200000];
	struct arena_var v = {"noise", noise, sizeof noise, ARENA_BYTES};
	struct arena *a = sample_arena(1 << 20), *b = sample_arena(1 << 17);
	struct err e = {0};

	sample_put(a, "a", "one");
	arena_put(a, "noise", &v, 1, NULL);
	sample_put(b, "a", "old");
	CU_ASSERT_EQUAL(sample_save(a, path, &e), 2);
	CU_ASSERT_EQUAL(sample_load(b, path, &e), -EFBIG);
	CU_ASSERT(sample_is(b, "a", "old"));
	v.count = 100000; /* as many as there are, but something else takes their place */
	arena_put(a, "noise", &v, 1, NULL);
	v.count = 50000;
	CU_ASSERT_EQUAL(arena_put(b, "other", &v, 1, NULL), 0);
	CU_ASSERT_EQUAL(sample_save(a, path, &e), 2);
	CU_ASSERT_EQUAL(sample_load(b, path, &e), -ENOSPC);
	CU_ASSERT(sample_is(b, "a", "one")); /* key by key */
	sample_drop(a);
	sample_drop(b);
}

static const struct test tests[] = {
	{"every type and size comes back", every_type_and_size_comes_back},
	{"an arena without keys makes an archive without keys", an_arena_without_keys_makes_an_archive_without_keys},
	{"a key becomes the next version, unless it has that content",
	 a_key_becomes_the_next_version_unless_it_has_that_content},
	{"the archive says what there is", the_archive_says_what_there_is},
	{"only what is wished for is saved and loaded", only_what_is_wished_for_is_saved_and_loaded},
	{"standard tools open it", standard_tools_open_it},
	{"a changed byte anywhere loads nothing wrong", a_changed_byte_anywhere_loads_nothing_wrong},
	{"one that is cut short anywhere loads nothing wrong", one_that_is_cut_short_anywhere_loads_nothing_wrong},
	{"what is no archive is refused", what_is_no_archive_is_refused},
	{"a place that cannot be written is refused before anything",
	 a_place_that_cannot_be_written_is_refused_before_anything},
	{"a full disk leaves the old archive", a_full_disk_leaves_the_old_archive},
	{"killed at any moment it leaves the old or the new", killed_at_any_moment_it_leaves_the_old_or_the_new},
	{"keys that change meanwhile are saved whole", keys_that_change_meanwhile_are_saved_whole},
	{"one that does not fit changes nothing", one_that_does_not_fit_changes_nothing},
};

int main(void)
{
	scratch_path(path);
	return harness_run("archive", tests, sizeof tests / sizeof *tests);
}
