/* Archives made to do harm, or by another machine: every lie in a manifest, every trick of a tar, and the other byte
 * order, in which values come back turned. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/archive/archive_arena.h"
#include "lib/base/fs.h"
#include "tests/unit/archive_sample.h"

static uint8_t tar[1 << 20];
static char *manifest, *sums;
static size_t manifest_bytes, sums_bytes;

/* Two keys, as written by a machine of this byte order or the other. */
static uint32_t words[3] = {0x01020304, 5, 6};
static struct archive_var vars[] = {
	{"words", 3, 12, {0}, ARENA_U32},
	{"text", 5, 5, {0}, ARENA_CHAR},
	{"z/../z", 1, 16, {0}, ARENA_C64},
	{"none", 0, 0, {0}, ARENA_F64},
};
static double z[2] = {1.5, -2};
static struct archive_key keys[] = {
	{"first", 7, 21, 1000000000, 0, ARENA_PLAIN, 2, vars},
	{"second", 1, 16, 1000000000, 2, ARENA_WHOLE, 2, vars + 2},
};
static struct archive_info info = {1000000000, "p", "h", "j", 0, 37, 2, keys};
static struct member members[] = {
	{.name = "manifest.json"},
	{.name = "XXH128SUMS"},
	{.name = "keys/000000/0-words", .data = words, .bytes = 12},
	{.name = "keys/000000/1-text", .data = "hello", .bytes = 5},
	{.name = "keys/000001/0-z____z", .data = z, .bytes = 16},
	{.name = "keys/000001/1-none", .data = "", .bytes = 0},
	{.name = "more", .data = "x", .bytes = 1},
};
enum { MEMBERS = 6, NONE = 5 };

static void use_manifest(char *text, size_t bytes)
{
	struct err e = {0};

	free(manifest);
	free(sums);
	manifest = text;
	manifest_bytes = bytes;
	CU_ASSERT_EQUAL_FATAL(archive_sums_text(text, bytes, &info, &sums, &sums_bytes, &e), 0);
	members[0].data = manifest;
	members[0].bytes = manifest_bytes;
	members[1].data = sums;
	members[1].bytes = sums_bytes;
}

static void make(void)
{
	struct err e = {0};
	char *text;
	size_t bytes;

	sample_sum(words, 12, vars[0].sum);
	sample_sum("hello", 5, vars[1].sum);
	sample_sum(z, 16, vars[2].sum);
	sample_sum("", 0, vars[3].sum);
	CU_ASSERT_EQUAL_FATAL(archive_json_write(&info, &text, &bytes, &e), 0);
	use_manifest(text, bytes);
}

static int check(size_t n)
{
	return sample_check(tar, sample_tar(tar, sizeof tar, 0, members, n), 0);
}

static void made_by_hand_it_is_believed(void)
{
	make();
	CU_ASSERT_EQUAL(check(MEMBERS), 0);
	CU_ASSERT_EQUAL(sample_check(tar, sample_tar(tar, sizeof tar, 1, members, MEMBERS), 0), 0);
}

static void swap_bytes(void *data, size_t size, size_t n)
{
	uint8_t *p = data, b;
	size_t i;

	for (; n; n--, p += size)
		for (i = 0; i < size / 2; i++) {
			b = p[i];
			p[i] = p[size - 1 - i];
			p[size - 1 - i] = b;
		}
}

static enum archive_wish every(void *arg, const char *key)
{
	(void)arg, (void)key;
	return ARCHIVE_MUST;
}

/* As cpa_load() does it. */
static void load_into_an_arena(size_t bytes)
{
	char dir[] = "/dev/shm/test_order.XXXXXX", file[64], path[64], text[5];
	uint32_t got[3] = {0};
	double complex_got[2] = {0};
	struct arena_var first[] = {{"words", got, 3, ARENA_U32}, {"text", text, 5, ARENA_CHAR}};
	struct arena_var second = {"z/../z", complex_got, 1, ARENA_C64};
	struct err e = {0};
	struct arena *a;
	uint64_t needs;
	int fd;

	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
	snprintf(file, sizeof file, "%s/archive", dir);
	snprintf(path, sizeof path, "%s/arena", dir);
	fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	CU_ASSERT(fd >= 0 && write(fd, tar, bytes) == (ssize_t)bytes && close(fd) == 0);
	CU_ASSERT_EQUAL(arena_create(path, 1 << 20, 0600), 0);
	CU_ASSERT_EQUAL_FATAL(arena_map(&a, path), 0);
	CU_ASSERT_EQUAL(archive_load_arena(a, file, every, NULL, &needs, &e), 2);
	CU_ASSERT_EQUAL(arena_get(a, "first", first, 2, 0, NULL, NULL), 0);
	CU_ASSERT(memcmp(got, words, sizeof got) == 0 && memcmp(text, "hello", 5) == 0);
	CU_ASSERT_EQUAL(arena_get(a, "second", &second, 1, 0, NULL, NULL), 0);
	CU_ASSERT_EQUAL(memcmp(complex_got, z, sizeof z), 0);
	arena_unmap(a);
	fs_remove_tree(dir, &e);
}

