/* An arena over which something wrote: its own program, a death in the middle, a bit that flipped. The library goes on
 * or says what is wrong, and neither it nor the reader reaches beyond the arena. */
#include <pthread.h>
#include <sys/stat.h>

#include "tests/unit/arena_death.h"

static struct region mine;

/* Versions 1 to 5 of "key", of which three are kept. */
static struct arena *with_regions(void)
{
	struct arena *a = fresh(1 << 20);

	mine = (struct region){.version = 0};
	CU_ASSERT_EQUAL_FATAL(arena_keep(a, "key", 3), 0);
	for (uint64_t v = 0; v < 5; v++)
		CU_ASSERT_EQUAL_FATAL(region_put(a, "key", &mine, v, 0), 0);
	return a;
}

/* ---- the header ---- */

/* The file's header, with one thing in it that is wrong and a checksum that is right. */
static int map_with(struct arena *a, void *field, const void *wrong, size_t bytes)
{
	struct arena_reader r = {.fd = -1, .image = a->base, .image_bytes = a->file_bytes};
	uint8_t right[64];
	struct arena *b;
	int rc, read_rc;

	memcpy(right, field, bytes);
	memcpy(field, wrong, bytes);
	a->head->sum = arena_header_sum(a->head);
	read_rc = arena_read_open(&r);
	rc = arena_map(&b, death_path);
	arena_unmap(b);
	memcpy(field, right, bytes);
	a->head->sum = arena_header_sum(a->head);
	CU_ASSERT(rc == read_rc || (read_rc == 0 && field == &a->head->lock_bytes));
	return rc;
}

static void a_header_is_judged_by_each_of_its_fields(void)
{
	static const uint64_t budgets[] = {0, 4096, ARENA_HEAP_MIN - 4096, ARENA_HEAP_MIN + 1, (1 << 20) + 2048,
					   ARENA_HEAP_MAX + 4096, UINT64_MAX, UINT64_MAX - 4095};
	struct arena *a = fresh(1 << 20);
	struct arena_header *h = a->head;
	uint32_t wrong;

	CU_ASSERT_EQUAL(map_with(a, h->magic, "cpaarenA", 8), -EPROTO);
	CU_ASSERT_EQUAL(map_with(a, h->magic, "\0\0\0\0\0\0\0", 8), -EPROTO);
	wrong = ARENA_FORMAT + 1;
	CU_ASSERT_EQUAL(map_with(a, &h->format, &wrong, 4), -EPROTONOSUPPORT);
	wrong = ARENA_FORMAT - 1;
	CU_ASSERT_EQUAL(map_with(a, &h->format, &wrong, 4), -EPROTONOSUPPORT);
	wrong = __builtin_bswap32(ARENA_ENDIAN);
	CU_ASSERT_EQUAL(map_with(a, &h->endian, &wrong, 4), -EPROTONOSUPPORT);
	wrong = h->lock_bytes + 8;
	CU_ASSERT_EQUAL(map_with(a, &h->lock_bytes, &wrong, 4), -EPROTONOSUPPORT);
	for (size_t i = 0; i < sizeof budgets / sizeof *budgets; i++)
		CU_ASSERT_EQUAL(map_with(a, &h->heap_bytes, &budgets[i], 8), -EPROTO);
	arena_unmap(a);
}

static void a_file_of_anything_else_is_no_arena(void)
{
	struct arena *a = fresh(1 << 20), *b;
	struct arena_reader r = {.fd = -1, .image = a->base, .image_bytes = a->file_bytes};

	for (int fill = 0; fill < 256; fill += 51) {
		memset(a->base, fill, sizeof *a->head);
		CU_ASSERT_EQUAL(arena_map(&b, death_path), -EPROTO);
		CU_ASSERT_EQUAL(arena_read_open(&r), -EPROTO);
	}
	arena_unmap(a);
}

static void a_table_that_does_not_exist_is_not_looked_into(void)
{
	struct arena *a = fresh(1 << 20);
	struct arena_reader r = {.fd = -1, .image = a->base, .image_bytes = a->file_bytes};

	put(a, "key", WORDS, 1);
	for (uint32_t table = arena_tables(a->heap_bytes); table; table = table * 2 + 1) {
		a->head->table = table;
		CU_ASSERT_EQUAL(arena_read_open(&r), -EPROTO);
		CU_ASSERT_EQUAL(get(a, "key", WORDS), 1); /* the library takes the first */
		if (table == UINT32_MAX)
			break;
	}
	arena_unmap(a);
}

