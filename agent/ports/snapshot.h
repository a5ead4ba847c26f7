/* Process snapshots of a job by CRIU: take one while the job runs on, restore one.
 *
 * Every call blocks and is straight-line code for a worker thread; several threads may work on different
 * jobs at once; there is no global state. An image directory belongs to one call at a time.
 *
 * An image directory (img_dir, on tmpfs) is complete in itself once snapshot_take() has returned 0:
 *   *.img          CRIU's images; pages-*.img and pagemap-*.img are written by our own receiver (pages.h)
 *   record         what we know besides: the job's files, CPU affinities (snapshot.proto)
 *   files/N        content of the job's files that was captured (jobfiles.h)
 *   cpinit         the file that the job's pid 1 runs from
 *   arena          the job's keyed checkpoints as they were at that moment, when the job has an arena
 *   dump.log, restore.log   CRIU's own words, not part of the snapshot
 * To rotate two or three such directories from generation to generation keeps their page files' memory
 * touched, which is most of a short freeze. After a failure the content is garbage (the directory may be
 * reused for the next attempt). */
#ifndef CPA_PORTS_SNAPSHOT_H
#define CPA_PORTS_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/base/err.h"

/* Where a job finds its own directories, on every node alike. */
#define SNAPSHOT_JOB_MOUNT "/run/cpagent/job"
#define SNAPSHOT_LOG_MOUNT "/run/cpagent/log"
/* In the job's directory, its user's: checkpoints that are being written as files (routed.h). */
#define SNAPSHOT_ROUTED "files"

/* What happens to the files that the job has open for writing (`--files`). */
enum snapshot_files {
	SNAPSHOT_FILES_TRACK,  /* cut back, rolled back; must exist where the job is restored (small ones travel) */
	SNAPSHOT_FILES_SHARED, /* the user vouches: nothing captured; cut only as far as CRIU insists */
	SNAPSHOT_FILES_CARRY,  /* all of them travel with the snapshot */
};

struct snapshot_take {
	const char *criu;    /* the binary, from criu_find() */
	pid_t pid;           /* the job's pid 1, as this process sees it */
	const char *img_dir; /* existing; what an older generation left in it is replaced */
	const char *job_dir; /* the directories bound at SNAPSHOT_JOB_MOUNT and SNAPSHOT_LOG_MOUNT */
	const char *log_dir;
	const char *arena; /* its file as this process sees it, or NULL */
	enum snapshot_files files;
	bool tcp_established; /* keep established TCP connections (`--tcp established`); else they end at a restore */
	int64_t watchdog_ns;  /* a dump that takes longer is ended and the job runs on; 0: one minute */

	/* Called with the pid of CRIU before the freeze can begin and when that process is gone, so that
	 * somebody else can end it should this whole process hang; either may be NULL. */
	void (*watch)(void *ctx, pid_t criu);
	void (*unwatch)(void *ctx, pid_t criu);
	void *ctx;
};

struct snapshot_taken {
	int64_t frozen_ns;  /* how long the job stood still */
	int64_t total_ns;   /* the whole call */
	uint64_t bytes;     /* everything in img_dir that makes the snapshot */
	uint64_t processes; /* how many processes the job had */
	size_t files;       /* how many of its files are recorded */
};

/* Take a snapshot; the job runs on whether this succeeds or not. Call precheck_job() first: what it refuses
 * fails here too, in CRIU's words.
 * ERR_FAILED: the dump failed, the sentence holds CRIU's own reason; ERR_TIMEOUT: the watchdog ended it;
 * ERR_NOT_FOUND: no such process. */
int snapshot_take(const struct snapshot_take *how, struct snapshot_taken *taken, struct err *e);

struct snapshot_restore {
	const char *criu;
	const char *img_dir; /* complete and verified by the caller */
	const char *job_dir; /* existing, SNAPSHOT_ROUTED in it empty; bound at SNAPSHOT_JOB_MOUNT */
	const char *log_dir; /* existing; bound at SNAPSHOT_LOG_MOUNT; missing log files are made in it */
	const char *arena;   /* where img_dir/arena goes back to (within job_dir), or NULL */
	const char *cgroup;  /* existing cgroup directory that the job will live in, or NULL */
	enum snapshot_files files;
	bool tcp_established;
	/* Tails cut off the job's files are kept as PATH.cpagent-tail.SUFFIX; a plain name, such as the
	 * new incarnation's number. */
	const char *tail_suffix;
	int64_t watchdog_ns; /* 0: five minutes */

	/* Called when the whole tree stands and before any of it runs, or NULL: the last chance to change the arena
	 * or to say no. An error ends the restore, and the tree is killed. */
	int (*ready)(void *ctx, pid_t pid, struct err *e);
	void *ctx;
};

/* Restore a job: files and arena are put back, the tree is created in a fresh pid namespace and runs.
 * *pid is its pid 1, a child of this process: wait for it with waitpid().
 * On any error nothing of the job runs. ERR_FAILED: with CRIU's own reason, or with the file that cannot be
 * put back and what to do; ERR_TIMEOUT: the watchdog ended it. */
int snapshot_restore(const struct snapshot_restore *how, pid_t *pid, struct err *e);

#endif