static void values_of_the_other_byte_order_are_turned(void)
{
	struct archive_in *in;
	struct err e = {0};
	void *data = NULL;
	size_t tar_bytes;

	swap_bytes(words, 4, 3);
	swap_bytes(z, 8, 2);
	info.swapped = 1;
	make();
	tar_bytes = sample_tar(tar, sizeof tar, 1, members, MEMBERS);
	CU_ASSERT_EQUAL_FATAL(archive_in_open_memory(&in, tar, tar_bytes, 0, &e), 0);
	CU_ASSERT_EQUAL(archive_in_info(in)->swapped, 1);
	swap_bytes(words, 4, 3);
	swap_bytes(z, 8, 2);
	info.swapped = 0;
	CU_ASSERT_EQUAL_FATAL(archive_in_next(in, &data, &e), 1);
	CU_ASSERT(memcmp(data, words, 12) == 0 && memcmp((char *)data + 16, "hello", 5) == 0);
	free(data);
	CU_ASSERT_EQUAL_FATAL(archive_in_next(in, &data, &e), 1);
	CU_ASSERT_EQUAL(memcmp(data, z, 16), 0);
	free(data);
	CU_ASSERT_EQUAL(archive_in_next(in, &data, &e), 0);
	archive_in_close(in);
	load_into_an_arena(tar_bytes);
}

static void every_type_turns_by_its_parts(void)
{
	uint8_t from[64], to[64];
	uint32_t t, size, part;
	size_t i;

	for (i = 0; i < sizeof from; i++)
		from[i] = (uint8_t)i;
	for (t = 1; t < ARENA_TYPES; t++) {
		size = arena_type_size(t);
		if (!size)
			continue;
		part = t == ARENA_C32 || t == ARENA_C64 || t == ARENA_C128 ? size / 2 : size;
		memcpy(to, from, sizeof to);
		if (t == ARENA_F80 || t == ARENA_C80) {
			CU_ASSERT_EQUAL(archive_swap(t, to, 1), -1);
			continue;
		}
		CU_ASSERT_EQUAL(archive_swap(t, to, 64 / size), 0);
		for (i = 0; i < 64; i++)
			CU_ASSERT_EQUAL(to[i], i / part * part + part - 1 - i % part);
	}
}

/* ---- tricks of the tar ---- */

static void members_in_another_order_are_refused(void)
{
	struct member m = members[2];

	make();
	members[2] = members[3];
	members[3] = m;
	CU_ASSERT_EQUAL(check(MEMBERS), -EBADMSG);
	members[3] = members[2];
	members[2] = m;
	m = members[0];
	members[0] = members[1];
	members[1] = m;
	CU_ASSERT_EQUAL(check(MEMBERS), -EBADMSG);
	members[1] = members[0];
	members[0] = m;
}

