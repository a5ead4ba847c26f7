/* Keysets: what one costs after another, and that what a parent fetches by them is what was in the arena. */
#include "tests/unit/keyset_job.h"

/* ---- what it costs ---- */

static void a_keyset_of_which_one_small_key_changed_reads_that_one_only(void)
{
	uint8_t *data = noise(8 * KIB);
	char key[16];
	begin(64 * MIB);
	for (int i = 0; i < 1000; i++) {
		snprintf(key, sizeof key, "k%03d", i);
		put(key, data + i, 4 * KIB);
	}
	CU_ASSERT_EQUAL(make(), 1000 * 4 * (int64_t)KIB);
	uint64_t chunks = job.keyset->values->size / CHUNK_BYTES, differ = 0;
	uint8_t *before = malloc(chunks * CHUNK_ID_BYTES);
	memcpy(before, id_at(0), chunks * CHUNK_ID_BYTES);
	CU_ASSERT_EQUAL(make(), 0);
	CU_ASSERT_EQUAL(job.keyset->serial, 1);
	put("k500", data + 3000, 4 * KIB);
	CU_ASSERT_EQUAL(make(), 4 * KIB);
	CU_ASSERT_EQUAL(job.keyset->serial, 2);
	CU_ASSERT_EQUAL_FATAL(job.keyset->values->size, chunks * CHUNK_BYTES);
	for (uint64_t c = 0; c < chunks; c++)
		differ += !chunk_id_equal(before + c * CHUNK_ID_BYTES, id_at(c));
	CU_ASSERT_EQUAL(differ, 1);
	CU_ASSERT(holds("k500", data + 3000, 4 * KIB));
	CU_ASSERT(holds("k499", data + 499, 4 * KIB));
	free(before);
	free(data);
	end();
}

static void of_a_large_key_the_chunks_that_changed_are_read(void)
{
	uint64_t bytes = 16 * MIB + 100;
	uint8_t *data = noise(bytes), *other = noise(2 * MIB);
	begin(64 * MIB);
	put("large", data, bytes);
	put("other", other, 2 * MIB);
	CU_ASSERT_EQUAL(make(), (int64_t)(bytes + 2 * MIB));
	held();
	CU_ASSERT_EQUAL(files_in_copies(), 0);
	data[5 * MIB + 77] ^= 1;
	data[5 * MIB + 7777] ^= 1;
	data[bytes - 1] ^= 1;
	put("large", data, bytes);
	CU_ASSERT_EQUAL(make(), (int64_t)(MIB + 100));
	CU_ASSERT_EQUAL(files_in_copies(), 2);
	CU_ASSERT(holds("large", data, bytes));
	CU_ASSERT(holds("other", other, 2 * MIB));
	put("large", data, bytes); /* another version of the same bytes */
	CU_ASSERT_EQUAL(make(), 0);
	CU_ASSERT_EQUAL(job.keyset->serial, 3);
	CU_ASSERT(holds("large", data, bytes));
	put("other", other, 2 * MIB - 1);
	CU_ASSERT(make() > 0);
	data[MIB] ^= 1; /* what is known of its chunks has outlived a keyset that did not touch it */
	put("large", data, bytes);
	CU_ASSERT_EQUAL(make(), (int64_t)MIB);
	CU_ASSERT(holds("large", data, bytes));
	free(data);
	free(other);
	end();
}

static void of_protected_regions_the_chunks_that_changed_are_read(void)
{
	uint64_t n = 3 * MIB + 123, bytes[2] = { n, 5 * MIB + 1 }, at[2], base = 0, sum = 0;
	uint8_t *data[2] = { noise(bytes[0]), noise(bytes[1]) };
	struct arena_var v[2] = { { "u", data[0], bytes[0], ARENA_BYTES },
		                  { "v", data[1], bytes[1], ARENA_BYTES } };
	uint32_t pads[2] = { 1000, 52 };
	uint64_t all = arena_offsets(v, pads, 2, at);
	uint64_t *changed = calloc(all / 4096 / 64 + 2, sizeof *changed);
	struct arena_regions r = { v, pads, 2, 0, 0, changed, ARENA_DIRTY };
	uint64_t second = (n + 7) / 8 * 8;
	uint8_t *packed = calloc(1, second + bytes[1]);
	begin(64 * MIB);
	CU_ASSERT_EQUAL_FATAL(arena_put_regions(arena, "p", &r, &base, &sum), 0);
	memcpy(packed, data[0], bytes[0]);
	memcpy(packed + second, data[1], bytes[1]);
	CU_ASSERT_EQUAL(make(), (int64_t)(second + bytes[1]));
	CU_ASSERT(holds("p", packed, second + bytes[1]));
	for (int turn = 0; turn < 5; turn++) {
		uint64_t where = rnd() % bytes[1], block = (at[1] + where) / 4096;
		held();
		data[1][where] ^= 0x55;
		packed[second + where] ^= 0x55;
		memset(changed, 0, (all / 4096 / 64 + 2) * sizeof *changed);
		changed[block / 64] |= UINT64_C(1) << block % 64;
		r.base = base;
		r.base_sum = sum;
		CU_ASSERT_EQUAL_FATAL(arena_put_regions(arena, "p", &r, &base, &sum), 0);
		int64_t read = make();
		CU_ASSERT(read > 0 && read <= 2 * (int64_t)MIB); /* a block may lie in two chunks */
		CU_ASSERT(holds("p", packed, second + bytes[1]));
	}
	free(packed);
	free(changed);
	free(data[0]);
	free(data[1]);
	end();
}

