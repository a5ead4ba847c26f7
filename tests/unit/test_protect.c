/* Protected regions against a model: whatever wrote the memory, a restored checkpoint is what the memory was. Random
 * writes of every kind, several keys with overlapping selections, regions that share pages and begin anywhere. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>

#include "tests/unit/protect_sample.h"

/* ---- the model ---- */

#define REGIONS 6
#define KEYS 5
#define ROUNDS (UNDER_TSAN ? 40 : 400) /* its forks are slow */

static const char *const names[REGIONS] = {"bulk", "head", "tail", "odd", "small", "inner"};

/* Which regions each key has. */
static const char *const selection[KEYS][REGIONS + 1] = {
	{"bulk", "head", "tail", "odd", "small", "inner"},
	{"head", "tail"},
	{"tail"},
	{"odd", "bulk"},
	{"inner", "small", "head"},
};

struct model {
	cpa *cp;
	uint8_t *memory; /* of all regions */
	size_t bytes;
	struct part {
		size_t at, bytes;
	} part[REGIONS];
	uint8_t *was[KEYS]; /* the memory at each key's last checkpoint; NULL: none yet */
	unsigned seed;
};

static size_t pick(struct model *m, size_t below)
{
	return (size_t)rand_r(&m->seed) % below;
}

static size_t names_of(size_t key)
{
	size_t n = 0;

	while (n < REGIONS && selection[key][n])
		n++;
	return n;
}

static const struct part *part_of(const struct model *m, const char *name)
{
	size_t i = 0;

	while (strcmp(names[i], name) != 0)
		i++;
	return &m->part[i];
}

/* "head" ends and "tail" begins inside one page; "inner" lies in "bulk"; "odd" begins at an odd address. */
static void model_make(struct model *m, size_t n_pages)
{
	size_t i;

	m->bytes = n_pages * PAGE;
	m->memory = pages(n_pages);
	m->part[0] = (struct part){PAGE * 8, PAGE * 200};
	m->part[1] = (struct part){PAGE * 300 + 100, PAGE * 20 + 700};
	m->part[2] = (struct part){PAGE * 320 + 800, PAGE * 33 + 11};
	m->part[3] = (struct part){PAGE * 400 + 4093, PAGE * 64};
	m->part[4] = (struct part){PAGE * 500 + 8, 1234};
	m->part[5] = (struct part){PAGE * 50 + 8, PAGE * 25};
	m->cp = opened();
	for (i = 0; i < REGIONS; i++)
		CU_ASSERT_EQUAL_FATAL(cpa_protect(m->cp, names[i], m->memory + m->part[i].at, m->part[i].bytes,
						  CPA_BYTE), 0);
}

static void model_free(struct model *m)
{
	size_t k;

	cpa_close(m->cp);
	munmap(m->memory, m->bytes);
	for (k = 0; k < KEYS; k++)
		free(m->was[k]);
}

static void key_name(char out[16], size_t key)
{
	snprintf(out, 16, "key %zu", key);
}

static int checkpoint_key(struct model *m, size_t key)
{
	char name[16];
	int rc;

	key_name(name, key);
	rc = cpa_checkpoint_regions(m->cp, name, 1, selection[key], names_of(key));
	if (rc)
		return rc;
	if (!m->was[key])
		m->was[key] = malloc(m->bytes);
	memcpy(m->was[key], m->memory, m->bytes);
	return 0;
}

/* The key's newest version in memory of its own, against what the memory was. */
static int key_is_right(struct model *m, size_t key)
{
	size_t n = names_of(key), i, at = 0;
	struct cpa_var vars[REGIONS];
	uint8_t *room = malloc(m->bytes * 2);
	char name[16];
	int right;

	key_name(name, key);
	for (i = 0; i < n; i++) {
		const struct part *p = part_of(m, selection[key][i]);

		vars[i] = (struct cpa_var){selection[key][i], room + at, p->bytes, CPA_BYTE};
		at += p->bytes;
	}
	right = cpa_restore_vars(m->cp, name, 0, vars, n) == 0;
	for (i = 0; i < n && right; i++) {
		const struct part *p = part_of(m, selection[key][i]);

		right = memcmp(vars[i].data, m->was[key] + p->at, p->bytes) == 0;
	}
	free(room);
	return right;
}

/* ---- ways to write ---- */

