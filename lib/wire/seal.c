/* Owns the bytes of a sealed message: their order, the checks on opening, and the replay window. Ignores where
 * messages come from and what their bodies mean. Called by agent/ports/bus. */
#include "lib/wire/seal.h"

#include <endian.h>
#include <sodium.h>
#include <string.h>

#define SEAL_MAGIC UINT32_C(0x4c535043) /* "CPSL" */
#define SEAL_FORMAT 1
#define TAG_BYTES crypto_aead_xchacha20poly1305_ietf_ABYTES

/* offsets of the fixed part; the two names follow it, then the body, then the tag */
enum {
	AT_MAGIC = 0,
	AT_FORMAT = 4,
	AT_KIND = 5,
	AT_FROM_LEN = 6,
	AT_TO_LEN = 7,
	AT_SEQ = 8,
	AT_FROM_SESSION = 16,
	AT_TO_SESSION = 32,
	AT_NONCE = 48,
	AT_NAMES = 72,
};

_Static_assert(SEAL_NONCE_BYTES == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES, "nonce of XChaCha20");
_Static_assert(SEAL_KEY_BYTES == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "key of XChaCha20");
_Static_assert(SEAL_ADDED_MAX == AT_NAMES + 2 * SEAL_NAME_MAX + TAG_BYTES, "what sealing adds");

static int name_char_ok(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
	       c == '_' || c == '-';
}

/* len is all there is: a NUL inside is no name character and so refused */
static int name_bytes_ok(const char *name, size_t len)
{
	if (len < 1 || len > SEAL_NAME_MAX || name[0] == '.')
		return 0;
	for (size_t i = 0; i < len; i++)
		if (!name_char_ok(name[i]))
			return 0;
	return 1;
}

int seal_name_ok(const char *name)
{
	return name && name_bytes_ok(name, strnlen(name, SEAL_NAME_MAX + 1));
}

void seal_random(void *buf, size_t n)
{
	randombytes_buf(buf, n);
}

size_t seal_size(const struct seal_head *h, size_t plain)
{
	if (plain > SEAL_PLAIN_MAX || !seal_name_ok(h->from) || (h->to[0] && !seal_name_ok(h->to)))
		return 0;
	return AT_NAMES + strlen(h->from) + strlen(h->to) + plain + TAG_BYTES;
}

/* The header's bytes; returns their number. */
static size_t head_put(uint8_t *out, const struct seal_head *h, const uint8_t *nonce)
{
	uint32_t magic = htole32(SEAL_MAGIC);
	uint64_t seq = htole64(h->seq);
	size_t from_len = strlen(h->from), to_len = strlen(h->to);

	memcpy(out + AT_MAGIC, &magic, sizeof magic);
	out[AT_FORMAT] = SEAL_FORMAT;
	out[AT_KIND] = h->kind;
	out[AT_FROM_LEN] = (uint8_t)from_len;
	out[AT_TO_LEN] = (uint8_t)to_len;
	memcpy(out + AT_SEQ, &seq, sizeof seq);
	memcpy(out + AT_FROM_SESSION, h->from_session, SEAL_SESSION_BYTES);
	memcpy(out + AT_TO_SESSION, h->to_session, SEAL_SESSION_BYTES);
	memcpy(out + AT_NONCE, nonce, SEAL_NONCE_BYTES);
	memcpy(out + AT_NAMES, h->from, from_len);
	memcpy(out + AT_NAMES + from_len, h->to, to_len);
	return AT_NAMES + from_len + to_len;
}

/* The header from a message; returns the number of its bytes, 0 if it is none. */
static size_t head_get(const uint8_t *msg, size_t len, struct seal_head *h)
{
	uint32_t magic;
	uint64_t seq;

	if (len < AT_NAMES + TAG_BYTES)
		return 0;
	memcpy(&magic, msg + AT_MAGIC, sizeof magic);
	if (le32toh(magic) != SEAL_MAGIC || msg[AT_FORMAT] != SEAL_FORMAT)
		return 0;
	size_t from_len = msg[AT_FROM_LEN], to_len = msg[AT_TO_LEN];
	const char *names = (const char *)msg + AT_NAMES;

	if (len < AT_NAMES + from_len + to_len + TAG_BYTES || !name_bytes_ok(names, from_len) ||
	    (to_len && !name_bytes_ok(names + from_len, to_len)))
		return 0;
	memset(h, 0, sizeof *h);
	h->kind = msg[AT_KIND];
	memcpy(&seq, msg + AT_SEQ, sizeof seq);
	h->seq = le64toh(seq);
	memcpy(h->from_session, msg + AT_FROM_SESSION, SEAL_SESSION_BYTES);
	memcpy(h->to_session, msg + AT_TO_SESSION, SEAL_SESSION_BYTES);
	memcpy(h->from, names, from_len);
	memcpy(h->to, names + from_len, to_len);
	return AT_NAMES + from_len + to_len;
}

int seal_message_nonce(const struct seal_key *key, const struct seal_head *h,
                       const uint8_t nonce[SEAL_NONCE_BYTES], const void *plain, size_t plain_len, void *out)
{
	if (!seal_size(h, plain_len))
		return ERR_USAGE;
	uint8_t *bytes = out;
	size_t head = head_put(bytes, h, nonce);

	crypto_aead_xchacha20poly1305_ietf_encrypt(bytes + head, NULL, plain, plain_len, bytes, head, NULL, nonce,
	                                           key->bytes);
	return 0;
}

int seal_message(const struct seal_key *key, const struct seal_head *h, const void *plain, size_t plain_len,
                 void *out)
{
	uint8_t nonce[SEAL_NONCE_BYTES];

	seal_random(nonce, sizeof nonce);
	return seal_message_nonce(key, h, nonce, plain, plain_len, out);
}

enum seal_status seal_open(const struct seal_key *key, const void *msg, size_t len, struct seal_head *h,
                           void *plain, size_t room, size_t *plain_len)
{
	const uint8_t *bytes = msg;
	size_t head = head_get(bytes, len, h);

	*plain_len = 0;
	if (!head)
		return SEAL_MALFORMED;
	size_t body = len - head;

	if (body - TAG_BYTES > room || body - TAG_BYTES > SEAL_PLAIN_MAX)
		return SEAL_MALFORMED;
	if (crypto_aead_xchacha20poly1305_ietf_decrypt(plain, NULL, NULL, bytes + head, body, bytes, head,
	                                               bytes + AT_NONCE, key->bytes))
		return SEAL_FORGED;
	*plain_len = body - TAG_BYTES;
	return SEAL_OK;
}

int seal_window_accept(struct seal_window *w, uint64_t seq)
{
	if (seq > w->top) {
		uint64_t step = seq - w->top;

		w->seen = step < 64 ? (w->seen << step) | 1 : 1;
		w->top = seq;
		return 1;
	}
	uint64_t back = w->top - seq;

	if (seq == 0 || back >= 64 || (w->seen >> back & 1))
		return 0;
	w->seen |= UINT64_C(1) << back;
	return 1;
}
