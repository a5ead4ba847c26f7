/* Keysets: what one costs after another, and that what a parent fetches by them is what was in the arena. The job
 * is this program; nobody runs an agent. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/keyset_impl.h"
#include "lib/arena/internal.h"
#include "lib/arena/pieces.h"
#include "tests/unit/harness.h"
#include "tests/unit/scratch.h"
#include "tests/unit/tiny_fs.h"

#define KIB UINT64_C(1024)
#define MIB (KIB * KIB)

static struct agent agent;
static Cpa__Spec spec = CPA__SPEC__INIT;
static struct job job;
static struct arena *arena;
static uint32_t seed = 7;

static uint32_t rnd(void)
{
	seed = seed * 1664525u + 1013904223u;
	return seed >> 8;
}

static void begin_in(const char *dir, uint64_t budget)
{
	char path[FS_PATH_MAX];
	memset(&job, 0, sizeof job);
	spec.job = spec.name = "j";
	job.agent = &agent;
	job.spec = &spec;
	job.id = spec.job;
	fs_path(job.dir, "%s", dir);
	fs_path(job.job_dir, "%s/job", dir);
	CU_ASSERT_EQUAL_FATAL(fs_mkdirs(job.job_dir, 0700, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(arena_create(job_arena(&job, path), budget, 0600), 0);
	CU_ASSERT_EQUAL_FATAL(arena_map(&arena, path), 0);
}

static void begin(uint64_t budget)
{
	char dir[FS_PATH_MAX];
	begin_in(scratch_path(dir), budget);
}

static void end(void)
{
	keyset_forget(&job);
	arena_unmap(arena);
	fs_remove_tree(job.dir, NULL);
}

static void put(const char *key, const void *data, uint64_t bytes)
{
	struct arena_var v = { "x", (void *)(uintptr_t)data, bytes, ARENA_BYTES };
	CU_ASSERT_EQUAL_FATAL(arena_put(arena, key, &v, 1, NULL), 0);
}

/* As an agent does it: what was made becomes the job's. How many bytes of values that took; -1: an error. */
static int64_t make(void)
{
	struct keyset_made made = { 0 };
	struct err e = { 0 };
	int rc = keyset_make(&job, &made, &e);
	int64_t read = (int64_t)made.read;
	if (rc == 1)
		keyset_take(&job, &made);
	keyset_made_free(&made);
	return rc < 0 ? -1 : rc == 0 ? 0 : read;
}

static void held(void)
{
	keyset_drop_copies(&job);
}

/* Another agent takes over. */
static void killed(void)
{
	uint64_t last = job.last_keyset;
	keyset_forget(&job);
	job.keyset_slot = 0;
	job.last_keyset = last;
}

static const Cpa__Key *find(const char *key)
{
	for (size_t i = 0; i < job.keyset->n_keys; i++)
		if (strcmp(job.keyset->keys[i]->key, key) == 0)
			return job.keyset->keys[i];
	return NULL;
}

/* A chunk as a parent gets it. */
static int fetch(const uint8_t *id, uint8_t *buf)
{
	char copies[FS_PATH_MAX], path[FS_PATH_MAX];
	struct keyset_wanted w = { .id = id };
	const Cpa__Key *k = keyset_find_chunk(&job, id, &w.offset);
	w.copies = keyset_copies_dir(&job, copies);
	w.arena = job_arena(&job, path);
	w.key = k ? k->key : NULL;
	w.version = k ? k->version : 0;
	if (chunk_id_is_zero(id)) {
		memset(buf, 0, CHUNK_BYTES);
		return 0;
	}
	return keyset_read_chunk(&w, buf, NULL);
}

static const uint8_t *id_at(uint64_t chunk)
{
	return job.keyset->values->chunks.data + chunk * CHUNK_ID_BYTES;
}

/* Is the keyset's key, fetched chunk by chunk, these bytes? */
static bool holds(const char *key, const void *data, uint64_t bytes)
{
	const Cpa__Key *k = find(key);
	uint8_t *buf = malloc(CHUNK_BYTES);
	bool is = k && k->bytes == bytes;
	for (uint64_t at = 0, take; is && at < bytes; at += take) {
		uint64_t in = (k->offset + at) % CHUNK_BYTES;
		take = CHUNK_BYTES - in < bytes - at ? CHUNK_BYTES - in : bytes - at;
		is = fetch(id_at((k->offset + at) / CHUNK_BYTES), buf) == 0 &&
		     memcmp(buf + in, (const uint8_t *)data + at, take) == 0;
	}
	free(buf);
	return is;
}

