/* See routed.h. The job's directory is the agent's: the job cannot put anything else in this one's place. */
#include "agent/ports/routed.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/ports/snapshot.h"
#include "lib/base/fs.h"

int routed_make(const char *job_dir, uid_t uid, gid_t gid, struct err *e)
{
	char path[FS_PATH_MAX];
	fs_path(path, "%s/" SNAPSHOT_ROUTED, job_dir);
	if ((mkdir(path, 0700) && errno != EEXIST) || (uid != (uid_t)-1 && lchown(path, uid, gid)))
		return err_sys(e, ERR_FAILED, "cannot make the job's directory %s", path);
	return ERR_OK;
}

int routed_remove(const char *job_dir, struct err *e)
{
	char path[FS_PATH_MAX];
	return fs_remove_tree(fs_path(path, "%s/" SNAPSHOT_ROUTED, job_dir), e);
}
