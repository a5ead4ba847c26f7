/* Image directories: described whole, damage found and named, chunks read back. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/ports/images.h"
#include "lib/base/scoped.h"
#include "lib/chunk/manifest.h"
#include "tests/unit/harness.h"
#include "tests/unit/scratch.h"

static char dir[FS_PATH_MAX];
static unsigned char big[20 * CHUNK_BYTES + 77];

static void put(const char *name, const void *data, size_t len)
{
	char path[FS_PATH_MAX];
	scoped_fd int fd = open(fs_path(path, "%s/%s", dir, name), O_WRONLY | O_CREAT | O_TRUNC, 0640);

	if (fd < 0 || fs_write_full(fd, data, len) < 0)
		CU_FAIL_FATAL("cannot write a file of the test");
}

static void flip(const char *name, off_t at)
{
	char path[FS_PATH_MAX], c;
	scoped_fd int fd = open(fs_path(path, "%s/%s", dir, name), O_RDWR);

	CU_ASSERT_EQUAL_FATAL(pread(fd, &c, 1, at), 1);
	c ^= 4;
	CU_ASSERT_EQUAL_FATAL(pwrite(fd, &c, 1, at), 1);
}

/* pages-1.img (large, with a chunk of zeros), core-1.img, empty, files/0; and what does not belong to it. */
static void fill(void)
{
	char path[FS_PATH_MAX];

	scratch_path(dir);
	CU_ASSERT_EQUAL_FATAL(fs_mkdirs(fs_path(path, "%s/files", dir), 0700, NULL), 0);
	for (size_t i = 0; i < sizeof big; i++)
		big[i] = (unsigned char)(i * 31 + i / 4096 * 7 + 1);
	memset(big + 3 * CHUNK_BYTES, 0, CHUNK_BYTES);
	put("pages-1.img", big, sizeof big);
	put("core-1.img", "core", 4);
	put("empty", "", 0);
	put("files/0", "file", 4);
	put("dump.log", "words", 5);
	put(".hidden", "x", 1);
}

static void describe(Cpa__Generation *g)
{
	struct err e = { 0 };

	cpa__generation__init(g);
	CU_ASSERT_EQUAL_FATAL(images_describe(dir, NULL, 0, g, &e), 0);
}

static void a_directory_is_described_whole_and_in_order_without_logs(void)
{
	Cpa__Generation g;

	fill();
	describe(&g);
	CU_ASSERT_EQUAL_FATAL(g.n_files, 4);
	CU_ASSERT_STRING_EQUAL(g.files[0]->name, "core-1.img");
	CU_ASSERT_STRING_EQUAL(g.files[1]->name, "empty");
	CU_ASSERT_STRING_EQUAL(g.files[2]->name, "files/0");
	CU_ASSERT_STRING_EQUAL(g.files[3]->name, "pages-1.img");
	CU_ASSERT_EQUAL(g.files[3]->size, sizeof big);
	CU_ASSERT_EQUAL(g.files[3]->mode, 0640 & 0777);
	CU_ASSERT_EQUAL(g.files[3]->chunks.len, 21 * CHUNK_ID_BYTES);
	CU_ASSERT(chunk_id_is_zero(g.files[3]->chunks.data + 3 * CHUNK_ID_BYTES));
	uint8_t ids[21 * CHUNK_ID_BYTES];
	chunk_ids(big, sizeof big, ids);
	CU_ASSERT_EQUAL(memcmp(ids, g.files[3]->chunks.data, sizeof ids), 0);
	CU_ASSERT_EQUAL(g.size, sizeof big + 8);
	CU_ASSERT_EQUAL(images_verify(dir, &g, NULL), 0);
	images_forget(&g);
	CU_ASSERT_EQUAL(g.n_files, 0);
}

