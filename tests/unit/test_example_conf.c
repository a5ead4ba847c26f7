/* The example configuration: cpagentd takes every line of it, and no key is left out. Run from the top. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/config.h"
#include "agent/config_key.h"
#include "tests/unit/harness.h"

#define EXAMPLE "packaging/cpagentd.conf.example"

static char path[] = "/tmp/example_conf.XXXXXX";

/* Write the example anew with every "#key = value" line in effect; count how often name is a key in it. */
static int take_hashes_away(const char *name)
{
	FILE *in = fopen(EXAMPLE, "re"), *out = fopen(path, "we");
	char line[512], key[64];
	int found = 0;

	CU_ASSERT_PTR_NOT_NULL_FATAL(in);
	CU_ASSERT_PTR_NOT_NULL_FATAL(out);
	while (fgets(line, sizeof line, in)) {
		bool is_key = sscanf(line, "#%63[a-z-] = ", key) == 1 && line[1] != ' ' && strstr(line, " = ");

		fputs(is_key ? line + 1 : line, out);
		found += is_key && name && !strcmp(key, name);
	}
	fclose(in);
	fclose(out);
	return found;
}

static void the_example_as_it_is_sets_nothing_wrong(void)
{
	char *argv[] = {"cpagentd", "-c", EXAMPLE, "--name", "n1", NULL};
	struct config c;
	struct err e = {0};

	CU_ASSERT_EQUAL(config_load(5, argv, &c, &e), 0);
	config_free(&c);
}

static void every_line_of_the_example_is_accepted(void)
{
	char *argv[] = {"cpagentd", "-c", path, NULL};
	struct config c;
	struct err e = {0};

	take_hashes_away(NULL);
	int rc = config_load(3, argv, &c, &e);

	if (rc)
		printf("  %s\n", e.text);
	CU_ASSERT_EQUAL_FATAL(rc, 0);
	CU_ASSERT_STRING_EQUAL(c.name, "n1");
	CU_ASSERT_EQUAL(c.listen.n, 1);
	CU_ASSERT_EQUAL(c.parents.n, 1);
	config_free(&c);
}

static void every_key_is_in_the_example_once(void)
{
	for (size_t i = 0; i < config_keys_n; i++) {
		int n = take_hashes_away(config_keys[i].name);

		if (n != 1)
			printf("  %s stands there %d times\n", config_keys[i].name, n);
		CU_ASSERT_EQUAL(n, 1);
	}
}

static const struct test tests[] = {
	{"the example as it is sets nothing wrong", the_example_as_it_is_sets_nothing_wrong},
	{"every line of the example is accepted", every_line_of_the_example_is_accepted},
	{"every key is in the example once", every_key_is_in_the_example_once},
};

int main(void)
{
	int fd = mkstemp(path);

	if (fd < 0)
		return 1;
	close(fd);
	int rc = harness_run("example configuration", tests, sizeof tests / sizeof *tests);

	unlink(path);
	return rc;
}
