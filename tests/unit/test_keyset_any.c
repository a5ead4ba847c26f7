/* Keysets, whatever happens: to their keys, to the agent that makes them, to the arena while it is read, to the
 * room. */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "tests/unit/keyset_job.h"
#include "tests/unit/tiny_fs.h"

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
	return harness_run("keyset_any", tests, sizeof tests / sizeof *tests);
}