static void a_description_can_be_sealed_and_opened(void)
{
	static const uint8_t key[MANIFEST_KEY_BYTES];
	Cpa__Generation g;
	struct manifest m;
	uint8_t *out;
	size_t len;

	fill();
	describe(&g);
	g.job = (char *)"j1";
	CU_ASSERT_EQUAL_FATAL(manifest_pack_generation(&g, key, &out, &len, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(manifest_unpack(CPA__WHAT__GENERATION, out, len, key, &m, NULL), 0);
	CU_ASSERT_EQUAL(images_verify(dir, m.gen, NULL), 0);
	manifest_free(&m);
	free(out);
	images_forget(&g);
}

static void the_first_damage_is_named_by_file_and_offset(void)
{
	Cpa__Generation g;
	struct err e = { 0 };

	fill();
	describe(&g);
	flip("pages-1.img", 20 * CHUNK_BYTES + 76);
	CU_ASSERT_EQUAL(images_verify(dir, &g, &e), ERR_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, "pages-1.img"));
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, "offset 20971520"));
	flip("pages-1.img", 3 * CHUNK_BYTES + 5); /* among the zeros, before it */
	CU_ASSERT_EQUAL(images_verify(dir, &g, &e), ERR_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, "offset 3145728"));
	flip("files/0", 0);
	CU_ASSERT_EQUAL(images_verify(dir, &g, &e), ERR_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, "files/0"));
	images_forget(&g);
}

static void a_lost_or_shortened_file_or_directory_is_a_sentence(void)
{
	char path[FS_PATH_MAX];
	Cpa__Generation g;
	struct err e = { 0 };

	fill();
	describe(&g);
	CU_ASSERT_EQUAL_FATAL(truncate(fs_path(path, "%s/pages-1.img", dir), sizeof big - 1), 0);
	CU_ASSERT_EQUAL(images_verify(dir, &g, &e), ERR_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, "ends before"));
	unlink(fs_path(path, "%s/core-1.img", dir));
	CU_ASSERT_EQUAL(images_verify(dir, &g, &e), ERR_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, "core-1.img"));
	fs_remove_tree(dir, NULL);
	CU_ASSERT_EQUAL(images_verify(dir, &g, &e), ERR_NOT_FOUND);
	CU_ASSERT_EQUAL(images_describe(dir, NULL, 0, &g, &e), ERR_NOT_FOUND);
	CU_ASSERT_EQUAL(g.n_files, 0);
}

static void bytes_behind_a_recorded_size_do_not_count_and_can_be_cut(void)
{
	const struct images_size sizes[] = { { "pages-1.img", 2 * CHUNK_BYTES + 10 } };
	Cpa__Generation g;
	struct stat st;
	char path[FS_PATH_MAX];

	fill();
	cpa__generation__init(&g);
	CU_ASSERT_EQUAL_FATAL(images_describe(dir, sizes, 1, &g, NULL), 0);
	CU_ASSERT_EQUAL(g.files[3]->size, 2 * CHUNK_BYTES + 10);
	flip("pages-1.img", 2 * CHUNK_BYTES + 10);
	CU_ASSERT_EQUAL(images_verify(dir, &g, NULL), 0);
	CU_ASSERT_EQUAL(images_trim(dir, &g, NULL), 0);
	CU_ASSERT_EQUAL(stat(fs_path(path, "%s/pages-1.img", dir), &st), 0);
	CU_ASSERT_EQUAL(st.st_size, 2 * CHUNK_BYTES + 10);
	CU_ASSERT_EQUAL(images_verify(dir, &g, NULL), 0);
	flip("pages-1.img", 2 * CHUNK_BYTES + 9);
	CU_ASSERT_EQUAL(images_verify(dir, &g, NULL), ERR_FAILED);
	images_forget(&g);
}

static void a_size_beyond_the_file_is_refused(void)
{
	const struct images_size sizes[] = { { "core-1.img", 5 } };
	Cpa__Generation g;
	struct err e = { 0 };

	fill();
	cpa__generation__init(&g);
	CU_ASSERT_EQUAL(images_describe(dir, sizes, 1, &g, &e), ERR_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, "core-1.img"));
	CU_ASSERT_EQUAL(g.n_files, 0);
}

static void links_fifos_and_deep_directories_are_refused(void)
{
	char path[FS_PATH_MAX];
	Cpa__Generation g;
	struct err e = { 0 };

	cpa__generation__init(&g);
	fill();
	CU_ASSERT_EQUAL_FATAL(symlink("/etc/passwd", fs_path(path, "%s/link", dir)), 0);
	CU_ASSERT_EQUAL(images_describe(dir, NULL, 0, &g, &e), ERR_FAILED);
	fill();
	CU_ASSERT_EQUAL_FATAL(mkfifo(fs_path(path, "%s/fifo", dir), 0600), 0);
	CU_ASSERT_EQUAL(images_describe(dir, NULL, 0, &g, &e), ERR_FAILED);
	fill();
	CU_ASSERT_EQUAL_FATAL(mkdir(fs_path(path, "%s/files/deep", dir), 0700), 0);
	CU_ASSERT_EQUAL(images_describe(dir, NULL, 0, &g, &e), ERR_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, "deep"));
}

