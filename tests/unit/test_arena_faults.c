/* Everything around the arena that can go wrong: damage in shared blocks and maps, a full /dev/shm, arenas that
 * may only be read or belong to somebody else, impossible regions. */
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>

#include "tests/unit/arena_death.h"
#include "tests/unit/tiny_fs.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SEEDS 800u
#else
#define SEEDS 6000u
#endif

static uint32_t seed = 1;

static uint32_t rnd(void)
{
	seed = seed * 1664525u + 1013904223u;
	return seed >> 8;
}

/* Versions 1 to n of protected regions under "key". */
static struct arena *with_regions(uint64_t n, uint32_t keep, struct region *g)
{
	struct arena *a = fresh(1 << 20);

	*g = (struct region){.version = 0};
	CU_ASSERT_EQUAL_FATAL(arena_keep(a, "key", keep), 0);
	for (uint64_t v = 0; v < n; v++)
		CU_ASSERT_EQUAL_FATAL(region_put(a, "key", g, v, 0), 0);
	return a;
}

/* Where block b of a version lies. */
static uint8_t *block_of(struct arena *a, uint64_t version, uint64_t b)
{
	struct arena_record *r;
	struct slot_plan p;
	uint8_t *slot = slot_of_version(a, version, &p);

	arena_newest(a, "key", &r);
	return extent_at(a, r, slot[p.map_at + b]) + p.data_at + b * 4096;
}

/* The newest whole version, told alike by the library and the reader, with how many were passed over. */
static uint64_t newest_whole(struct arena *a, int *skipped)
{
	struct arena_reader r = {.fd = -1, .image = a->base, .image_bytes = a->file_bytes};
	static uint64_t words[REGION_WORDS];
	struct arena_var var = {"u", words, REGION_WORDS, ARENA_U64};
	struct arena_value v;
	uint64_t got = 0;
	int rc = arena_get(a, "key", &var, 1, 0, &got, NULL), read_rc, read_skipped = 0;

	CU_ASSERT_EQUAL_FATAL(arena_read_open(&r), 0);
	read_rc = arena_read_value(&r, "key", 0, &v, &read_skipped);
	if (rc < 0) {
		CU_ASSERT_EQUAL(rc, -EBADMSG);
		CU_ASSERT_EQUAL(read_rc, -EBADMSG);
		return 0;
	}
	CU_ASSERT_FATAL(read_rc == 0 && v.info.version == got && read_skipped == rc);
	CU_ASSERT(region_whole(words, got) && memcmp(v.data, words, sizeof words) == 0);
	arena_value_free(&v);
	*skipped = rc;
	return got;
}

static void a_flipped_byte_in_a_block_of_its_own_costs_the_version_that_has_it(void)
{
	struct region g;
	struct arena *a = with_regions(5, 3, &g);
	uint64_t got;
	int skipped;

	for (uint64_t b = 0; b < REGION_BLOCKS; b++) {
		uint8_t *at = block_of(a, 5, b);
		int shared = at == block_of(a, 4, b);

		CU_ASSERT_EQUAL(version_changes(5, b), !shared);
		at[17] ^= 1;
		got = newest_whole(a, &skipped);
		CU_ASSERT(shared ? got < 4 : got == 4 && skipped == 1);
		at[17] ^= 1;
		CU_ASSERT(newest_whole(a, &skipped) == 5 && skipped == 0);
	}
	arena_unmap(a);
}

static void a_flipped_bit_in_a_description_sums_or_map_is_found(void)
{
	struct region g;
	struct arena *a = with_regions(5, 3, &g);
	struct slot_plan p;
	uint8_t *slot = slot_of_version(a, 5, &p);
	int skipped;

	for (uint64_t at = 8; at < p.map_at + p.blocks; at++) {
		slot[at] ^= (uint8_t)(1 << at % 8);
		CU_ASSERT_FATAL(newest_whole(a, &skipped) == 4 && skipped == 1);
		slot[at] ^= (uint8_t)(1 << at % 8);
	}
	CU_ASSERT_EQUAL(newest_whole(a, &skipped), 5);
	/* a version is not built upon one whose description is damaged */
	slot[p.sums_at] ^= 1;
	CU_ASSERT_EQUAL(region_put(a, "key", &g, 5, 0), 0);
	CU_ASSERT(newest_whole(a, &skipped) == 6 && skipped == 0);
	arena_unmap(a);
}

