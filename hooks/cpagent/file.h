/* cpagent/file.h: checkpoints that a program writes as files. Included by cpagent.h.
 *
 *	cpa_route_file(cp, "mesh", path, sizeof path);
 *	write_my_checkpoint(path);
 *	cpa_file_done(cp, "mesh", 1);
 *
 * A file becomes a version of a key: complete or absent, versioned, carried up like any other. */
#ifndef CPAGENT_FILE_H
#define CPAGENT_FILE_H

#ifdef __cplusplus
extern "C" {
#endif

/* Where to write the next version of key: an absolute path in memory (or beside a private arena), into path of size
 * bytes. A file that an earlier call routed and nobody finished is gone, and what dead processes left. Each process has
 * its own. CPA_ERR_ARG (size too small), CPA_ERR_DENIED, CPA_ERR_SYSTEM. */
CPA_API int cpa_route_file(cpa *cp, const char *key, char *path, size_t size);

/* The file is written and closed: commit it as the next version of key, one variable "file" of bytes, and remove it.
 * Errors as cpa_checkpoint_vars(); CPA_ERR_KEY: this process routed no such file, or did not write it; CPA_ERR_SYSTEM:
 * it is still open for writing, in this process or another (found out where the kernel grants leases: tmpfs and most
 * local file systems), or it changed while it was read. After an error the file is still there. */
CPA_API int cpa_file_done(cpa *cp, const char *key, int level);

/* Write key's newest version into a file again; its path into path. The file is the caller's: rename or remove it;
 * cpa_close() removes what is left. level, result and errors as cpa_restore_vars(); CPA_ERR_VAR: the key holds no file. */
CPA_API int cpa_restore_file(cpa *cp, const char *key, int level, char *path, size_t size);

#ifdef __cplusplus
}
#endif

#endif
