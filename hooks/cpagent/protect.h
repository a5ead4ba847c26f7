/* cpagent/protect.h: large arrays, named once, of which a checkpoint copies what changed. Included by cpagent.h.
 *
 *	CPA_PROTECT(cp, "u", u, n);
 *	cpa_restore_protected(cp, "state", 0);
 *	for (...)
 *		cpa_checkpoint_protected(cp, "state", 1);
 *
 * What changed is known from the kernel (userfaultfd write-protection, Linux 6.7 or later). Where that cannot be had (an
 * older kernel, a sandbox, huge pages, memory that is shared or of a file, regions below 64 KiB) a region is copied
 * whole, with the same result, and so is for a while one that changes nearly everywhere; cpa_tracking() says which and
 * why. CPAGENT_TRACKING=off in the environment copies all of them whole. A fork()ed child may checkpoint the regions too;
 * its first one is whole, as is the first after a restore and after a snapshot of the process. Regions are protected in
 * one process: they are no part of the arena.
 *
 * What is not seen: writes that no page table knows of, by a device into memory that was registered with it before
 * (RDMA, fixed buffers of io_uring, O_DIRECT reads in flight, pinned memory of a GPU); a region is given to cpa_protect()
 * again after those. What cannot be known: that a small block was given back with free(), when the C library keeps it. */
#ifndef CPAGENT_PROTECT_H
#define CPAGENT_PROTECT_H

#ifdef __cplusplus
extern "C" {
#endif

/* Protect count elements of a type at data under a name of 1 to 255 bytes. Again with the same name: the region
 * has moved, or has another size or type; its next checkpoint is whole. The memory must stay mapped until
 * cpa_unprotect(): where it was unmapped, or moved by mremap() or realloc(), checkpoints fail with CPA_ERR_REGION until it
 * is protected again. Regions may overlap. At most 4096.
 * CPA_ERR_ARG, CPA_ERR_REGION (not readable and writable memory), CPA_ERR_MEMORY. */
CPA_API int cpa_protect(cpa *cp, const char *name, void *data, uint64_t count, int type);

/* Let a region go; NULL: all. Call it before the memory is freed. CPA_ERR_REGION: there is none of that name. */
CPA_API int cpa_unprotect(cpa *cp, const char *name);

/* Commit all regions, or those named, as the next version of key: one atomic version, each region a variable of its
 * name, which cpa_restore() can read too. Errors as cpa_checkpoint_vars(), and CPA_ERR_REGION: a region was moved
 * or freed, cpa_strerror() names it, the version before stands. Threads take turns. CPA_ERR_BUSY: from a handler that
 * interrupted such a call. */
CPA_API int cpa_checkpoint_protected(cpa *cp, const char *key, int level);
CPA_API int cpa_checkpoint_regions(cpa *cp, const char *key, int level, const char *const *names, size_t n);

/* Copy the newest version of key into all regions, or those named. As cpa_restore_vars(). */
CPA_API int cpa_restore_protected(cpa *cp, const char *key, int level);
CPA_API int cpa_restore_regions(cpa *cp, const char *key, int level, const char *const *names, size_t n);

/* Are the changes of a region tracked? 1 by dirty pages, 0 copied whole; *why (may be NULL) is a sentence. name NULL:
 * what this machine can do, by a self-test. CPA_ERR_REGION. */
CPA_API int cpa_tracking(cpa *cp, const char *name, const char **why);

#ifdef __cplusplus
}
#endif

/* The type from the pointer. */
#define CPA_PROTECT(cp, name, p, n) cpa_protect(cp, name, CPA_DATA_(p), (uint64_t)(n), (int)CPA_TYPE_(p))

#endif
