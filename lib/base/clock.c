/* Owns the two clocks and how a time is written. */
#include "lib/base/clock.h"

#include <stdio.h>
#include <time.h>

static int64_t read_ns(clockid_t id)
{
	struct timespec t;
	clock_gettime(id, &t);
	return t.tv_sec * NS_PER_S + t.tv_nsec;
}

int64_t clock_boot_ns(void)
{
	return read_ns(CLOCK_BOOTTIME);
}

int64_t clock_real_ns(void)
{
	return read_ns(CLOCK_REALTIME);
}

const char *clock_text(int64_t real_ns, char *buf)
{
	time_t s = (time_t)(real_ns / NS_PER_S);
	struct tm tm;
	gmtime_r(&s, &tm);
	size_t n = strftime(buf, CLOCK_TEXT_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(buf + n, CLOCK_TEXT_MAX - n, ".%03dZ", (int)(real_ns % NS_PER_S / NS_PER_MS));
	return buf;
}
