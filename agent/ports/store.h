/* The chunk store: what an agent above level 1 holds for its children, and a node while it fetches for a restore.
 *
 *   DIR/chunks/UID/ab/HEX   one chunk: a small header and its bytes, as they came (compressed or not)
 *   DIR/jobs/JOB/g-N, k-N   sealed manifests: a generation or keyset is held, whole, exactly when its manifest is
 *   DIR/jobs/JOB/NAME       notes: `spec`, `record`
 *
 * Complete or absent: a manifest goes in only when every chunk it names is here. A chunk is checked against
 * its id when it comes in and each time it goes out. DIR is normally on tmpfs; store_save() and store_load() carry
 * everything to a disk and back.
 *
 * Everything blocks and may be called from several threads at once. What fails leaves the store as it was. */
#ifndef CPA_PORTS_STORE_H
#define CPA_PORTS_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/chunk/manifest.h"

#define STORE_JOB_MAX 64
#define STORE_NOTE_MAX ((size_t)16 << 20)

struct store;
struct store_pin;

/* A generation or keyset that is held. */
struct store_item {
	char job[STORE_JOB_MAX];
	Cpa__What what;
	uint64_t number;
	uint32_t incarnation;
	uint32_t uid;
	int64_t time_ns;
	uint64_t bytes; /* uncompressed, before deduplication */
	bool by_keys;
};

/* Open or create. budget: bytes that chunks may take, 0 for no bound. key: the cluster's (copied). Removes what a
 * killed agent left half-written; a manifest that does not verify or lacks a chunk is dropped. */
int store_open(const char *dir, uint64_t budget, const uint8_t key[MANIFEST_KEY_BYTES], struct store **s,
               struct err *e);
void store_close(struct store *s);

/* Bytes that chunks and manifests take now. */
uint64_t store_used(struct store *s);
void store_set_budget(struct store *s, uint64_t budget);

/* ---- chunks ---- */

/* Is it here? The all-zero id always is. */
bool store_has(struct store *s, uint32_t uid, const uint8_t *id);

/* Take a chunk in: len bytes as they came, raw_len when unpacked. Verified against id. Held already: no error.
 * ERR_FAILED: it does not match its id, the budget is spent (after removing what nobody refers to), or the
 * file system is full. */
int store_put_chunk(struct store *s, uint32_t uid, const uint8_t *id, const void *bytes, size_t len,
                    bool compressed, size_t raw_len, struct err *e);

/* The raw bytes into buf of CHUNK_BYTES, verified. Not for the all-zero id (its length is the manifest's).
 * ERR_NOT_FOUND; ERR_FAILED: damaged (and then removed from the store, so that it can be fetched again). */
int store_get_chunk(struct store *s, uint32_t uid, const uint8_t *id, void *buf, size_t *len, struct err *e);

/* The bytes as they lie in the store, to send them on without packing again; verified all the same. */
int store_get_packed(struct store *s, uint32_t uid, const uint8_t *id, void *buf, size_t *len, bool *compressed,
                     size_t *raw_len, struct err *e);

/* The ids that m names and the store lacks, each once, no zeros: *ids owned (free), NULL when there are none. */
int store_missing(struct store *s, const struct manifest *m, struct chunk_id **ids, size_t *n, struct err *e);

/* While a pin lives, store_gc() leaves the chunks that m names alone: take it before store_missing(), drop it
 * after store_put_manifest(). NULL only when memory is out. store_unpin(NULL) is allowed. */
struct store_pin *store_pin(struct store *s, const struct manifest *m);
void store_unpin(struct store *s, struct store_pin *pin);

/* ---- manifests ---- */

/* Make it held: verifies the seal, requires every chunk. ERR_FAILED says what lacks. */
int store_put_manifest(struct store *s, Cpa__What what, const uint8_t *sealed, size_t len, struct err *e);

/* The sealed bytes (owned, free), or the unpacked manifest (manifest_free). ERR_NOT_FOUND, ERR_FAILED. */
int store_manifest_read(struct store *s, const char *job, Cpa__What what, uint64_t number, uint8_t **sealed,
                        size_t *len, struct err *e);
int store_manifest_open(struct store *s, const char *job, Cpa__What what, uint64_t number, struct manifest *m,
                        struct err *e);

/* Held items of a job (NULL: of all), per job keysets and generations, newest first: *items owned (free). */
int store_list(struct store *s, const char *job, struct store_item **items, size_t *n, struct err *e);

/* The newest of a kind; false when there is none. */
bool store_newest(struct store *s, const char *job, Cpa__What what, struct store_item *item);

/* Jobs that have a manifest or a note here: *jobs owned (free), an array of n names. */
int store_jobs(struct store *s, char (**jobs)[STORE_JOB_MAX], size_t *n, struct err *e);

/* Give up one item, all but the n newest of a kind, or everything of a job. Chunks go with the next store_gc(). */
int store_drop(struct store *s, const char *job, Cpa__What what, uint64_t number, struct err *e);
int store_keep(struct store *s, const char *job, Cpa__What what, size_t n, struct err *e);
int store_drop_job(struct store *s, const char *job, struct err *e);

/* Small facts about a job, `spec` and `record`: written whole, sealed on disk. Reading: *data owned (free). */
int store_put_note(struct store *s, const char *job, const char *name, const void *data, size_t len,
                   struct err *e);
int store_get_note(struct store *s, const char *job, const char *name, uint8_t **data, size_t *len, struct err *e);

/* Remove chunks that no manifest and no pin names. *freed (may be NULL): bytes. */
int store_gc(struct store *s, uint64_t *freed, struct err *e);

/* ---- out again ---- */

/* Write the image directory of gen: files that are there are overwritten in place (their pages are touched
 * already), zeros become holes, what gen does not name is removed. Every chunk is verified. */
int store_assemble(struct store *s, const Cpa__Generation *gen, const char *dir, struct err *e);

/* The bytes of keys->keys[index] into buf, which has room for them. Every chunk is verified. */
int store_key_value(struct store *s, const Cpa__Keyset *keys, size_t index, void *buf, struct err *e);

/* ---- disk ---- */

struct store_saved {
	size_t items;           /* manifests on disk now */
	size_t skipped;         /* could not be taken: see the callback */
	uint64_t bytes_written; /* chunks that were not there yet */
};

/* Called for each item that is passed over, with the reason. */
typedef void store_skipped_fn(void *ctx, const char *job, Cpa__What what, uint64_t number, const char *why);

/* Write everything held to durable_dir: chunks first, then manifests, each aside, fsynced and renamed; what is
 * no longer held is removed only when all of that is on the disk. So a power cut, a full disk or a kill at
 * any moment leaves the last complete save. One save at a time. saved and skipped may be NULL. */
int store_save(struct store *s, const char *durable_dir, struct store_saved *saved, store_skipped_fn *skipped,
               void *ctx, struct err *e);

/* Take back what durable_dir holds, each job's newest first, everything verified; what is damaged or does not fit
 * the budget is passed over with a reason. A directory that is not there is an empty save. Call it after each
 * store_open(): a store that was loaded before, and so lived through a restart of its agent, is left alone. */
int store_load(struct store *s, const char *durable_dir, struct store_saved *loaded, store_skipped_fn *skipped,
               void *ctx, struct err *e);

#endif
