/* Sealed messages: the bytes of the format, whatever may be done to them on the way, the key file. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/fs.h"
#include "lib/wire/seal.h"
#include "tests/unit/harness.h"

static const char body[] = "sixteen bytes and some";

static struct seal_key test_key(void)
{
	struct seal_key key;

	for (size_t i = 0; i < sizeof key.bytes; i++)
		key.bytes[i] = (uint8_t)i;
	return key;
}

static struct seal_head test_head(void)
{
	struct seal_head h = { .kind = 5, .seq = UINT64_C(0x0102030405060708), .from = "n1", .to = "top" };

	memset(h.from_session, 0xaa, sizeof h.from_session);
	memset(h.to_session, 0xbb, sizeof h.to_session);
	return h;
}

/* A sealed message, owned by the caller. */
static uint8_t *sealed(const struct seal_key *key, size_t *len)
{
	struct seal_head h = test_head();
	uint8_t *msg;

	*len = seal_size(&h, sizeof body);
	msg = malloc(*len);
	CU_ASSERT_EQUAL_FATAL(seal_message(key, &h, body, sizeof body, msg), 0);
	return msg;
}

static enum seal_status opened(const struct seal_key *key, const uint8_t *msg, size_t len)
{
	struct seal_head h;
	char plain[256];
	size_t got;

	return seal_open(key, msg, len, &h, plain, sizeof plain, &got);
}

static void a_message_opens_to_what_was_sealed(void)
{
	struct seal_key key = test_key();
	struct seal_head h, want = test_head();
	char plain[256];
	size_t len, got;
	uint8_t *msg = sealed(&key, &len);

	CU_ASSERT_EQUAL_FATAL(seal_open(&key, msg, len, &h, plain, sizeof plain, &got), SEAL_OK);
	CU_ASSERT_EQUAL(got, sizeof body);
	CU_ASSERT(!memcmp(plain, body, sizeof body));
	CU_ASSERT_EQUAL(h.kind, want.kind);
	CU_ASSERT_EQUAL(h.seq, want.seq);
	CU_ASSERT_STRING_EQUAL(h.from, want.from);
	CU_ASSERT_STRING_EQUAL(h.to, want.to);
	CU_ASSERT(!memcmp(h.from_session, want.from_session, SEAL_SESSION_BYTES));
	CU_ASSERT(!memcmp(h.to_session, want.to_session, SEAL_SESSION_BYTES));
	free(msg);
}

/* Computed by another implementation of XChaCha20-Poly1305 than the one under test. */
static void the_bytes_of_the_format_do_not_change(void)
{
	static const uint8_t start[] = {
		'C',  'P',  'S',  'L',  0x01, 0x05, 0x02, 0x03, /* magic, format, kind, lengths of the names */
		0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01, /* seq */
	};
	static const uint8_t end[] = {
		/* names, body, tag */
		0x6e, 0x31, 0x74, 0x6f, 0x70, 0xa7, 0x50, 0x7d, 0x04, 0xb5, 0x85, 0x17, 0x36, 0xed, 0x8d,
		0xf3, 0xdb, 0xdc, 0xbc, 0x04, 0xfc, 0xf6, 0x9a, 0xde, 0xab, 0x7e, 0x3c, 0x53, 0x5c, 0x88,
		0xda, 0x86, 0x13, 0xb3, 0x28, 0x4a, 0x04, 0x75, 0xe2, 0x2f, 0x1f, 0xd7, 0x27, 0x6f,
	};
	struct seal_key key = test_key();
	struct seal_head h = test_head();
	uint8_t nonce[SEAL_NONCE_BYTES], msg[116];

	for (size_t i = 0; i < sizeof nonce; i++)
		nonce[i] = (uint8_t)(0x40 + i);
	CU_ASSERT_EQUAL_FATAL(seal_size(&h, sizeof body), sizeof msg);
	CU_ASSERT_EQUAL_FATAL(seal_message_nonce(&key, &h, nonce, body, sizeof body, msg), 0);
	CU_ASSERT(!memcmp(msg, start, sizeof start));
	CU_ASSERT(!memcmp(msg + 16, h.from_session, SEAL_SESSION_BYTES));
	CU_ASSERT(!memcmp(msg + 32, h.to_session, SEAL_SESSION_BYTES));
	CU_ASSERT(!memcmp(msg + 48, nonce, sizeof nonce));
	CU_ASSERT(!memcmp(msg + 72, end, sizeof end));
}

