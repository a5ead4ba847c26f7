/* cpagent doctor: is this machine fit for an agent, and if not, what to do. Each check looks at one thing and adds
 * one finding; nothing is changed. */
#include "agent/cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/config.h"
#include "agent/ports/criu.h"
#include "agent/ports/procevents.h"
#include "lib/base/scoped.h"
#include "lib/base/units.h"
#include "lib/wire/seal.h"

#ifndef UFFD_USER_MODE_ONLY /* Linux 5.11 */
#define UFFD_USER_MODE_ONLY 1
#endif
#define TMPFS 0x01021994
#define CGROUP2 0x63677270
#define RUN_FREE_MIN ((uint64_t)256 << 20)
enum { CAP_ADMIN = 21, CAP_RESOURCE = 24 };

struct doctor {
	struct cli *cli;
	json_t *checks;
	bool failed;
	char *key; /* from the configuration; NULL: none */
	char *criu;
};

enum result { FINE, WARN, FAIL };

/* text: "what it is; what to do" */
static void found(struct doctor *d, enum result r, const char *check, const char *fmt, ...)
        __attribute__((format(printf, 4, 5)));

static void found(struct doctor *d, enum result r, const char *check, const char *fmt, ...)
{
	static const char *const words[] = { "ok", "warn", "fail" };
	char text[ERR_TEXT_MAX], *advice;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	advice = r == FINE ? NULL : strstr(text, "; ");
	if (advice) {
		*advice = '\0';
		advice += 2;
	}
	d->failed |= r == FAIL;
	json_array_append_new(d->checks, json_pack("{s:s,s:s,s:s,s:s*}", "check", check, "result", words[r],
	                                           "detail", text, "advice", advice));
}

static void check_config(struct doctor *d, const char *file)
{
	char *argv[] = { (char *)(uintptr_t) "cpagentd", (char *)(uintptr_t) "-c", (char *)(uintptr_t)file, NULL };
	struct config cfg;
	struct err e = { 0 };

	if (config_load(file ? 3 : 1, argv, &cfg, &e)) {
		found(d, FAIL, "configuration", "%s", e.text);
		return;
	}
	found(d, FINE, "configuration", "%s", cfg.file ? cfg.file : "no file; defaults and options");
	d->key = cfg.key ? strdup(cfg.key) : NULL;
	d->criu = cfg.criu ? strdup(cfg.criu) : NULL;
	config_free(&cfg);
}

static void check_kernel(struct doctor *d)
{
	struct utsname u;
	char *end;
	long major, minor;

	if (uname(&u))
		return;
	major = strtol(u.release, &end, 10);
	minor = *end == '.' ? strtol(end + 1, NULL, 10) : 0;
	if (major < 5 || (major == 5 && minor < 14))
		found(d, FAIL, "kernel", "Linux %s lacks cgroup.kill; 5.14 or later is needed", u.release);
	else if (major < 6 || (major == 6 && minor < 7))
		found(d, WARN, "kernel",
		      "Linux %s tells no dirty pages; with 6.7 or later, protected regions cost only "
		      "what changed",
		      u.release);
	else
		found(d, FINE, "kernel", "Linux %s", u.release);
}

static uint64_t capabilities(void)
{
	scoped_free char *text = NULL;
	size_t len;
	char *line;

	if (fs_read("/proc/self/status", 1 << 16, &text, &len, NULL))
		return 0;
	line = strstr(text, "\nCapEff:");
	return line ? strtoull(line + 8, NULL, 16) : 0;
}

static void check_privilege(struct doctor *d)
{
	uint64_t caps = capabilities();

	if (geteuid() != 0)
		found(d, WARN, "privilege",
		      "this is uid %u; an agent that starts jobs and takes snapshots runs as root", geteuid());
	else if (!(caps >> CAP_ADMIN & 1))
		found(d, FAIL, "privilege",
		      "root lacks CAP_SYS_ADMIN; namespaces and CRIU need it, so give it to this "
		      "container");
	else if (!(caps >> CAP_RESOURCE & 1))
		found(d, WARN, "privilege",
		      "root lacks CAP_SYS_RESOURCE; CRIU needs it for jobs of other users, so give "
		      "it to this container");
	else
		found(d, FINE, "privilege", "root with CAP_SYS_ADMIN and CAP_SYS_RESOURCE");
}

static void check_criu(struct doctor *d)
{
	char path[FS_PATH_MAX];
	struct err e = { 0 };
	int v = 0;

	if (criu_find(d->criu, path, &e) || criu_version(path, &v, &e))
		found(d, FAIL, "criu", "%s", e.text);
	else
		found(d, FINE, "criu", "%s, version %d.%d.%d", path, v / 10000, v / 100 % 100, v % 100);
}

