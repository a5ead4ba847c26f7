/* Owns the log line: composed in one buffer and written by one call, so that threads don't mix lines. */
#include "lib/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static const char *log_who = "cpagent";
static enum log_level log_threshold = LOG_EVENT_INFO;
static int log_to_journal;

void log_open(const char *who, enum log_level threshold)
{
	log_who = who;
	log_threshold = threshold;
	log_to_journal = getenv("JOURNAL_STREAM") != NULL;
}

static size_t prefix(char *buf, size_t max, enum log_level level)
{
	if (log_to_journal)
		return (size_t)snprintf(buf, max, "<%d>", (int)level);
	struct timespec now;
	struct tm tm;
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	size_t n = strftime(buf, max, "%Y-%m-%dT%H:%M:%S", &tm);
	return n + (size_t)snprintf(buf + n, max - n, ".%03ldZ ", now.tv_nsec / 1000000);
}

/* What an event quotes may come from a job: it is not to look like another event. */
static void one_line(char *text, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			text[i] = '?';
}

void log_event(enum log_level level, const char *event, const char *fmt, ...)
{
	if (level > log_threshold)
		return;
	int saved = errno;
	char line[2048];
	size_t max = sizeof line - 1, n = prefix(line, max, level);
	static const char *const names[] = { [LOG_EVENT_ERROR] = "error", [LOG_EVENT_WARN] = "warn",
					     [LOG_EVENT_INFO] = "info", [LOG_EVENT_DEBUG] = "debug" };
	n += (size_t)snprintf(line + n, max - n, "%s %s %s ", log_who, names[level], event);
	const size_t start = n < max ? n : max;
	va_list ap;
	va_start(ap, fmt);
	int more = n < max ? vsnprintf(line + n, max - n, fmt, ap) : 0;
	va_end(ap);
	n = more < 0 || n + (size_t)more >= max ? max - 1 : n + (size_t)more;
	one_line(line + start, n - start);
	line[n++] = '\n';
	if (write(STDERR_FILENO, line, n) < 0) { /* nobody is left to tell */
	}
	errno = saved;
}