/* Twice the same bytes in the slot, of which the second time eight more belong to the first variable. */
static void versions_laid_out_otherwise_are_not_taken_for_the_same(void)
{
	uint64_t n = 3 * MIB, m = MIB;
	uint8_t *u = calloc(1, n + 8), *v = noise(m), *packed = calloc(1, n + 8 + m);
	struct arena_var vars[2] = { { "u", u, n, ARENA_BYTES }, { "v", v, m, ARENA_BYTES } };
	uint32_t pads[2] = { 0, 8 };
	struct arena_regions r = { .vars = vars, .pads = pads, .n = 2, .how = ARENA_WHOLE };
	memset(u, 7, n);
	memcpy(packed, u, n);
	memcpy(packed + n, v, m);
	begin(64 * MIB);
	CU_ASSERT_EQUAL_FATAL(arena_put_regions(arena, "p", &r, NULL, NULL), 0);
	CU_ASSERT(make() > 0);
	CU_ASSERT(holds("p", packed, n + m));
	vars[0].count += 8;
	pads[1] = 0;
	memset(packed + n, 0, 8);
	memcpy(packed + n + 8, v, m);
	CU_ASSERT_EQUAL_FATAL(arena_put_regions(arena, "p", &r, NULL, NULL), 0);
	CU_ASSERT(make() > 0);
	CU_ASSERT(holds("p", packed, n + 8 + m));
	vars[0].count -= 8; /* and where the number of chunks stays as well */
	vars[0].count -= MIB / 2;
	vars[1].count -= 100;
	pads[1] = 8;
	CU_ASSERT_EQUAL_FATAL(arena_put_regions(arena, "p", &r, NULL, NULL), 0);
	CU_ASSERT(make() > 0);
	vars[0].count += 8;
	pads[1] = 0;
	memset(u + vars[0].count - 8, 0, 8);
	CU_ASSERT_EQUAL_FATAL(arena_put_regions(arena, "p", &r, NULL, NULL), 0);
	CU_ASSERT(make() > 0);
	memcpy(packed, u, vars[0].count);
	memcpy(packed + vars[0].count, v, vars[1].count);
	CU_ASSERT(holds("p", packed, vars[0].count + vars[1].count));
	free(packed);
	free(u);
	free(v);
	end();
}

static void what_did_not_change_is_not_even_looked_at(void)
{
	uint8_t *data = noise(3 * MIB);
	struct arena_record *rec;
	begin(64 * MIB);
	put("large", data, 3 * MIB);
	put("small", data, 500);
	put("moves", data, 500);
	CU_ASSERT_EQUAL(make(), (int64_t)(3 * MIB + 1000));
	held();
	/* bytes that nobody could read without noticing: their checksums do not fit any more */
	CU_ASSERT(arena_newest(arena, "large", &rec) == 1);
	uint8_t *slot = extent_at(arena, rec, rec->commit & 0xff);
	memset(slot + 100, 0xee, 2 * MIB);
	CU_ASSERT(arena_newest(arena, "small", &rec) == 1);
	slot = extent_at(arena, rec, rec->commit & 0xff);
	slot[200] ^= 0xff;
	put("moves", data + 1, 500);
	CU_ASSERT_EQUAL(make(), 500);
	CU_ASSERT(holds("moves", data + 1, 500));
	CU_ASSERT(holds("small", data, 500));
	uint8_t *buf = malloc(CHUNK_BYTES);
	CU_ASSERT(fetch(id_at(find("large")->offset / CHUNK_BYTES), buf) != 0);
	free(buf);
	CU_ASSERT(!holds("large", data, 3 * MIB)); /* gone from here: a parent that holds it does not ask */
	free(data);
	end();
}

/* ---- whom it serves ---- */

