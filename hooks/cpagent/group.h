/* cpagent/group.h: jobs that belong together. The ranks of a group (cpagent run --group G --ranks N) go back to a version
 * that every one of them has. Included by cpagent.h.
 *
 *	cpa_keep(cp, "state", 2);                       // a rank that is ahead still has the version before
 *	int64_t version = cpa_version(cp, NULL, "state");
 *	if (version > 0)
 *		cpa_restore_version(cp, "state", (uint64_t)version, &var, 1); */
#ifndef CPAGENT_GROUP_H
#define CPAGENT_GROUP_H

#ifdef __cplusplus
extern "C" {
#endif

/* The newest number V such that every rank of the group has version V of key, whole, on its node. group: NULL for this
 * job's own ($CPAGENT_GROUP); any other of the same user. key: NULL for every key that any rank has, except memos: then each
 * rank has version V of each of these keys. Every rank asks, and none checkpoints from when the first one asks until all have:
 * a barrier before and one behind it. Where a rank has newer versions than V, all of them number their next checkpoints above
 * the newest of any, so that equal numbers stay equal steps; else they go on with V + 1.
 *
 * Ranks that are lost, starting or being restored are waited for, for a minute; one that ended well counts with what it
 * left. In a job of no group, and without an agent with group NULL, the program is a group of one.
 *
 * Returns V, above 0. CPA_ERR_KEY: there is no version that all have; CPA_ERR_TIMEOUT: cpa_strerror() names a rank that has
 * not come, and what became of it; CPA_ERR_ARG: no such group; CPA_ERR_LEVEL: a group was named, and no agent is there to
 * ask. */
CPA_API int64_t cpa_version_of(cpa *cp, const char *group, const char *key);

/* The same with another time to wait, in seconds; negative: for ever. */
CPA_API int64_t cpa_version_within(cpa *cp, const char *group, const char *key, double timeout_s);

#ifdef __cplusplus
}

/* cpa_version(cp, group) is of every key; cpa_version(cp, group, key) of that one. */
static inline int64_t cpa_version(cpa *cp, const char *group, const char *key = NULL)
{
	return cpa_version_of(cp, group, key);
}
#else
#define cpa_version(...) CPA_VERSION_3(__VA_ARGS__, 0, 0)
#define CPA_VERSION_3(cp, group, key, ...) cpa_version_of(cp, group, key)
#endif

#endif
