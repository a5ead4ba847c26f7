/* Owns how durations and sizes are written, both ways. */
#include "lib/base/units.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/err.h"

/* A non-negative decimal number without sign, exponent or hex; *rest is what follows it. */
static int number(const char *text, double *v, const char **rest)
{
	if (!isdigit((unsigned char)text[0]) && text[0] != '.')
		return ERR_USAGE;
	size_t n = strspn(text, "0123456789.");
	char digits[32], *end;
	if (n >= sizeof digits)
		return ERR_USAGE;
	memcpy(digits, text, n);
	digits[n] = '\0';
	*v = strtod(digits, &end);
	*rest = text + n;
	return *end || end == digits ? ERR_USAGE : 0;
}

int units_duration(const char *text, int64_t *ns)
{
	static const struct { const char *unit; double ns; } units[] = {
		{ "", 1e9 }, { "s", 1e9 }, { "ms", 1e6 }, { "us", 1e3 }, { "ns", 1 },
		{ "m", 60e9 }, { "h", 3600e9 }, { "d", 86400e9 },
	};
	double v;
	const char *rest;
	if (number(text, &v, &rest) < 0)
		return ERR_USAGE;
	for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
		if (strcmp(rest, units[i].unit) != 0)
			continue;
		if (v * units[i].ns > 3650.0 * 86400e9)
			return ERR_USAGE;
		*ns = (int64_t)(v * units[i].ns);
		return 0;
	}
	return ERR_USAGE;
}

int units_size(const char *text, uint64_t *bytes)
{
	double v;
	const char *rest;
	if (number(text, &v, &rest) < 0)
		return ERR_USAGE;
	static const char letters[] = "KMGT";
	const char *at = *rest ? strchr(letters, toupper((unsigned char)*rest)) : NULL;
	if (at) {
		v = ldexp(v, 10 * (int)(at - letters + 1));
		rest++;
		if (*rest == 'i' && rest[1] == 'B')
			rest++;
	}
	if (*rest == 'B')
		rest++;
	if (*rest || v >= ldexp(1, 63))
		return ERR_USAGE;
	*bytes = (uint64_t)v;
	return 0;
}

const char *units_size_text(uint64_t bytes, char *buf)
{
	static const char *const names[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	size_t i = 0;
	double v = (double)bytes;
	for (; v >= 1024 && i + 1 < sizeof names / sizeof *names; i++)
		v /= 1024;
	snprintf(buf, UNITS_TEXT_MAX, i && v < 100 ? "%.1f %s" : "%.0f %s", v, names[i]);
	return buf;
}

const char *units_duration_text(double s, char *buf)
{
	unsigned long whole = s < 0 ? 0 : (unsigned long)s;
	if (s < 1e-3)
		snprintf(buf, UNITS_TEXT_MAX, "%.0f us", s * 1e6);
	else if (s < 1)
		snprintf(buf, UNITS_TEXT_MAX, "%.0f ms", s * 1e3);
	else if (s < 60)
		snprintf(buf, UNITS_TEXT_MAX, "%.1f s", s);
	else if (s < 3600)
		snprintf(buf, UNITS_TEXT_MAX, "%lu m %lu s", whole / 60, whole % 60);
	else
		snprintf(buf, UNITS_TEXT_MAX, "%lu h %lu m", whole / 3600, whole / 60 % 60);
	return buf;
}