static void what_a_level_above_holds_is_served_from_the_arena_and_takes_no_other_memory(void)
{
	uint8_t *data = noise(4 * MIB), *small = noise(1000);
	begin(64 * MIB);
	put("large", data, 4 * MIB);
	put("small", small, 1000);
	CU_ASSERT(make() > 0);
	CU_ASSERT_EQUAL(files_in_copies(), 5);
	held();
	CU_ASSERT_EQUAL(files_in_copies(), 1); /* the pack, of which the next one is made */
	CU_ASSERT(holds("large", data, 4 * MIB));
	data[0] ^= 1;
	put("large", data, 4 * MIB); /* into the other slot: the version before is still there */
	data[0] ^= 1;
	CU_ASSERT(holds("large", data, 4 * MIB));
	put("large", data + 1, 4 * MIB - 1);
	CU_ASSERT(!holds("large", data, 4 * MIB));
	CU_ASSERT(holds("small", small, 1000));
	free(small);
	free(data);
	end();
}

static void who_asks_in_vain_gets_the_next_keyset_whole(void)
{
	uint8_t *data = noise(4 * MIB), *other = noise(2 * MIB);
	begin(64 * MIB);
	put("large", data, 4 * MIB);
	put("other", other, 2 * MIB);
	CU_ASSERT(make() > 0);
	held();
	job.keyset_whole = true;
	CU_ASSERT_EQUAL(make(), (int64_t)(6 * MIB));
	CU_ASSERT_EQUAL(job.keyset->serial, 2);
	CU_ASSERT(!job.keyset_whole);
	put("large", other, 2 * MIB); /* whatever the job does now */
	put("large", other, 2 * MIB);
	put("other", data, 4 * MIB);
	put("other", data, 4 * MIB);
	CU_ASSERT(holds("large", data, 4 * MIB));
	CU_ASSERT(holds("other", other, 2 * MIB));
	CU_ASSERT(make() > 0);
	CU_ASSERT(holds("large", other, 2 * MIB));
	CU_ASSERT(holds("other", data, 4 * MIB));
	free(other);
	free(data);
	end();
}

static void who_asks_in_vain_while_one_is_made_gets_the_one_after_it_whole(void)
{
	struct keyset_made made = { 0 };
	uint8_t *data = noise(2 * MIB);
	begin(64 * MIB);
	put("large", data, 2 * MIB);
	CU_ASSERT_EQUAL(keyset_make(&job, &made, NULL), 1);
	job.keyset_whole = true;
	keyset_take(&job, &made);
	CU_ASSERT(job.keyset_whole);
	CU_ASSERT_EQUAL(make(), (int64_t)(2 * MIB));
	CU_ASSERT(!job.keyset_whole);
	free(data);
	end();
}

static void a_damaged_copy_is_not_given_out(void)
{
	uint8_t *data = noise(2 * MIB);
	char path[FS_PATH_MAX], hex[CHUNK_HEX_MAX], dir[FS_PATH_MAX];
	begin(64 * MIB);
	put("large", data, 2 * MIB);
	CU_ASSERT(make() > 0);
	int fd = open(fs_path(path, "%s/%s", keyset_copies_dir(&job, dir), chunk_hex(id_at(0), hex)), O_WRONLY);
	CU_ASSERT_EQUAL(pwrite(fd, "\x01\x02\x03", 3, 1000), 3);
	close(fd);
	CU_ASSERT(holds("large", data, 2 * MIB)); /* from the arena */
	put("large", data + 1, MIB);
	put("large", data + 1, MIB);
	uint8_t *buf = malloc(CHUNK_BYTES);
	CU_ASSERT(fetch(id_at(0), buf) != 0);
	free(buf);
	free(data);
	end();
}

static void an_agent_that_takes_over_reads_nothing_again(void)
{
	uint8_t *data = noise(4 * MIB);
	begin(64 * MIB);
	put("large", data, 4 * MIB);
	put("small", data, 10);
	put("zeros", "\0\0\0\0", 4);
	CU_ASSERT(make() > 0);
	killed();
	CU_ASSERT_EQUAL(make(), 0);
	CU_ASSERT_PTR_NOT_NULL_FATAL(job.keyset);
	CU_ASSERT_EQUAL(job.keyset->serial, 1);
	CU_ASSERT(holds("large", data, 4 * MIB));
	held();
	CU_ASSERT(holds("large", data, 4 * MIB)); /* from the arena: it knows where that is */
	killed();
	put("small", data + 1, 10);
	CU_ASSERT_EQUAL(make(), 10);
	CU_ASSERT_EQUAL(job.keyset->serial, 2);
	CU_ASSERT(holds("small", data + 1, 10));
	CU_ASSERT(holds("zeros", "\0\0\0\0", 4));
	free(data);
	end();
}

