/* Sealed messages between agents: one cluster key, one message in, one message out.
 *
 * A sealed message is a clear header (who, to whom, in which sessions, which number), authenticated, and an
 * encrypted body: XChaCha20-Poly1305 with a random nonce. Whoever lacks the key can neither read, forge nor
 * redirect one; seal_window finds the replayed. What sessions mean is decided above (agent/ports/bus). The
 * byte layout is in docs/protocol.md. */
#ifndef CPA_WIRE_SEAL_H
#define CPA_WIRE_SEAL_H

#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"

#define SEAL_KEY_BYTES 32
#define SEAL_SESSION_BYTES 16
#define SEAL_NONCE_BYTES 24
#define SEAL_NAME_MAX 64
#define SEAL_PLAIN_MAX ((size_t)3 << 20)
/* what sealing adds at most: header, two names, tag */
#define SEAL_ADDED_MAX ((size_t)72 + 2 * SEAL_NAME_MAX + 16)

struct seal_key {
	uint8_t bytes[SEAL_KEY_BYTES];
};

/* Read a key file as seal_keygen writes it: one line, `cpagent-key-1 ` and 64 hexadecimal digits.
 * ERR_NOT_FOUND: no such file. ERR_DENIED: others than its owner may read or write it, or it belongs to
 * someone else than this user and root. ERR_USAGE: it is not a key. */
int seal_key_load(const char *path, struct seal_key *key, struct err *e);

/* Make a key file of mode 0600, complete or not there. ERR_USAGE: the file exists (it is left as it is). */
int seal_keygen(const char *path, struct err *e);

/* Forget a key. */
void seal_key_wipe(struct seal_key *key);

/* 1 to 64 of letters, digits, '.', '_', '-', the first no '.': fit for paths and cgroups too. */
int seal_name_ok(const char *name);

/* n random bytes that nobody guesses: sessions, tokens. */
void seal_random(void *buf, size_t n);

/* The clear part of a message. */
struct seal_head {
	uint8_t kind; /* the caller's */
	uint64_t seq;
	char from[SEAL_NAME_MAX + 1];
	char to[SEAL_NAME_MAX + 1]; /* "" : whoever receives it */
	uint8_t from_session[SEAL_SESSION_BYTES];
	uint8_t to_session[SEAL_SESSION_BYTES];
};

/* Bytes of the sealed message for a body of plain bytes. 0: a name is no name, or the body is too long. */
size_t seal_size(const struct seal_head *h, size_t plain);

/* Seal plain into out, which has seal_size() bytes. 0 or ERR_USAGE (see seal_size). */
int seal_message(const struct seal_key *key, const struct seal_head *h, const void *plain, size_t plain_len,
                 void *out);

/* The same with the nonce given: for the tests of the format; a nonce used twice gives the key away. */
int seal_message_nonce(const struct seal_key *key, const struct seal_head *h,
                       const uint8_t nonce[SEAL_NONCE_BYTES], const void *plain, size_t plain_len, void *out);

enum seal_status {
	SEAL_OK = 0,
	SEAL_MALFORMED = 1, /* not a sealed message of this format, or longer than room */
	SEAL_FORGED = 2,    /* sealed with another key, or altered */
};

/* Check and open any bytes whatever. plain has room bytes (SEAL_PLAIN_MAX is always enough) and any alignment.
 * Nothing in *h or plain is to be believed unless SEAL_OK. */
enum seal_status seal_open(const struct seal_key *key, const void *msg, size_t len, struct seal_head *h,
                           void *plain, size_t room, size_t *plain_len);

/* Which numbers of one sender's session were seen: the newest and the 63 before it. Zero-initialised: none. */
struct seal_window {
	uint64_t top;  /* the highest number seen */
	uint64_t seen; /* bit i: top - i was seen */
};

/* 1: seq is new, and now seen. 0: seen before, too old to know, or 0 (which is never sent). */
int seal_window_accept(struct seal_window *w, uint64_t seq);

#endif
