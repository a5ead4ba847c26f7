/* Private to the two halves of the cgroup port: cgroup.c (one directory) and cgroup_tree.c (all below it). */
#ifndef CPA_AGENT_CGROUP_TREE_H
#define CPA_AGENT_CGROUP_TREE_H

#include "agent/ports/cgroup.h"

/* The path of a job's cgroup (NULL: the node's), or of a file in it, into buf of FS_PATH_MAX. Returns buf. */
const char *cgroup_path(char *buf, const struct cgroups *cg, const char *job, const char *file);

#endif