/* ---- index and heap ---- */

/* Whatever reaches behind the arena's end, faults. */
static void guard(struct arena *a)
{
	uint8_t *room = mmap(NULL, a->file_bytes + 65536, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CU_ASSERT_FATAL(room != MAP_FAILED);
	CU_ASSERT_EQUAL_FATAL(mremap(a->base, a->file_bytes, a->file_bytes, MREMAP_MAYMOVE | MREMAP_FIXED, room), room);
	a->heap = room + (a->heap - a->base);
	a->base = room;
	a->head = (struct arena_header *)(void *)room;
}

static void buckets_and_records_that_make_no_sense_are_none(void)
{
	static const uint32_t words[] = {0x7fffffff, 0xfffffffe, 8193, 8192};
	struct arena *a = fresh(1 << 20);
	struct arena_record *r, was;
	uint32_t *table;

	guard(a);
	table = (uint32_t *)(void *)(a->base + ARENA_INDEX);
	put(a, "key", WORDS, 1);
	CU_ASSERT_EQUAL_FATAL(arena_newest(a, "key", &r), 1);
	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		for (uint32_t b = 0; b < ARENA_TABLE0; b++)
			if (table[b] == ARENA_BUCKET_EMPTY || table[b] > ARENA_UNIT)
				table[b] = words[i];
		CU_ASSERT_EQUAL(get(a, "key", WORDS), 1);
		CU_ASSERT_EQUAL(get(a, "none", WORDS), UINT64_MAX);
		CU_ASSERT(put(a, "more", WORDS, 1) < 0);
	}
	was = (struct arena_record){.hash = arena_hash("none", 4, 0), .slots = 255, .name_bytes = 4};
	memcpy(a->heap + a->heap_bytes - ARENA_UNIT, &was, sizeof was); /* its name lies behind the end */
	CU_ASSERT_EQUAL(get(a, "none", WORDS), UINT64_MAX);
	was = *r;
	for (uint32_t slots = 0; slots < 256; slots++) {
		r->slots = (uint8_t)slots;
		(void)get(a, "key", WORDS);
		(void)put(a, "key", WORDS, 2);
	}
	*r = was;
	CU_ASSERT_EQUAL(arena_reset_all(a), 0);
	CU_ASSERT_EQUAL(get(a, "key", WORDS), UINT64_MAX);
	arena_unmap(a);
}

static void a_run_of_free_space_beyond_the_arena_is_not_used(void)
{
	struct arena *a = fresh(1 << 20);

	put(a, "key", WORDS, 1);
	a->head->free_at = a->heap_bytes;
	a->head->free_end = UINT64_C(1) << 40;
	CU_ASSERT_EQUAL(put(a, "new", WORDS, 1), 0); /* the index says what is free */
	CU_ASSERT(a->head->free_end <= a->heap_bytes);
	a->head->backed = 12345;
	CU_ASSERT_EQUAL(put(a, "big", BIG, 1), -ENOSPC); /* no memory can be obtained there */
	CU_ASSERT_EQUAL(get(a, "key", WORDS), 1);
	CU_ASSERT_EQUAL(get(a, "new", WORDS), 1);
	arena_unmap(a);
}

/* A death in the middle of a move left the next table half filled. */
static void the_next_table_is_emptied_before_it_is_filled(void)
{
	struct arena *a = fresh(512 << 10);
	uint32_t *next = (uint32_t *)(void *)(a->base + arena_table_at(1)), *from = (uint32_t *)(void *)(a->base + ARENA_INDEX);
	struct arena_record *r;
	char key[32];
	uint64_t n = 0;

	put(a, "victim", 1, 1);
	CU_ASSERT_EQUAL_FATAL(arena_newest(a, "victim", &r), 1);
	for (uint32_t b = 0; b < ARENA_TABLE0; b++)
		if (from[b])
			next[r->hash & (table_buckets(1) - 1)] = from[b];
	while (a->head->table == 0) {
		snprintf(key, sizeof key, "k%lu", n++);
		CU_ASSERT_EQUAL_FATAL(put(a, key, 1, 1), 0);
	}
	CU_ASSERT_EQUAL(arena_reset(a, "victim"), 0);
	arena_newest(a, "victim", &r);
	CU_ASSERT_PTR_NULL(r);
	arena_unmap(a);
}