static void who_fetches_the_keyset_before_gets_it_whole_while_the_next_is_made(void)
{
	uint8_t *data = noise(2 * MIB), *buf = malloc(CHUNK_BYTES), old[4][CHUNK_ID_BYTES];
	char dir[FS_PATH_MAX];
	begin(64 * MIB);
	for (uint64_t turn = 0; turn < 5; turn++) {
		put("large", data + turn, 2 * MIB - 4);
		put("small", data + turn, 500);
		CU_ASSERT(make() > 0);
		for (uint64_t c = 0; c < 3; c++) {
			int rc = turn ? copies_get(keyset_copies_dir(&job, dir), old[c], buf) : 0;
			CU_ASSERT_EQUAL(rc, 0);
			memcpy(old[c], id_at(c), CHUNK_ID_BYTES);
		}
		CU_ASSERT(files_in_copies() <= 6);
	}
	free(buf);
	free(data);
	end();
}

static void a_lost_copy_of_a_pack_is_made_again(void)
{
	uint8_t *data = noise(2000);
	char dir[FS_PATH_MAX];
	begin(64 * MIB);
	put("a", data, 1000);
	put("b", data + 5, 700);
	CU_ASSERT(make() > 0);
	CU_ASSERT_EQUAL(fs_remove_tree(keyset_copies_dir(&job, dir), NULL), 0);
	CU_ASSERT(!holds("a", data, 1000));
	job.keyset_whole = true; /* as who asks for it in vain brings about */
	CU_ASSERT_EQUAL(make(), 1700);
	CU_ASSERT(holds("a", data, 1000));
	CU_ASSERT_EQUAL(fs_remove_tree(keyset_copies_dir(&job, dir), NULL), 0);
	put("b", data, 700);
	CU_ASSERT_EQUAL(make(), 1700);
	CU_ASSERT(holds("a", data, 1000));
	CU_ASSERT(holds("b", data, 700));
	free(data);
	end();
}

/* A version that is told of as held: does who waits for the key's newest one hear it? */
static bool told(uint64_t serial)
{
	keyset_held(&job, serial, 2);
	return arena_wait(arena, "k", 2, 0) == 0;
}

static void until_the_clock_goes_on(void)
{
	struct timespec was, now;
	clock_gettime(CLOCK_REALTIME_COARSE, &was);
	do
		clock_gettime(CLOCK_REALTIME_COARSE, &now);
	while (now.tv_sec == was.tv_sec && now.tv_nsec == was.tv_nsec);
}

static void what_is_held_of_a_key_that_was_forgotten_is_not_held_of_the_one_that_began_anew(void)
{
	uint8_t *data = noise(2000);
	begin(64 * MIB);
	for (int i = 0; i < 3; i++)
		put("k", data + i, 1000);
	CU_ASSERT(make() > 0);
	CU_ASSERT(told(job.keyset->serial));
	for (int versions = 1; versions <= 3; versions += 2) { /* fewer than there were, and as many */
		CU_ASSERT_EQUAL(arena_reset(arena, "k"), 0);
		until_the_clock_goes_on();
		for (int i = 0; i < versions; i++)
			put("k", data + 3 + i, 1000);
		CU_ASSERT(!told(job.keyset->serial));
	}
	CU_ASSERT(make() > 0);
	CU_ASSERT(told(job.keyset->serial));
	CU_ASSERT(holds("k", data + 5, 1000));
	free(data);
	end();
}

int main(void)
{
	static const struct test tests[] = {
		{ "a keyset of which one small key changed reads that one only",
		  a_keyset_of_which_one_small_key_changed_reads_that_one_only },
		{ "of a large key the chunks that changed are read",
		  of_a_large_key_the_chunks_that_changed_are_read },
		{ "of protected regions the chunks that changed are read",
		  of_protected_regions_the_chunks_that_changed_are_read },
		{ "versions laid out otherwise are not taken for the same",
		  versions_laid_out_otherwise_are_not_taken_for_the_same },
		{ "what did not change is not even looked at", what_did_not_change_is_not_even_looked_at },
		{ "what a level above holds is served from the arena and takes no other memory",
		  what_a_level_above_holds_is_served_from_the_arena_and_takes_no_other_memory },
		{ "who asks in vain gets the next keyset whole", who_asks_in_vain_gets_the_next_keyset_whole },
		{ "who asks in vain while one is made gets the one after it whole",
		  who_asks_in_vain_while_one_is_made_gets_the_one_after_it_whole },
		{ "a damaged copy is not given out", a_damaged_copy_is_not_given_out },
		{ "an agent that takes over reads nothing again", an_agent_that_takes_over_reads_nothing_again },
		{ "who fetches the keyset before gets it whole while the next is made",
		  who_fetches_the_keyset_before_gets_it_whole_while_the_next_is_made },
		{ "what is held of a key that was forgotten is not held of the one that began anew",
		  what_is_held_of_a_key_that_was_forgotten_is_not_held_of_the_one_that_began_anew },
		{ "a lost copy of a pack is made again", a_lost_copy_of_a_pack_is_made_again },
	};
	return harness_run("keyset", tests, sizeof tests / sizeof *tests);
}