static void every_flipped_bit_is_refused(void)
{
	struct seal_key key = test_key();
	size_t len;
	uint8_t *msg = sealed(&key, &len);

	for (size_t i = 0; i < len * 8; i++) {
		msg[i / 8] ^= (uint8_t)(1u << i % 8);
		CU_ASSERT(opened(&key, msg, len) != SEAL_OK);
		msg[i / 8] ^= (uint8_t)(1u << i % 8);
	}
	CU_ASSERT_EQUAL(opened(&key, msg, len), SEAL_OK);
	free(msg);
}

static void a_message_cut_at_any_length_is_refused(void)
{
	struct seal_key key = test_key();
	size_t len;
	uint8_t *msg = sealed(&key, &len);

	for (size_t i = 0; i < len; i++) {
		uint8_t *cut = malloc(i ? i : 1); /* of its own size, so that a sanitizer sees a read beyond it */

		memcpy(cut, msg, i);
		CU_ASSERT(opened(&key, cut, i) != SEAL_OK);
		free(cut);
	}
	free(msg);
}

static void a_message_with_bytes_behind_it_is_refused(void)
{
	struct seal_key key = test_key();
	size_t len;
	uint8_t *msg = sealed(&key, &len), longer[512] = { 0 };

	memcpy(longer, msg, len);
	CU_ASSERT_EQUAL(opened(&key, longer, len + 1), SEAL_FORGED);
	free(msg);
}

static void another_key_does_not_open_it(void)
{
	struct seal_key key = test_key(), other = test_key();
	size_t len;
	uint8_t *msg = sealed(&key, &len);

	other.bytes[31] ^= 1;
	CU_ASSERT_EQUAL(opened(&other, msg, len), SEAL_FORGED);
	free(msg);
}

static void a_message_cannot_be_turned_round(void)
{
	struct seal_key key = test_key();
	struct seal_head h = test_head();
	size_t len = seal_size(&h, sizeof body);
	uint8_t *msg = malloc(len), names[5];

	CU_ASSERT_EQUAL_FATAL(seal_message(&key, &h, body, sizeof body, msg), 0);
	memcpy(names, msg + 72, 5); /* "n1" "top" */
	memcpy(msg + 72, names + 2, 3);
	memcpy(msg + 75, names, 2);
	msg[6] = 3;
	msg[7] = 2;
	CU_ASSERT_EQUAL(opened(&key, msg, len), SEAL_FORGED);
	free(msg);
}

static void two_seals_of_one_message_have_nothing_in_common(void)
{
	struct seal_key key = test_key();
	size_t len;
	uint8_t *a = sealed(&key, &len), *b = sealed(&key, &len);

	CU_ASSERT(memcmp(a + 48, b + 48, SEAL_NONCE_BYTES));
	CU_ASSERT(memcmp(a + 77, b + 77, len - 77));
	free(a);
	free(b);
}

static void a_body_longer_than_the_room_for_it_is_refused(void)
{
	struct seal_key key = test_key();
	struct seal_head h;
	char plain[sizeof body];
	size_t len, got;
	uint8_t *msg = sealed(&key, &len);

	CU_ASSERT_EQUAL(seal_open(&key, msg, len, &h, plain, sizeof body - 1, &got), SEAL_MALFORMED);
	CU_ASSERT_EQUAL(seal_open(&key, msg, len, &h, plain, sizeof body, &got), SEAL_OK);
	free(msg);
}

static void what_cannot_be_sealed_is_refused(void)
{
	struct seal_head h = test_head();

	CU_ASSERT_EQUAL(seal_size(&h, SEAL_PLAIN_MAX + 1), 0);
	CU_ASSERT_EQUAL(seal_size(&h, 7), 72 + 5 + 7 + 16);
	h.to[0] = 0;
	CU_ASSERT_EQUAL(seal_size(&h, 0), 72 + 2 + 16);
	h.from[0] = 0;
	CU_ASSERT_EQUAL(seal_size(&h, 0), 0);
	memset(h.from, 'x', sizeof h.from);
	CU_ASSERT_EQUAL(seal_size(&h, 0), 0);
}

static void names_are_fit_for_paths(void)
{
	char name[SEAL_NAME_MAX + 2];

	memset(name, 'n', sizeof name);
	name[SEAL_NAME_MAX + 1] = 0;
	CU_ASSERT(!seal_name_ok(name));
	name[SEAL_NAME_MAX] = 0;
	CU_ASSERT(seal_name_ok(name));
	CU_ASSERT(seal_name_ok("node-1.rack_2"));
	CU_ASSERT(!seal_name_ok(""));
	CU_ASSERT(!seal_name_ok(NULL));
	CU_ASSERT(!seal_name_ok(".."));
	CU_ASSERT(!seal_name_ok("a/b"));
	CU_ASSERT(!seal_name_ok("a b"));
	CU_ASSERT(!seal_name_ok("a\n"));
}