static void a_lock_that_was_written_over_is_said_to_be_broken(void)
{
	struct arena *a = fresh(1 << 20);
	uint8_t *lock = a->base + ARENA_LOCKS + (size_t)lock_of(arena_hash("key", 3, 0)) * ARENA_LINE;

	put(a, "key", WORDS, 1);
	memset(lock, 0xa5, ARENA_LINE);
	CU_ASSERT_EQUAL(put(a, "key", WORDS, 2), -EPROTO);
	CU_ASSERT_EQUAL(get(a, "key", WORDS), 0);
	arena_unmap(a);
}

/* ---- versions ---- */

/* Also with a checksum that is right: whoever wrote the map may have made it. */
static void a_map_that_names_no_slot_costs_its_version(void)
{
	struct arena *a = with_regions();
	struct arena_record *r;
	struct slot_plan p;
	uint8_t *slot = slot_of_version(a, 5, &p), was;

	arena_newest(a, "key", &r);
	CU_ASSERT_EQUAL_FATAL(r->slots, 4);
	for (uint64_t b = 0; b < p.blocks; b += p.blocks - 1) {
		was = slot[p.map_at + b];
		for (uint32_t s = r->slots; s < 256; s++) {
			struct arena_reader rd = {.fd = -1, .image = a->base, .image_bytes = a->file_bytes};
			struct arena_value v;
			int skipped = 0;

			slot[p.map_at + b] = (uint8_t)s;
			slot_seal(slot, &p, r->hash ^ 5);
			CU_ASSERT_EQUAL_FATAL(region_get(a, "key", 5), 0);
			CU_ASSERT_EQUAL_FATAL(region_get(a, "key", 4), 4);
			CU_ASSERT_EQUAL_FATAL(arena_read_open(&rd), 0);
			CU_ASSERT_EQUAL_FATAL(arena_read_value(&rd, "key", 5, &v, NULL), -EBADMSG);
			CU_ASSERT_EQUAL_FATAL(arena_read_value(&rd, "key", 0, &v, &skipped), 0);
			CU_ASSERT_FATAL(skipped == 1 && v.info.version == 4);
			arena_value_free(&v);
		}
		slot[p.map_at + b] = was;
		slot_seal(slot, &p, r->hash ^ 5);
	}
	CU_ASSERT_EQUAL(region_get(a, "key", 5), 5);
	arena_unmap(a);
}

/* The newest that is whole, for the library and the reader. */
static uint64_t newest(struct arena *a, int *skipped)
{
	struct arena_reader r = {.fd = -1, .image = a->base, .image_bytes = a->file_bytes};
	static uint64_t words[REGION_WORDS];
	struct arena_var var = {"u", words, REGION_WORDS, ARENA_U64};
	struct arena_value v;
	uint64_t got = 0;
	int rc = arena_get(a, "key", &var, 1, 0, &got, NULL);

	CU_ASSERT_FATAL(rc >= 0 && region_whole(words, got));
	CU_ASSERT_EQUAL_FATAL(arena_read_open(&r), 0);
	CU_ASSERT_EQUAL_FATAL(arena_read_value(&r, "key", 0, &v, skipped), 0);
	CU_ASSERT_FATAL(v.info.version == got && !*skipped == !rc);
	arena_value_free(&v);
	return got;
}

/* Of the newest or of another, and wherever they lie: the number may become that of a neighbour, or none. */
static void a_flipped_bit_in_a_versions_number_costs_that_version_alone(void)
{
	for (uint64_t turn = 0; turn < 4; turn++) { /* another slot holds the newest in each */
		struct arena *a = with_regions();
		struct slot_plan p;
		int skipped;

		for (uint64_t v = 5; v < 5 + turn; v++)
			CU_ASSERT_EQUAL_FATAL(region_put(a, "key", &mine, v, 0), 0);
		for (uint64_t version = 3 + turn; version <= 5 + turn; version++)
			for (int bit = 0; bit < 64; bit++) {
				struct arena_slot *s = (struct arena_slot *)(void *)slot_of_version(a, version, &p);

				s->version ^= UINT64_C(1) << bit;
				for (uint64_t other = 3 + turn; other <= 5 + turn; other++)
					CU_ASSERT_EQUAL_FATAL(region_get(a, "key", other), other == version ? 0 : other);
				CU_ASSERT_EQUAL_FATAL(newest(a, &skipped), version == 5 + turn ? 4 + turn : 5 + turn);
				CU_ASSERT_EQUAL_FATAL(skipped != 0, version == 5 + turn);
				s->version = version;
			}
		arena_unmap(a);
	}
}