static void members_that_lead_elsewhere_are_refused(void)
{
	static const char *const names[] = {"../../etc/passwd", "/etc/passwd", "keys/000000/../000000/0-words",
					    "./keys/000000/0-words", "keys/000000/0-words/", ""};
	struct member m = members[2];
	size_t i;

	make();
	for (i = 0; i < sizeof names / sizeof *names; i++) {
		if (!*names[i])
			continue;
		members[2].name = names[i];
		CU_ASSERT_EQUAL(check(MEMBERS), -EBADMSG);
	}
	members[2] = m;
	members[2].type = AE_IFLNK;
	members[2].link = "/etc/passwd";
	members[2].bytes = 0;
	CU_ASSERT_EQUAL(check(MEMBERS), -EBADMSG);
	members[2].type = AE_IFREG;
	members[2].link = "manifest.json";
	CU_ASSERT_EQUAL(check(MEMBERS), -EBADMSG);
	members[2] = m;
	members[2] = m;
	m = members[NONE]; /* whose length and sum say nothing */
	members[NONE].type = AE_IFDIR;
	CU_ASSERT_EQUAL(check(MEMBERS), -EBADMSG);
	members[NONE].type = AE_IFLNK;
	members[NONE].link = "/etc/passwd";
	CU_ASSERT_EQUAL(check(MEMBERS), -EBADMSG);
	members[NONE].type = AE_IFREG;
	members[NONE].link = "manifest.json";
	CU_ASSERT_EQUAL(check(MEMBERS), -EBADMSG);
	members[NONE] = m;
}

static void missing_and_added_members_are_refused(void)
{
	size_t n;

	make();
	for (n = 0; n < MEMBERS; n++)
		CU_ASSERT_EQUAL(check(n), -EBADMSG);
	CU_ASSERT_EQUAL(check(MEMBERS + 1), -EBADMSG);
}

static void values_of_another_length_or_content_are_refused(void)
{
	struct member m = members[3];

	make();
	members[3].bytes = 4;
	CU_ASSERT_EQUAL(check(MEMBERS), -EBADMSG);
	members[3].data = "hello!";
	members[3].bytes = 6;
	CU_ASSERT_EQUAL(check(MEMBERS), -EBADMSG);
	members[3].data = "hallo";
	members[3].bytes = 5;
	CU_ASSERT_EQUAL(check(MEMBERS), -EBADMSG);
	members[3] = m;
	sums[0] = sums[0] == '0' ? '1' : '0';
	CU_ASSERT_EQUAL(check(MEMBERS), -EBADMSG);
}

/* ---- lies of the manifest ---- */

/* The manifest with one piece of it replaced, and sums that fit. */
static int lie(const char *from, const char *to)
{
	const char *at;
	char *text;
	size_t bytes;

	make();
	at = strstr(manifest, from);
	CU_ASSERT_PTR_NOT_NULL_FATAL(at);
	text = malloc(manifest_bytes + strlen(to) + 1);
	bytes = (size_t)(at - manifest);
	memcpy(text, manifest, bytes);
	memcpy(text + bytes, to, strlen(to));
	bytes += strlen(to);
	memcpy(text + bytes, at + strlen(from), manifest_bytes - (size_t)(at - manifest) - strlen(from) + 1);
	use_manifest(text, strlen(text));
	return check(MEMBERS);
}

static void a_manifest_that_lies_is_refused(void)
{
	static const struct {
		const char *from, *to;
	} lies[] = {
		{"\"kind\": \"cpagent archive\"", "\"kind\": \"something else\""},
		{"\"format\": 1", "\"format\": \"1\""},
		{"\"byte_order\": \"little\"", "\"byte_order\": \"middle\""},
		{"\"bytes\": 37", "\"bytes\": 38"},
		{"\"bytes\": 37", "\"bytes\": -1"},
		{"\"bytes\": 21", "\"bytes\": 13"},
		{"\"key\": \"first\"", "\"key\": \"\""},
		{"\"key\": \"first\"", "\"key\": 5"},
		{"\"key\": \"first\"", "\"key\": \"a\\u0000b\""},
		{"\"version\": 7", "\"version\": 0"},
		{"\"version\": 7", "\"version\": 72057594037927936"},
		{"\"version\": 7", "\"version\": 7.5"},
		{"\"version\": 7", "\"version\": 7, \"version\": 8"},
		{"\"incarnation\": 2", "\"incarnation\": 4294967296"},
		{"\"how\": \"whole\"", "\"how\": \"never\""},
		{"\"type\": \"u32\"", "\"type\": \"u33\""},
		{"\"type\": \"u32\"", "\"type\": \"u64\""},
		{"\"type\": \"u32\"", "\"type\": \"?\""},
		{"\"count\": 3", "\"count\": 4"},
		{"\"count\": 3", "\"count\": 4611686018427387907"}, /* × 4 is 12 again, in 64 bits */
		{"\"count\": 3", "\"count\": -3"},
		{"\"bytes\": 12", "\"bytes\": 9223372036854775807"},
		{"keys/000000/0-words", "keys/000000/0-Words"},
		{"keys/000000/0-words", "../000000/0-words"},
		{"\"name\": \"words\"", "\"name\": \"word\""},
		{"\"xxh128\": \"", "\"xxh128\": \"0"},
		{"\"vars\": [", "\"vars\": {}, \"were\": ["},
		{"\"keys\": [", "\"keys\": null, \"were\": ["},
		{"\"keys\": [", "\"keys\": [5, "},
		{"\"time_ns\": 1000000000", "\"time_ns\": -5"},
		{"{", "[[[["},
		{"}", ""},
	};
	size_t i;

	for (i = 0; i < sizeof lies / sizeof *lies; i++) {
		int rc = lie(lies[i].from, lies[i].to);

		if (rc != -EBADMSG)
			printf("    believed (%d): %s\n", rc, lies[i].to);
		CU_ASSERT_EQUAL(rc, -EBADMSG);
	}
	CU_ASSERT_EQUAL(lie("\"format\": 1", "\"format\": 2"), -EPROTONOSUPPORT);
	CU_ASSERT_EQUAL(lie("\"format\": 1", "\"format\": 1, \"new field\": [1, {}]"), 0); /* an older reader goes on */
}

