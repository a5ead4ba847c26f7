/* The page receiver against a sender that follows the protocol, breaks off, or sends garbage. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/ports/pages.h"
#include "lib/base/fs.h"
#include "tests/unit/harness.h"

struct message { /* as CRIU 4.2 sends it */
	uint32_t command, pad;
	uint64_t pages, vaddr, dst_id;
};

enum { OPEN2 = 4, ADD_PRESENT = 6 | 4 << 16, ADD_LAZY = 6 | 2 << 16, FORCE_CLOSE = 0x1024 };

struct dump {
	char dir[64];
	int dirfd, ours, theirs;
	struct pages p;
	struct err e;
	int began;
};

static void begin(struct dump *t, const uint64_t *expected, size_t n)
{
	int sv[2];
	if (!*t->dir) {
		snprintf(t->dir, sizeof t->dir, "/dev/shm/cpa-pages.XXXXXX");
		CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(t->dir));
		t->dirfd = open(t->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	t->ours = sv[0];
	t->theirs = sv[1];
	t->began = 0;
	CU_ASSERT_EQUAL_FATAL(pages_open(&t->p, t->dirfd, expected, n, &t->e), 0);
}

static void on_began(void *ctx)
{
	((struct dump *)ctx)->began++;
}

/* The other side has said all it has to say: receive it. */
static int receive(struct dump *t)
{
	shutdown(t->theirs, SHUT_WR);
	int rc = pages_receive(&t->p, t->ours, on_began, t, &t->e);
	close(t->ours);
	close(t->theirs);
	pages_close(&t->p);
	return rc;
}

static void end(struct dump *t)
{
	close(t->dirfd);
	fs_remove_tree(t->dir, NULL);
}

static void send_message(struct dump *t, uint32_t command, uint64_t pages, uint64_t vaddr, uint64_t dst_id)
{
	struct message m = {.command = command, .pages = pages, .vaddr = vaddr, .dst_id = dst_id};
	CU_ASSERT_EQUAL(write(t->theirs, &m, sizeof m), sizeof m);
}

static void send_pages(struct dump *t, char fill, size_t pages)
{
	char page[4096];
	memset(page, fill, sizeof page);
	for (size_t i = 0; i < pages; i++)
		CU_ASSERT_EQUAL(write(t->theirs, page, sizeof page), sizeof page);
}

static off_t size_in(const struct dump *t, const char *name)
{
	struct stat st;
	return fstatat(t->dirfd, name, &st, 0) ? -1 : st.st_size;
}

static char byte_in(const struct dump *t, const char *name, off_t at)
{
	char c = 0;
	int fd = openat(t->dirfd, name, O_RDONLY | O_CLOEXEC);
	CU_ASSERT_EQUAL(pread(fd, &c, 1, at), 1);
	close(fd);
	return c;
}

/* Two images: three pages of process 7, one page of shared memory 9. */
static void send_two_images(struct dump *t, char fill)
{
	send_message(t, OPEN2, 0, 0, 7 << 8 | 1);
	send_message(t, ADD_PRESENT, 2, 0x10000, 7 << 8 | 1);
	send_pages(t, fill, 2);
	send_message(t, ADD_LAZY, 5, 0x20000, 7 << 8 | 1);
	send_message(t, ADD_PRESENT, 1, 0x40000, 7 << 8 | 1);
	send_pages(t, (char)(fill + 1), 1);
	send_message(t, OPEN2, 0, 0, 9 << 8 | 2);
	send_message(t, ADD_PRESENT, 1, 0, 9 << 8 | 2);
	send_pages(t, (char)(fill + 2), 1);
	send_message(t, FORCE_CLOSE, 0, 0, 0);
}

static void a_dump_becomes_page_images_and_page_maps(void)
{
	struct dump t = {0};
	const uint64_t expected[] = {1 << 20};
	begin(&t, expected, 1);
	send_two_images(&t, 'a');
	CU_ASSERT_EQUAL(receive(&t), 0);
	CU_ASSERT(t.p.closed && t.began == 1 && t.p.bytes == 4 * 4096);
	CU_ASSERT_EQUAL(size_in(&t, "pages-1.img"), 3 * 4096);
	CU_ASSERT_EQUAL(size_in(&t, "pages-2.img"), 4096);
	CU_ASSERT(byte_in(&t, "pages-1.img", 0) == 'a' && byte_in(&t, "pages-1.img", 8192) == 'b');
	CU_ASSERT_EQUAL(byte_in(&t, "pages-2.img", 4095), 'c');
	CU_ASSERT(size_in(&t, "pagemap-7.img") > size_in(&t, "pagemap-shmem-9.img"));
	CU_ASSERT(size_in(&t, "pagemap-shmem-9.img") > 8);
	end(&t);
}

static void page_files_are_used_again_and_hold_the_new_pages_only(void)
{
	struct dump t = {0};
	begin(&t, NULL, 0);
	send_two_images(&t, 'a');
	CU_ASSERT_EQUAL(receive(&t), 0);
	begin(&t, NULL, 0);
	send_message(&t, OPEN2, 0, 0, 3 << 8 | 1);
	send_message(&t, ADD_PRESENT, 1, 0x1000, 3 << 8 | 1);
	send_pages(&t, 'z', 1);
	send_message(&t, FORCE_CLOSE, 0, 0, 0);
	CU_ASSERT_EQUAL(receive(&t), 0);
	CU_ASSERT(size_in(&t, "pages-1.img") == 4096 && byte_in(&t, "pages-1.img", 100) == 'z');
	CU_ASSERT_EQUAL(size_in(&t, "pages-2.img"), -1);
	end(&t);
}

static void more_pages_than_expected_fit_too(void)
{
	struct dump t = {0};
	const uint64_t expected[] = {4096};
	begin(&t, expected, 1);
	send_message(&t, OPEN2, 0, 0, 1 << 8 | 1);
	for (unsigned i = 0; i < 20; i++) {
		send_message(&t, ADD_PRESENT, 1, i * 4096, 1 << 8 | 1);
		send_pages(&t, (char)('a' + i), 1);
	}
	send_message(&t, FORCE_CLOSE, 0, 0, 0);
	CU_ASSERT_EQUAL(receive(&t), 0);
	CU_ASSERT(size_in(&t, "pages-1.img") == 20 * 4096 && byte_in(&t, "pages-1.img", 19 * 4096) == 't');
	end(&t);
}

static void a_stream_cut_anywhere_is_an_error(void)
{
	struct dump t = {0};
	char all[7 * sizeof(struct message) + 4 * 4096];
	begin(&t, NULL, 0);
	send_two_images(&t, 'a');
	ssize_t len = recv(t.ours, all, sizeof all, MSG_WAITALL);
	CU_ASSERT_EQUAL(len, sizeof all);
	receive(&t);
	for (size_t cut = 0; cut < sizeof all; cut += cut % 32 == 31 ? 970 : 31) {
		begin(&t, NULL, 0);
		CU_ASSERT_EQUAL(write(t.theirs, all, cut), (ssize_t)cut);
		CU_ASSERT_EQUAL(receive(&t), ERR_FAILED);
		CU_ASSERT(t.p.broken || t.p.closed);
	}
	end(&t);
}

static void refused(uint32_t command, uint64_t pages, uint64_t vaddr, uint64_t dst_id, bool opened)
{
	struct dump t = {0};
	begin(&t, NULL, 0);
	if (opened)
		send_message(&t, OPEN2, 0, 0, 7 << 8 | 1);
	send_message(&t, command, pages, vaddr, dst_id);
	CU_ASSERT_EQUAL(receive(&t), ERR_FAILED);
	CU_ASSERT(t.e.code == ERR_FAILED && *t.e.text && !t.p.closed);
	end(&t);
}

static void impossible_messages_are_refused(void)
{
	refused(77, 0, 0, 0, true);
	refused(OPEN2, 0, 0, 7 << 8 | 3, false);
	refused(OPEN2, 0, 0, UINT64_MAX, false);
	refused(ADD_PRESENT, 1, 0, 7 << 8 | 1, false);
	refused(ADD_PRESENT, 1, 0, 8 << 8 | 1, true);
	refused(ADD_PRESENT, 0, 0, 7 << 8 | 1, true);
	refused(ADD_PRESENT, UINT64_MAX, 0, 7 << 8 | 1, true);
	refused(ADD_PRESENT, UINT64_MAX / 4096 + 2, 0, 7 << 8 | 1, true);
	refused(ADD_PRESENT, UINT64_C(1) << 31, 0, 7 << 8 | 1, true); /* 8 TiB: no room */
	refused(ADD_PRESENT, 1, 17, 7 << 8 | 1, true);
	refused(ADD_PRESENT, 2, UINT64_MAX - 4095, 7 << 8 | 1, true);
}

static void garbage_is_refused_without_harm(void)
{
	unsigned seed = 1;
	for (int round = 0; round < 200; round++) {
		struct dump t = {0};
		unsigned char junk[4096];
		for (size_t i = 0; i < sizeof junk; i++)
			junk[i] = (unsigned char)(rand_r(&seed) >> 8);
		begin(&t, NULL, 0);
		if (round % 2) /* looks like a beginning */
			send_message(&t, OPEN2, 0, 0, 7 << 8 | 1);
		CU_ASSERT_EQUAL(write(t.theirs, junk, sizeof junk), sizeof junk);
		CU_ASSERT_EQUAL(receive(&t), ERR_FAILED);
		end(&t);
	}
}

static const struct test tests[] = {
	{"a dump becomes page images and page maps", a_dump_becomes_page_images_and_page_maps},
	{"page files are used again and hold the new pages only",
	 page_files_are_used_again_and_hold_the_new_pages_only},
	{"more pages than expected fit too", more_pages_than_expected_fit_too},
	{"a stream cut anywhere is an error", a_stream_cut_anywhere_is_an_error},
	{"impossible messages are refused", impossible_messages_are_refused},
	{"garbage is refused without harm", garbage_is_refused_without_harm},
};

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	return harness_run("pages", tests, sizeof tests / sizeof *tests);
}