/* ---- a handle that may only read: it takes no lock ---- */

static void a_handle_that_may_only_read_leaves_locks_of_another_boot_alone(void)
{
	struct arena *a = fresh(1 << 20), *b = NULL;
	int status;
	pid_t pid;

	put(a, "key", WORDS, 3);
	a->head->boot[0] ^= 1;
	CU_ASSERT_EQUAL(chmod(death_dir, 0755), 0);
	CU_ASSERT_EQUAL(chmod(death_path, 0444), 0);
	pid = fork();
	if (pid == 0) {
		if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0)
			_exit(78);
		_exit(arena_map(&b, death_path) == 0 && b->read_only && get(b, "key", WORDS) == 3 ? 0 : 1);
	}
	CU_ASSERT(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
	arena_unmap(a);
}

static struct arena *live;
static int stop;

static void *keep_writing(void *arg)
{
	for (uint64_t v = 5; !__atomic_load_n(&stop, __ATOMIC_RELAXED); v++)
		if ((v % 3 ? region_put(live, "key", &mine, v, v % 11 < 5 ? 0 : 64) : region_put_plain(live, "key", &mine, v)))
			return arg;
	return NULL;
}

static void what_it_reads_beside_a_writer_is_whole(void)
{
#if !defined(__SANITIZE_THREAD__) /* a race it is, that of a checksum with a writer */
	static uint64_t words[REGION_WORDS];
	struct arena_var var = {"u", words, REGION_WORDS, ARENA_U64};
	uint64_t got, last = 0, moved = 0;
	struct arena *b;
	void *failed;
	pthread_t t;
	int rc;

	live = with_regions();
	CU_ASSERT_EQUAL_FATAL(arena_map(&b, death_path), 0);
	b->read_only = 1;
	CU_ASSERT_EQUAL_FATAL(pthread_create(&t, NULL, keep_writing, &b), 0);
	while (moved < 1500) {
		rc = arena_get(b, "key", &var, 1, 0, &got, NULL);
		CU_ASSERT_FATAL(rc == 0 || rc == -EAGAIN);
		if (rc)
			continue;
		CU_ASSERT_FATAL(got >= last && region_whole(words, got));
		moved += got != last;
		last = got;
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	pthread_join(t, &failed);
	CU_ASSERT_PTR_NULL(failed);
	arena_unmap(b);
	arena_unmap(live);
#else
	(void)keep_writing;
	(void)live;
#endif
}

static const struct test tests[] = {
	{"a header is judged by each of its fields", a_header_is_judged_by_each_of_its_fields},
	{"a file of anything else is no arena", a_file_of_anything_else_is_no_arena},
	{"a table that does not exist is not looked into", a_table_that_does_not_exist_is_not_looked_into},
	{"buckets and records that make no sense are none", buckets_and_records_that_make_no_sense_are_none},
	{"a run of free space beyond the arena is not used", a_run_of_free_space_beyond_the_arena_is_not_used},
	{"the next table is emptied before it is filled", the_next_table_is_emptied_before_it_is_filled},
	{"a lock that was written over is said to be broken", a_lock_that_was_written_over_is_said_to_be_broken},
	{"a map that names no slot costs its version", a_map_that_names_no_slot_costs_its_version},
	{"a flipped bit in a version's number costs that version alone",
	 a_flipped_bit_in_a_versions_number_costs_that_version_alone},
	{"a handle that may only read leaves locks of another boot alone",
	 a_handle_that_may_only_read_leaves_locks_of_another_boot_alone},
	{"what it reads beside a writer is whole", what_it_reads_beside_a_writer_is_whole},
};

int main(void)
{
	return death_main("arena scribbled", tests, sizeof tests / sizeof *tests);
}
