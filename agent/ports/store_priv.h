/* The store's insides, shared by its files. The lock guards every field below it and every change of the set of
 * manifests; a chunk's bytes are written and read without it, because chunks appear whole by rename. */
#ifndef CPA_PORTS_STORE_PRIV_H
#define CPA_PORTS_STORE_PRIV_H

#include <pthread.h>

#include "agent/ports/store.h"
#include "lib/base/fs.h"

/* A chunk is one user's: the fast hash is no defence against another user who crafts a collision. */
struct store_ref {
	uint32_t uid;
	struct chunk_id id;
};

struct store_refs {
	struct store_ref *list;
	size_t n, room;
};

struct store_pin {
	struct store_refs refs;
	struct store_pin *next;
};

struct store {
	char dir[FS_PATH_MAX];
	uint8_t key[MANIFEST_KEY_BYTES];
	bool durable; /* on disk: fsync what is published, and never remove what another key may open */
	pthread_mutex_t lock;
	pthread_mutex_t saving; /* one save at a time; taken before lock */
	uint64_t budget, used;
	struct store_item *items; /* sorted: job, what, newest first */
	size_t n_items, room;
	struct store_pin *pins;
	bool garbage; /* something may have become unreferenced since the last gc */
};

/* Buffers of CHUNK_BYTES each for a chunk on its way. */
struct store_chunk {
	void *packed, *raw;
	size_t len, raw_len;
	bool compressed;
};

/* What one store holds, on its way into another. */
struct store_transfer {
	struct store *from, *to;
	store_skipped_fn *skipped;
	void *ctx;
	struct store_saved sum;
	struct store_chunk buf;
};

/* store.c */
int store_open_as(const char *dir, uint64_t budget, const uint8_t *key, bool durable, store_skipped_fn *skipped,
                  void *ctx, struct store **s, struct err *e);
const char *store_job_path(const struct store *s, const char *job, char *buf);
const char *store_item_path(const struct store *s, const char *job, Cpa__What what, uint64_t number, char *buf);
int store_catalog_add(struct store *s, const struct manifest *m);
void store_catalog_del(struct store *s, const char *job, Cpa__What what, uint64_t number);
int store_item_order(const void *a, const void *b);
void store_uncount(struct store *s, uint64_t bytes);

/* store_chunk.c */
const char *store_chunk_path(const struct store *s, uint32_t uid, const uint8_t *id, char *buf);
int store_chunk_buffers(struct store_chunk *c, struct err *e);
void store_chunk_free(struct store_chunk *c);
int store_chunk_get(struct store *s, uint32_t uid, const uint8_t *id, struct store_chunk *c, struct err *e);
int store_chunk_write(const char *path, const struct store_chunk *c, bool start_writeback, struct err *e);
int store_chunk_shelf(const struct store *s, uint32_t uid, const uint8_t *id, struct err *e);

/* store_gc.c */
int store_refs_add(struct store_refs *refs, const struct manifest *m);
int store_gc_locked(struct store *s, uint64_t *freed, struct err *e);
void store_gc_empty(struct store *s); /* without the lock */

/* store_transfer.c */
int store_transfer(struct store_transfer *t, struct store_saved *saved, struct err *e);
int store_sync_path(const char *path, int flags, struct err *e);

/* store_prune.c */
int store_prune(struct store *disk, struct store *live, struct err *e);

/* store_manifest.c */
bool store_complete(const struct store *s, const struct manifest *m);
int store_drop_locked(struct store *s, const char *job, Cpa__What what, uint64_t number, struct err *e);
void store_drop_incomplete(struct store *s, uint32_t uid);
int store_note_names(struct store *s, const char *job, char (**names)[STORE_JOB_MAX], size_t *n, struct err *e);
int store_make_job(struct store *s, const char *job, struct err *e);
bool store_item_name(const char *name, Cpa__What *what, uint64_t *number);
const struct store_item *store_find(const struct store *s, const char *job, Cpa__What what, uint64_t number);

#endif
