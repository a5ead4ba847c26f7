/* cpagent show: what is in an archive. It asks no agent. */
#include "agent/cli/cli.h"

#include "agent/cli/cli_archive.h"
#include "lib/base/clock.h"
#include "lib/base/units.h"

#define TEXT_MAX 256

static const char *const how[] = {
	[ARENA_PLAIN] = "", [ARENA_WHOLE] = "whole copy", [ARENA_DIRTY] = "dirty pages"
};

static json_t *vars_json(const struct archive_key *k)
{
	json_t *vars = json_array();

	for (size_t i = 0; i < k->n; i++)
		json_array_append_new(vars, json_pack("{s:s,s:s,s:I}", "name", k->vars[i].name, "type",
		                                      arena_type_name(k->vars[i].type), "count",
		                                      (json_int_t)k->vars[i].count));
	return vars;
}

static json_t *to_json(const char *file, const struct archive_info *info)
{
	json_t *keys = json_array();
	char when[CLOCK_TEXT_MAX];

	for (size_t i = 0; i < info->n; i++) {
		const struct archive_key *k = &info->keys[i];

		json_array_append_new(keys, json_pack("{s:s,s:I,s:I,s:s,s:I,s:s,s:o}", "key", k->key, "version",
		                                      (json_int_t)k->version, "bytes", (json_int_t)k->bytes,
		                                      "time", clock_text(k->time_ns, when), "incarnation",
		                                      (json_int_t)k->incarnation, "how", how[k->how], "vars",
		                                      vars_json(k)));
	}
	return json_pack("{s:s,s:s,s:s,s:s,s:s,s:b,s:I,s:o}", "file", file, "time",
	                 clock_text(info->time_ns, when), "program", info->program, "host", info->host, "job",
	                 info->job, "other_byte_order", info->swapped, "bytes", (json_int_t)info->bytes, "keys",
	                 keys);
}

static const char *vars_text(const struct archive_key *k, char *buf, size_t size)
{
	size_t n = 0;

	*buf = '\0';
	for (size_t i = 0; i < k->n && n < size; i++) {
		const struct archive_var *v = &k->vars[i];

		n += (size_t)snprintf(buf + n, size - n, "%s%s %s", i ? ", " : "", arena_type_name(v->type),
		                      v->name);
		if (v->count != 1 && n < size)
			n += (size_t)snprintf(buf + n, size - n, "[%llu]", (unsigned long long)v->count);
	}
	return buf;
}

static void to_text(const char *file, const struct archive_info *info, bool color)
{
	char text[TEXT_MAX], when[CLOCK_TEXT_MAX], size[UNITS_TEXT_MAX];
	struct cli_table t;

	printf("%s: %zu keys, %s, written %s", cli_safe(file, text, sizeof text), info->n,
	       units_size_text(info->bytes, size), clock_text(info->time_ns, when));
	if (*info->program)
		printf(" by %s", cli_safe(info->program, text, sizeof text));
	if (*info->job)
		printf(" (job %s)", cli_safe(info->job, text, sizeof text));
	if (*info->host)
		printf(" on %s", cli_safe(info->host, text, sizeof text));
	puts(info->swapped ? ", in the other byte order" : "");
	if (info->n == 0)
		return;
	cli_table_begin(&t, "KEY", ">VERSION", ">BYTES", "TIME", "VARIABLES", NULL);
	for (size_t i = 0; i < info->n; i++) {
		const struct archive_key *k = &info->keys[i];

		cli_cell(&t, "%s", k->key);
		cli_cell(&t, "%llu", (unsigned long long)k->version);
		cli_cell(&t, "%s", units_size_text(k->bytes, size));
		cli_cell(&t, "%s", clock_text(k->time_ns, when));
		cli_cell(&t, "%s", vars_text(k, text, sizeof text));
	}
	cli_table_end(&t, stdout, color);
}

static int show(struct cli *c, const struct cli_args *a)
{
	struct archive_in *in;
	struct err e = { 0 };
	int status = 0;

	if (cli_archive_open(&in, a->pos[0], "name an archive", &e) < 0)
		return cli_fail(&e);
	if (c->json) {
		json_t *doc = to_json(a->pos[0], archive_in_info(in));

		status = cli_print_json(doc);
		json_decref(doc);
	} else {
		to_text(a->pos[0], archive_in_info(in), c->color);
	}
	archive_in_close(in);
	return status;
}

const struct cli_command cli_cmd_show = {
	.name = "show",
	.args = "FILE",
	.summary = "list what is in an archive",
	.example = "cpagent show heat.tar.zst",
	.min = 1,
	.max = 1,
	.fn = show,
};
