/* Owns that the outputs of many jobs do not run into each other within a line. */
#include "agent/cli/cli.h"

#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES ((size_t)64 << 10)

static void keep(struct cli_lines *l, const uint8_t *data, size_t n, struct err *e)
{
	uint8_t *more = n && !e->code ? realloc(l->text, l->n + n) : NULL;

	if (!n || e->code)
		return;
	if (!more) {
		err_set(e, ERR_FAILED, "out of memory");
		return;
	}
	memcpy(more + l->n, data, n);
	l->text = more;
	l->n += n;
}

static void flush(struct cli_lines *l, int fd, struct err *e)
{
	if (l->n && !e->code && fs_write_full(fd, l->text, l->n))
		err_sys(e, ERR_FAILED, "%s: cannot write the jobs' output", fd == 1 ? "stdout" : "stderr");
	l->n = 0;
}

void cli_lines_put(struct cli_lines *l, int fd, const uint8_t *data, size_t n, struct err *e)
{
	const uint8_t *last = n ? memrchr(data, '\n', n) : NULL;
	size_t whole = last ? (size_t)(last - data) + 1 : 0;

	keep(l, data, whole, e);
	if (whole)
		flush(l, fd, e);
	keep(l, data + whole, n - whole, e);
	if (l->n > LINE_MAX_BYTES)
		flush(l, fd, e);
}

void cli_lines_end(struct cli_lines *l, int fd, struct err *e)
{
	if (l->n)
		keep(l, (const uint8_t *)"\n", 1, e);
	flush(l, fd, e);
}
