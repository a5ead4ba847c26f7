/* CRIU's own words: the reason in its log, the freeze in its statistics. */
#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/ports/criu.h"
#include "agent/ports/criu_rpc.pb-c.h"
#include "lib/base/scoped.h"

#define STATS_MAX 4096
#define STATS_HEADER 12 /* two magics and the length of the one message */

/* Lines that CRIU marks as errors in runs that succeed, or that only say that something was one. */
static bool is_harmless(const char *line)
{
	static const char *const noise[] = {"RLIMIT_NOFILE", "TCP_CORK", "TCP_NODELAY", "Dumping FAILED",
					    "Restoring FAILED"};
	for (size_t i = 0; i < sizeof noise / sizeof *noise; i++)
		if (strstr(line, noise[i]))
			return true;
	return false;
}

/* From "(00.012345)     42: Error (criu/files.c:12): Can't do it\n" the words of the error, or NULL. */
static char *error_words(char *line)
{
	char *at = strstr(line, "Error (");
	if (!at || is_harmless(line))
		return NULL;
	char *words = strstr(at, "): ");
	if (!words)
		return NULL;
	words += 3;
	while (isspace((unsigned char)*words))
		words++;
	words[strcspn(words, "\n")] = '\0';
	return *words ? words : NULL;
}

/* The first error names the cause; those that follow mostly say that something failed because of it. Two of them
 * read well together ("Can't lookup mount=40 for fd=3 path=/x; Can't dump file 3"). */
const char *criu_reason(int work_fd, const char *log_file, char *buf, size_t size)
{
	char line[1024];
	int found = 0;
	*buf = '\0';
	int fd = openat(work_fd, log_file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return buf;
	scoped_file FILE *f = fdopen(fd, "r");
	if (!f) {
		close(fd);
		return buf;
	}
	while (found < 2 && fgets(line, sizeof line, f)) {
		char *words = error_words(line);
		size_t used = strlen(buf);
		if (!words || (found && used + strlen(words) + 3 > size))
			continue;
		snprintf(buf + used, size - used, "%s%s", found ? "; " : "", words);
		found++;
	}
	for (char *c = buf; *c; c++)
		if (!isprint((unsigned char)*c) && (unsigned char)*c < 128)
			*c = ' ';
	return buf;
}

int64_t criu_frozen_ns(int work_fd)
{
	uint8_t buf[STATS_MAX];
	scoped_fd int fd = openat(work_fd, "stats-dump", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof buf);
	if (n < STATS_HEADER)
		return 0;
	uint32_t len;
	memcpy(&len, buf + 8, sizeof len);
	if (len > (size_t)n - STATS_HEADER)
		return 0;
	CriuImgStats *stats = criu_img_stats__unpack(NULL, len, buf + STATS_HEADER);
	int64_t us = 0;
	if (stats && stats->dump)
		us = (int64_t)stats->dump->freezing_time + stats->dump->frozen_time;
	if (stats)
		criu_img_stats__free_unpacked(stats, NULL);
	return us * 1000;
}
