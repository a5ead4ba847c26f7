/* Owns the cluster key's file: its one line, its permissions, its making. Called by cpagentd at its start and by
 * `cpagent keygen`. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/fs.h"
#include "lib/base/scoped.h"
#include "lib/wire/seal.h"

#define KEY_WORD "cpagent-key-1 "
#define KEY_DIGITS ((size_t)2 * SEAL_KEY_BYTES)
#define KEY_LINE (sizeof KEY_WORD - 1 + KEY_DIGITS)

void seal_key_wipe(struct seal_key *key)
{
	sodium_memzero(key, sizeof *key);
}

/* The file must be one that only we and root can have written, and nobody else can read. */
static int owner_check(const char *path, int fd, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(e, ERR_FAILED, "cluster key %s", path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_USAGE,
		               "cluster key %s: not a regular file; make one with `cpagent keygen FILE`", path);
	if (st.st_uid != geteuid() && st.st_uid != 0)
		return err_set(e, ERR_DENIED,
		               "cluster key %s: it belongs to uid %u, who could change it; run "
		               "`chown %u %s`",
		               path, st.st_uid, geteuid(), path);
	if (st.st_mode & 077)
		return err_set(e, ERR_DENIED,
		               "cluster key %s: other users may open it (mode %04o); run "
		               "`chmod 600 %s`",
		               path, (unsigned)st.st_mode & 07777, path);
	return 0;
}

/* One line and nothing else; the newline may be missing. */
static int line_parse(const char *path, const char *line, size_t len, struct seal_key *key, struct err *e)
{
	size_t got = 0;
	const char *end = NULL;

	if (len && line[len - 1] == '\n')
		len--;
	if (len == KEY_LINE && !memcmp(line, KEY_WORD, sizeof KEY_WORD - 1) &&
	    !sodium_hex2bin(key->bytes, sizeof key->bytes, line + sizeof KEY_WORD - 1, KEY_DIGITS, NULL, &got,
	                    &end) &&
	    got == sizeof key->bytes && end == line + len)
		return 0;
	seal_key_wipe(key);
	return err_set(e, ERR_USAGE,
	               "cluster key %s: not a key file (one line, `%s` and %zu hexadecimal digits); "
	               "make one with `cpagent keygen FILE`",
	               path, KEY_WORD, KEY_DIGITS);
}

int seal_key_load(const char *path, struct seal_key *key, struct err *e)
{
	char text[KEY_LINE + 2]; /* room for one byte too many, to see that there is one */
	size_t len = 0;
	/* not blocking: a fifo in its place must not hang the agent */
	scoped_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	memset(key, 0, sizeof *key);
	if (fd < 0 && errno == ENOENT)
		return err_set(e, ERR_NOT_FOUND,
		               "cluster key %s: no such file; make one with `cpagent keygen %s` and "
		               "copy it to every agent",
		               path, path);
	if (fd < 0)
		return err_sys(e, errno == EACCES ? ERR_DENIED : ERR_FAILED, "cluster key %s", path);
	int rc = owner_check(path, fd, e);

	if (rc)
		return rc;
	while (len < sizeof text) {
		ssize_t n = read(fd, text + len, sizeof text - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, ERR_FAILED, "cluster key %s", path);
		if (n == 0)
			break;
		len += (size_t)n;
	}
	rc = line_parse(path, text, len, key, e);
	sodium_memzero(text, sizeof text);
	return rc;
}

static void line_make(char line[KEY_LINE + 2])
{
	struct seal_key key;

	seal_random(key.bytes, sizeof key.bytes);
	memcpy(line, KEY_WORD, sizeof KEY_WORD - 1);
	sodium_bin2hex(line + sizeof KEY_WORD - 1, KEY_DIGITS + 1, key.bytes, sizeof key.bytes);
	line[KEY_LINE] = '\n';
	line[KEY_LINE + 1] = 0;
	seal_key_wipe(&key);
}

int seal_keygen(const char *path, struct err *e)
{
	char aside[FS_PATH_MAX], line[KEY_LINE + 2];

	if (strlen(path) + 8 > sizeof aside)
		return err_set(e, ERR_USAGE, "key file: the path is longer than %d bytes", FS_PATH_MAX - 8);
	fs_path(aside, "%s.XXXXXX", path);
	scoped_fd int fd = mkostemp(aside, O_CLOEXEC); /* mode 0600 from its first moment */

	if (fd < 0)
		return err_sys(e, errno == EACCES ? ERR_DENIED : ERR_FAILED, "cannot make a key beside %s", path);
	line_make(line);
	int rc = 0;

	/* link, unlike rename, refuses to replace what is there */
	if (fs_write_full(fd, line, KEY_LINE + 1) < 0 || fsync(fd) < 0)
		rc = err_sys(e, ERR_FAILED, "cannot write key file %s", path);
	else if (link(aside, path) < 0)
		rc = errno == EEXIST ? err_set(e, ERR_USAGE,
		                               "key file %s exists and is left as it is; name another file, or "
		                               "remove it first "
		                               "(agents with the old key then no longer understand new ones)",
		                               path)
		                     : err_sys(e, ERR_FAILED, "cannot make key file %s", path);
	unlink(aside);
	sodium_memzero(line, sizeof line);
	return rc;
}
