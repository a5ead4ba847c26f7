/* What of a job would not survive a snapshot, found before CRIU is asked and said in words that name the process
 * and the thing. Reads /proc and the kernel's socket diagnostics; changes nothing. Blocking; any thread. */
#ifndef CPA_PORTS_PRECHECK_H
#define CPA_PORTS_PRECHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "lib/base/err.h"

#define PRECHECK_TEXT_MAX 256
#define PRECHECK_FINDINGS_MAX 16

struct precheck_finding {
	bool refuse; /* no snapshot can be taken; else: taken, but this thing ends at a restore */
	char text[PRECHECK_TEXT_MAX]; /* "process 7 (curl) has an established connection to 10.0.0.1:80 (fd 5)" */
};

struct precheck {
	struct precheck_finding list[PRECHECK_FINDINGS_MAX]; /* those that refuse come first */
	size_t count;
	size_t refusing; /* how many of them refuse */
	size_t more;     /* found, not listed */
};

/* Look at the job whose pid 1 (as seen here) is pid. Processes are named by their pid inside the job.
 * 0 with what was found, also when that means refusal; ERR_NOT_FOUND: no such process. */
int precheck_job(pid_t pid, struct precheck *found, struct err *e);

/* 0 when nothing refuses; else ERR_FAILED with one sentence that names what does. */
int precheck_verdict(const struct precheck *found, struct err *e);

#endif
