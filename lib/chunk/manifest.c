/* Owns the sealed form of manifests and notes: packing, the keyed checksum, unpacking. What may stand in a
 * manifest is decided in manifest_check.c. */
#include "lib/chunk/manifest.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/chunk/manifest_check.h"

#define MAC_BYTES 32

/* One subkey for each kind of content, so that none can be passed off as another. */
enum seal_kind { SEAL_GENERATION = 1, SEAL_KEYSET = 2, SEAL_NOTE = 3 };

static int mac(enum seal_kind kind, const uint8_t *key, const uint8_t *body, size_t len, uint8_t *out,
               struct err *e)
{
	uint8_t subkey[crypto_generichash_KEYBYTES];

	if (sodium_init() < 0)
		return err_set(e, ERR_FAILED, "libsodium does not start");
	crypto_kdf_derive_from_key(subkey, sizeof subkey, kind, "cpmanife", key);
	crypto_generichash(out, MAC_BYTES, body, len, subkey, sizeof subkey);
	sodium_memzero(subkey, sizeof subkey);
	return 0;
}

static int seal(enum seal_kind kind, const uint8_t *body, size_t body_len, const uint8_t *key, uint8_t **out,
                size_t *len, struct err *e)
{
	uint8_t sum[MAC_BYTES];
	Cpa__Sealed sealed = CPA__SEALED__INIT;

	if (mac(kind, key, body, body_len, sum, e) < 0)
		return ERR_FAILED;
	sealed.body = (ProtobufCBinaryData){ body_len, (uint8_t *)(uintptr_t)body };
	sealed.mac = (ProtobufCBinaryData){ sizeof sum, sum };
	*len = cpa__sealed__get_packed_size(&sealed);
	if (*len > MANIFEST_MAX)
		return err_set(e, ERR_FAILED, "a manifest of %zu bytes is larger than the %zu allowed", *len,
		               MANIFEST_MAX);
	*out = malloc(*len);
	if (!*out)
		return err_set(e, ERR_FAILED, "out of memory sealing %zu bytes", *len);
	cpa__sealed__pack(&sealed, *out);
	return 0;
}

/* The authentic body, inside *sealed (owned). Unknown or reordered fields are refused too: one content, one form.
 */
static int unseal(enum seal_kind kind, const uint8_t *data, size_t len, const uint8_t *key, Cpa__Sealed **sealed,
                  struct err *e)
{
	uint8_t sum[MAC_BYTES];

	if (len == 0 || len > MANIFEST_MAX)
		return err_set(e, ERR_FAILED, "%zu bytes are no manifest: it has 1 to %zu", len, MANIFEST_MAX);
	Cpa__Sealed *s = cpa__sealed__unpack(NULL, len, data);
	if (!s || s->base.n_unknown_fields || s->mac.len != MAC_BYTES || cpa__sealed__get_packed_size(s) != len) {
		cpa__sealed__free_unpacked(s, NULL);
		return err_set(e, ERR_FAILED, "these %zu bytes are no sealed manifest: damaged or cut off", len);
	}
	if (mac(kind, key, s->body.data, s->body.len, sum, e) < 0 ||
	    sodium_memcmp(sum, s->mac.data, MAC_BYTES) != 0) {
		cpa__sealed__free_unpacked(s, NULL);
		return err_set(e, ERR_FAILED, "the checksum does not match: damaged, or sealed with another key");
	}
	*sealed = s;
	return 0;
}

/* Packed body of either kind, then sealed. */
static int pack(const ProtobufCMessage *msg, enum seal_kind kind, const uint8_t *key, uint8_t **out, size_t *len,
                struct err *e)
{
	size_t n = protobuf_c_message_get_packed_size(msg);
	uint8_t *body = n <= MANIFEST_MAX ? malloc(n + 1) : NULL;

	if (!body)
		return err_set(e, ERR_FAILED, "no room to pack a manifest of %zu bytes", n);
	protobuf_c_message_pack(msg, body);
	int rc = seal(kind, body, n, key, out, len, e);
	free(body);
	return rc;
}

int manifest_pack_generation(const Cpa__Generation *gen, const uint8_t key[MANIFEST_KEY_BYTES], uint8_t **out,
                             size_t *len, struct err *e)
{
	if (manifest_check_generation(gen, e) < 0)
		return err_wrap(e, "this generation cannot be packed");
	return pack(&gen->base, SEAL_GENERATION, key, out, len, e);
}

int manifest_pack_keyset(const Cpa__Keyset *keys, const uint8_t key[MANIFEST_KEY_BYTES], uint8_t **out,
                         size_t *len, struct err *e)
{
	if (manifest_check_keyset(keys, e) < 0)
		return err_wrap(e, "this keyset cannot be packed");
	return pack(&keys->base, SEAL_KEYSET, key, out, len, e);
}