/* And it is not moved with a good checksum either. */
static void damage_is_not_passed_off_as_whole_when_a_slot_is_cleared(void)
{
	struct region g;
	struct arena *a = with_regions(5, 1, &g);
	struct arena_var big[] = {{"u", g.words, REGION_WORDS, ARENA_U64}, {"v", g.words, REGION_WORDS, ARENA_U64}};
	static uint64_t words[REGION_WORDS];
	struct arena_var var = {"u", words, REGION_WORDS, ARENA_U64};
	struct slot_plan p;
	uint8_t *slot = slot_of_version(a, 5, &p);

	slot[offsetof(struct arena_slot, time_ns)] ^= 1;
	CU_ASSERT_EQUAL(arena_put(a, "key", big, 2, NULL), 0);
	CU_ASSERT_EQUAL(arena_get(a, "key", &var, 1, 5, NULL, NULL), -EBADMSG);
	CU_ASSERT_EQUAL(arena_get(a, "key", &var, 1, 6, NULL, NULL), 0);
	arena_unmap(a);
}

static void scribbles_over_maps_and_pads_never_crash_the_reader_or_pass_for_a_value(void)
{
	struct region g;
	struct arena *a = with_regions(9, 3, &g);
	struct arena_reader r = {.fd = -1, .image_bytes = a->file_bytes};
	uint8_t *image = calloc(1, a->file_bytes);
	size_t heap = (size_t)(a->heap - a->base), used = heap + a->head->free_at, whole = 0, at, n, i;
	struct arena_value v;
	struct arena_keys list;

	r.image = image;
	for (uint32_t turn = 0; turn < SEEDS; turn++) {
		seed = turn;
		memcpy(image, a->base, used);
		for (n = 1 + rnd() % 12; n; n--) {
			/* mostly in the record and the pages that the slots begin with */
			at = rnd() % 4 ? heap + rnd() % 32 * 4096 + rnd() % 256 : rnd() % used;
			for (i = 0; i < 1 + rnd() % 4 && at + i < used; i++)
				image[at + i] = rnd() % 2 ? (uint8_t)(rnd() % 6) : (uint8_t)rnd();
		}
		if (arena_read_open(&r) != 0)
			continue;
		(void)arena_read_keys(&r, turn & 1, &list);
		arena_keys_free(&list);
		if (arena_read_value(&r, "key", turn % 3 ? 0 : 8, &v, NULL) != 0)
			continue;
		CU_ASSERT_FATAL(v.info.bytes == 8 * REGION_WORDS && region_whole((uint64_t *)(void *)v.data, v.info.version));
		arena_value_free(&v);
		whole++;
	}
	CU_ASSERT(whole > SEEDS / 4);
	free(image);
	arena_unmap(a);
}

/* ---- readers beside a writer that clears slots ---- */

static struct arena *live;
static int stop;

static void *keep_writing(void *arg)
{
	struct region *g = arg;

	for (uint64_t v = 5; !__atomic_load_n(&stop, __ATOMIC_RELAXED); v++)
		if ((v % 3 ? region_put(live, "key", g, v, v % 11 < 5 ? 0 : 64) : region_put_plain(live, "key", g, v)) != 0)
			return g;
	return NULL;
}

