/* See resp.h. */
#include "tests/bench/resp.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

int resp_connect(const char *path)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(path) >= sizeof to.sun_path) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(to.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (const struct sockaddr *)&to, sizeof to) != 0) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static int send_all(int fd, struct iovec *part, int n)
{
	while (n) {
		ssize_t sent = writev(fd, part, n);

		if (sent < 0)
			return -1;
		for (; n && (size_t)sent >= part->iov_len; part++, n--)
			sent -= (ssize_t)part->iov_len;
		if (n) {
			part->iov_base = (char *)part->iov_base + sent;
			part->iov_len -= (size_t)sent;
		}
	}
	return 0;
}

/* One short answer, "+OK\r\n" or ":1\r\n"; it comes in one piece. */
static int answer(int fd)
{
	char line[64];
	ssize_t n = read(fd, line, sizeof line);

	return n > 2 && line[0] != '-' && line[n - 1] == '\n' ? 0 : -1;
}

int resp_set(int fd, const char *key, const void *value, size_t bytes)
{
	char head[128];
	int n = snprintf(head, sizeof head, "*3\r\n$3\r\nSET\r\n$%zu\r\n%s\r\n$%zu\r\n", strlen(key), key, bytes);
	struct iovec parts[3] = {{head, (size_t)n}, {(void *)(size_t)value, bytes}, {(void *)(size_t)"\r\n", 2}};

	if (n < 0 || (size_t)n >= sizeof head || send_all(fd, parts, 3) != 0)
		return -1;
	return answer(fd);
}

int resp_del(int fd, const char *key)
{
	char text[128];
	int n = snprintf(text, sizeof text, "*2\r\n$3\r\nDEL\r\n$%zu\r\n%s\r\n", strlen(key), key);
	struct iovec part = {text, (size_t)n};

	if (n < 0 || (size_t)n >= sizeof text || send_all(fd, &part, 1) != 0)
		return -1;
	return answer(fd);
}