struct stretch {
	uint8_t *at;
	size_t bytes;
	uint8_t value;
};

static void *fill_in_thread(void *arg)
{
	const struct stretch *s = arg;

	memset(s->at, s->value, s->bytes);
	return NULL;
}

static void by_thread(struct model *m)
{
	struct stretch s = {m->memory + pick(m, m->bytes - 9000), pick(m, 9000), (uint8_t)pick(m, 256)};
	pthread_t t;

	CU_ASSERT_EQUAL_FATAL(pthread_create(&t, NULL, fill_in_thread, &s), 0);
	pthread_join(t, NULL);
}

static void by_read(struct model *m)
{
	size_t bytes = 1 + pick(m, 8000);
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	CU_ASSERT(pread(fd, m->memory + pick(m, m->bytes - 8001), bytes, (off_t)pick(m, 8192)) == (ssize_t)bytes);
	close(fd);
}

/* What a child writes is its own. */
static void by_child(struct model *m)
{
	pid_t pid = fork();

	if (pid == 0) {
		memset(m->memory, 0xee, m->bytes);
		_exit(0);
	}
	m->memory[pick(m, m->bytes)]++; /* a page that is shared with the child, perhaps */
	CU_ASSERT(ended_well(pid));
	m->memory[pick(m, m->bytes)]++;
}

static void by_discarding(struct model *m)
{
	size_t page = pick(m, m->bytes / PAGE - 4);

	CU_ASSERT_EQUAL(madvise(m->memory + page * PAGE, (1 + pick(m, 4)) * PAGE, MADV_DONTNEED), 0);
}

static void by_restore(struct model *m)
{
	size_t key = pick(m, KEYS), i;
	char name[16];

	if (!m->was[key])
		return;
	key_name(name, key);
	CU_ASSERT_EQUAL(cpa_restore_regions(m->cp, name, 0, selection[key], names_of(key)), 0);
	for (i = 0; i < names_of(key); i++) {
		const struct part *p = part_of(m, selection[key][i]);

		CU_ASSERT_EQUAL(memcmp(m->memory + p->at, m->was[key] + p->at, p->bytes), 0);
	}
}

static void by_program(struct model *m)
{
	size_t i;

	for (i = pick(m, 30); i; i--)
		m->memory[pick(m, m->bytes)] = (uint8_t)pick(m, 256);
}

static void write_somehow(struct model *m)
{
	switch (pick(m, 16)) {
	case 0:
		by_child(m);
		break;
	case 1:
		by_thread(m);
		break;
	case 2:
		by_read(m);
		break;
	case 3:
		by_discarding(m);
		break;
	case 4:
		by_restore(m);
		break;
	case 5:
		CU_ASSERT_EQUAL(mprotect(m->memory, m->bytes, PROT_READ), 0);
		CU_ASSERT_EQUAL(mprotect(m->memory, m->bytes, PROT_READ | PROT_WRITE), 0);
		break;
	default:
		by_program(m);
	}
}

static void run_model(unsigned seed, int advice, int expect)
{
	struct model m = {.seed = seed};
	size_t round, key, i, dirty = 0;
	char name[16];

	model_make(&m, 512);
	if (advice)
		madvise(m.memory, m.bytes, advice);
	for (round = 0; round < ROUNDS; round++) {
		for (i = pick(&m, 4); i; i--)
			write_somehow(&m);
		key = pick(&m, KEYS);
		CU_ASSERT_EQUAL_FATAL(checkpoint_key(&m, key), 0);
		key_name(name, key);
		dirty += how_of(m.cp, name) == ARENA_DIRTY;
		CU_ASSERT_FATAL(key_is_right(&m, key));
		for (i = 0; round % 20 == 0 && i < KEYS; i++)
			CU_ASSERT_FATAL(!m.was[i] || key_is_right(&m, i));
	}
	if (expect && can_track(m.cp))
		CU_ASSERT(dirty > ROUNDS * 8 / 10);
	if (!expect)
		CU_ASSERT_EQUAL(dirty, 0);
	model_free(&m);
}

static void whatever_writes_the_memory_a_checkpoint_is_what_it_was(void)
{
	unsigned seed;

	for (seed = 1; seed <= 3; seed++)
		run_model(seed, 0, 1);
}

static void transparent_huge_pages_change_nothing(void)
{
	run_model(4, MADV_HUGEPAGE, 1);
}