static void values_read_while_slots_are_cleared_under_the_reader_are_whole(void)
{
	static struct region g;
	struct arena_reader r;
	struct arena_value v;
	uint64_t moved = 0, last = 0;
	void *failed;
	pthread_t t;
	int fd, rc;

	live = with_regions(5, 1, &g);
	fd = open(death_path, O_RDONLY | O_CLOEXEC);
	r = (struct arena_reader){.fd = fd};
	CU_ASSERT_EQUAL_FATAL(arena_read_open(&r), 0);
	CU_ASSERT_EQUAL_FATAL(pthread_create(&t, NULL, keep_writing, &g), 0);
	while (moved < 1500) {
		rc = arena_read_value(&r, "key", 0, &v, NULL);
		CU_ASSERT_FATAL(rc == 0 || rc == -EAGAIN);
		if (rc)
			continue;
		CU_ASSERT_FATAL(v.info.version >= last && region_whole((uint64_t *)(void *)v.data, v.info.version));
		moved += v.info.version != last;
		last = v.info.version;
		arena_value_free(&v);
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	pthread_join(t, &failed);
	CU_ASSERT_PTR_NULL(failed);
	close(fd);
	arena_unmap(live);
}

/* ---- who may do what ---- */

/* As somebody else. */
static int run_as_nobody(int (*fn)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0 ? fn() : 78);
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return 79;
	return WEXITSTATUS(status);
}

static int only_reads(void)
{
	struct region g = {.version = 0};
	struct arena *a;
	uint64_t got;

	if (arena_map(&a, death_path) != 0 || !a->read_only)
		return 1;
	if (region_get(a, "key", 0) != 5 || get(a, "plain", WORDS) != 3 || get(a, "none", WORDS) != UINT64_MAX)
		return 2;
	if (put(a, "plain", WORDS, 4) != -EACCES || region_put(a, "key", &g, 5, 0) != -EACCES)
		return 3;
	if (arena_keep(a, "plain", 2) != -EACCES || arena_reset(a, "plain") != -EACCES || arena_reset_all(a) != -EACCES)
		return 4;
	got = arena_newest(a, "plain", NULL);
	arena_unmap(a);
	return got == 1 ? 0 : 5;
}

static int is_kept_out(void)
{
	struct arena *a;

	return arena_map(&a, death_path) == -EACCES ? 0 : 1;
}

static void an_arena_that_may_only_be_read_is_read_and_that_of_another_user_not_even_that(void)
{
	struct region g;
	struct arena *a = with_regions(5, 1, &g);

	put(a, "plain", WORDS, 3);
	if (geteuid() != 0) {
		printf("    (not checked: becoming somebody else needs root)\n");
	} else {
		chmod(death_dir, 0755);
		chmod(death_path, 0444);
		CU_ASSERT_EQUAL(run_as_nobody(only_reads), 0);
		chmod(death_path, 0600);
		CU_ASSERT_EQUAL(run_as_nobody(is_kept_out), 0);
	}
	arena_unmap(a);
}

/* ---- no memory behind the arena ---- */

static int fill_tiny(const char *dir)
{
	struct region g = {.version = 0};
	uint64_t v = 0, n = 0;
	struct arena *a;
	char path[FS_PATH_MAX + 8], key[32];
	int rc;

	snprintf(path, sizeof path, "%s/arena", dir);
	if (arena_create(path, 64 << 20, 0600) != 0 || arena_map(&a, path) != 0)
		return 1;
	if (region_put(a, "key", &g, v++, 0) != 0 || region_put(a, "key", &g, v++, 0) != 0)
		return 2;
	do
		snprintf(key, sizeof key, "k%lu", n++);
	while ((rc = put(a, key, n % 5 ? WORDS : BIG, n)) == 0);
	if (rc != -ENOSPC || n < 20)
		return 3;
	/* what there was is there, and goes on within its memory; what is forgotten makes room */
	if (region_get(a, "key", 0) != 2 || region_put(a, "key", &g, 2, 0) != 0 || region_get(a, "key", 0) != 3)
		return 4;
	if (arena_keep(a, "key", 9) != 0 && arena_keep(a, "key", 9) != -ENOSPC)
		return 5;
	for (v = 3; v < 12; v++)
		if (region_put(a, "key", &g, v, 0) != 0)
			break;
	if (region_get(a, "key", 0) != v || get(a, "k0", WORDS) != 1)
		return 6;
	for (uint64_t i = 0; i < n; i++) {
		snprintf(key, sizeof key, "k%lu", i);
		arena_reset(a, key);
	}
	if (put(a, "late", BIG, 5) != 0 || get(a, "late", BIG) != 5)
		return 7;
	arena_unmap(a);
	return 0;
}