static void a_chunk_is_found_read_and_checked(void)
{
	static unsigned char buf[CHUNK_BYTES];
	Cpa__Generation g;
	size_t file, len;
	uint64_t offset;
	struct err e = { 0 };

	fill();
	describe(&g);
	const uint8_t *last = g.files[3]->chunks.data + 20 * CHUNK_ID_BYTES;
	CU_ASSERT_EQUAL_FATAL(images_find(&g, last, &file, &offset, &len), 0);
	CU_ASSERT_EQUAL(file, 3);
	CU_ASSERT_EQUAL(offset, 20 * CHUNK_BYTES);
	CU_ASSERT_EQUAL(len, 77);
	CU_ASSERT_EQUAL_FATAL(images_read(dir, &g, last, buf, &len, &e), 0);
	CU_ASSERT_EQUAL(len, 77);
	CU_ASSERT_EQUAL(memcmp(buf, big + 20 * CHUNK_BYTES, 77), 0);
	flip("pages-1.img", 20 * CHUNK_BYTES);
	CU_ASSERT_EQUAL(images_read(dir, &g, last, buf, &len, &e), ERR_FAILED);
	CU_ASSERT_EQUAL(images_read(dir, &g, (const uint8_t *)"0123456789abcdef", buf, &len, &e), ERR_NOT_FOUND);
	images_forget(&g);
}

static void a_file_alone_and_a_value_in_memory_are_described_alike(void)
{
	static unsigned char buf[CHUNK_BYTES];
	char path[FS_PATH_MAX];
	Cpa__File f = CPA__FILE__INIT;
	size_t len;

	fill();
	fs_path(path, "%s/pages-1.img", dir);
	CU_ASSERT_EQUAL_FATAL(images_describe_file(path, &f, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(images_describe_file(path, &f, NULL), 0); /* again: what was there is freed */
	Cpa__File *v = images_file_of("values", big, sizeof big);
	CU_ASSERT_EQUAL(v->chunks.len, f.chunks.len);
	CU_ASSERT_EQUAL(memcmp(v->chunks.data, f.chunks.data, f.chunks.len), 0);
	CU_ASSERT_EQUAL(images_verify_file(path, v, NULL), 0);
	CU_ASSERT_EQUAL(images_read_file(path, v, v->chunks.data + CHUNK_ID_BYTES, buf, &len, NULL), 0);
	CU_ASSERT_EQUAL(memcmp(buf, big + CHUNK_BYTES, CHUNK_BYTES), 0);
	flip("pages-1.img", 0);
	CU_ASSERT_EQUAL(images_verify_file(path, v, NULL), ERR_FAILED);
	cpa__file__free_unpacked(v, NULL);
	free(f.chunks.data);
}

static const struct test tests[] = {
	{ "a directory is described whole and in order, without logs",
	  a_directory_is_described_whole_and_in_order_without_logs },
	{ "a description can be sealed and opened", a_description_can_be_sealed_and_opened },
	{ "the first damage is named by file and offset", the_first_damage_is_named_by_file_and_offset },
	{ "a lost or shortened file or directory is a sentence",
	  a_lost_or_shortened_file_or_directory_is_a_sentence },
	{ "bytes behind a recorded size do not count, and can be cut",
	  bytes_behind_a_recorded_size_do_not_count_and_can_be_cut },
	{ "a size beyond the file is refused", a_size_beyond_the_file_is_refused },
	{ "links, fifos and deep directories are refused", links_fifos_and_deep_directories_are_refused },
	{ "a chunk is found, read and checked", a_chunk_is_found_read_and_checked },
	{ "a file alone and a value in memory are described alike",
	  a_file_alone_and_a_value_in_memory_are_described_alike },
};

int main(void)
{
	return harness_run("images", tests, sizeof tests / sizeof *tests);
}
