/* Owns aligned text: cells are collected, then printed with every column as wide as its widest cell. */
#include "agent/cli/cli.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define CELL_MAX 512
#define GAP 2

static void add(struct cli_table *t, const char *text, const char *color)
{
	char **more_text = realloc(t->text, (t->cells + 1) * sizeof *t->text);
	const char **more_color = NULL;

	if (more_text) {
		t->text = more_text;
		more_color = realloc(t->color, (t->cells + 1) * sizeof *t->color);
	}
	if (more_color)
		t->color = more_color;
	if (!more_color || !(t->text[t->cells] = strdup(text))) {
		t->broken = true;
		return;
	}
	t->color[t->cells++] = color;
}

void cli_table_begin(struct cli_table *t, const char *header, ...)
{
	va_list ap;

	*t = (struct cli_table){ 0 };
	va_start(ap, header);
	for (; header; header = va_arg(ap, const char *))
		cli_table_column(t, header);
	va_end(ap);
}

void cli_table_column(struct cli_table *t, const char *header)
{
	add(t, header, "1");
	t->columns++;
}

static void add_v(struct cli_table *t, const char *color, const char *fmt, va_list ap)
{
	char raw[CELL_MAX], text[CELL_MAX];

	vsnprintf(raw, sizeof raw, fmt, ap);
	cli_safe(raw, text, sizeof text);
	add(t, *text ? text : "-", color);
}

void cli_cell(struct cli_table *t, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add_v(t, NULL, fmt, ap);
	va_end(ap);
}

void cli_cell_state(struct cli_table *t, const char *state)
{
	static const char *const colors[][2] = {
		{ "running", "32" },   { "up", "32" },     { "starting", "36" },
		{ "restoring", "36" }, { "frozen", "33" }, { "suspect", "33" },
		{ "failed", "31" },    { "lost", "31" },   { "down", "31" },
	};
	const char *color = NULL;
	char text[CELL_MAX];

	for (size_t i = 0; i < sizeof colors / sizeof *colors; i++)
		if (!strcmp(colors[i][0], state))
			color = colors[i][1];
	cli_safe(state, text, sizeof text);
	add(t, *text ? text : "-", color);
}

/* Columns on the screen, not bytes: continuation bytes of UTF-8 take none. */
static int width(const char *text)
{
	int n = 0;

	for (; *text; text++)
		n += (*text & 0xc0) != 0x80;
	return n;
}

static const char *shown(const struct cli_table *t, size_t cell)
{
	const char *text = t->text[cell];

	return cell < t->columns && *text == '>' ? text + 1 : text;
}

static void print_cell(const struct cli_table *t, size_t cell, int wide, FILE *out, bool color)
{
	size_t column = cell % t->columns;
	const char *text = shown(t, cell), *paint = color ? t->color[cell] : NULL;
	bool right = t->text[column][0] == '>', last = column + 1 == t->columns;
	int pad = wide - width(text);

	fprintf(out, "%*s%s%s%s%s%s", right ? pad : 0, "", paint ? "\033[" : "", paint ? paint : "",
	        paint ? "m" : "", text, paint ? "\033[0m" : "");
	if (last)
		fputc('\n', out);
	else
		fprintf(out, "%*s", (right ? 0 : pad) + GAP, "");
}

void cli_table_end(struct cli_table *t, FILE *out, bool color)
{
	int *wide = t->columns ? calloc(t->columns, sizeof *wide) : NULL;
	bool whole = wide && !t->broken && t->cells % t->columns == 0;

	for (size_t i = 0; whole && i < t->cells; i++)
		if (width(shown(t, i)) > wide[i % t->columns])
			wide[i % t->columns] = width(shown(t, i));
	for (size_t i = 0; whole && i < t->cells; i++)
		print_cell(t, i, wide[i % t->columns], out, color);
	for (size_t i = 0; i < t->cells; i++)
		free(t->text[i]);
	free(t->text);
	free(t->color);
	free(wide);
	*t = (struct cli_table){ 0 };
}
