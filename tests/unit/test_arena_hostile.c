/* The reader on arenas that somebody scribbled over, cut short or is still writing: it never crashes, never gives
 * a damaged value for a whole one, and says what is broken. And the agent's answers into such arenas. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/arena/internal.h"
#include "lib/arena/mailbox.h"
#include "lib/arena/reader.h"
#include "tests/unit/harness.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SEEDS 1500u
#else
#define SEEDS 6000u
#endif
#define KEYS 12u
#define BIG 5000u

static char dir[64], path[96];
static uint32_t seed;

static uint32_t rnd(void)
{
	seed = seed * 1664525u + 1013904223u;
	return seed >> 8;
}

static struct arena *fresh(uint64_t budget)
{
	struct arena *a = NULL;

	unlink(path);
	CU_ASSERT_EQUAL_FATAL(arena_create(path, budget, 0600), 0);
	CU_ASSERT_EQUAL_FATAL(arena_map(&a, path), 0);
	return a;
}

/* Every word of a value is the number of its key, plus the version in the upper half. */
static void put(struct arena *a, uint32_t key, uint64_t version)
{
	static uint64_t data[BIG];
	char name[16];
	size_t words = key & 1 ? BIG : 9, i;
	struct arena_var v[] = {{"words", data, words, ARENA_U64}, {"flag", &version, 1, ARENA_U64}};

	for (i = 0; i < words; i++)
		data[i] = version << 32 | key;
	snprintf(name, sizeof name, "key %u", key);
	CU_ASSERT_EQUAL_FATAL(arena_put(a, name, v, 2, NULL), 0);
}

static struct arena *filled(void)
{
	struct arena *a = fresh(2 << 20);
	uint32_t k;
	uint64_t version;

	for (version = 1; version <= 3; version++)
		for (k = 0; k < KEYS; k++)
			put(a, k, version);
	return a;
}

/* What the reader calls whole, is whole: words agree with each other and with the version that it names. */
static void check_value(const struct arena_value *v, uint32_t key)
{
	const uint64_t *words = v->info.vars[0].data;
	uint64_t i;

	CU_ASSERT_FATAL(v->info.n == 2 && v->info.vars[0].type == ARENA_U64);
	for (i = 0; i < v->info.vars[0].count; i++)
		CU_ASSERT_EQUAL_FATAL(words[i], v->info.version << 32 | key);
}

/* Read everything there is; returns how many values came out. */
static size_t read_all(struct arena_reader *r)
{
	struct arena_keys list;
	struct arena_value v;
	size_t whole = 0;
	char name[16];
	uint32_t k;

	if (arena_read_open(r) != 0)
		return 0;
	(void)arena_read_keys(r, 0, &list);
	arena_keys_free(&list);
	(void)arena_read_keys(r, 1, &list);
	arena_keys_free(&list);
	for (k = 0; k < KEYS; k++) {
		snprintf(name, sizeof name, "key %u", k);
		if (arena_read_value(r, name, 0, &v, NULL) != 0)
			continue;
		check_value(&v, k);
		arena_value_free(&v);
		whole++;
	}
	return whole;
}

static void scribbles_over_an_arena_never_crash_the_reader_or_pass_for_a_value(void)
{
	struct arena *a = filled();
	size_t bytes = a->file_bytes, used = (size_t)(a->heap - a->base) + a->head->free_at, whole = 0, i, n, at;
	uint8_t *image = calloc(1, bytes);
	struct arena_reader r = {.fd = -1, .image = image, .image_bytes = bytes};

	CU_ASSERT_PTR_NOT_NULL_FATAL(image);
	for (uint32_t turn = 0; turn < SEEDS; turn++) {
		memcpy(image, a->base, used);
		seed = turn;
		for (n = 1 + rnd() % 40; n; n--) {
			/* mostly where the structure is: the index, the records and the beginnings of slots */
			at = rnd() % 4 == 0 ? rnd() % used : rnd() % 2 ? ARENA_INDEX + rnd() % 4096
			   : (size_t)(a->heap - a->base) + rnd() % (64u << rnd() % 10);
			for (i = 0; i < 1 + rnd() % 8 && at + i < used; i++)
				image[at + i] = (uint8_t)(rnd() % 3 ? rnd() : image[at + i] ^ 1u << rnd() % 8);
		}
		whole += read_all(&r);
	}
	CU_ASSERT(whole > SEEDS); /* much of it was still there to be read */
	free(image);
	arena_unmap(a);
}

#define HEAD_FIXED 48u /* bytes under the header's checksum, and the checksum */

