/* The copy of a job's arena: what it holds, and what a job cannot make of it. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/ports/arena_copy.h"
#include "lib/base/fs.h"
#include "tests/unit/harness.h"

#define MIB (1 << 20)

struct place {
	char dir[64], arena[96], back[96];
	int img, fd;
	struct err e;
};

static void make(struct place *p)
{
	*p = (struct place){.dir = "/dev/shm/cpa-arena.XXXXXX"};
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(p->dir));
	snprintf(p->arena, sizeof p->arena, "%s/job-arena", p->dir);
	snprintf(p->back, sizeof p->back, "%s/back", p->dir);
	p->img = open(p->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	p->fd = open(p->arena, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	CU_ASSERT_EQUAL(ftruncate(p->fd, 16 * MIB), 0);
}

static void clean(struct place *p)
{
	close(p->fd);
	close(p->img);
	fs_remove_tree(p->dir, NULL);
}

static void fill(struct place *p, off_t at, char c)
{
	char page[4096];
	memset(page, c, sizeof page);
	CU_ASSERT_EQUAL(pwrite(p->fd, page, sizeof page, at), sizeof page);
}

static int copy(struct place *p)
{
	struct arena_copy a;
	int rc = arena_copy_open(&a, p->arena, p->img, &p->e);
	if (!rc)
		rc = arena_copy_run(&a, &p->e);
	arena_copy_close(&a);
	arena_copy_close(&a);
	return rc;
}

static char byte_at(const char *path, off_t at)
{
	char c = 1;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	CU_ASSERT_EQUAL(pread(fd, &c, 1, at), 1);
	close(fd);
	return c;
}

static void a_copy_is_put_back_as_it_was_with_its_holes(void)
{
	struct place p;
	struct stat st;
	make(&p);
	fill(&p, 0, 'a');
	fill(&p, 5 * MIB, 'b');
	CU_ASSERT_EQUAL(copy(&p), 0);
	CU_ASSERT_EQUAL(arena_put_back(p.img, p.back, 0, 0, 0640, &p.e), 0);
	CU_ASSERT(byte_at(p.back, 0) == 'a' && byte_at(p.back, 5 * MIB) == 'b' && byte_at(p.back, 9 * MIB) == 0);
	CU_ASSERT(stat(p.back, &st) == 0 && st.st_size == 16 * MIB && st.st_blocks < 100);
	CU_ASSERT_EQUAL(st.st_mode & 0777, 0640);
	clean(&p);
}

static void nothing_of_an_older_generation_shines_through(void)
{
	struct place p;
	char path[FS_PATH_MAX];
	make(&p);
	fill(&p, MIB, 'x');
	fill(&p, 15 * MIB, 'y');
	CU_ASSERT_EQUAL(copy(&p), 0);
	CU_ASSERT_EQUAL(ftruncate(p.fd, 0), 0);
	CU_ASSERT_EQUAL(ftruncate(p.fd, 16 * MIB), 0);
	fill(&p, 3 * MIB, 'z');
	CU_ASSERT_EQUAL(copy(&p), 0);
	fs_path(path, "%s/arena", p.dir);
	CU_ASSERT(byte_at(path, MIB) == 0 && byte_at(path, 15 * MIB) == 0 && byte_at(path, 3 * MIB) == 'z');
	clean(&p);
}

static void a_link_or_a_second_name_in_its_place_is_refused(void)
{
	struct place p;
	make(&p);
	fill(&p, 0, 'a');
	CU_ASSERT_EQUAL(link(p.arena, p.back), 0);
	CU_ASSERT_EQUAL(copy(&p), ERR_FAILED);
	unlink(p.arena);
	CU_ASSERT_EQUAL(symlink(p.back, p.arena), 0);
	CU_ASSERT_EQUAL(copy(&p), ERR_FAILED);
	unlink(p.arena);
	CU_ASSERT_EQUAL(mkfifo(p.arena, 0600), 0);
	CU_ASSERT_EQUAL(copy(&p), ERR_FAILED);
	clean(&p);
}

static void an_arena_that_shrinks_under_the_copy_is_an_error_or_a_shorter_copy(void)
{
	struct place p;
	struct arena_copy a;
	make(&p);
	for (off_t at = 0; at < 16 * MIB; at += 4096)
		fill(&p, at, 'a');
	CU_ASSERT_EQUAL(arena_copy_open(&a, p.arena, p.img, &p.e), 0);
	CU_ASSERT_EQUAL(ftruncate(p.fd, MIB), 0);
	arena_copy_run(&a, &p.e);
	arena_copy_close(&a);
	clean(&p);
}

static const struct test tests[] = {
	{"a copy is put back as it was, with its holes", a_copy_is_put_back_as_it_was_with_its_holes},
	{"nothing of an older generation shines through", nothing_of_an_older_generation_shines_through},
	{"a link or a second name in its place is refused", a_link_or_a_second_name_in_its_place_is_refused},
	{"an arena that shrinks under the copy does no harm",
	 an_arena_that_shrinks_under_the_copy_is_an_error_or_a_shorter_copy},
};

int main(void)
{
	return harness_run("arena copy", tests, sizeof tests / sizeof *tests);
}