static uint64_t files_in_copies(void)
{
	char dir[FS_PATH_MAX];
	DIR *d = opendir(keyset_copies_dir(&job, dir));
	uint64_t n = 0;
	for (struct dirent *de; d && (de = readdir(d));)
		n += de->d_name[0] != '.';
	if (d)
		closedir(d);
	return n;
}

static uint8_t *noise(uint64_t bytes)
{
	uint8_t *data = malloc(bytes + 1);
	for (uint64_t i = 0; i < bytes; i++)
		data[i] = (uint8_t)(rnd() >> 16); /* the upper bits do not repeat soon */
	return data;
}

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

/* ---- whatever happens ---- */

static void load(const char *key, const void *data, uint64_t version, uint32_t incarnation, int64_t time_ns)
{
	struct arena_var v = { "x", (void *)(uintptr_t)data, 100, ARENA_BYTES };
	CU_ASSERT_EQUAL_FATAL(arena_load(arena, key, &v, 1, version, incarnation, time_ns), 0);
}

static void a_version_is_the_same_by_its_number_life_and_time(void)
{
	uint8_t *data = noise(2000);
	begin(64 * MIB);
	load("k", data, 5, 0, 77);
	CU_ASSERT_EQUAL(make(), 100);
	for (uint64_t turn = 1; turn < 4; turn++) {
		arena_reset(arena, "k");
		load("k", data + turn, 6, turn > 1, turn > 2 ? 78 : 77);
		job.keyset_changes = 0;
		CU_ASSERT_EQUAL(make(), 100);
		CU_ASSERT(holds("k", data + turn, 100));
	}
	arena_reset(arena, "k");
	load("k", data + 3, 6, 1, 78);
	job.keyset_changes = 0;
	CU_ASSERT_EQUAL(make(), 0);
	free(data);
	end();
}

static bool only_what_keys_are_in(void)
{
	for (uint64_t c = 0; c < job.keyset->values->size / CHUNK_BYTES; c++) {
		bool used = chunk_id_is_zero(id_at(c));
		for (size_t i = 0; i < job.keyset->n_keys && !used; i++) {
			const Cpa__Key *k = job.keyset->keys[i];
			used = k->offset / CHUNK_BYTES <= c && k->offset + keyset_span(k->bytes) > c * CHUNK_BYTES;
		}
		if (!used)
			return false;
	}
	return true;
}

static void of_a_damaged_version_the_one_before_is_taken(void)
{
	uint8_t *data = noise(6 * MIB);
	struct arena_record *rec;
	begin(64 * MIB);
	put("large", data, 5 * MIB);
	put("tail", data, 2 * MIB);
	CU_ASSERT(make() > 0);
	put("large", data + 1, 3 * MIB);
	CU_ASSERT(arena_newest(arena, "large", &rec) == 2);
	uint8_t *slot = extent_at(arena, rec, rec->commit & 0xff);
	slot[2 * MIB + 500 * KIB] ^= 1;
	put("unto the last", data, MIB);
	CU_ASSERT(make() > 0);
	CU_ASSERT_EQUAL(find("large")->version, 1);
	CU_ASSERT(holds("large", data, 5 * MIB));
	CU_ASSERT(only_what_keys_are_in());
	put("tail", data + 1, 2 * MIB);
	CU_ASSERT(arena_newest(arena, "tail", &rec) == 2);
	slot_of(arena, rec, rec->commit & 0xff)->time_ns++;
	CU_ASSERT(make() > 0);
	CU_ASSERT_EQUAL(find("tail")->version, 1);
	CU_ASSERT(holds("tail", data, 2 * MIB));
	free(data);
	end();
}

