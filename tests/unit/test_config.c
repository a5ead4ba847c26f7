/* Configuration: what is taken, which of file and command line wins, and what each mistake is answered with. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/config.h"
#include "agent/config_key.h"
#include "lib/base/clock.h"
#include "tests/unit/harness.h"

#define ARGS_MAX 24

static char path[64];

static void file(const char *text)
{
	int fd;

	snprintf(path, sizeof path, "/tmp/test_config.XXXXXX");
	fd = mkstemp(path);
	CU_ASSERT_FATAL(fd >= 0);
	CU_ASSERT_EQUAL_FATAL(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

/* Load with `cpagentd -c FILE ARGS…`; "" for FILE: an empty one. */
static int load(struct config *c, struct err *e, const char *text, const char *const *args)
{
	char *argv[ARGS_MAX] = { (char *)(uintptr_t) "cpagentd", (char *)(uintptr_t) "-c", path };
	int argc = 3, r;

	file(text);
	while (args && *args)
		argv[argc++] = (char *)(uintptr_t)*args++;
	r = config_load(argc, argv, c, e);
	unlink(path);
	return r;
}

#define ARGS(...) ((const char *const[]){ __VA_ARGS__, NULL })

/* The error for one mistake: its code, and that the sentence says so. */
static void refused(const char *text, const char *const *args, const char *says)
{
	struct config c;
	struct err e = { 0 };
	int r = load(&c, &e, text, args);

	CU_ASSERT_EQUAL(r, ERR_USAGE);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, says));
	if (r != ERR_USAGE || !strstr(e.text, says))
		printf("    %d '%s' lacks '%s'\n", r, e.text, says);
	if (!r)
		config_free(&c);
}

static void without_options_every_value_has_its_default(void)
{
	struct config c;
	struct err e = { 0 };

	CU_ASSERT_EQUAL_FATAL(load(&c, &e, "", ARGS("--name", "n1")), 0);
	CU_ASSERT_STRING_EQUAL(c.name, "n1");
	CU_ASSERT_EQUAL(c.level, 1);
	CU_ASSERT_EQUAL(c.listen.n, 0);
	CU_ASSERT_EQUAL(c.parents.n, 0);
	CU_ASSERT_PTR_NULL(c.key);
	CU_ASSERT_PTR_NULL(c.criu);
	CU_ASSERT_STRING_EQUAL(c.run, "/run/cpagent");
	CU_ASSERT_STRING_EQUAL(c.state, "/var/lib/cpagent");
	CU_ASSERT(c.memory > 1 << 20);
	CU_ASSERT_EQUAL(c.update_ns, 10 * NS_PER_S);
	CU_ASSERT_EQUAL(c.save_ns, 60 * NS_PER_S);
	CU_ASSERT_EQUAL(c.lease_ns, 10 * NS_PER_S);
	CU_ASSERT(c.automatic);
	CU_ASSERT(!c.verbose);
	CU_ASSERT_EQUAL(c.on_isolation, ISOLATION_FREEZE);
	config_free(&c);
	config_free(&c);
}

static void the_file_sets_every_key_and_lists_keep_their_order(void)
{
	struct config c;
	struct err e = { 0 };

	CU_ASSERT_EQUAL_FATAL(
	        load(&c, &e,
	             "# a comment\n\n  name = top # behind it\nlevel=2\nlisten = tcp://10.0.0.1:7400\n"
	             "listen = tcp://[fe80::1]:7400\nparent = tcp://a:1\nparent=tcp://b:65535\n"
	             "key = /etc/cp#key\nrun = /tmp/r//\nstate = rel\nmemory = 2G\nupdate = 250ms\r\n"
	             "save = 0\nauto = off\nlease = 2s\non-isolation = run\nscheme = copy\n"
	             "registry = local\nmetrics = off\ncriu = /opt/criu\nverbose = on",
	             NULL),
	        0);
	CU_ASSERT_STRING_EQUAL(c.name, "top");
	CU_ASSERT_EQUAL(c.level, 2);
	CU_ASSERT_EQUAL_FATAL(c.listen.n, 2);
	CU_ASSERT_STRING_EQUAL(c.listen.item[1], "tcp://[fe80::1]:7400");
	CU_ASSERT_EQUAL_FATAL(c.parents.n, 2);
	CU_ASSERT_STRING_EQUAL(c.parents.item[0], "tcp://a:1");
	CU_ASSERT_STRING_EQUAL(c.key, "/etc/cp#key");
	CU_ASSERT_STRING_EQUAL(c.run, "/tmp/r");
	CU_ASSERT_EQUAL(c.state[0], '/');
	CU_ASSERT_EQUAL(c.memory, UINT64_C(2) << 30);
	CU_ASSERT_EQUAL(c.update_ns, 250 * NS_PER_MS);
	CU_ASSERT_EQUAL(c.save_ns, 0);
	CU_ASSERT(!c.automatic);
	CU_ASSERT_EQUAL(c.lease_ns, 2 * NS_PER_S);
	CU_ASSERT_EQUAL(c.on_isolation, ISOLATION_RUN);
	CU_ASSERT_STRING_EQUAL(c.criu, "/opt/criu");
	CU_ASSERT(c.verbose);
	CU_ASSERT_PTR_NOT_NULL(c.file);
	config_free(&c);
}