static void when_dev_shm_is_full_the_call_says_so_and_the_versions_before_stand(void)
{
	CU_ASSERT(tiny_fs_ok(tiny_fs_run("1m", fill_tiny)));
	CU_ASSERT(tiny_fs_ok(tiny_fs_run("700k", fill_tiny)));
}

static int create_tiny(const char *dir)
{
	char path[FS_PATH_MAX + 8];
	struct stat st;

	snprintf(path, sizeof path, "%s/arena", dir);
	return arena_create(path, 64 << 20, 0600) == -ENOSPC && stat(path, &st) != 0 ? 0 : 1;
}

static void an_arena_for_which_there_is_no_room_is_not_left_half_made(void)
{
	CU_ASSERT(tiny_fs_ok(tiny_fs_run("16k", create_tiny)));
}

/* ---- arguments ---- */

static void impossible_regions_are_refused_and_empty_ones_are_not(void)
{
	struct arena *a = fresh(1 << 20);
	static uint64_t words[6000];
	uint64_t at[2], version, sum, changed[2] = {0};
	struct arena_var v[] = {{"u", words, 6000, ARENA_U64}, {"v", words, 0, ARENA_U64}};
	uint32_t pads[] = {0, 0};
	struct arena_regions g = {v, pads, 2, 0, 0, NULL, ARENA_WHOLE};

	CU_ASSERT_EQUAL(arena_put_regions(a, "key", &g, &version, &sum), 0);
	CU_ASSERT_EQUAL(arena_offsets(v, NULL, 2, at), 48000);
	CU_ASSERT(at[0] == 0 && at[1] == 48000);
	pads[1] = 4095;
	CU_ASSERT_EQUAL(arena_put_regions(a, "key", &g, &version, &sum), 0);
	CU_ASSERT_EQUAL(arena_get(a, "key", v, 2, 0, NULL, NULL), 0);
	g.base = version;
	g.base_sum = sum;
	g.changed = changed; /* nothing at all */
	CU_ASSERT_EQUAL(arena_put_regions(a, "key", &g, &version, &sum), 0);
	CU_ASSERT_EQUAL(version, 3);
	CU_ASSERT_EQUAL(arena_get(a, "key", v, 2, 0, NULL, NULL), 0);
	pads[1] = 4096;
	CU_ASSERT_EQUAL(arena_offsets(v, pads, 2, at), 0);
	CU_ASSERT_EQUAL(arena_put_regions(a, "key", &g, &version, &sum), -EINVAL);
	pads[1] = 0;
	g.how = ARENA_DIRTY + 1;
	CU_ASSERT_EQUAL(arena_put_regions(a, "key", &g, &version, &sum), -EINVAL);
	g.how = ARENA_DIRTY;
	v[1] = (struct arena_var){"v", NULL, 1, ARENA_U64};
	CU_ASSERT_EQUAL(arena_put_regions(a, "key", &g, &version, &sum), -EINVAL);
	v[1] = (struct arena_var){"v", words, UINT64_MAX / 8, ARENA_U64};
	CU_ASSERT_EQUAL(arena_put_regions(a, "key", &g, &version, &sum), -EINVAL);
	v[1] = (struct arena_var){"v", words, UINT64_C(1) << 40, ARENA_U8};
	CU_ASSERT_EQUAL(arena_put_regions(a, "key", &g, &version, &sum), -EINVAL);
	g.n = 0;
	CU_ASSERT_EQUAL(arena_put_regions(a, "key", &g, &version, &sum), -EINVAL);
	CU_ASSERT_EQUAL(arena_newest(a, "key", NULL), 3);
	arena_unmap(a);
}

