/* Owns how cpagent speaks to people: errors, JSON, text that is safe for a terminal, ages. */
#include "agent/cli/cli.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/base/clock.h"
#include "lib/base/units.h"

int cli_fail(const struct err *e)
{
	char text[ERR_TEXT_MAX];

	fflush(stdout);
	fprintf(stderr, "cpagent: %s\n", cli_safe(e->text, text, sizeof text));
	return err_exit_status(e->code ? e->code : ERR_FAILED);
}

/* A full disk or a closed pipe behind stdout is a failure of the command, too. */
int cli_print_json(const json_t *doc)
{
	struct err e;

	if (json_dumpf(doc, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(15)) == 0 && fputc('\n', stdout) != EOF &&
	    fflush(stdout) == 0)
		return 0;
	err_sys(&e, ERR_FAILED, "stdout: cannot write");
	return cli_fail(&e);
}

const char *cli_safe(const char *text, char *buf, size_t size)
{
	size_t n = 0;

	for (; text && *text && n + 1 < size; text++)
		buf[n++] = (unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text;
	buf[n] = '\0';
	return buf;
}

const char *cli_ago(const char *rfc3339, char *buf, size_t size)
{
	char span[UNITS_TEXT_MAX];
	struct tm tm = { 0 };
	double seconds;

	if (!rfc3339 || !strptime(rfc3339, "%Y-%m-%dT%H:%M:%S", &tm)) {
		snprintf(buf, size, "-");
		return buf;
	}
	seconds = (double)clock_real_ns() / 1e9 - (double)timegm(&tm);
	if (seconds < 1)
		snprintf(buf, size, "now");
	else
		snprintf(buf, size, "%s ago", units_duration_text((double)(int64_t)seconds, span));
	return buf;
}
