/* The files that a job has open for writing are part of its snapshot.
 *
 * CRIU refuses to restore a file whose size changed, and silently goes on in one whose content did. So their sizes
 * are recorded while the job is frozen; what is changed in place is captured at that moment (by reflink where the
 * file system can, else by copy), what only grows is captured after the thaw, when it is to travel. At a restore
 * each file is cut back or put back.
 *
 * The job's files belong to its user, who may replace any of them by a link at any time, and the agent is root: so
 * they are opened for writing only with the rights of the process that had them open (jobfiles_restore.c). */
#ifndef CPA_PORTS_JOBFILES_H
#define CPA_PORTS_JOBFILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "agent/ports/jobtree.h"
#include "agent/ports/snapshot.h"
#include "lib/base/err.h"

enum jobfile_kind {
	JOBFILE_LOG = 1,      /* in the job's log directory: cut back, or made anew from the captured content */
	JOBFILE_APPEND = 2,   /* only ever written at its end: cut back */
	JOBFILE_IN_PLACE = 3, /* overwritten or mapped: its content is put back */
	JOBFILE_INPUT = 4,    /* only read; travels with `--files carry` */
	JOBFILE_ROUTED = 5,   /* a checkpoint in the job's own directory, open or not: always captured, made anew */
};

#define JOBFILE_GROUPS_MAX 64

/* With whose rights a file is opened. */
struct jobfile_rights {
	uid_t uid;
	gid_t gid;
	gid_t groups[JOBFILE_GROUPS_MAX];
	size_t ngroups;
};

struct jobfile {
	char *path; /* owned; as the job sees it */
	enum jobfile_kind kind;
	uint64_t size;
	uint32_t content; /* captured as files/N; 0: not */
	uint64_t skipped; /* content starts behind this many bytes */
	mode_t mode;
	uid_t owner;
	gid_t owner_group;
	struct jobfile_rights rights;
	bool cut_always;

	/* while a snapshot is taken */
	dev_t dev;
	ino_t ino;
	struct timespec changed; /* JOBFILE_ROUTED: as the file was when its size was read … */
	bool written;            /* … and does a process have it open for writing? */
	int source; /* open for reading, where content is still to be captured; -1 */
};

struct jobfiles {
	struct jobfile *list;
	size_t count;
	size_t contents; /* captured so far */
};

/* While the job is frozen: find its files and capture what must be captured now into img_dir's files/.
 * f is valid (to be freed) also after an error. */
int jobfiles_record(struct jobfiles *f, const struct jobtree *t, enum snapshot_files mode, const char *job_dir,
		    int img_dir, struct err *e);

/* After the thaw: capture the rest. */
int jobfiles_capture(struct jobfiles *f, int img_dir, struct err *e);

/* Before a restore: cut back and put back. log_dir is where JOBFILE_LOG files live here; JOBFILE_ROUTED ones live in
 * job_dir's SNAPSHOT_ROUTED, which is empty.
 * ERR_FAILED names the file and says what to do; files handled before it stay cut (their tails are kept). */
int jobfiles_restore(const struct jobfiles *f, enum snapshot_files mode, int img_dir, const char *log_dir,
		     const char *job_dir, const char *tail_suffix, struct err *e);

void jobfiles_free(struct jobfiles *f);

/* ---- parts, also for tests ---- */

/* Copy len bytes between two files. sparse: what is a hole in the source is skipped (for a target that is empty so
 * far; the caller sets its size). 0 or -1 with errno (EIO when the source ended before). */
int jobfiles_copy(int from, uint64_t from_offset, int to, uint64_t to_offset, uint64_t len, bool sparse);

/* Take another user's rights for files, for this thread only, and give them back. */
int jobfiles_become(const struct jobfile_rights *r);
void jobfiles_return(void);

#endif