static void a_key_that_goes_while_the_keyset_is_made_is_left_out(void)
{
	uint8_t *data = noise(3 * MIB);
	char path[FS_PATH_MAX];
	struct arena_keys keys = { 0 };
	struct keyset_made made = { 0 };
	begin(64 * MIB);
	put("a", data, 10);
	put("b", data, 2 * MIB);
	put("c", data + 1, 2 * MIB);
	struct arena_reader r = { .fd = open(job_arena(&job, path), O_RDONLY | O_CLOEXEC) };
	CU_ASSERT_EQUAL_FATAL(arena_read_open(&r), 0);
	CU_ASSERT_EQUAL_FATAL(arena_read_keys(&r, 0, &keys), 0);
	arena_reset(arena, "a");
	arena_reset(arena, "b");
	CU_ASSERT_EQUAL_FATAL(keyset_build(&job, &r, &keys, false, &made, NULL), 1);
	keyset_take(&job, &made);
	CU_ASSERT_EQUAL(job.keyset->n_keys, 1);
	held();
	CU_ASSERT(holds("c", data + 1, 2 * MIB));
	arena_keys_free(&keys);
	close(r.fd);
	free(data);
	end();
}

#define KEYS 40

struct model {
	uint8_t *data;
	uint64_t bytes;
};

static uint64_t some_size(void)
{
	switch (rnd() % 8) {
	case 0:
		return 0;
	case 1:
		return MIB - 1 + rnd() % 3;
	case 2:
		return MIB - 70 + rnd() % 140;
	case 3:
		return MIB + rnd() % (2 * MIB);
	case 4:
		return rnd() % (MIB / 2);
	default:
		return rnd() % 3000;
	}
}

static void turn(struct model *m, int i)
{
	char key[16];
	snprintf(key, sizeof key, "key%d", i);
	if (rnd() % 12 == 0) {
		CU_ASSERT(arena_reset(arena, key) == 0 || !m->data);
		free(m->data);
		m->data = NULL;
		return;
	}
	if (!m->data || rnd() % 4 == 0) {
		free(m->data);
		m->bytes = some_size();
		m->data = noise(m->bytes);
	} else if (m->bytes) {
		m->data[rnd() % m->bytes] ^= 1;
	}
	put(key, m->data, m->bytes);
}

static bool all_held(struct model *m)
{
	char key[16];
	size_t n = 0;
	for (int i = 0; i < KEYS; i++) {
		snprintf(key, sizeof key, "key%d", i);
		n += m[i].data != NULL;
		if (m[i].data ? !holds(key, m[i].data, m[i].bytes) : find(key) != NULL)
			return false;
	}
	return n == job.keyset->n_keys && only_what_keys_are_in();
}

static void any_history_of_keys_ends_in_keysets_that_hold_them(void)
{
	struct model m[KEYS] = { { NULL, 0 } };
	begin(512 * MIB);
	put("always", "x", 1);
	arena_reset(arena, "always");
	turn(&m[0], 0);
	for (int round = 0; round < 150; round++) {
		for (int n = (int)(rnd() % 6); n >= 0; n--) {
			int i = (int)(rnd() % KEYS);
			turn(&m[i], i);
		}
		bool any = false;
		for (int i = 0; i < KEYS; i++)
			any |= m[i].data != NULL;
		job.keyset_whole |= rnd() % 10 == 0;
		CU_ASSERT(make() >= 0);
		if (!any)
			continue;
		CU_ASSERT_PTR_NOT_NULL_FATAL(job.keyset);
		CU_ASSERT(all_held(m));
		if (rnd() % 3 == 0)
			held();
		if (rnd() % 8 == 0)
			killed();
	}
	for (int i = 0; i < KEYS; i++)
		free(m[i].data);
	end();
}

static void what_is_left_behind_does_not_grow_for_ever(void)
{
	uint8_t *data = noise(2 * MIB);
	char key[16];
	begin(64 * MIB);
	for (int i = 0; i < 300; i++) {
		snprintf(key, sizeof key, "k%d", i % 10);
		put(key, data, 200 * KIB + (uint64_t)i * KIB); /* another size each time */
		CU_ASSERT(make() > 0);
		held();
		CU_ASSERT(holds(key, data, 200 * KIB + (uint64_t)i * KIB));
	}
	CU_ASSERT(job.keyset->values->size < 32 * MIB);
	CU_ASSERT(files_in_copies() < 40);
	free(data);
	end();
}

