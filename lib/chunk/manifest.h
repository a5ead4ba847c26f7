/* Manifests: what a generation or a keyset consists of, as bytes that lie on disk and travel. A manifest is a
 * `Sealed` message: the packed body and a BLAKE2b-256 over it, keyed with a subkey of the cluster's (or the
 * node's) key, so that nobody without the key can make an agent restore what they wrote. Reading one checks
 * everything once; behind it names, counts and sizes are trusted. */
#ifndef CPA_CHUNK_MANIFEST_H
#define CPA_CHUNK_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/chunk/chunk.h"
#include "lib/wire/cpagent.pb-c.h"

#define MANIFEST_KEY_BYTES 32
#define MANIFEST_MAX ((size_t)256 << 20) /* bytes of one sealed manifest */
#define MANIFEST_FILES_MAX 65536
#define MANIFEST_KEYS_MAX (1 << 20)
#define MANIFEST_NAME_MAX 255 /* of a file (with at most one directory in front), of a key, of a variable */

/* Either kind, unpacked. Exactly one of the two pointers is set; owned, free with manifest_free(). */
struct manifest {
	Cpa__What what;
	Cpa__Generation *gen;
	Cpa__Keyset *keys;
};

/* Sealed bytes of a generation or keyset into *out (owned, free()). It is checked as by unpacking: what would be
 * refused there is refused here, ERR_FAILED. */
int manifest_pack_generation(const Cpa__Generation *gen, const uint8_t key[MANIFEST_KEY_BYTES], uint8_t **out,
                             size_t *len, struct err *e);
int manifest_pack_keyset(const Cpa__Keyset *keys, const uint8_t key[MANIFEST_KEY_BYTES], uint8_t **out,
                         size_t *len, struct err *e);

/* Check and unpack. ERR_FAILED with a sentence: damaged, sealed with another key, of the other kind, or with
 * something in it that no honest agent writes. On failure *m is zeroed. */
int manifest_unpack(Cpa__What what, const uint8_t *data, size_t len, const uint8_t key[MANIFEST_KEY_BYTES],
                    struct manifest *m, struct err *e);
void manifest_free(struct manifest *m);

const char *manifest_job(const struct manifest *m);
uint64_t manifest_number(const struct manifest *m); /* generation or serial */
uint32_t manifest_incarnation(const struct manifest *m);
int64_t manifest_time_ns(const struct manifest *m);
uint32_t manifest_uid(const struct manifest *m);
/* Bytes of all files, without chunks of zeros, or of all values; the same for a generation that is not wrapped. */
uint64_t manifest_bytes(const struct manifest *m);
uint64_t manifest_generation_bytes(const Cpa__Generation *gen);

/* Its files, or the one file of its keys' values: NULL at and behind the end. Borrowed. */
const Cpa__File *manifest_file(const struct manifest *m, size_t index);

/* "generation 12" or "keyset 7" into buf (of 40 bytes or more); returns buf. */
const char *manifest_text(Cpa__What what, uint64_t number, char *buf, size_t size);

/* A job's id, as it may become a directory's name: 1 to 63 of a-z A-Z 0-9 _ -, not starting with '-'. */
bool manifest_job_ok(const char *job);

/* Any other small record under the same kind of seal (a spec, a record): for what lies on disk. */
int manifest_seal_note(const void *body, size_t body_len, const uint8_t key[MANIFEST_KEY_BYTES], uint8_t **out,
                       size_t *len, struct err *e);
int manifest_open_note(const uint8_t *data, size_t len, const uint8_t key[MANIFEST_KEY_BYTES], uint8_t **body,
                       size_t *body_len, struct err *e);

#endif
