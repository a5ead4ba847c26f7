/* The registry's records on disk: one LMDB environment with a table of jobs (packed Record by UUID) and one of the
 * registry's own facts. What a function has returned 0 for survives a power cut. Safe from several threads;
 * one process at a time. */
#ifndef CPA_PORTS_RECORDS_H
#define CPA_PORTS_RECORDS_H

#include <stddef.h>

#include "lib/base/err.h"

#define RECORDS_KEY_MAX 255

struct records;

/* Open or create dir (0700). ERR_FAILED: not a database, another process has it, disk full. */
int records_open(const char *dir, struct records **r, struct err *e);
void records_close(struct records *r);

/* A job's record. Deleting what is not there is no error. ERR_FAILED: disk full; the old record stands. */
int records_put(struct records *r, const char *uuid, const void *data, size_t len, struct err *e);
int records_del(struct records *r, const char *uuid, struct err *e);

/* Several writes as one: all of them are on disk, or none. */
struct records_change {
	const char *name; /* a job's UUID, or a fact's name */
	const void *data; /* NULL: delete the record */
	size_t len;
	int fact;
};
int records_write(struct records *r, const struct records_change *v, size_t n, struct err *e);

/* Every record, in the order of their UUIDs; data is borrowed and valid during the call only. A callback that
 * returns non-zero ends it, and records_each() returns that. The callback must not write. */
typedef int records_each_fn(void *ctx, const char *uuid, const void *data, size_t len);
int records_each(struct records *r, records_each_fn *fn, void *ctx, struct err *e);

/* The registry's own facts. Reading: *data owned (free), a NUL behind its end; ERR_NOT_FOUND. */
int records_put_fact(struct records *r, const char *name, const void *data, size_t len, struct err *e);
int records_get_fact(struct records *r, const char *name, char **data, size_t *len, struct err *e);

#endif
