/* Codes and sentences: what lib/arena and the system return becomes a cpa_error, and the sentence about it is kept
 * for the thread that got it. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "hooks/internal.h"

/* There from each thread's beginning, also in a library that was loaded late: cpa_on_term() lets calls be made from
 * signal handlers, where nothing may be allocated. */
static _Thread_local __attribute__((tls_model("initial-exec"))) struct {
	int code;
	char text[512];
} last;

static const char *const texts[] = {
	[-CPA_OK] = "done",
	[-CPA_ERR_ARG] = "an argument is missing or out of bounds",
	[-CPA_ERR_KEY] = "there is no checkpoint under that key",
	[-CPA_ERR_VAR] = "a variable differs from the checkpoint in type or count",
	[-CPA_ERR_FULL] = "the arena's budget is spent, or the memory behind it; the version before stands; "
			   "forget keys, or begin with a larger arena (cpagent run --arena, cpa_open_named())",
	[-CPA_ERR_CORRUPT] = "no version of the key is whole",
	[-CPA_ERR_BROKEN] = "the arena is damaged, or the file is no arena",
	[-CPA_ERR_FORMAT] = "the arena was made by another version of the library",
	[-CPA_ERR_LEVEL] = "that level does not hold it, or no agent is there to carry it; start the program with "
			    "cpagent run",
	[-CPA_ERR_TIMEOUT] = "it did not happen in time",
	[-CPA_ERR_BUSY] = "the key is being written by the code that this call interrupted",
	[-CPA_ERR_DENIED] = "not permitted: the arena may only be read, or belongs to another user",
	[-CPA_ERR_MEMORY] = "out of memory",
	[-CPA_ERR_SYSTEM] = "the system refused it",
	[-CPA_ERR_REGION] = "a protected region was moved or freed, or there is none of that name",
};

int fail(int code, const char *fmt, ...)
{
	va_list ap;

	last.code = code;
	va_start(ap, fmt);
	vsnprintf(last.text, sizeof last.text, fmt, ap);
	va_end(ap);
	return code;
}

static int code_of(int rc)
{
	switch (rc) {
	case -ENOENT:
		return CPA_ERR_KEY;
	case -EINVAL:
		return CPA_ERR_ARG;
	case -EMEDIUMTYPE:
		return CPA_ERR_VAR;
	case -ENOSPC:
		return CPA_ERR_FULL;
	case -EBADMSG:
		return CPA_ERR_CORRUPT;
	case -EPROTO:
		return CPA_ERR_BROKEN;
	case -EPROTONOSUPPORT:
		return CPA_ERR_FORMAT;
	case -ENOTCONN:
		return CPA_ERR_LEVEL;
	case -ETIMEDOUT:
		return CPA_ERR_TIMEOUT;
	case -EDEADLK:
		return CPA_ERR_BUSY;
	case -EACCES:
	case -EPERM:
	case -EROFS:
		return CPA_ERR_DENIED;
	case -ENOMEM:
		return CPA_ERR_MEMORY;
	default:
		return CPA_ERR_SYSTEM;
	}
}

int fail_arena(int rc, const char *what, const char *name)
{
	int code;

	if (rc >= 0)
		return rc;
	code = code_of(rc);
	return fail(code, "%s %s: %s", what, name ? name : "(none)",
		    code == CPA_ERR_SYSTEM ? strerror(-rc) : texts[-code]);
}

const char *cpa_strerror(int code)
{
	if (code >= 0)
		return texts[0];
	if (code == last.code)
		return last.text;
	if ((size_t)-(code + 1) + 1 < sizeof texts / sizeof *texts)
		return texts[-code];
	return "no such error";
}
