/* Which CRIU to use: asks candidates for their version over the RPC that will be used later. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/ports/criu.h"
#include "lib/base/clock.h"

#define ANSWER_NS (10 * NS_PER_S)

int criu_version(const char *path, int *version, struct err *e)
{
	struct criu c;
	struct criu_event ev;
	struct criu_start how = {.path = path, .page_sock = -1};
	int rc = criu_start(&c, &how, e);
	if (rc)
		return rc;
	rc = criu_request(&c, NULL, e);
	if (!rc)
		rc = criu_next(&c, clock_boot_ns() + ANSWER_NS, &ev, e);
	criu_close(&c, 0);
	if (rc || !ev.success || ev.version <= 0)
		return err_set(e, ERR_FAILED, "%s does not answer as CRIU does", path);
	*version = ev.version;
	return ERR_OK;
}

static int usable(const char *path, struct err *e)
{
	int version;
	int rc = criu_version(path, &version, e);
	if (rc)
		return rc;
	if (version < CRIU_VERSION_MIN)
		return err_set(e, ERR_FAILED, "%s is CRIU %d.%d; 4.2 or later is needed", path, version / 10000,
			       version / 100 % 100);
	return ERR_OK;
}

/* The first criu in $PATH. 0 or -1. */
static int in_path(char *path)
{
	const char *dir = getenv("PATH");
	while (dir && *dir) {
		size_t len = strcspn(dir, ":");
		if (len) {
			fs_path(path, "%.*s/criu", (int)len, dir);
			if (!access(path, X_OK))
				return 0;
		}
		dir += len;
		dir += *dir == ':';
	}
	return -1;
}

int criu_find(const char *configured, char *path, struct err *e)
{
	if (configured && *configured) {
		fs_path(path, "%s", configured);
		if (usable(path, e))
			return err_set(e, ERR_FAILED, "the configured CRIU cannot be used: %.900s", e ? e->text : "");
		return ERR_OK;
	}
	if (!in_path(path) && !usable(path, NULL))
		return ERR_OK;
	fs_path(path, "%s", CRIU_PRIVATE_PATH);
	if (!usable(path, NULL))
		return ERR_OK;
	return err_set(e, ERR_NOT_FOUND,
		       "no usable CRIU: neither $PATH nor %s has version 4.2 or later; run packaging/deps, or name "
		       "one with --criu", CRIU_PRIVATE_PATH);
}