static void the_command_line_wins_and_its_lists_replace_the_files(void)
{
	struct config c;
	struct err e = { 0 };

	CU_ASSERT_EQUAL_FATAL(
	        load(&c, &e, "name=a\nlease=5s\nparent=tcp://a:1\nparent=tcp://b:1\nkey=/k\n",
	             ARGS("--name", "b", "--parent", "tcp://c:1", "--parent=tcp://d:1", "--verbose")),
	        0);
	CU_ASSERT_STRING_EQUAL(c.name, "b");
	CU_ASSERT_EQUAL(c.lease_ns, 5 * NS_PER_S);
	CU_ASSERT_EQUAL_FATAL(c.parents.n, 2);
	CU_ASSERT_STRING_EQUAL(c.parents.item[0], "tcp://c:1");
	CU_ASSERT_STRING_EQUAL(c.parents.item[1], "tcp://d:1");
	CU_ASSERT(c.verbose);
	config_free(&c);
}

static void loading_again_with_the_same_argv_gives_the_same(void)
{
	char *argv[] = { (char *)(uintptr_t) "cpagentd", (char *)(uintptr_t) "--name", (char *)(uintptr_t) "x",
		         NULL };
	struct config a, b;
	struct err e = { 0 };

	CU_ASSERT_EQUAL_FATAL(config_load(3, argv, &a, &e), 0);
	CU_ASSERT_EQUAL_FATAL(config_load(3, argv, &b, &e), 0);
	CU_ASSERT_STRING_EQUAL(a.name, b.name);
	config_free(&a);
	config_free(&b);
}

static void a_mistake_in_the_file_is_named_with_its_line(void)
{
	refused("name = a\nlevle = 1\n", NULL, ":2: 'levle' is not a key");
	refused("\n\nname\n", NULL, ":3: 'name' is not `key = value`");
	refused("lease = soon\n", NULL, ":1: lease: 'soon' is not a duration");
	refused("memory =\n", NULL, ":1: memory: '' is not a budget");
	refused("name=a\nname=b\n", NULL, ":2: 'name' stands here a second time");
	refused("auto = yes\n", NULL, ":1: auto: 'yes' is neither");
	refused("= 3\n", NULL, ":1: '' is not a key");
}

static void a_wrong_value_on_the_command_line_is_named_with_its_option(void)
{
	refused("", ARGS("--level", "0"), "--level: '0' is not a level");
	refused("", ARGS("--level", "1x"), "--level: '1x'");
	refused("", ARGS("--level", "-1"), "--level: '-1'");
	refused("", ARGS("--name", "a/b"), "--name: 'a/b' is not a name");
	refused("", ARGS("--name", ".."), "--name: '..'");
	refused("", ARGS("--name", ""), "--name: ''");
	refused("", ARGS("--memory", "64"), "--memory: '64'");
	refused("", ARGS("--lease", "0"), "--lease: '0' is out of bounds");
	refused("", ARGS("--lease", "2w"), "--lease: '2w' is not a duration");
	refused("", ARGS("--update", "-1s"), "--update: '-1s'");
	refused("", ARGS("--update", "1ms"), "out of bounds; 0 (off) or from");
	refused("", ARGS("--on-isolation", "stop"), "--on-isolation: 'stop'");
	refused("", ARGS("--run", ""), "--run: the path is empty");
	refused("", ARGS("--run", "/x", "--state", "/x/"), "--state: '/x' is the runtime directory");
	refused("", ARGS("--frobnicate"), "--frobnicate: no such option");
	refused("", ARGS("-x"), "-x: no such option");
	refused("", ARGS("--name"), "--name: it needs a value");
	refused("", ARGS("stray"), "'stray': it is not an option");
}

