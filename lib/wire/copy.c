/* Owns copying and packing of messages of any type. */
#include "lib/wire/copy.h"

#include <stdlib.h>
#include <string.h>

void *wire_pack(const ProtobufCMessage *m, size_t *len)
{
	*len = protobuf_c_message_get_packed_size(m);
	uint8_t *buf = malloc(*len ? *len : 1);
	if (buf)
		protobuf_c_message_pack(m, buf);
	return buf;
}

void *wire_copy(const ProtobufCMessage *m)
{
	size_t len;
	uint8_t *buf = wire_pack(m, &len);
	void *copy = buf ? protobuf_c_message_unpack(m->descriptor, NULL, len, buf) : NULL;
	free(buf);
	return copy;
}

bool wire_set(char **field, const char *text)
{
	char *copy = strdup(text);
	if (*field != (char *)(uintptr_t)protobuf_c_empty_string) /* what an unset field points to is not ours to free */
		free(*field);
	*field = copy ? copy : (char *)(uintptr_t)protobuf_c_empty_string;
	return copy != NULL;
}
