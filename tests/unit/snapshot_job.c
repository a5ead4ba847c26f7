/* A job for the snapshot tests and benchmark, never sanitized: what it does shows whether a restore was true.
 * usage: snapshot_job MODE [ARG]; every mode runs until it is killed, or exits with 9 when its world is not
 * what it left. */
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BROKEN = 9 };

static void tick(void)
{
	const struct timespec ms = {.tv_nsec = 1000000};
	nanosleep(&ms, NULL);
}

static void number(int fd, unsigned n)
{
	char line[16];
	int len = snprintf(line, sizeof line, "%u\n", n);
	if (write(fd, line, (size_t)len) != len)
		exit(BROKEN);
}

/* 1, 2, 3, … on stdout (which is O_APPEND) and in FILE: a gap or a number twice is a restore gone wrong. */
static void lines(const char *path, int flags)
{
	int fd = path ? open(path, O_WRONLY | O_CREAT | flags, 0644) : 1;
	if (fd < 0)
		exit(BROKEN);
	for (unsigned n = 1;; n++) {
		number(fd, n);
		if (fd != 1)
			number(1, n);
		tick();
	}
}

/* A number in memory and the same in a file, or in the arena: they must never differ. */
static void agree(const char *path, int mapped)
{
	unsigned seen = 0, n = 0;
	int fd = open(path, O_RDWR | O_CREAT, 0644);
	if (fd < 0 || (lseek(fd, 0, SEEK_END) < 4096 && ftruncate(fd, 8192)))
		exit(BROKEN);
	volatile unsigned *map = mapped ? mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : NULL;
	if (mapped)
		close(fd);
	for (n = 0;; n++) {
		if (n && mapped && map[1000] != n - 1)
			exit(BROKEN);
		if (n && !mapped && (pread(fd, &seen, sizeof seen, 4000) != sizeof seen || seen != n - 1))
			exit(BROKEN);
		if (mapped)
			map[1000] = n;
		else if (pwrite(fd, &n, sizeof n, 4000) != sizeof n)
			exit(BROKEN);
		number(1, n + 1);
		tick();
	}
}

static void unlinked(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0644);
	if (fd < 0 || unlink(path))
		exit(BROKEN);
	for (unsigned n = 0, seen = 0;; n++) {
		if (n && (pread(fd, &seen, sizeof seen, 0) != sizeof seen || seen != n - 1))
			exit(BROKEN);
		if (pwrite(fd, &n, sizeof n, 0) != sizeof n)
			exit(BROKEN);
		number(1, n + 1);
		tick();
	}
}

/* Is the checkpoint that was written and closed as it was? */
static void look_at_closed(const char *path)
{
	char text[16] = "";
	int fd = open(path, O_RDONLY);
	if (fd < 0 || read(fd, text, sizeof text) != 6 || memcmp(text, "whole\n", 6))
		exit(BROKEN);
	close(fd);
}

/* Checkpoints as files, in the job's own directory: one is closed, one is being written. */
static void routed(void)
{
	const char *whole = "/run/cpagent/job/files/closed";
	int fd = open(whole, O_WRONLY | O_CREAT | O_EXCL, 0640);
	if (fd < 0 || write(fd, "whole\n", 6) != 6)
		exit(BROKEN);
	close(fd);
	fd = open("/run/cpagent/job/files/x.part", O_RDWR | O_CREAT | O_EXCL, 0600);
	for (unsigned n = 0, seen = 0;; n++) {
		look_at_closed(whole);
		if (n && (pread(fd, &seen, sizeof seen, 0) != sizeof seen || seen != n - 1))
			exit(BROKEN);
		if (pwrite(fd, &n, sizeof n, 0) != sizeof n || lseek(fd, 0, SEEK_END) != sizeof n)
			exit(BROKEN);
		number(1, n + 1);
		tick();
	}
}

/* Children that count in memory they share with their parent. */
static void tree(int children)
{
	_Atomic unsigned *shared = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (int i = 1; i <= children; i++) {
		if (fork())
			continue;
		for (unsigned n = 0;; n++, tick())
			if (atomic_fetch_add(&shared[i * 1024], 1) != n)
				exit(BROKEN);
	}
	unsigned before = 0;
	for (unsigned n = 1;; n++, tick()) {
		unsigned now = shared[1024];
		if (now < before || waitpid(-1, NULL, WNOHANG) > 0)
			exit(BROKEN);
		before = now;
		number(1, n);
	}
}

/* MIB of touched memory, each page with its own number, read back all the time. */
static void memory(size_t mib)
{
	size_t pages = mib << 8;
	uint64_t *m = mmap(NULL, pages << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (size_t i = 0; i < pages; i++)
		m[i << 9] = i * 2654435761u;
	size_t at = 0;
	for (unsigned n = 1;; n++, tick()) {
		for (size_t k = 0; k < 2000; k++, at = (at + 1) % pages)
			if (m[at << 9] != at * 2654435761u)
				exit(BROKEN);
		number(1, n);
	}
}

static int64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* MIB of touched memory; looks at the clock all the time and prints every gap of a millisecond and more. */
static void clock_gaps(size_t mib)
{
	char *m = malloc(mib << 20);
	for (size_t i = 0; i < mib << 20; i += 4096)
		m[i] = (char)(i >> 12) + 1;
	number(1, 0);
	for (int64_t before = now_ns(), now; ; before = now) {
		now = now_ns();
		if (now - before >= 1000000) {
			number(1, (unsigned)((now - before) / 1000));
			now = now_ns();
		}
	}
}

static void connected(int port)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(fd, (struct sockaddr *)&to, sizeof to))
		exit(BROKEN);
}

static void connected_unix(const char *path)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	memcpy(to.sun_path, path, strnlen(path, sizeof to.sun_path - 1));
	if (connect(fd, (struct sockaddr *)&to, sizeof to))
		exit(BROKEN);
}

static void bound_to_one_cpu(void)
{
	unsigned long mask[16] = {1};
	if (syscall(SYS_sched_setaffinity, 0, sizeof mask, mask))
		exit(BROKEN);
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	const char *arg = argc > 2 ? argv[2] : NULL;
	if (!strcmp(mode, "lines"))
		lines(arg, 0);
	if (!strcmp(mode, "append"))
		lines(arg, O_APPEND);
	if (!strcmp(mode, "in-place"))
		agree(arg, 0);
	if (!strcmp(mode, "mapped"))
		agree(arg, 1);
	if (!strcmp(mode, "unlinked"))
		unlinked(arg);
	if (!strcmp(mode, "routed"))
		routed();
	if (!strcmp(mode, "tree"))
		tree(arg ? (int)strtol(arg, NULL, 10) : 1);
	if (!strcmp(mode, "memory"))
		memory(arg ? strtoul(arg, NULL, 10) : 1);
	if (!strcmp(mode, "clock"))
		clock_gaps(arg ? strtoul(arg, NULL, 10) : 1);
	if (!strcmp(mode, "connect"))
		connected(arg ? (int)strtol(arg, NULL, 10) : 0);
	if (!strcmp(mode, "connect-unix"))
		connected_unix(arg);
	if (!strcmp(mode, "one-cpu"))
		bound_to_one_cpu();
	if (!strcmp(mode, "device") && open(arg, O_RDONLY) < 0)
		exit(BROKEN);
	if (!strcmp(mode, "userfaultfd") && syscall(SYS_userfaultfd, 1 /* user mode only */) < 0)
		exit(BROKEN);
	lines(NULL, 0);
}
