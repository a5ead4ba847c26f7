/* Owns how the command line opens archives, and what it advises when one is no good. */
#include "agent/cli/cli_archive.h"

#include <errno.h>
#include <string.h>

void cli_archive_advise(int rc, struct err *e)
{
	char said[ERR_TEXT_MAX];

	memcpy(said, e->text, sizeof said);
	if (rc == -EBADMSG)
		err_set(e, e->code, "%s; use another copy of it", said);
	else if (rc == -EPROTONOSUPPORT)
		err_set(e, e->code, "%s; use a newer cpagent", said);
}

int cli_archive_open(struct archive_in **in, const char *file, const char *else_what, struct err *e)
{
	int rc = archive_in_open(in, file, 0, e);

	if (rc == -ENOENT)
		err_set(e, ERR_NOT_FOUND, "%s: there is no such file; %s", file, else_what);
	else if (rc < 0)
		cli_archive_advise(rc, e);
	return rc;
}
