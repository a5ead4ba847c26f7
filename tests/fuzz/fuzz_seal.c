/* fuzz_seal: any bytes whatever to seal_open(), and then through its checks with a right tag, so that what lies
 * behind the authentication is reached as well. */
#include <stdlib.h>
#include <string.h>

#include "lib/wire/seal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void open_raw(const struct seal_key *key, const uint8_t *data, size_t size)
{
	struct seal_head h;
	size_t got, room = size < 4096 ? size : 4096;
	void *plain = malloc(room + 1);

	if (seal_open(key, data, size, &h, plain, room, &got) == SEAL_OK && (got > room || !seal_name_ok(h.from)))
		abort();
	free(plain);
}

/* What we can seal, opens to the same. */
static void round_trip(const struct seal_key *key, const uint8_t *data, size_t size)
{
	struct seal_head in, out;
	size_t got;

	if (size < sizeof in)
		return;
	memcpy(&in, data, sizeof in);
	in.from[SEAL_NAME_MAX] = in.to[SEAL_NAME_MAX] = 0;
	size_t len = seal_size(&in, size - sizeof in);

	if (!len)
		return;
	uint8_t *msg = malloc(len), *plain = malloc(len);

	if (seal_message(key, &in, data + sizeof in, size - sizeof in, msg) ||
	    seal_open(key, msg, len, &out, plain, len, &got) != SEAL_OK || got != size - sizeof in ||
	    memcmp(plain, data + sizeof in, got) || strcmp(in.from, out.from) || strcmp(in.to, out.to))
		abort();
	free(msg);
	free(plain);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct seal_key key = { { 1, 2, 3 } };

	open_raw(&key, data, size);
	round_trip(&key, data, size);
	return 0;
}