static void an_agent_killed_at_any_moment_leaves_keysets_that_the_next_one_can_use(void)
{
	uint8_t *data = noise(6 * MIB);
	char key[16];
	begin(128 * MIB);
	for (int i = 0; i < 40; i++) {
		for (int k = 0; k < 6; k++) {
			snprintf(key, sizeof key, "k%d", k);
			put(key, data + i + k, k < 3 ? 1000 : 3 * MIB);
		}
		pid_t pid = fork();
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			for (;;) {
				job.keyset_whole = true;
				make();
			}
		}
		struct timespec t = { 0, (long)(rnd() % 20) * 1000000 };
		nanosleep(&t, NULL); /* any moment will do */
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		killed();
		CU_ASSERT(make() >= 0);
		CU_ASSERT_PTR_NOT_NULL_FATAL(job.keyset);
		for (int k = 0; k < 6; k++) {
			snprintf(key, sizeof key, "k%d", k);
			CU_ASSERT(holds(key, data + i + k, k < 3 ? 1000 : 3 * MIB));
		}
	}
	free(data);
	end();
}

static void a_job_that_writes_all_over_its_arena_loses_no_more_than_its_keys(void)
{
	uint8_t *data = noise(6 * MIB);
	begin(32 * MIB);
	put("a", data, 3 * MIB);
	put("b", data, 2 * MIB);
	put("c", data, 2000);
	CU_ASSERT(make() > 0);
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		uint64_t heap = arena_heap_at(arena->heap_bytes), used = heap + 12 * MIB;
		volatile uint8_t *all = arena->base;
		for (uint32_t x = 1;;) {
			x = x * 1664525u + 1013904223u;
			all[ARENA_INDEX + x % (used - ARENA_INDEX)] ^= (uint8_t)(x >> 24);
			for (uint64_t at = x % 64 * 8; at < 4096 && x % 50 == 0; at += 8)
				all[heap + at] ^= (uint8_t)x; /* where records are */
		}
	}
	uint8_t *buf = malloc(CHUNK_BYTES);
	for (int i = 0; i < 300; i++) {
		job.keyset_whole = true;
		make();
		held();
		for (uint64_t c = 0; job.keyset && c < job.keyset->values->size / CHUNK_BYTES; c++)
			fetch(id_at(c), buf);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	free(buf);
	free(data);
	end();
}

/* ---- no room ---- */

/* In a file system of its own: which step went wrong, 0 for none. */
static int without_room(const char *dir)
{
	char filler[FS_PATH_MAX];
	uint8_t *data = noise(8 * MIB);
	begin_in(dir, 24 * MIB);
	put("a", data, 4 * MIB);
	if (make() <= 0)
		return 1;
	int fd = open(fs_path(filler, "%s/filler", dir), O_RDWR | O_CREAT, 0600);
	put("a", data + 1, 4 * MIB);
	while (write(fd, data, 100 * KIB) > 0) {
		/* until it is full */
	}
	if (make() != -1 || job.keyset->serial != 1)
		return 2;
	if (!holds("a", data, 4 * MIB))
		return 3;
	if (ftruncate(fd, 0) != 0 || make() <= 0 || job.keyset->serial != 2)
		return 4;
	return holds("a", data + 1, 4 * MIB) ? 0 : 5;
}

static void without_room_the_keyset_before_stands(void)
{
	int rc = tiny_fs_run("48m", without_room);
	if (!tiny_fs_ok(rc))
		printf("    step %d\n", rc);
	CU_ASSERT(tiny_fs_ok(rc));
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
		{ "a lost copy of a pack is made again", a_lost_copy_of_a_pack_is_made_again },
		{ "a version is the same by its number, life and time",
		  a_version_is_the_same_by_its_number_life_and_time },
		{ "of a damaged version the one before is taken", of_a_damaged_version_the_one_before_is_taken },
		{ "a key that goes while the keyset is made is left out",
		  a_key_that_goes_while_the_keyset_is_made_is_left_out },
		{ "any history of keys ends in keysets that hold them",
		  any_history_of_keys_ends_in_keysets_that_hold_them },
		{ "what is left behind does not grow for ever", what_is_left_behind_does_not_grow_for_ever },
		{ "an agent killed at any moment leaves keysets that the next one can use",
		  an_agent_killed_at_any_moment_leaves_keysets_that_the_next_one_can_use },
		{ "a job that writes all over its arena loses no more than its keys",
		  a_job_that_writes_all_over_its_arena_loses_no_more_than_its_keys },
		{ "without room the keyset before stands", without_room_the_keyset_before_stands },
	};
	return harness_run("keyset", tests, sizeof tests / sizeof *tests);
}
