/* CRIU as a service process: find a usable binary, start `criu swrk`, speak its RPC, read its reasons. */
#ifndef CPA_PORTS_CRIU_H
#define CPA_PORTS_CRIU_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/base/err.h"
#include "lib/base/fs.h"

#define CRIU_PRIVATE_PATH "/opt/cpagent/bin/criu"
#define CRIU_VERSION_MIN 40200 /* 4.2: older ones cannot dump sockets on Linux 6.16 and later */

/* The version of a binary as major * 10000 + minor * 100 + sublevel, asked over its RPC.
 * ERR_NOT_FOUND: no such file; ERR_FAILED: it does not start or answer. */
int criu_version(const char *path, int *version, struct err *e);

/* The binary to use, into path of FS_PATH_MAX: the configured one (NULL or "": none configured), else the one in
 * $PATH, else CRIU_PRIVATE_PATH; it answers and is new enough.
 * ERR_NOT_FOUND: there is none, the sentence says what to do; ERR_FAILED: the configured one is not usable. */
int criu_find(const char *configured, char *path, struct err *e);

/* One run of the service. Zero-initialise fields that are not used; fds are borrowed. */
struct criu {
	pid_t pid;
	int sock; /* our end of its RPC socket; -1 when closed */
};

struct criu_start {
	const char *path;
	const char *cgroup; /* the service joins it before it runs; NULL: stays in ours */
	int page_sock;      /* handed to it as CRIU_PAGE_FD; -1: none */
};

#define CRIU_PAGE_FD 4 /* the number of page_sock in the service */

int criu_start(struct criu *c, const struct criu_start *how, struct err *e);

/* Hang up and reap it: it notices, undoes what it was at and ends; killed when it has not within grace_ns (0: at once).
 * To kill CRIU in the middle of a dump is no way to end one: while the job's threads run code in CRIU's name and until
 * their registers are put back, they die with it (one kill in twenty, measured with 4.2.1). Idempotent. */
void criu_close(struct criu *c, int64_t grace_ns);

struct criu_event {
	enum criu_event_kind { CRIU_NOTIFY, CRIU_DONE } kind;
	char script[32]; /* CRIU_NOTIFY: "post-dump", …; must be answered with criu_answer() */
	pid_t pid;       /* of the restored tree's root: with post-restore and the end of a restore; else 0 */
	bool success;    /* CRIU_DONE */
	int version;     /* CRIU_DONE of a version request */
};

struct criu_opts {
	bool restore;
	pid_t pid; /* dump only */
	int img_fd, work_fd;
	const char *log_file;
	const char *const *external; /* NULL-terminated */
	bool tcp_established;
	bool page_server; /* dump only: pages go to CRIU_PAGE_FD */
};

/* Send the request for a dump or a restore, or for the version (opts NULL). */
int criu_request(const struct criu *c, const struct criu_opts *opts, struct err *e);

/* The next event, by deadline (CLOCK_BOOTTIME). ERR_TIMEOUT: none came; ERR_FAILED: the service died. */
int criu_next(const struct criu *c, int64_t deadline_ns, struct criu_event *ev, struct err *e);

/* Let CRIU go on after a notification, or make it give up. */
int criu_answer(const struct criu *c, bool go_on, struct err *e);

/* CRIU's own reason out of its log, one readable sentence into buf; "" when the log holds none. Returns buf. */
const char *criu_reason(int work_fd, const char *log_file, char *buf, size_t size);

/* The freeze as CRIU itself measured it in a dump whose work directory this is; 0 when it says nothing. */
int64_t criu_frozen_ns(int work_fd);

#endif
