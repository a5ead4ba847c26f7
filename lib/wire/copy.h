/* A deep copy of a protobuf message: what came in a call is borrowed, what is kept is owned. */
#ifndef CPA_WIRE_COPY_H
#define CPA_WIRE_COPY_H

#include <stdbool.h>

#include <protobuf-c/protobuf-c.h>

/* Owned by the caller, freed like any unpacked message; NULL when memory is out. Give &msg->base. */
void *wire_copy(const ProtobufCMessage *m);

/* Give a string field of a message another text, copied. False when memory is out: the field is then empty. */
bool wire_set(char **field, const char *text);

/* Its packed bytes, owned (free), and how many; NULL when memory is out. */
void *wire_pack(const ProtobufCMessage *m, size_t *len);

#endif
