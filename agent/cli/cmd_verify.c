/* cpagent verify: is an archive whole? Every checksum, as before a load. It asks no agent. */
#include "agent/cli/cli.h"

#include "agent/cli/cli_archive.h"
#include "lib/base/units.h"

#define TEXT_MAX 256

static int verify(struct cli *c, const struct cli_args *a)
{
	const char *file = a->pos[0];
	char text[TEXT_MAX], size[UNITS_TEXT_MAX];
	const struct archive_info *info;
	struct archive_in *in;
	struct err e = { 0 };
	int status = 0, rc;

	if (cli_archive_open(&in, file, "name an archive: jobs cannot be verified in this version", &e) < 0)
		return cli_fail(&e);
	while ((rc = archive_in_next(in, NULL, &e)) > 0)
		;
	info = archive_in_info(in);
	if (rc < 0) {
		err_wrap(&e, "%s", file);
		cli_archive_advise(rc, &e);
		status = cli_fail(&e);
	} else if (c->json) {
		json_t *doc = json_pack("{s:s,s:b,s:I,s:I}", "file", file, "whole", 1, "keys", (json_int_t)info->n,
		                        "bytes", (json_int_t)info->bytes);

		status = cli_print_json(doc);
		json_decref(doc);
	} else {
		printf("%s: whole: %zu keys, %s\n", cli_safe(file, text, sizeof text), info->n,
		       units_size_text(info->bytes, size));
	}
	archive_in_close(in);
	return status;
}

const struct cli_command cli_cmd_verify = {
	.name = "verify",
	.args = "FILE",
	.summary = "check every checksum of an archive",
	.example = "cpagent verify heat.tar.zst",
	.min = 1,
	.max = 1,
	.fn = verify,
};
