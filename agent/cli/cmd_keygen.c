/* cpagent keygen: a cluster key. */
#include "agent/cli/cli.h"

#include "lib/wire/seal.h"

/* As seal_keygen() writes it into a file. */
static int print_key(void)
{
	struct seal_key key;

	seal_random(key.bytes, sizeof key.bytes);
	fputs("cpagent-key-1 ", stdout);
	for (size_t i = 0; i < sizeof key.bytes; i++)
		printf("%02x", key.bytes[i]);
	putchar('\n');
	seal_key_wipe(&key);
	return 0;
}

static int keygen(struct cli *c, const struct cli_args *a)
{
	struct err e = { 0 };

	(void)c;
	if (!a->n)
		return print_key();
	return seal_keygen(a->pos[0], &e) ? cli_fail(&e) : 0;
}

const struct cli_command cli_cmd_keygen = {
	.name = "keygen",
	.args = "[FILE]",
	.summary = "make a cluster key: into a new file of mode 0600, or to stdout",
	.example = "cpagent keygen /etc/cpagent/key",
	.max = 1,
	.fn = keygen,
};