/* The reader on an image; what is damaged in the fixed part is told. */
static void every_byte_of_the_header_may_flip(void)
{
	struct arena *a = filled();
	size_t bytes = a->file_bytes;
	uint8_t *image = calloc(1, bytes);
	struct arena_reader r = {.fd = -1, .image = image, .image_bytes = bytes};

	memcpy(image, a->base, bytes);
	for (size_t bit = 0; bit < 8 * sizeof(struct arena_header); bit += bit < 8 * 512 ? 1 : 5) {
		image[bit / 8] ^= (uint8_t)(1 << bit % 8);
		size_t whole = read_all(&r);

		CU_ASSERT_FATAL(bit >= 8 * HEAD_FIXED || (whole == 0 && arena_read_open(&r) < 0));
		image[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	for (size_t byte = 0; byte < sizeof(struct arena_header); byte++) {
		image[byte] ^= 0xff;
		read_all(&r);
		image[byte] ^= 0xff;
	}
	CU_ASSERT_EQUAL(read_all(&r), KEYS);
	free(image);
	arena_unmap(a);
}

static void use(struct arena *b)
{
	uint64_t value[9], flag;
	struct arena_var v[] = {{"words", value, 9, ARENA_U64}, {"flag", &flag, 1, ARENA_U64}};

	(void)arena_get(b, "key 2", v, 2, 0, NULL, NULL);
	(void)arena_put(b, "key 2", v, 2, NULL);
	(void)arena_put(b, "new", v, 2, NULL);
	(void)arena_keep(b, "key 3", 3);
	(void)arena_reset(b, "new");
}

static void the_library_survives_a_flip_of_every_byte_of_its_header(void)
{
	struct arena *a = filled(), *b;
	int fd = open(path, O_RDWR | O_CLOEXEC);
	uint8_t head[sizeof(struct arena_header)];

	CU_ASSERT_EQUAL_FATAL(pread(fd, head, sizeof head, 0), (ssize_t)sizeof head);
	for (size_t bit = 0; bit < 8 * sizeof head; bit += bit < 8 * 320 ? 1 : 8) {
		uint8_t flip = (uint8_t)(bit < 8 * 320 ? 1 << bit % 8 : 0xff);

		head[bit / 8] ^= flip;
		CU_ASSERT_EQUAL_FATAL(pwrite(fd, head, sizeof head, 0), (ssize_t)sizeof head);
		head[bit / 8] ^= flip;
		int rc = arena_map(&b, path);

		CU_ASSERT_FATAL(bit >= 8 * HEAD_FIXED || rc == -EPROTO || rc == -EPROTONOSUPPORT);
		if (rc == 0)
			use(b);
		arena_unmap(b);
	}
	close(fd);
	arena_unmap(a);
}

/* At every length at which a part ends, one less, one more, and at many between. */
static void a_file_cut_short_is_an_error_at_every_length(void)
{
	struct arena *a = filled(), *b;
	struct stat st;
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct arena_reader r = {.fd = fd};
	struct arena_value v;
	off_t parts[64], length;
	size_t n = 0;

	fstat(fd, &st);
	CU_ASSERT_EQUAL(read_all(&r), KEYS);
	CU_ASSERT_EQUAL(arena_read_open(&r), 0);
	for (length = st.st_size - 1; length > 0 && n < 40; length -= st.st_size / 40)
		parts[n++] = length;
	for (uint32_t t = arena_tables(a->heap_bytes); t--;)
		parts[n++] = (off_t)arena_table_at(t);
	parts[n++] = ARENA_INDEX;
	parts[n++] = ARENA_LOCKS;
	parts[n++] = 512;
	parts[n++] = HEAD_FIXED;
	parts[n++] = 1;
	for (size_t i = 0; i < n; i++)
		for (length = parts[i] + 1; length >= parts[i] - 1; length--) {
			if (length >= st.st_size)
				continue;
			CU_ASSERT_EQUAL_FATAL(ftruncate(fd, length), 0);
			(void)arena_read_value(&r, "key 1", 0, &v, NULL); /* opened when it was whole */
			arena_value_free(&v);
			struct arena_reader late = {.fd = fd};

			CU_ASSERT_EQUAL(arena_read_open(&late), -EPROTO);
			CU_ASSERT_EQUAL(arena_map(&b, path), -EPROTO);
		}
	CU_ASSERT_EQUAL(arena_read_value(&r, "key 1", 0, &v, NULL), -EPROTO);
	CU_ASSERT_EQUAL(ftruncate(fd, 0), 0);
	CU_ASSERT_EQUAL(arena_set_start(fd, 1, ARENA_FRESH, 0), -EPROTO);
	close(fd);
	arena_unmap(a);
}

static void other_files_and_versions_are_refused_by_name(void)
{
	struct arena *a = filled();
	int fd = open(path, O_RDWR | O_CLOEXEC), null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct arena_reader r = {.fd = fd}, n = {.fd = null};

	a->head->format++;
	CU_ASSERT_EQUAL(arena_read_open(&r), -EPROTONOSUPPORT);
	CU_ASSERT_EQUAL(arena_read_open(&n), -EPROTO);
	close(fd);
	close(null);
	arena_unmap(a);
}

static void a_damaged_newest_version_gives_way_to_the_one_before(void)
{
	struct arena *a = filled();
	struct arena_reader r = {.fd = -1, .image = a->base, .image_bytes = a->file_bytes};
	struct arena_record *rec;
	struct arena_value v;
	struct arena_keys list;
	int skipped;

	CU_ASSERT_EQUAL_FATAL(arena_read_open(&r), 0);
	arena_newest(a, "key 1", &rec);
	a->heap[record_slots(rec)[rec->commit & 1].at + 20000] ^= 1;
	CU_ASSERT_EQUAL(arena_read_value(&r, "key 1", 0, &v, &skipped), 0);
	CU_ASSERT_EQUAL(skipped, 1);
	CU_ASSERT_EQUAL(v.info.version, 2);
	check_value(&v, 1);
	arena_value_free(&v);
	CU_ASSERT_EQUAL(arena_read_value(&r, "key 1", 3, &v, NULL), -EBADMSG);
	CU_ASSERT_EQUAL(arena_read_value(&r, "key 1", 2, &v, NULL), 0);
	arena_value_free(&v);
	CU_ASSERT_EQUAL(arena_read_value(&r, "key 1", 1, &v, NULL), -ENOENT);
	CU_ASSERT_EQUAL(arena_read_value(&r, "no such key", 0, &v, NULL), -ENOENT);
	CU_ASSERT_EQUAL(arena_read_keys(&r, 1, &list), 0);
	CU_ASSERT_EQUAL(list.n, KEYS);
	CU_ASSERT_EQUAL(list.key[1].version, 2);
	CU_ASSERT_EQUAL(list.key[0].version, 3);
	arena_keys_free(&list);
	r.max_bytes = 1000;
	CU_ASSERT_EQUAL(arena_read_value(&r, "key 3", 0, &v, NULL), -EFBIG);
	arena_unmap(a);
}

static struct arena *live;
static int stop;

static void *keep_writing(void *arg)
{
	uint64_t version;
	uint32_t k;

	for (version = 4; !__atomic_load_n(&stop, __ATOMIC_RELAXED); version++)
		for (k = 0; k < 2; k++)
			put(live, k, version);
	return arg;
}

static void values_read_while_they_are_written_are_whole(void)
{
	struct arena_reader r;
	struct arena_value v;
	pthread_t t;
	uint64_t turn, got = 0, last = 0, moved = 0;
	int fd, rc;

	live = filled();
	fd = open(path, O_RDONLY | O_CLOEXEC);
	r = (struct arena_reader){.fd = fd};
	CU_ASSERT_EQUAL_FATAL(arena_read_open(&r), 0);
	CU_ASSERT_EQUAL_FATAL(pthread_create(&t, NULL, keep_writing, NULL), 0);
	for (turn = 0; turn < 3000 || moved < 20; turn++) {
		rc = arena_read_value(&r, turn & 1 ? "key 1" : "key 0", 0, &v, NULL);
		CU_ASSERT_FATAL(rc == 0 || rc == -EAGAIN);
		if (rc)
			continue;
		check_value(&v, turn & 1);
		moved += v.info.version != last;
		last = v.info.version;
		got++;
		arena_value_free(&v);
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	pthread_join(t, NULL);
	CU_ASSERT(got > 1000);
	close(fd);
	arena_unmap(live);
}

static void a_request_lies_in_the_mailbox_rings_the_bell_and_is_answered(void)
{
	struct arena *a = filled();
	int fd = open(path, O_RDWR | O_CLOEXEC), bell = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), status;
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	struct arena_reader r = {.fd = fd};
	struct arena_says says;
	struct arena_keys list;
	pid_t pid;
	char byte;

	snprintf(at.sun_path, sizeof at.sun_path, "%s/bell", dir);
	CU_ASSERT_EQUAL_FATAL(bind(bell, (struct sockaddr *)&at, sizeof at), 0);
	CU_ASSERT_EQUAL(arena_wait(a, "key 3", 2, 0), -ENOTCONN);
	CU_ASSERT_EQUAL(arena_set_start(fd, 2, ARENA_FROM_KEYS, 0), 0);
	CU_ASSERT_EQUAL(a->head->incarnation, 2);
	CU_ASSERT_EQUAL(arena_wait(a, "key 3", 2, 1000000), -ETIMEDOUT);
	CU_ASSERT_EQUAL(arena_wait(a, "key 3", 1, 0), 0);
	CU_ASSERT_EQUAL(arena_want(a, "key 3", 2), 0);
	arena_say_restores(a);
	CU_ASSERT_EQUAL(recv(bell, &byte, 1, MSG_DONTWAIT), 1);
	CU_ASSERT_EQUAL_FATAL(arena_read_open(&r), 0);
	arena_says(&r, &says);
	CU_ASSERT_EQUAL(says.flags, ARENA_SERVED | ARENA_RESTORES);
	CU_ASSERT_EQUAL(says.requests, 1);
	CU_ASSERT_EQUAL_FATAL(arena_read_keys(&r, 0, &list), 0);
	CU_ASSERT_STRING_EQUAL(list.key[5].key, "key 3");
	CU_ASSERT_EQUAL(list.key[5].want_version, 3);
	CU_ASSERT_EQUAL(list.key[5].want_level, 2);
	pid = fork();
	if (pid == 0)
		_exit(arena_wait(a, "key 3", 2, -1) == 0 ? 0 : 1);
	CU_ASSERT_EQUAL(arena_set_held(&r, &list.key[5], 2, 2), 0); /* an older one: goes on waiting */
	CU_ASSERT_EQUAL(arena_set_held(&r, &list.key[5], 3, 2), 0);
	waitpid(pid, &status, 0);
	CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	arena_reset(a, "key 3");
	for (uint32_t k = 100; k < 110; k++)
		put(a, k, 1);
	arena_keys_free(&list);
	CU_ASSERT_EQUAL_FATAL(arena_read_keys(&r, 0, &list), 0);
	list.key[5].key[0] = '!';
	CU_ASSERT_EQUAL(arena_set_held(&r, &list.key[5], 3, 2), -ENOENT);
	arena_keys_free(&list);
	a->head->ask[ARENA_ASK_SNAPSHOT].asked++;
	CU_ASSERT_EQUAL(arena_answer(fd, ARENA_ASK_SNAPSHOT, 1, 0, 17, NULL), 0);
	CU_ASSERT_EQUAL(a->head->ask[ARENA_ASK_SNAPSHOT].answered, 1);
	CU_ASSERT_EQUAL(a->head->ask[ARENA_ASK_SNAPSHOT].number, 17);
	CU_ASSERT_EQUAL(arena_answer(fd, ARENA_ASKS, 1, 0, 17, NULL), -EINVAL);
	close(bell);
	unlink(at.sun_path);
	CU_ASSERT_EQUAL(arena_want(a, "key 4", 2), 0); /* nobody listens: no error */
	close(fd);
	arena_unmap(a);
}

static const struct test tests[] = {
	{"scribbles over an arena never crash the reader or pass for a value",
	 scribbles_over_an_arena_never_crash_the_reader_or_pass_for_a_value},
	{"every byte of the header may flip", every_byte_of_the_header_may_flip},
	{"the library survives a flip of every byte of its header",
	 the_library_survives_a_flip_of_every_byte_of_its_header},
	{"a file cut short is an error at every length", a_file_cut_short_is_an_error_at_every_length},
	{"other files and versions are refused by name", other_files_and_versions_are_refused_by_name},
	{"a damaged newest version gives way to the one before", a_damaged_newest_version_gives_way_to_the_one_before},
	{"values read while they are written are whole", values_read_while_they_are_written_are_whole},
	{"a request lies in the mailbox, rings the bell and is answered",
	 a_request_lies_in_the_mailbox_rings_the_bell_and_is_answered},
};

int main(void)
{
	int rc;

	snprintf(dir, sizeof dir, "/dev/shm/test_hostile.XXXXXX");
	if (!mkdtemp(dir))
		return 1;
	snprintf(path, sizeof path, "%s/arena", dir);
	rc = harness_run("arena hostile", tests, sizeof tests / sizeof *tests);
	unlink(path);
	rmdir(dir);
	return rc;
}
