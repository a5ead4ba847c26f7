/* What the commands share that read an archive. */
#ifndef CPA_CLI_ARCHIVE_H
#define CPA_CLI_ARCHIVE_H

#include "lib/archive/archive.h"

/* Open it. else_what: what to do when there is no such file. A negative errno value, with a sentence in *e. */
int cli_archive_open(struct archive_in **in, const char *file, const char *else_what, struct err *e);

/* Say what to do about an error that lib/archive returned. */
void cli_archive_advise(int rc, struct err *e);

#endif