static void addresses_are_checked(void)
{
	static const char *const bad[] = { "localhost:1",  "tcp://",          "tcp://a",       "tcp://a:",
		                           "tcp://:7",     "tcp://a:0",       "tcp://a:65536", "tcp://a:7x",
		                           "ipc:///tmp/x", "tcp://fe80::1:7", "tcp://a b:7",   "tcp://a:7/x" };
	struct config c;
	struct err e = { 0 };

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		refused("", ARGS("--key", "/k", "--parent", bad[i]), "is not an address");
		refused("", ARGS("--key", "/k", "--listen", bad[i]), "is not an address");
	}
	refused("", ARGS("--key", "/k", "--listen", "tcp://0.0.0.0:7"), "cannot reach a wildcard");
	refused("", ARGS("--key", "/k", "--listen", "tcp://*:7"), "cannot reach a wildcard");
	CU_ASSERT_EQUAL(load(&c, &e, "", ARGS("--name", "n", "--key", "/k", "--listen", "tcp://h-1.example:7400")),
	                0);
	config_free(&c);
}

static void what_needs_another_option_says_which(void)
{
	refused("", ARGS("--parent", "tcp://a:1"), "--key: talking to other agents needs the cluster key");
	refused("", ARGS("--listen", "tcp://a:1"), "--key:");
	refused("", ARGS("--level", "2", "--key", "/k"), "--listen: an agent of level 2");
	refused("", ARGS("--level", "2", "--listen", "tcp://a:1"), "--key:");
}

static void what_this_version_lacks_is_refused_not_ignored(void)
{
	refused("", ARGS("--scheme", "rs:4+2"), "--scheme: 'rs:4+2' is not available in this version");
	refused("scheme = xor\n", NULL, "not available in this version");
	refused("", ARGS("--registry", "etcd:http://a"), "--registry: 'etcd:http://a' is not available");
	refused("", ARGS("--metrics", "0.0.0.0:9100"), "not available in this version");
}

static void a_named_file_must_be_there_and_readable(void)
{
	char *argv[] = { (char *)(uintptr_t) "cpagentd", (char *)(uintptr_t) "-c",
		         (char *)(uintptr_t) "/nonexistent/c", NULL };
	char *dir[] = { (char *)(uintptr_t) "cpagentd", (char *)(uintptr_t) "-c", (char *)(uintptr_t) "/tmp",
		        NULL };
	struct config c;
	struct err e = { 0 };

	CU_ASSERT_EQUAL(config_load(3, argv, &c, &e), ERR_NOT_FOUND);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, "/nonexistent/c"));
	CU_ASSERT_EQUAL(config_load(3, dir, &c, &e), ERR_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, "/tmp"));
}

static void seeded_garbage_in_the_file_is_an_error_or_a_configuration(void)
{
	static const char *const bits[] = { "name",   "=",     " ",  "#",    "\n", "listen",
		                            "tcp://", "lease", "5s", "\x01", "é",  "'" };
	unsigned seed = 12;

	for (int i = 0; i < 2000; i++) {
		char text[200] = "";
		struct config c;
		struct err e = { 0 };
		size_t n = 0;

		while (n < 150 && rand_r(&seed) % 12)
			n += (size_t)snprintf(text + n, sizeof text - n, "%s",
			                      bits[(size_t)rand_r(&seed) % (sizeof bits / sizeof *bits)]);
		if (load(&c, &e, text, ARGS("--name", "n")) == 0)
			config_free(&c);
		else
			CU_ASSERT(e.text[0] != '\0');
	}
}

static const struct test tests[] = {
	{ "without options, every value has its default", without_options_every_value_has_its_default },
	{ "the file sets every key, and lists keep their order",
	  the_file_sets_every_key_and_lists_keep_their_order },
	{ "the command line wins, and its lists replace the file's",
	  the_command_line_wins_and_its_lists_replace_the_files },
	{ "loading again with the same argv gives the same", loading_again_with_the_same_argv_gives_the_same },
	{ "a mistake in the file is named with its line", a_mistake_in_the_file_is_named_with_its_line },
	{ "a wrong value on the command line is named with its option",
	  a_wrong_value_on_the_command_line_is_named_with_its_option },
	{ "addresses are checked", addresses_are_checked },
	{ "what needs another option says which", what_needs_another_option_says_which },
	{ "what this version lacks is refused, not ignored", what_this_version_lacks_is_refused_not_ignored },
	{ "a named file must be there, and readable", a_named_file_must_be_there_and_readable },
	{ "seeded garbage in the file is an error or a configuration",
	  seeded_garbage_in_the_file_is_an_error_or_a_configuration },
};

int main(void)
{
	return harness_run("config", tests, sizeof tests / sizeof *tests);
}