static void check_cgroups(struct doctor *d)
{
	static const char *const mounts[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" };
	struct statfs fs;

	for (size_t i = 0; i < sizeof mounts / sizeof *mounts; i++) {
		if (statfs(mounts[i], &fs) || fs.f_type != CGROUP2)
			continue;
		if (geteuid() == 0 && access(mounts[i], W_OK))
			found(d, FAIL, "cgroups", "%s is read-only; mount cgroup2 writable for the agent",
			      mounts[i]);
		else
			found(d, FINE, "cgroups", "version 2 at %s", mounts[i]);
		return;
	}
	found(d, FAIL, "cgroups",
	      "no cgroup2 is mounted; mount it at /sys/fs/cgroup/unified or boot with "
	      "systemd.unified_cgroup_hierarchy=1");
}

static void check_namespaces(struct doctor *d)
{
	int status = -1;
	pid_t child;

	if (geteuid() != 0) {
		found(d, WARN, "namespaces", "not tried; run this as root");
		return;
	}
	child = fork();
	if (child == 0)
		_exit(unshare(CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS) ? 1 : 0);
	if (child > 0 && waitpid(child, &status, 0) == child && status == 0)
		found(d, FINE, "namespaces", "pid, mount, ipc and uts");
	else
		found(d, FAIL, "namespaces",
		      "the kernel gives none; allow pid, mount, ipc and uts namespaces here");
}

/* The runtime directory, or the nearest one above it that is there. */
static void check_run(struct doctor *d)
{
	char path[FS_PATH_MAX], text[UNITS_TEXT_MAX];
	struct statfs fs;
	uint64_t room;

	fs_path(path, "%s", d->cli->run);
	while (statfs(path, &fs)) {
		char *slash = strrchr(path, '/');

		if (!slash || slash == path) {
			found(d, FAIL, "runtime directory", "%s has no place; name another with --run",
			      d->cli->run);
			return;
		}
		*slash = '\0';
	}
	room = (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize;
	units_size_text(room, text);
	if (fs.f_type != TMPFS)
		found(d, WARN, "runtime directory",
		      "%s is not in memory; with a tmpfs, snapshots freeze jobs for less long", d->cli->run);
	else if (room < RUN_FREE_MIN)
		found(d, WARN, "runtime directory",
		      "%s has %s left; level 1 lives there, so enlarge it (mount -o "
		      "remount,size=…)",
		      d->cli->run, text);
	else
		found(d, FINE, "runtime directory", "%s, in memory, %s free", d->cli->run, text);
}

static void check_userfaultfd(struct doctor *d)
{
	long fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);

	if (fd < 0) {
		found(d, WARN, "userfaultfd", "%s; without it, protected regions are copied whole",
		      strerror(errno));
		return;
	}
	close((int)fd);
	found(d, FINE, "userfaultfd", "available");
}

static void ignore_event(void *ctx, const struct procevent *ev)
{
	(void)ctx, (void)ev;
}

static void check_events(struct doctor *d)
{
	struct procevents *p = NULL;
	struct err e = { 0 };

	if (procevents_open(&p, PROCEVENT_EXIT, ignore_event, NULL, &e))
		found(d, WARN, "process events", "%s", e.text);
	else
		found(d, FINE, "process events", "the kernel's process connector answers");
	procevents_close(&p);
}

static void check_key(struct doctor *d, const char *file)
{
	struct seal_key key;
	struct err e = { 0 };

	if (!file)
		file = d->key;
	if (!file)
		found(d, WARN, "cluster key",
		      "none is configured; one agent alone needs none, more share one: cpagent keygen "
		      "FILE");
	else if (seal_key_load(file, &key, &e))
		found(d, FAIL, "cluster key", "%s", e.text);
	else
		found(d, FINE, "cluster key", "%s", file);
	seal_key_wipe(&key);
}

static void check_agent(struct doctor *d)
{
	struct cli_answer a;
	struct err e = { 0 };

	if (cli_call(d->cli, json_pack("{s:s}", "verb", "status"), NULL, 0, 5, &a, &e))
		found(d, WARN, "agent", "%s", e.text);
	else
		found(d, FINE, "agent", "answers at %s/control.sock", d->cli->run);
	cli_answer_free(&a);
}

static void show(const struct doctor *d)
{
	const json_t *f;
	size_t i;

	json_array_foreach(d->checks, i, f)
	{
		const char *result = json_string_value(json_object_get(f, "result"));
		const char *advice = json_string_value(json_object_get(f, "advice"));
		const char *color = !d->cli->color   ? ""
		                    : *result == 'o' ? "\033[32m"
		                    : *result == 'w' ? "\033[33m"
		                                     : "\033[31m";
		char text[ERR_TEXT_MAX];

		printf("%s%-4s%s  %s: %s", color, result, *color ? "\033[0m" : "",
		       json_string_value(json_object_get(f, "check")),
		       cli_safe(json_string_value(json_object_get(f, "detail")), text, sizeof text));
		if (advice)
			printf(" — %s", cli_safe(advice, text, sizeof text));
		putchar('\n');
	}
}

static const struct cli_option options[] = {
	{ "config", 'c', "FILE", "the configuration file of the agent (" CONFIG_DEFAULT_FILE ")" },
	{ "key", 0, "FILE", "the cluster key (the configured one)" },
	{ 0 },
};

static int doctor(struct cli *c, const struct cli_args *a)
{
	struct doctor d = { .cli = c, .checks = json_array() };
	json_t *doc;

	check_config(&d, cli_opt(a, "config"));
	check_kernel(&d);
	check_privilege(&d);
	check_criu(&d);
	check_cgroups(&d);
	check_namespaces(&d);
	check_run(&d);
	check_userfaultfd(&d);
	check_events(&d);
	check_key(&d, cli_opt(a, "key"));
	check_agent(&d);
	doc = json_pack("{s:O,s:b}", "checks", d.checks, "fit", !d.failed);
	if (c->json)
		cli_print_json(doc);
	else
		show(&d);
	json_decref(doc);
	json_decref(d.checks);
	free(d.key);
	free(d.criu);
	return d.failed ? 1 : 0;
}

const struct cli_command cli_cmd_doctor = {
	.name = "doctor",
	.args = "",
	.summary = "check this machine and say what to do",
	.example = "sudo cpagent doctor",
	.options = options,
	.fn = doctor,
};