static void whole_copies_give_the_same_as_dirty_pages(void)
{
	setenv("CPAGENT_TRACKING", "off", 1);
	run_model(1, 0, 0);
	unsetenv("CPAGENT_TRACKING");
}

/* ---- the numbers of scans ---- */

static void scan_numbers_may_wrap_around(void)
{
	const size_t n = 64;
	uint8_t *p = pages(n), *q = pages(n);
	cpa *cp = opened();
	int i;

	CU_ASSERT_EQUAL_FATAL(cpa_protect(cp, "p", p, n * PAGE, CPA_BYTE), 0);
	CU_ASSERT_EQUAL(cpa_checkpoint_protected(cp, "k", 1), 0);
	cp->regions->scan = SCANS_MAX - 4;
	for (i = 0; i < 8; i++) {
		p[(size_t)i * PAGE] = (uint8_t)(i + 1);
		CU_ASSERT_EQUAL(cpa_checkpoint_protected(cp, "k", 1), 0);
		CU_ASSERT_EQUAL(cpa_restore(cp, "k", 0, CPA_NAMED("p", (void *)q, n * PAGE)), 0);
		CU_ASSERT_EQUAL(memcmp(p, q, n * PAGE), 0);
	}
	CU_ASSERT(cp->regions->scan < 100);
	cpa_close(cp);
	munmap(p, n * PAGE);
	munmap(q, n * PAGE);
}

static void more_keys_than_are_remembered_are_only_slower(void)
{
	const size_t n = 32;
	uint8_t *p = pages(n), *q = pages(n);
	cpa *cp = opened();
	int i, turn;
	char key[16];

	CU_ASSERT_EQUAL_FATAL(cpa_protect(cp, "p", p, n * PAGE, CPA_BYTE), 0);
	for (turn = 0; turn < 2; turn++) {
		for (i = 0; i < 2 * BASES_MAX; i++) {
			snprintf(key, sizeof key, "%d", i);
			p[(size_t)i % n * PAGE]++;
			CU_ASSERT_EQUAL(cpa_checkpoint_protected(cp, key, 1), 0);
			CU_ASSERT_EQUAL(cpa_restore(cp, key, 0, CPA_NAMED("p", (void *)q, n * PAGE)), 0);
			CU_ASSERT_EQUAL(memcmp(p, q, n * PAGE), 0);
		}
	}
	cpa_close(cp);
	munmap(p, n * PAGE);
	munmap(q, n * PAGE);
}

/* ---- more than one call of the kernel's ---- */

static void every_second_page_of_a_large_region_is_found(void)
{
	const size_t n = 24000;
	uint8_t *p = pages(n), *q = pages(n);
	cpa *cp = opened();
	size_t i;

	memset(p, 1, n * PAGE);
	CU_ASSERT_EQUAL_FATAL(cpa_protect(cp, "p", p, n * PAGE, CPA_BYTE), 0);
	CU_ASSERT_EQUAL(cpa_checkpoint_protected(cp, "k", 1), 0);
	for (i = 1; i < n; i += 2)
		p[i * PAGE + i % PAGE] = 2;
	CU_ASSERT_EQUAL(cpa_checkpoint_protected(cp, "k", 1), 0);
	CU_ASSERT(how_of(cp, "k") == ARENA_DIRTY || !can_track(cp));
	CU_ASSERT_EQUAL(cpa_restore(cp, "k", 0, CPA_NAMED("p", (void *)q, n * PAGE)), 0);
	CU_ASSERT_EQUAL(memcmp(p, q, n * PAGE), 0);
	cpa_close(cp);
	munmap(p, n * PAGE);
	munmap(q, n * PAGE);
}

static const struct test tests[] = {
	{"whatever writes the memory, a checkpoint is what it was", whatever_writes_the_memory_a_checkpoint_is_what_it_was},
	{"transparent huge pages change nothing", transparent_huge_pages_change_nothing},
	{"whole copies give the same as dirty pages", whole_copies_give_the_same_as_dirty_pages},
	{"scan numbers may wrap around", scan_numbers_may_wrap_around},
	{"more keys than are remembered are only slower", more_keys_than_are_remembered_are_only_slower},
	{"every second page of a large region is found", every_second_page_of_a_large_region_is_found},
};

int main(void)
{
	return run_tests("protect", tests, sizeof tests / sizeof *tests);
}