static int open_body(Cpa__What what, const Cpa__Sealed *s, struct manifest *m, struct err *e)
{
	m->what = what;
	if (what == CPA__WHAT__GENERATION) {
		m->gen = cpa__generation__unpack(NULL, s->body.len, s->body.data);
		if (m->gen)
			return manifest_check_generation(m->gen, e);
	} else {
		m->keys = cpa__keyset__unpack(NULL, s->body.len, s->body.data);
		if (m->keys)
			return manifest_check_keyset(m->keys, e);
	}
	return err_set(e, ERR_FAILED, "the body is no %s",
	               what == CPA__WHAT__GENERATION ? "generation" : "keyset");
}

int manifest_unpack(Cpa__What what, const uint8_t *data, size_t len, const uint8_t key[MANIFEST_KEY_BYTES],
                    struct manifest *m, struct err *e)
{
	Cpa__Sealed *s = NULL;

	memset(m, 0, sizeof *m);
	if (what != CPA__WHAT__GENERATION && what != CPA__WHAT__KEYSET)
		return err_set(e, ERR_USAGE, "there is no manifest of kind %d", (int)what);
	if (unseal(what == CPA__WHAT__GENERATION ? SEAL_GENERATION : SEAL_KEYSET, data, len, key, &s, e) < 0)
		return ERR_FAILED;
	int rc = open_body(what, s, m, e);
	cpa__sealed__free_unpacked(s, NULL);
	if (rc < 0) {
		manifest_free(m);
		return err_wrap(e, "this manifest is not usable");
	}
	return 0;
}

void manifest_free(struct manifest *m)
{
	if (m->gen)
		cpa__generation__free_unpacked(m->gen, NULL);
	if (m->keys)
		cpa__keyset__free_unpacked(m->keys, NULL);
	memset(m, 0, sizeof *m);
}

int manifest_seal_note(const void *body, size_t body_len, const uint8_t key[MANIFEST_KEY_BYTES], uint8_t **out,
                       size_t *len, struct err *e)
{
	return seal(SEAL_NOTE, body, body_len, key, out, len, e);
}

int manifest_open_note(const uint8_t *data, size_t len, const uint8_t key[MANIFEST_KEY_BYTES], uint8_t **body,
                       size_t *body_len, struct err *e)
{
	Cpa__Sealed *s = NULL;

	if (unseal(SEAL_NOTE, data, len, key, &s, e) < 0)
		return ERR_FAILED;
	*body = malloc(s->body.len + 1);
	if (*body) {
		if (s->body.len)
			memcpy(*body, s->body.data, s->body.len);
		(*body)[s->body.len] = '\0';
		*body_len = s->body.len;
	}
	cpa__sealed__free_unpacked(s, NULL);
	return *body ? 0 : err_set(e, ERR_FAILED, "out of memory opening a note");
}

const char *manifest_job(const struct manifest *m)
{
	return m->gen ? m->gen->job : m->keys->job;
}

uint64_t manifest_number(const struct manifest *m)
{
	return m->gen ? m->gen->generation : m->keys->serial;
}

uint32_t manifest_incarnation(const struct manifest *m)
{
	return m->gen ? m->gen->incarnation : m->keys->incarnation;
}

int64_t manifest_time_ns(const struct manifest *m)
{
	return m->gen ? m->gen->time_ns : m->keys->time_ns;
}

uint32_t manifest_uid(const struct manifest *m)
{
	return m->gen ? m->gen->uid : m->keys->uid;
}

/* What of a file takes room: an arena is mostly a hole. */
static uint64_t filled(const Cpa__File *f)
{
	uint64_t sum = 0;

	for (uint64_t i = 0; i < chunk_count(f->size); i++)
		if (!chunk_id_is_zero(f->chunks.data + i * CHUNK_ID_BYTES))
			sum += chunk_len(f->size, i);
	return sum;
}

uint64_t manifest_generation_bytes(const Cpa__Generation *gen)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < gen->n_files; i++)
		sum += filled(gen->files[i]);
	return sum;
}

uint64_t manifest_bytes(const struct manifest *m)
{
	uint64_t sum = 0;

	if (m->gen)
		return manifest_generation_bytes(m->gen);
	for (size_t i = 0; i < m->keys->n_keys; i++) /* between them there is room for their neighbours */
		sum += m->keys->keys[i]->bytes;
	return sum;
}

const Cpa__File *manifest_file(const struct manifest *m, size_t index)
{
	if (m->gen)
		return index < m->gen->n_files ? m->gen->files[index] : NULL;
	return m->keys && index == 0 ? m->keys->values : NULL;
}

const char *manifest_text(Cpa__What what, uint64_t number, char *buf, size_t size)
{
	snprintf(buf, size, "%s %" PRIu64, what == CPA__WHAT__GENERATION ? "generation" : "keyset", number);
	return buf;
}