static void what_never_ends_is_read_no_further_than_it_says(void)
{
	static struct archive_var huge[] = {{"huge", UINT64_C(1) << 38, UINT64_C(1) << 38, {0}, ARENA_BYTES}};
	static struct archive_key key[] = {{"huge", 1, UINT64_C(1) << 38, 0, 0, ARENA_PLAIN, 1, huge}};
	struct archive_info was = info;
	size_t bytes;

	info.keys = key;
	info.n = 1;
	info.bytes = UINT64_C(1) << 38;
	make();
	members[2].name = "keys/000000/0-huge";
	bytes = sample_tar(tar, sizeof tar, 0, members, 3);
	CU_ASSERT_EQUAL(sample_check(tar, bytes, 1 << 20), -EFBIG); /* before any of it */
	CU_ASSERT_EQUAL(sample_check(tar, bytes, 0), -EBADMSG);
	members[2].name = "keys/000000/0-words";
	info = was;
}

/* Some thousand times what an arena has, in a few bytes: checked without being held, and refused where it does not fit. */
static void a_bomb_costs_no_memory(void)
{
	const size_t bytes = 64 << 20;
	uint8_t *zeros = calloc(1, bytes);
	struct archive_var v[] = {{"zeros", bytes, bytes, {0}, ARENA_BYTES}};
	struct archive_key key[] = {{"bomb", 1, bytes, 0, 0, ARENA_PLAIN, 1, v}};
	struct archive_info was = info;
	struct member m = members[2];
	size_t length;

	sample_sum(zeros, bytes, v[0].sum);
	info.keys = key;
	info.n = 1;
	info.bytes = bytes;
	make();
	members[2] = (struct member){.name = "keys/000000/0-zeros", .data = zeros, .bytes = bytes};
	length = sample_tar(tar, sizeof tar, 1, members, 3);
	CU_ASSERT(length < 100000);
	CU_ASSERT_EQUAL(sample_check(tar, length, 1 << 20), -EFBIG);
	CU_ASSERT_EQUAL(sample_check(tar, length, 0), 0);
	members[2] = m;
	info = was;
	free(zeros);
}

static const struct test tests[] = {
	{"made by hand it is believed", made_by_hand_it_is_believed},
	{"values of the other byte order are turned", values_of_the_other_byte_order_are_turned},
	{"every type turns by its parts", every_type_turns_by_its_parts},
	{"members in another order are refused", members_in_another_order_are_refused},
	{"members that lead elsewhere are refused", members_that_lead_elsewhere_are_refused},
	{"missing and added members are refused", missing_and_added_members_are_refused},
	{"values of another length or content are refused", values_of_another_length_or_content_are_refused},
	{"a manifest that lies is refused", a_manifest_that_lies_is_refused},
	{"what never ends is read no further than it says", what_never_ends_is_read_no_further_than_it_says},
	{"a bomb costs no memory", a_bomb_costs_no_memory},
};

int main(void)
{
	int rc = harness_run("archive_hostile", tests, sizeof tests / sizeof *tests);

	free(manifest);
	free(sums);
	return rc;
}
