/* Just enough of Redis's protocol to set a key. */
#ifndef TESTS_BENCH_RESP_H
#define TESTS_BENCH_RESP_H

#include <stddef.h>

/* Connect to the server at a unix socket. The descriptor, or -1 with errno. */
int resp_connect(const char *path);

/* SET key to bytes of value, and wait for the answer. 0 or -1. */
int resp_set(int fd, const char *key, const void *value, size_t bytes);

/* DEL key. 0 or -1. */
int resp_del(int fd, const char *key);

#endif