static void a_number_is_accepted_once(void)
{
	struct seal_window w = { 0 };

	CU_ASSERT(!seal_window_accept(&w, 0));
	for (uint64_t seq = 1; seq < 200; seq++)
		CU_ASSERT(seal_window_accept(&w, seq));
	for (uint64_t seq = 0; seq < 200; seq++)
		CU_ASSERT(!seal_window_accept(&w, seq));
}

static void a_late_number_is_accepted_within_the_window_only(void)
{
	struct seal_window w = { 0 };

	CU_ASSERT(seal_window_accept(&w, 1000));
	CU_ASSERT(!seal_window_accept(&w, 936)); /* 64 back: unknown */
	CU_ASSERT(seal_window_accept(&w, 937));  /* 63 back: the oldest known */
	CU_ASSERT(!seal_window_accept(&w, 937));
	CU_ASSERT(seal_window_accept(&w, 999));
	CU_ASSERT(!seal_window_accept(&w, 999));
	CU_ASSERT(seal_window_accept(&w, 1063)); /* 63 on: 1000 is now the oldest known */
	CU_ASSERT(!seal_window_accept(&w, 1000));
	CU_ASSERT(!seal_window_accept(&w, 998));
	CU_ASSERT(seal_window_accept(&w, 1001));
}

static void a_leap_forgets_what_lies_behind_it(void)
{
	struct seal_window w = { 0 };

	CU_ASSERT(seal_window_accept(&w, 1));
	CU_ASSERT(seal_window_accept(&w, 65)); /* 64 on */
	CU_ASSERT(!seal_window_accept(&w, 1));
	CU_ASSERT(seal_window_accept(&w, 2));
	CU_ASSERT(seal_window_accept(&w, UINT64_MAX));
	CU_ASSERT(!seal_window_accept(&w, UINT64_MAX));
	CU_ASSERT(!seal_window_accept(&w, 66));
	CU_ASSERT(seal_window_accept(&w, UINT64_MAX - 63));
}

/* ---- key files ---------------------------------------------------------------------------------- */

static char dir[] = "/tmp/cpa-test-seal-XXXXXX";

static const char *in_dir(const char *name)
{
	static char path[FS_PATH_MAX];

	return fs_path(path, "%s/%s", dir, name);
}

static void put_file(const char *path, const char *text, size_t len, mode_t mode)
{
	unlink(path);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, mode);

	CU_ASSERT_FATAL(fd >= 0);
	CU_ASSERT_EQUAL(fchmod(fd, mode), 0);
	CU_ASSERT_EQUAL(fs_write_full(fd, text, len), 0);
	close(fd);
}

static void a_made_key_loads_and_is_nobody_elses_business(void)
{
	const char *path = in_dir("made");
	struct seal_key a, b;
	struct stat st;
	struct err e = { 0 };

	CU_ASSERT_EQUAL(seal_keygen(path, &e), 0);
	CU_ASSERT_EQUAL_FATAL(stat(path, &st), 0);
	CU_ASSERT_EQUAL(st.st_mode & 07777, 0600);
	CU_ASSERT_EQUAL(st.st_nlink, 1);
	CU_ASSERT_EQUAL(st.st_size, 14 + 64 + 1);
	CU_ASSERT_EQUAL(seal_key_load(path, &a, &e), 0);
	CU_ASSERT_EQUAL(seal_keygen(path, &e), ERR_USAGE);
	CU_ASSERT(strstr(e.text, "exists") != NULL);
	CU_ASSERT_EQUAL(seal_key_load(path, &b, &e), 0);
	CU_ASSERT(!memcmp(&a, &b, sizeof a));
}

static void two_made_keys_differ(void)
{
	struct seal_key a, b;

	CU_ASSERT_EQUAL(seal_keygen(in_dir("one"), NULL), 0);
	CU_ASSERT_EQUAL(seal_keygen(in_dir("two"), NULL), 0);
	CU_ASSERT_EQUAL(seal_key_load(in_dir("one"), &a, NULL), 0);
	CU_ASSERT_EQUAL(seal_key_load(in_dir("two"), &b, NULL), 0);
	CU_ASSERT(memcmp(&a, &b, sizeof a));
}

static void a_key_that_others_may_read_is_refused_and_the_cure_named(void)
{
	const char *path = in_dir("loose");
	struct seal_key key;

	CU_ASSERT_EQUAL(seal_keygen(path, NULL), 0);
	for (mode_t bit = 01; bit <= 040; bit <<= 1) {
		struct err e = { 0 };

		CU_ASSERT_EQUAL(chmod(path, 0600 | bit), 0);
		CU_ASSERT_EQUAL(seal_key_load(path, &key, &e), ERR_DENIED);
		CU_ASSERT(strstr(e.text, "chmod 600") != NULL);
	}
	CU_ASSERT_EQUAL(chmod(path, 0400), 0);
	CU_ASSERT_EQUAL(seal_key_load(path, &key, NULL), 0);
}