/* A base is known by its sum too: a key that was reset counts from 1 again. */
static void another_programs_version_of_the_same_number_is_no_base(void)
{
	struct arena *a = fresh(1 << 20);
	struct region mine = {.version = 0}, other = {.version = 0};
	uint64_t changed = 0;
	struct arena_var var = {"u", other.words, REGION_WORDS, ARENA_U64};
	const uint32_t pad = 0;
	struct arena_regions g = {&var, &pad, 1, 0, 0, NULL, ARENA_WHOLE};

	CU_ASSERT_EQUAL(region_put(a, "key", &mine, 0, 0), 0);
	CU_ASSERT_EQUAL(arena_reset(a, "key"), 0);
	CU_ASSERT_EQUAL(arena_put_regions(a, "key", &g, NULL, NULL), 0);
	var.data = mine.words;
	g = (struct arena_regions){&var, &pad, 1, mine.base, mine.base_sum, &changed, ARENA_DIRTY};
	CU_ASSERT_EQUAL(arena_put_regions(a, "key", &g, NULL, NULL), 0);
	var.data = other.words;
	CU_ASSERT_EQUAL(arena_get(a, "key", &var, 1, 0, NULL, NULL), 0);
	CU_ASSERT_TRUE(region_whole(other.words, 1));
	arena_unmap(a);
}

static void a_slot_that_lies_upon_its_own_record_is_an_error(void)
{
	struct arena *a = fresh(1 << 20);
	struct region g = {.version = 0};
	struct arena_record *r;

	CU_ASSERT_EQUAL(region_put(a, "key", &g, 0, 0), 0);
	CU_ASSERT_EQUAL_FATAL(arena_newest(a, "key", &r), 1);
	record_slots(r)[1] = (struct arena_extent){(uint64_t)((uint8_t *)r - a->heap), 1 << 19};
	CU_ASSERT(region_put(a, "key", &g, 1, 0) < 0);
	arena_unmap(a);
}

static const struct test tests[] = {
	{"a flipped byte in a block of its own costs the version that has it",
	 a_flipped_byte_in_a_block_of_its_own_costs_the_version_that_has_it},
	{"a flipped bit in a description, sums or map is found", a_flipped_bit_in_a_description_sums_or_map_is_found},
	{"damage is not passed off as whole when a slot is cleared",
	 damage_is_not_passed_off_as_whole_when_a_slot_is_cleared},
	{"scribbles over maps and pads never crash the reader or pass for a value",
	 scribbles_over_maps_and_pads_never_crash_the_reader_or_pass_for_a_value},
	{"values read while slots are cleared under the reader are whole",
	 values_read_while_slots_are_cleared_under_the_reader_are_whole},
	{"an arena that may only be read is read, and that of another user not even that",
	 an_arena_that_may_only_be_read_is_read_and_that_of_another_user_not_even_that},
	{"when /dev/shm is full the call says so and the versions before stand",
	 when_dev_shm_is_full_the_call_says_so_and_the_versions_before_stand},
	{"an arena for which there is no room is not left half made",
	 an_arena_for_which_there_is_no_room_is_not_left_half_made},
	{"impossible regions are refused and empty ones are not", impossible_regions_are_refused_and_empty_ones_are_not},
	{"another program's version of the same number is no base",
	 another_programs_version_of_the_same_number_is_no_base},
	{"a slot that lies upon its own record is an error", a_slot_that_lies_upon_its_own_record_is_an_error},
};

int main(void)
{
	return death_main("arena faults", tests, sizeof tests / sizeof *tests);
}