static void a_key_of_another_user_is_refused(void)
{
	const char *path = in_dir("foreign");
	struct seal_key key;
	struct err e = { 0 };

	if (geteuid() != 0)
		return; /* only root can give a file away */
	CU_ASSERT_EQUAL(seal_keygen(path, NULL), 0);
	CU_ASSERT_EQUAL(chown(path, 12345, 0), 0);
	CU_ASSERT_EQUAL(seal_key_load(path, &key, &e), ERR_DENIED);
	CU_ASSERT(strstr(e.text, "12345") != NULL);
}

static void what_is_no_key_file_is_refused(void)
{
	static const char good[] =
	        "cpagent-key-1 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";
	size_t n = sizeof good - 1;
	struct seal_key key, want = test_key();
	struct err e = { 0 };
	char bad[sizeof good + 8];

	CU_ASSERT_EQUAL(seal_key_load(in_dir("absent"), &key, &e), ERR_NOT_FOUND);
	CU_ASSERT(strstr(e.text, "cpagent keygen") != NULL);
	CU_ASSERT_EQUAL(seal_key_load(dir, &key, &e), ERR_USAGE);
	put_file(in_dir("k"), good, n, 0600);
	CU_ASSERT_EQUAL(seal_key_load(in_dir("k"), &key, NULL), 0);
	CU_ASSERT(!memcmp(&key, &want, sizeof key));
	put_file(in_dir("k"), good, n - 1, 0600); /* without its newline */
	CU_ASSERT_EQUAL(seal_key_load(in_dir("k"), &key, NULL), 0);
	for (size_t len = 0; len < n - 1; len++) {
		put_file(in_dir("k"), good, len, 0600);
		CU_ASSERT_EQUAL(seal_key_load(in_dir("k"), &key, &e), ERR_USAGE);
	}
	for (size_t i = 0; i < n - 1; i++) {
		memcpy(bad, good, n);
		bad[i] = '!';
		put_file(in_dir("k"), bad, n, 0600);
		CU_ASSERT_EQUAL(seal_key_load(in_dir("k"), &key, &e), ERR_USAGE);
	}
	memcpy(bad, good, n);
	bad[n] = '\n';
	put_file(in_dir("k"), bad, n + 1, 0600);
	CU_ASSERT_EQUAL(seal_key_load(in_dir("k"), &key, &e), ERR_USAGE);
}

static void a_key_is_not_made_where_it_cannot_be(void)
{
	struct err e = { 0 };

	CU_ASSERT(seal_keygen("/nonexistent-directory/key", &e) < 0);
	CU_ASSERT(strstr(e.text, "/nonexistent-directory/key") != NULL);
}

static const struct test tests[] = {
	{ "a message opens to what was sealed", a_message_opens_to_what_was_sealed },
	{ "the bytes of the format do not change", the_bytes_of_the_format_do_not_change },
	{ "every flipped bit is refused", every_flipped_bit_is_refused },
	{ "a message cut at any length is refused", a_message_cut_at_any_length_is_refused },
	{ "a message with bytes behind it is refused", a_message_with_bytes_behind_it_is_refused },
	{ "another key does not open it", another_key_does_not_open_it },
	{ "a message cannot be turned round", a_message_cannot_be_turned_round },
	{ "two seals of one message have nothing in common", two_seals_of_one_message_have_nothing_in_common },
	{ "a body longer than the room for it is refused", a_body_longer_than_the_room_for_it_is_refused },
	{ "what cannot be sealed is refused", what_cannot_be_sealed_is_refused },
	{ "names are fit for paths", names_are_fit_for_paths },
	{ "a number is accepted once", a_number_is_accepted_once },
	{ "a late number is accepted within the window only", a_late_number_is_accepted_within_the_window_only },
	{ "a leap forgets what lies behind it", a_leap_forgets_what_lies_behind_it },
	{ "a made key loads and is nobody else's business", a_made_key_loads_and_is_nobody_elses_business },
	{ "two made keys differ", two_made_keys_differ },
	{ "a key that others may read is refused and the cure named",
	  a_key_that_others_may_read_is_refused_and_the_cure_named },
	{ "a key of another user is refused", a_key_of_another_user_is_refused },
	{ "what is no key file is refused", what_is_no_key_file_is_refused },
	{ "a key is not made where it cannot be", a_key_is_not_made_where_it_cannot_be },
};

int main(void)
{
	if (!mkdtemp(dir))
		return 1;
	int rc = harness_run("sealed messages", tests, sizeof tests / sizeof *tests);

	fs_remove_tree(dir, NULL);
	return rc;
}
